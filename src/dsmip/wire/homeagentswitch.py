"""The home agent switch message (RFC 5142)."""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import MHType
from dsmip.wire.errors import DecodeError
from dsmip.wire.message import COMMON_SIZE, Message, Options

_FIXED = Struct(">Bx")
_ADDRESSES_AT = COMMON_SIZE + _FIXED.size
_ADDRESS_SIZE = 16


class HomeAgentSwitch(Message, frozen=True):
    """A home agent asks the mobile node to move to another one (RFC 5142 section 4).

    Without `addresses` the mobile node has to discover one itself.
    """

    MH_TYPE: ClassVar[int] = MHType.HOME_AGENT_SWITCH
    MINIMUM_LENGTH: ClassVar[int] = 0
    OPTIONS_AT: ClassVar[int] = _ADDRESSES_AT

    addresses: tuple[IPv6Address, ...] = ()
    options: Options = ()

    def encode_data(self) -> bytes:
        return _FIXED.pack(len(self.addresses)) + b"".join(address.packed for address in self.addresses)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        starts = range(_ADDRESSES_AT, cls.options_offset(header), _ADDRESS_SIZE)
        return cls(tuple(IPv6Address(header[start : start + _ADDRESS_SIZE]) for start in starts), options)

    @classmethod
    def options_offset(cls, header: bytes) -> int:
        offset = _ADDRESSES_AT + _ADDRESS_SIZE * header[COMMON_SIZE]
        if offset > len(header):
            raise DecodeError("truncated", f"{header[COMMON_SIZE]} home agent addresses")
        return offset
