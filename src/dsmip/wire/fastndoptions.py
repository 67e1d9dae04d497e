"""Neighbour discovery options of fast handovers (RFC 5568 sections 6.4.1, 6.4.3 and 6.4.6)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv6Address
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.errors import DecodeError
from dsmip.wire.ndoption import KnownNDOption

_CODE_LENGTH_ADDRESS = Struct(">BB4x16s")
_STATUS = Struct(">xB4x")
_SUPPLIED = Struct(">xB4x16s")
_OCTET = Struct(">B")


class LinkLayerAddressCode(enum.IntEnum):
    """Whose address a link-layer address option carries (RFC 5568 section 6.4.3)."""

    WILDCARD = 0
    NEW_ACCESS_POINT = 1
    MOBILE_NODE = 2
    NEW_ACCESS_ROUTER = 3
    SENDER = 4
    ACCESS_POINT_OF_THIS_ROUTER = 5
    NO_PREFIX_INFORMATION = 6
    NO_FAST_HANDOVER = 7


@dataclass(frozen=True, slots=True)
class IPAddressPrefix(KnownNDOption):
    """An address or prefix of a handover (RFC 5568 section 6.4.1).

    Code 1 = old care-of address, 2 = new care-of address, 3 = the new router's address, 4 = its prefix.
    """

    TYPE: ClassVar[int] = 17
    SIZES: ClassVar[tuple[int, ...] | None] = (_CODE_LENGTH_ADDRESS.size,)

    code: int
    prefix_length: int
    address: IPv6Address

    def encode_data(self) -> bytes:
        return _CODE_LENGTH_ADDRESS.pack(self.code, self.prefix_length, self.address.packed)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        code, prefix_length, address = _CODE_LENGTH_ADDRESS.unpack(data)
        if prefix_length > 128:
            raise DecodeError("malformed", f"prefix of length {prefix_length}")
        return cls(code, prefix_length, IPv6Address(address))


@dataclass(frozen=True, slots=True)
class LinkLayerAddress(KnownNDOption):
    """A link-layer address and whose it is, a LinkLayerAddressCode (RFC 5568 section 6.4.3).

    The option does not say how long the address is: a received one has the padding at its end.
    """

    TYPE: ClassVar[int] = 19

    code: int
    address: bytes

    def encode_data(self) -> bytes:
        return _OCTET.pack(self.code) + self.address

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(data[0], data[1:])


@dataclass(frozen=True, slots=True)
class NeighborAdvertisementAcknowledgment(KnownNDOption):
    """The new router's answer to an unsolicited neighbour advertisement, "NAACK" (RFC 5568 section 6.4.6).

    `status`: 1 = the new care-of address is invalid, 2 = use the supplied `address`, 3 = use the router's
    address in the Fast Binding Update, 4 = previous care-of address, send none, 128 = link-layer address not
    recognised.
    """

    TYPE: ClassVar[int] = 20
    SIZES: ClassVar[tuple[int, ...] | None] = (_STATUS.size, _SUPPLIED.size)

    status: int
    address: IPv6Address | None = None

    def encode_data(self) -> bytes:
        if self.address is None:
            return _STATUS.pack(self.status)
        return _SUPPLIED.pack(self.status, self.address.packed)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        if len(data) == _STATUS.size:
            return cls(*_STATUS.unpack(data))
        status, address = _SUPPLIED.unpack(data)
        return cls(status, IPv6Address(address))
