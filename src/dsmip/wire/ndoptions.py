"""Options of neighbour discovery (RFC 4861 section 4.6, RFC 6275 sections 7.2 to 7.4)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.cursor import Cursor
from dsmip.wire.errors import DecodeError, EncodeError

_TLV = Struct(">BB")
_UNIT = 8

_PREFIX_INFORMATION = Struct(">BBII4x16s")
_U32_AFTER_RESERVED = Struct(">2xI")
_HOME_AGENT_INFORMATION = Struct(">HHH")

_ON_LINK = 0x80
_AUTONOMOUS = 0x40
_ROUTER_ADDRESS = 0x20
_MOBILE_ROUTERS = 0x8000


class NDOption(ABC):
    """One option. Its length on the wire counts units of 8 octets, type and length included."""

    __slots__ = ()

    @property
    @abstractmethod
    def type_code(self) -> int:
        """Option type to put on the wire."""

    @abstractmethod
    def encode_data(self) -> bytes:
        """The octets after type and length, which are then padded to the unit."""


class KnownNDOption(NDOption):
    """An option whose type has a class of its own."""

    __slots__ = ()

    #: Option type on the wire.
    TYPE: ClassVar[int]
    #: The only legal length in octets without type and length, None = any.
    SIZE: ClassVar[int | None] = None

    @property
    def type_code(self) -> int:
        return self.TYPE

    @classmethod
    @abstractmethod
    def decode_data(cls, data: bytes) -> Self:
        """The option whose octets after type and length are `data`."""


@dataclass(frozen=True, slots=True)
class _LinkLayerAddress(KnownNDOption):
    #: 6 octets on Ethernet. On other links the padding of the option cannot be told from the address.
    address: bytes

    def encode_data(self) -> bytes:
        return self.address

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(data)


@dataclass(frozen=True, slots=True)
class SourceLinkLayerAddress(_LinkLayerAddress):
    """Link-layer address of the sender (RFC 4861 section 4.6.1)."""

    TYPE: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class TargetLinkLayerAddress(_LinkLayerAddress):
    """Link-layer address of the target (RFC 4861 section 4.6.1)."""

    TYPE: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class PrefixInformation(KnownNDOption):
    """A prefix of the link (RFC 4861 section 4.6.2). Lifetimes are in seconds, 0xFFFFFFFF is for ever.

    With the R flag, `router_address`, the option carries the router's whole address: `address` (RFC 6275
    section 7.2). It is None without the flag.
    """

    TYPE: ClassVar[int] = 3
    SIZE: ClassVar[int | None] = 30

    prefix: IPv6Network
    on_link: bool
    autonomous: bool
    router_address: bool
    valid_lifetime: int
    preferred_lifetime: int
    address: IPv6Address | None = None

    def encode_data(self) -> bytes:
        flags = _ON_LINK if self.on_link else 0
        flags |= _AUTONOMOUS if self.autonomous else 0
        flags |= _ROUTER_ADDRESS if self.router_address else 0
        address = self.prefix.network_address
        if self.router_address:
            if self.address is None:
                raise EncodeError("the R flag of a prefix information option promises an address")
            address = self.address
        return _PREFIX_INFORMATION.pack(
            self.prefix.prefixlen, flags, self.valid_lifetime, self.preferred_lifetime, address.packed
        )

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        length, flags, valid_lifetime, preferred_lifetime, address = _PREFIX_INFORMATION.unpack(data)
        if length > 128:
            raise DecodeError("malformed", f"prefix of length {length}")
        router_address = bool(flags & _ROUTER_ADDRESS)
        return cls(
            IPv6Network((address, length), strict=False),
            bool(flags & _ON_LINK),
            bool(flags & _AUTONOMOUS),
            router_address,
            valid_lifetime,
            preferred_lifetime,
            IPv6Address(address) if router_address else None,
        )


@dataclass(frozen=True, slots=True)
class Mtu(KnownNDOption):
    """The MTU of the link, octets (RFC 4861 section 4.6.4)."""

    TYPE: ClassVar[int] = 5
    SIZE: ClassVar[int | None] = 6

    mtu: int

    def encode_data(self) -> bytes:
        return _U32_AFTER_RESERVED.pack(self.mtu)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(*_U32_AFTER_RESERVED.unpack(data))


@dataclass(frozen=True, slots=True)
class AdvertisementInterval(KnownNDOption):
    """The longest time between two advertisements of the router, milliseconds (RFC 6275 section 7.3)."""

    TYPE: ClassVar[int] = 7
    SIZE: ClassVar[int | None] = 6

    interval: int

    def encode_data(self) -> bytes:
        return _U32_AFTER_RESERVED.pack(self.interval)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(*_U32_AFTER_RESERVED.unpack(data))


@dataclass(frozen=True, slots=True)
class HomeAgentInformation(KnownNDOption):
    """What a home agent says of itself (RFC 6275 section 7.4).

    The higher `preference` is the better; `lifetime` is in seconds; `mobile_routers` is the R flag of RFC
    3963 section 7.3: it serves mobile routers.
    """

    TYPE: ClassVar[int] = 8
    SIZE: ClassVar[int | None] = 6

    preference: int
    lifetime: int
    mobile_routers: bool = False

    def encode_data(self) -> bytes:
        flags = _MOBILE_ROUTERS if self.mobile_routers else 0
        return _HOME_AGENT_INFORMATION.pack(flags, self.preference, self.lifetime)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        flags, preference, lifetime = _HOME_AGENT_INFORMATION.unpack(data)
        return cls(preference, lifetime, bool(flags & _MOBILE_ROUTERS))


@dataclass(frozen=True, slots=True)
class UnknownNDOption(NDOption):
    """An option of a type without a class here; receivers ignore it (RFC 4861 section 6.1.2)."""

    type: int
    data: bytes

    def encode_data(self) -> bytes:
        return self.data

    @property
    def type_code(self) -> int:
        return self.type


_CLASSES: dict[int, type[KnownNDOption]] = {
    cls.TYPE: cls
    for cls in (
        SourceLinkLayerAddress,
        TargetLinkLayerAddress,
        PrefixInformation,
        Mtu,
        AdvertisementInterval,
        HomeAgentInformation,
    )
}


def encode_nd_options(options: Iterable[NDOption]) -> bytes:
    """The options one after the other, each padded to a multiple of 8 octets."""
    octets = bytearray()
    for option in options:
        data = option.encode_data()
        size = _TLV.size + len(data)
        octets += _TLV.pack(option.type_code, -(-size // _UNIT)) + data + bytes(-size % _UNIT)
    return bytes(octets)


def decode_nd_options(cursor: Cursor) -> tuple[NDOption, ...]:
    """All options that are left to read.

    DecodeError "option-length" for a length of zero or one that the option cannot have, "truncated" when one
    runs past the end, "malformed" when its content is impossible.
    """
    found: list[NDOption] = []
    while cursor.remaining:
        kind, units = cursor.unpack(_TLV)
        if not units:
            raise DecodeError("option-length", f"neighbour discovery option {kind} of length 0")
        data = cursor.take(units * _UNIT - _TLV.size)
        cls = _CLASSES.get(kind)
        if cls is None:
            found.append(UnknownNDOption(kind, data))
            continue
        if cls.SIZE is not None and len(data) != cls.SIZE:
            raise DecodeError("option-length", f"neighbour discovery option {kind} of {units} units")
        found.append(cls.decode_data(data))
    return tuple(found)
