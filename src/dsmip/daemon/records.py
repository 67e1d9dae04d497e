"""Events as they are kept: addresses stay what they are until somebody reads them, as mostly nobody does."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

Value = str | int | float | bool
#: An event as it is kept, and as it is read.
Told = Mapping[str, Value | IPv4Address | IPv6Address]
Record = Mapping[str, Value]

_ADDRESSES = (IPv4Address, IPv6Address)

# IPv4-compatible and IPv4-mapped addresses, which the C library writes with dots.
_DOTTED = (0, 0xFFFF)


def readable(told: Told) -> dict[str, Value]:
    """An event with its addresses written."""
    return {name: written(value) if isinstance(value, _ADDRESSES) else value for name, value in told.items()}


def text_of(value: Value | IPv4Address | IPv6Address) -> str:
    """One of an event's values as a text."""
    return written(value) if isinstance(value, _ADDRESSES) else str(value)


def written(address: IPv4Address | IPv6Address) -> str:
    """What `str` says of an address without a scope, in a fraction of the time."""
    if isinstance(address, IPv4Address):
        return socket.inet_ntoa(address.packed)
    if int(address) >> 32 in _DOTTED:
        return str(address)
    return socket.inet_ntop(socket.AF_INET6, address.packed)
