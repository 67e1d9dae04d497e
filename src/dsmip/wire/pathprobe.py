"""What a path probe carries: an ICMPv6 echo from home address to home agent, over one path of several.

The home agent's data plane reflects such an echo request over the path it came from, with the content as it
was. Both ends take the path for usable until `hold` has passed without another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Self

from dsmip.wire.errors import DecodeError

#: Tells a path probe from other echo requests.
PROBE_MAGIC = b"dsmP"

_VERSION = 1
#: Flag of a probe that is padded: it asks whether its size passes, and says nothing about the time to come.
PROBE_SIZE = 1
#: Flag of a probe that asks whether protocol 41 passes both ways. PROBE_SIZE is set, too: it says nothing
#: about the time to come either.
PROBE_FORMAT = 2

_LAYOUT = Struct(">4sBBHIIQH6x")
#: Octets of the longest headers in front of it: IPv6, UDP, IPv6, ICMPv6.
_LONGEST_HEADERS = 96
_MAX_32 = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class ProbePayload:
    """The data of the echo.

    `bid` is the binding identifier of the path. `hold` is in milliseconds, 0 = the path is not silent until
    the next probe, whenever that comes. `sent` is CLOCK_MONOTONIC nanoseconds of its sender. `mtu` is that of
    inner packets on this path, as far as it is known, 0 = it is not: the home agent heeds it.
    """

    bid: int
    hold: int
    sequence: int
    sent: int
    flags: int = 0
    mtu: int = 0

    def encode(self) -> bytes:
        """32 octets."""
        hold = min(self.hold, _MAX_32)
        sequence = self.sequence & _MAX_32
        fields = (self.flags, self.bid, hold, sequence, self.sent, self.mtu)
        return _LAYOUT.pack(PROBE_MAGIC, _VERSION, *fields)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read it; what follows it is ignored. DecodeError when it is something else."""
        if len(data) < _LAYOUT.size or not data.startswith(PROBE_MAGIC):
            raise DecodeError("malformed", "not a path probe")
        _, version, flags, bid, hold, sequence, sent, mtu = _LAYOUT.unpack_from(data)
        if version != _VERSION:
            raise DecodeError("malformed", f"path probe of version {version}")
        return cls(bid, hold, sequence, sent, flags, mtu)


def is_probe(packet: bytes) -> bool:
    """Whether a packet carries a path probe, behind headers of whatever tunnel format."""
    at = packet.find(PROBE_MAGIC, 0, _LONGEST_HEADERS + len(PROBE_MAGIC))
    return at >= 0 and len(packet) >= at + _LAYOUT.size
