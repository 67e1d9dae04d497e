"""Damaging octets at random, where no fuzzer watches what the damage leads to."""

from __future__ import annotations

import random

_INTERESTING = (0x00, 0x01, 0x02, 0x7F, 0x80, 0xFE, 0xFF)


def mutate(data: bytes, source: random.Random) -> bytes:
    """Octets changed, taken out, put in, doubled or cut off: one to six such steps."""
    octets = bytearray(data)
    for _ in range(source.randint(1, 6)):
        start = source.randrange(len(octets) + 1)
        piece = bytes(octets[start : start + source.randint(1, 12)])
        match source.randrange(6):
            case 0 if start < len(octets):
                octets[start] ^= 1 << source.randrange(8)
            case 1 if start < len(octets):
                octets[start] = source.choice(_INTERESTING)
            case 2:
                del octets[start : start + len(piece)]
            case 3:
                octets[start:start] = piece
            case 4:
                octets[start:start] = source.randbytes(source.randint(1, 8))
            case _:
                del octets[start:]
    return bytes(octets)
