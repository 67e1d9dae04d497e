"""Does protocol 41 get through to the home agent? An ICMPv6 echo in IPv4 finds out.

The probe is what the tunnel itself would carry: IPv4(care-of address -> home agent) / IPv6(home address ->
home agent) / Echo Request (RFC 5555 section 4.4.3).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import EchoRequest, encode_icmpv6
from dsmip.wire.ip import IPv4Header
from dsmip.wire.packet import encode_packet

#: Echo requests before protocol 41 counts as filtered.
PROBE_TRIES = 3

#: Seconds between them are twice the round-trip time, and at least this.
MINIMUM_PROBE_INTERVAL = 0.1

_PAYLOAD = b"dsmip path probe"


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
) -> bytes:
    """The IPv4 packet of one probe."""
    echo = encode_icmpv6(EchoRequest(identifier, sequence, _PAYLOAD), home_address, home_agent)
    inner = encode_packet(home_address, home_agent, echo, NextHeader.ICMPV6)
    return IPv4Header(care_of, home_agent_ipv4, NextHeader.IPV6, len(inner)).encode() + inner
