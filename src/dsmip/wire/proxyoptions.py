"""Mobility options of Proxy Mobile IPv6: RFC 5213, RFC 5845 (GRE key) and RFC 6705 (gateway's address)."""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import OptionType
from dsmip.wire.errors import DecodeError
from dsmip.wire.option import Alignment, KnownOption
from dsmip.wire.optionshapes import IPv6AddressOption, PrefixOption, TimestampOption

_LENGTH_ADDRESS = Struct(">xB16s")
_RESERVED_OCTET = Struct(">xB")
_RESERVED_U32 = Struct(">2xI")
_RESERVED = 2

_ADDRESS_BITS = 128

#: What one second is in a Timestamp option: 48 bits of seconds in front of 16 bits of fraction.
TIMESTAMP_SECOND = 1 << 16


class HomeNetworkPrefix(PrefixOption, frozen=True):
    """The prefix of a mobile node's home network (RFC 5213 section 8.3); ::/0 asks for one."""

    TYPE: ClassVar[int] = OptionType.HOME_NETWORK_PREFIX


class _Octet(KnownOption, frozen=True):
    LENGTH: ClassVar[tuple[int, int]] = (2, 2)

    value: int

    def encode_data(self) -> bytes:
        return _RESERVED_OCTET.pack(self.value)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(*_RESERVED_OCTET.unpack(data))


class HandoffIndicator(_Octet, frozen=True):
    """What kind of handover this is (RFC 5213 section 8.4)."""

    TYPE: ClassVar[int] = OptionType.HANDOFF_INDICATOR


class AccessTechnologyType(_Octet, frozen=True):
    """Which kind of network the mobile node is in (RFC 5213 section 8.5)."""

    TYPE: ClassVar[int] = OptionType.ACCESS_TECHNOLOGY_TYPE


class LinkLocalAddress(IPv6AddressOption, frozen=True):
    """The link-local address of the access gateway (RFC 5213 section 8.7)."""

    TYPE: ClassVar[int] = OptionType.LINK_LOCAL_ADDRESS


class Timestamp(TimestampOption, frozen=True):
    """When a proxy registration was sent (RFC 5213 section 8.8), in units of 1/65536 s since 1970.

    Unlike the timestamp of `MessageIdentifier` this is not the format of NTP.
    """

    TYPE: ClassVar[int] = OptionType.TIMESTAMP


class GreKey(KnownOption, frozen=True):
    """The key of the GRE tunnel's packets towards the sender (RFC 5845); None asks without offering one."""

    TYPE: ClassVar[int] = OptionType.GRE_KEY
    LENGTH: ClassVar[tuple[int, int]] = (_RESERVED, _RESERVED_U32.size)
    ALIGNMENT: ClassVar[Alignment] = (4, 0)

    key: int | None = None

    def encode_data(self) -> bytes:
        return bytes(_RESERVED) if self.key is None else _RESERVED_U32.pack(self.key)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        if len(data) == _RESERVED:
            return cls()
        if len(data) != _RESERVED_U32.size:
            raise DecodeError("option-length", f"GRE key of length {len(data)}")
        return cls(*_RESERVED_U32.unpack(data))


class MagIPv6Address(KnownOption, frozen=True):
    """The address of a mobile access gateway (RFC 6705)."""

    TYPE: ClassVar[int] = OptionType.MAG_IPV6_ADDRESS
    LENGTH: ClassVar[tuple[int, int]] = (18, 18)
    ALIGNMENT: ClassVar[Alignment] = (8, 4)

    address: IPv6Address

    def encode_data(self) -> bytes:
        return _LENGTH_ADDRESS.pack(_ADDRESS_BITS, self.address.packed)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        length, address = _LENGTH_ADDRESS.unpack(data)
        if length != _ADDRESS_BITS:
            raise DecodeError("malformed", f"gateway address of {length} bits")
        return cls(IPv6Address(address))
