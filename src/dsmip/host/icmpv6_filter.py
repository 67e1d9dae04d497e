"""Raw ICMPv6 sockets that receive some types of message only."""

from __future__ import annotations

import socket
from collections.abc import Iterable

_ICMP6_FILTER = 1
_ALL_TYPES = 256
_LITTLE_ENDIAN = socket.htons(1) != 1


def open_icmpv6(types: Iterable[int]) -> socket.socket:
    """A non-blocking raw socket for these types; needs CAP_NET_RAW (OSError)."""
    opened = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    blocked = bytearray(b"\xff" * (_ALL_TYPES // 8))
    for kind in types:
        # An array of 32-bit words in host order, of which bit n of word w stands for type 32 w + n.
        blocked[_octet_of(kind)] &= ~(1 << kind % 8) & 0xFF
    opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(blocked))
    return opened


def _octet_of(kind: int) -> int:
    """Which octet of the filter has the bit of a message type."""
    word, octet = divmod(kind // 8, 4)
    return 4 * word + (octet if _LITTLE_ENDIAN else 3 - octet)
