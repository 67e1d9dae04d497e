"""Sequence numbers of Binding Updates: sixteen bits that wrap around (RFC 6275 section 9.5.1).

A number is newer than the last accepted one when it lies 1 to 32767 steps ahead of it. The number exactly
half a turn away (32768 steps) is refused, as in the RFC's own example: after 15, the values 0 to 15 and 32783
to 65535 are out of the window.
"""

from __future__ import annotations

SEQUENCE_MODULUS = 1 << 16

#: The farthest a sequence number may run ahead of the last accepted one.
SEQUENCE_WINDOW = (1 << 15) - 1


def is_newer(sequence: int, last: int) -> bool:
    """True when `sequence` may follow `last`, the last accepted one (RFC 6275 section 9.5.1)."""
    return 1 <= (sequence - last) % SEQUENCE_MODULUS <= SEQUENCE_WINDOW


def successor(sequence: int) -> int:
    """The sequence number of the next Binding Update (RFC 6275 section 11.7.1)."""
    return (sequence + 1) % SEQUENCE_MODULUS
