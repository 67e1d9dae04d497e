"""The raw socket for Mobility Headers that IPsec protects.

What the kernel has decrypted arrives here without its outer headers, and what is sent here leaves the
kernel encrypted by way of the tunnel device. Which packet is which is told by marks in the IPv6 header that
transport mode leaves alone (RFC 4303 section 3.1.1): the flow label of received packets, traffic class and
hop limit of sent ones.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import Final, NamedTuple

MOBILITY_HEADER: Final = 135

_IPV6_FLOWINFO = 11
_FLOW_LABEL = 0xFFFFF
_PACKET_INFO = struct.Struct("=16si")
_ROOM = 4096
#: Messages read at once, so that timers get their turn.
_AT_ONCE = 64

log = logging.getLogger(__name__)


class Decrypted(NamedTuple):
    """A Mobility Header, and the flow label of the packet it was in (0 = none)."""

    source: IPv6Address
    destination: IPv6Address
    message: bytes
    label: int


class MobilitySocket:
    """The constructor raises OSError without CAP_NET_RAW and CAP_NET_ADMIN."""

    def __init__(self, mark: int) -> None:
        """`mark` is what the data plane takes for packets for the daemon."""
        self._socket = socket.socket(
            socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, MOBILITY_HEADER
        )
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        # So that what leaves by the tunnel device, encrypted, is known to be for the daemon.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_FLOWINFO, 1)

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def send(
        self, source: IPv6Address, destination: IPv6Address, message: bytes, tag: int, interface: int = 0
    ) -> bool:
        """Send a Mobility Header through IPsec. `tag` (16 bits) becomes traffic class and hop limit.

        `interface` is the number of the one to leave by, 0 = by the routing table.

        False (and a line in the log) when the kernel refuses: no security association, for example.
        """
        control = [
            (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PACKET_INFO.pack(source.packed, interface)),
            (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, struct.pack("=i", tag >> 8)),
            (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("=i", tag & 0xFF)),
        ]
        try:
            self._socket.sendmsg([message], control, 0, (str(destination), 0))
        except OSError as error:
            log.warning("cannot send from %s to %s under IPsec: %s", source, destination, error.strerror)
            return False
        return True

    def receive(self) -> Iterator[Decrypted]:
        """What has arrived."""
        for _ in range(_AT_ONCE):
            try:
                message, control, _, (source, *_) = self._socket.recvmsg(_ROOM, 256)
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("the Mobility Header socket: %s", error.strerror)
                return
            destination, label = None, 0
            for level, kind, data in control:
                if level != socket.IPPROTO_IPV6:
                    continue
                if kind == socket.IPV6_PKTINFO:
                    destination = IPv6Address(data[:16])
                elif kind == _IPV6_FLOWINFO:
                    label = int.from_bytes(data[:4], "big") & _FLOW_LABEL
            sender = ipaddress.ip_address(source.partition("%")[0])
            if destination is not None and isinstance(sender, IPv6Address):
                yield Decrypted(sender, destination, message, label)
