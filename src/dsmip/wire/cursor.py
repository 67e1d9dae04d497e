"""Reading octets from the front to the back without ever looking past the end."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Any

from dsmip.wire.errors import DecodeError


class Cursor:
    """A position in `data` that only moves forwards; every read checks that the octets are there."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end

    @property
    def remaining(self) -> int:
        """Octets not read yet."""
        return self.end - self.position

    def advance(self, length: int) -> int:
        """Step over `length` octets and return where they start; DecodeError("truncated") if too few."""
        start = self.position
        if length > self.end - start:
            raise DecodeError("truncated", f"{length} octets at offset {start}, {self.end - start} left")
        self.position = start + length
        return start

    def take(self, length: int) -> bytes:
        """The next `length` octets."""
        start = self.advance(length)
        return self.data[start : self.position]

    def rest(self) -> bytes:
        """All octets that are left."""
        start, self.position = self.position, self.end
        return self.data[start : self.end]

    def unpack(self, layout: Struct) -> tuple[Any, ...]:
        """The fields of `layout`."""
        return layout.unpack_from(self.data, self.advance(layout.size))

    def ipv6(self) -> IPv6Address:
        """An IPv6 address."""
        return IPv6Address(self.take(16))

    def ipv4(self) -> IPv4Address:
        """An IPv4 address."""
        return IPv4Address(self.take(4))
