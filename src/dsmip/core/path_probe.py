"""Probes of a path: ICMPv6 echo requests to the home agent, in what the tunnel itself would carry.

Two questions are asked like this. Does protocol 41 get through (RFC 5555 section 4.4.3)? `PathProbe` asks a
few times when an IPv4 network is new. And is the path still alive? `path_supervision` goes on asking; its
probes are of the highest class that is not the network's own (CS6, RFC 2474 section 4.2.2).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from dsmip.core.actions import SendDatagram, SendIPv4, SendPacket
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.types import Path, TunnelFormat, UdpEndpoint
from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import EchoRequest, encode_icmpv6
from dsmip.wire.ip import IPv4Header
from dsmip.wire.packet import encode_packet
from dsmip.wire.pathprobe import ProbePayload

#: Echo requests before protocol 41 counts as filtered.
PROBE_TRIES = 3

#: Seconds between them are twice the round-trip time, and at least this.
MINIMUM_PROBE_INTERVAL = 0.1

_PAYLOAD = b"dsmip path probe"

#: Octets of an inner packet that are in front of a probe's payload: IPv6, ICMPv6.
PROBE_HEADERS = 48

#: Class selector 6 in the Traffic Class octet.
_PROBE_CLASS = 0xC0


class PathProbe:
    """One question at a time, asked up to PROBE_TRIES times. Times are CLOCK_MONOTONIC seconds."""

    def __init__(self, identifier: int) -> None:
        self._identifier = identifier
        self._sequence = 0
        self._first = 0
        self._interval = MINIMUM_PROBE_INTERVAL
        self.due: float | None = None

    @property
    def active(self) -> bool:
        """True while an answer is awaited."""
        return self.due is not None

    def start(self, now: float, round_trip: float) -> None:
        """Ask from now on. Answers to earlier questions do not count any more."""
        self._first = self._sequence
        self._interval = max(2 * round_trip, MINIMUM_PROBE_INTERVAL)
        self.due = now

    def stop(self) -> None:
        """The answer does not matter any more."""
        self.due = None

    def next_try(self, now: float) -> tuple[int, int] | None:
        """Identifier and sequence number of the next Echo Request; None when all tries went unanswered.

        To be called when `due` has come.
        """
        if (self._sequence - self._first) % 0x10000 >= PROBE_TRIES:
            self.due = None
            return None
        sequence = self._sequence
        self._sequence = (self._sequence + 1) % 0x10000
        self.due = now + self._interval
        return self._identifier, sequence

    def answered(self, identifier: int, sequence: int) -> bool:
        """True when an Echo Reply answers the question asked now, which is then settled."""
        asked = (self._sequence - self._first) % 0x10000
        if self.due is None or identifier != self._identifier or (sequence - self._first) % 0x10000 >= asked:
            return False
        self.due = None
        return True


def probe_packet(
    care_of: IPv4Address,
    home_agent_ipv4: IPv4Address,
    home_address: IPv6Address,
    home_agent: IPv6Address,
    identifier: int,
    sequence: int,
    data: bytes = _PAYLOAD,
) -> bytes:
    """The IPv4 packet of one probe."""
    echo = encode_icmpv6(EchoRequest(identifier, sequence, data), home_address, home_agent)
    inner = encode_packet(home_address, home_agent, echo, NextHeader.ICMPV6)
    return IPv4Header(care_of, home_agent_ipv4, NextHeader.IPV6, len(inner)).encode() + inner


def supervision_probe(
    config: MobileNodeConfig, path: Path, interface: str, payload: ProbePayload, size: int = 0
) -> SendPacket | SendIPv4 | SendDatagram:
    """The probe `payload` ready to leave over `path`, in an inner packet of at least `size` octets."""
    data = payload.encode().ljust(size - PROBE_HEADERS, b"\0")
    echo = encode_icmpv6(
        EchoRequest(payload.bid, payload.sequence & 0xFFFF, data), config.home_address, config.home_agent
    )
    inner = encode_packet(
        config.home_address, config.home_agent, echo, NextHeader.ICMPV6, traffic_class=_PROBE_CLASS
    )
    local, remote = path.local, path.remote
    if isinstance(local, IPv6Address) and isinstance(remote, IPv6Address):
        outer = encode_packet(local, remote, inner, NextHeader.IPV6, traffic_class=_PROBE_CLASS)
        return SendPacket(outer, interface)
    if not isinstance(local, IPv4Address) or not isinstance(remote, IPv4Address):
        raise ValueError("both ends of a path are of one family")
    if path.format is TunnelFormat.UDP4:
        source, destination = UdpEndpoint(local, path.local_port), UdpEndpoint(remote, path.remote_port)
        return SendDatagram(inner, local=source, remote=destination, interface=interface)
    header = IPv4Header(
        local, remote, NextHeader.IPV6, len(inner), traffic_class=_PROBE_CLASS, dont_fragment=True
    )
    return SendIPv4(header.encode() + inner, interface)
