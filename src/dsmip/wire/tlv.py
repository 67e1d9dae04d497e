"""Type-length-value options with Pad1 and PadN: one format for three registries.

Mobility options (RFC 6275 section 6.2.1), IPv6 destination and hop-by-hop options (RFC 8200 section 4.2) and
the sub-options of flow bindings (RFC 6089 section 4.2.1) all have a one-octet type, a one-octet length that
counts the data alone, Pad1 as type 0 without a length, and PadN as type 1.
"""

from __future__ import annotations

from collections.abc import Iterator

from dsmip.wire.errors import DecodeError

PAD1 = 0
PADN = 1

#: What to insert to move on by so many octets, where the index is their number (RFC 6275 sections 6.2.2,
#: 6.2.3).
PADDING = (b"", b"\x00", *(bytes((PADN, length - 2)) + bytes(length - 2) for length in range(2, 9)))


def walk(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Each option between two offsets as (type, start of its data, end of its data); padding is passed over.

    DecodeError("truncated") when an option runs past `end`.
    """
    position = start
    while position < end:
        kind = data[position]
        if kind == PAD1:
            position += 1
            continue
        value = position + 2
        if value > end:
            raise DecodeError("truncated", f"option {kind} has no length octet")
        position = value + data[position + 1]
        if position > end:
            raise DecodeError("truncated", f"option {kind} runs {position - end} octets past the end")
        if kind != PADN:
            yield kind, value, position
