"""Multiple care-of addresses: the binding identifier option (RFC 5648)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import OptionType
from dsmip.wire.errors import DecodeError, EncodeError
from dsmip.wire.option import Alignment, KnownOption

_FIXED = Struct(">HBB")
_HOME = 0x80
_PRIORITY = 0x7F


class BindingIdentifier(KnownOption, frozen=True):
    """One of several bindings of a home address (RFC 5648 section 4.3).

    `bid` is 1 to 65535. `home` is the H flag: bound at home and abroad at the same time. `priority` is the
    BID-PRI of RFC 6089 section 4.1: lower is preferred, 0 = without. `care_of` may be left out once the
    binding is known. `status` says something in an acknowledgement only: 0 = as the message, otherwise a
    BAStatus.
    """

    TYPE: ClassVar[int] = OptionType.BINDING_IDENTIFIER
    LENGTH: ClassVar[tuple[int, int]] = (4, 20)

    bid: int
    status: int = 0
    home: bool = False
    priority: int = 0
    care_of: IPv4Address | IPv6Address | None = None

    @property
    def alignment(self) -> Alignment:
        return (2, 0) if self.care_of is None else (8, 2)

    def encode_data(self) -> bytes:
        if not 0 <= self.priority <= _PRIORITY:
            raise EncodeError(f"a BID-PRI of {self.priority} does not fit into seven bits")
        fixed = _FIXED.pack(self.bid, self.status, (_HOME if self.home else 0) | self.priority)
        return fixed if self.care_of is None else fixed + self.care_of.packed

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        bid, status, octet = _FIXED.unpack_from(data)
        address = data[_FIXED.size :]
        care_of: IPv4Address | IPv6Address | None
        match len(address):
            case 0:
                care_of = None
            case 4:
                care_of = IPv4Address(address)
            case 16:
                care_of = IPv6Address(address)
            case _:
                raise DecodeError("option-length", f"binding identifier option of length {len(data)}")
        return cls(bid, status, bool(octet & _HOME), octet & _PRIORITY, care_of)
