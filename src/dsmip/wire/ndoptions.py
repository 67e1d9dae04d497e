"""Options of neighbour discovery (RFC 4861 section 4.6, RFC 6275 sections 7.2 to 7.4)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.errors import DecodeError, EncodeError
from dsmip.wire.ndoption import KnownNDOption

_PREFIX_INFORMATION = Struct(">BBII4x16s")
_U32_AFTER_RESERVED = Struct(">2xI")
_HOME_AGENT_INFORMATION = Struct(">HHH")

_ON_LINK = 0x80
_AUTONOMOUS = 0x40
_ROUTER_ADDRESS = 0x20
_MOBILE_ROUTERS = 0x8000


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
    SIZES: ClassVar[tuple[int, ...] | None] = (30,)

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
    SIZES: ClassVar[tuple[int, ...] | None] = (6,)

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
    SIZES: ClassVar[tuple[int, ...] | None] = (6,)

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
    SIZES: ClassVar[tuple[int, ...] | None] = (6,)

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
