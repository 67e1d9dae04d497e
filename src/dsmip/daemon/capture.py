"""Signalling as the daemon sees it, for `dsmip capture`: upcalls and messages out, with outer headers.

Costs next to nothing while nobody captures. Path probes, ten a second and path, are left out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dsmip.core.actions import Action, ForwardPacket, SendDatagram, SendError, SendIPv4, SendPacket
from dsmip.daemon.feed import Feed, Subscription
from dsmip.wire.ip import IPv4Header
from dsmip.wire.packet import UdpOuter, encapsulate_udp
from dsmip.wire.pathprobe import is_probe

Captured = Mapping[str, Any]


class Tap:
    """Listens between engine and kernel."""

    def __init__(self) -> None:
        self._feed: Feed[Captured] = Feed()

    def follow(self) -> Subscription[Captured]:
        """Every packet from now on. Raises TooManyReaders."""
        return self._feed.subscribe()

    @property
    def followed(self) -> bool:
        """Whether anybody captures: otherwise nothing need be told."""
        return self._feed.followed

    def incoming(self, packet: bytes) -> None:
        """A packet the data plane handed up."""
        if self._feed.followed:
            self._publish("in", packet)

    def outgoing(self, action: Action) -> None:
        """What the engine wants done; only messages count."""
        if not self._feed.followed:
            return
        match action:
            case SendPacket() | ForwardPacket():
                self._publish("out", action.packet)
            case SendDatagram():
                outer = UdpOuter(
                    action.local.address, action.local.port, action.remote.address, action.remote.port
                )
                self._publish("out", encapsulate_udp(action.payload, outer))
            case SendError() if action.packet[0] >> 4 == 6:
                self._publish("out", action.packet)
            case SendIPv4() | SendError():
                self._publish("out", _with_checksum(action.packet))
            case _:
                pass

    def _publish(self, direction: str, packet: bytes) -> None:
        if is_probe(packet):
            return
        self._feed.publish(
            {"event": "packet", "unix": time.time(), "direction": direction, "packet": packet.hex()}
        )


def _with_checksum(packet: bytes) -> bytes:
    """The header checksum is the kernel's to fill in, as late as on the way out."""
    header = IPv4Header.decode(packet)
    return header.encode() + packet[header.header_length :]
