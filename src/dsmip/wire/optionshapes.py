"""Layouts that options of several RFCs share, where only type and meaning differ."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.errors import DecodeError
from dsmip.wire.option import Alignment, KnownOption

_PREFIX = Struct(">xB16s")
_U64 = Struct(">Q")
_MASKS = tuple((1 << 128) - (1 << (128 - length)) for length in range(129))


class IPv6AddressOption(KnownOption, frozen=True):
    """An option that is an IPv6 address."""

    LENGTH: ClassVar[tuple[int, int]] = (16, 16)
    ALIGNMENT: ClassVar[Alignment] = (8, 6)

    address: IPv6Address

    def encode_data(self) -> bytes:
        return self.address.packed

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(IPv6Address(data))


class PrefixOption(KnownOption, frozen=True):
    """An option that is a prefix behind its length. Bits after the prefix length are ignored.

    `number` is the prefix as an integer of 128 bits, `length` how many of them count. `prefix` makes a
    network of them, which takes as long as decoding all other options of a Binding Update.
    """

    LENGTH: ClassVar[tuple[int, int]] = (18, 18)
    ALIGNMENT: ClassVar[Alignment] = (8, 4)

    number: int
    length: int

    @classmethod
    def of(cls, prefix: IPv6Network) -> Self:
        """The option with this prefix."""
        return cls(int(prefix.network_address), prefix.prefixlen)

    @property
    def prefix(self) -> IPv6Network:
        """The prefix."""
        return IPv6Network((self.number, self.length))

    def encode_data(self) -> bytes:
        return _PREFIX.pack(self.length, self.number.to_bytes(16))

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        length = data[1]
        if length > 128:
            raise DecodeError("malformed", f"{cls.__name__} of length {length}")
        return cls(int.from_bytes(data[2:]) & _MASKS[length], length)


class TimestampOption(KnownOption, frozen=True):
    """An option that is a 64-bit time, in the unit of its RFC."""

    LENGTH: ClassVar[tuple[int, int]] = (8, 8)
    ALIGNMENT: ClassVar[Alignment] = (8, 2)

    timestamp: int

    def encode_data(self) -> bytes:
        return _U64.pack(self.timestamp)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(*_U64.unpack(data))
