"""Events as they are kept: addresses stay what they are until somebody reads them, as mostly nobody does."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

Value = str | int | float | bool
#: An event as it is kept, and as it is read.
Told = Mapping[str, Value | IPv4Address | IPv6Address]
Record = Mapping[str, Value]

#: A value that is kept for long: of an address its octets, which take half the room of its text.
Short = str | bytes

_ADDRESSES = (IPv4Address, IPv6Address)
_IPV4_SIZE = 4

# IPv4-compatible and IPv4-mapped addresses, which the C library writes with dots.
_DOTTED = (bytes(12), bytes(10) + b"\xff\xff")


def readable(told: Told) -> dict[str, Value]:
    """An event with its addresses written."""
    return {name: written(value) if isinstance(value, _ADDRESSES) else value for name, value in told.items()}


def text_of(value: Value | IPv4Address | IPv6Address) -> str:
    """One of an event's values as a text."""
    if type(value) is str:
        return value
    return written(value) if isinstance(value, _ADDRESSES) else str(value)


def shortened(value: Value | IPv4Address | IPv6Address) -> Short:
    """The same, to be kept."""
    return value.packed if isinstance(value, _ADDRESSES) else text_of(value)


def lengthened(short: Short) -> str:
    """The text of what was kept."""
    return _written(short) if isinstance(short, bytes) else short


def written(address: IPv4Address | IPv6Address) -> str:
    """What `str` says of an address without a scope, in a fraction of the time."""
    return _written(address.packed)


def _written(octets: bytes) -> str:
    if len(octets) == _IPV4_SIZE:
        return socket.inet_ntoa(octets)
    if octets.startswith(_DOTTED):
        return str(IPv6Address(octets))
    return socket.inet_ntop(socket.AF_INET6, octets)
