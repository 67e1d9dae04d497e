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
_LAYOUT = Struct(">4sBBHIIQ")
_MAX_32 = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class ProbePayload:
    """The data of the echo.

    `bid` is the binding identifier of the path. `hold` is in milliseconds, 0 = the path is not silent until
    the next probe, whenever that comes. `sent` is CLOCK_MONOTONIC nanoseconds of its sender.
    """

    bid: int
    hold: int
    sequence: int
    sent: int
    flags: int = 0

    def encode(self) -> bytes:
        """24 octets."""
        hold = min(self.hold, _MAX_32)
        sequence = self.sequence & _MAX_32
        return _LAYOUT.pack(PROBE_MAGIC, _VERSION, self.flags, self.bid, hold, sequence, self.sent)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read it; what follows it is ignored. DecodeError when it is something else."""
        if len(data) < _LAYOUT.size or not data.startswith(PROBE_MAGIC):
            raise DecodeError("malformed", "not a path probe")
        _, version, flags, bid, hold, sequence, sent = _LAYOUT.unpack_from(data)
        if version != _VERSION:
            raise DecodeError("malformed", f"path probe of version {version}")
        return cls(bid, hold, sequence, sent, flags)


def is_probe(packet: bytes) -> bool:
    """Whether a packet ends in a path probe: it has nothing after it."""
    return len(packet) >= _LAYOUT.size and packet[-_LAYOUT.size :].startswith(PROBE_MAGIC)
