"""Dynamic home agent address discovery and mobile prefix discovery (RFC 6275 sections 6.5 to 6.8)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.cursor import Cursor
from dsmip.wire.icmpv6message import KnownIcmpv6, require_code_zero
from dsmip.wire.ndoptioncodec import NDOptions, decode_nd_options, encode_nd_options

_FIXED = Struct(">HH")

#: Flag R of RFC 3963 sections 7.1 and 7.2: home agents that serve mobile routers.
_MOBILE_ROUTERS = 0x8000
_MANAGED = 0x8000
_OTHER = 0x4000


@dataclass(frozen=True, slots=True)
class HomeAgentAddressDiscoveryRequest(KnownIcmpv6):
    """Asks the home agents' anycast address who they are (RFC 6275 section 6.5)."""

    TYPE: ClassVar[int] = 144

    identifier: int
    mobile_routers: bool = False

    def encode_body(self) -> bytes:
        return _FIXED.pack(self.identifier, _MOBILE_ROUTERS if self.mobile_routers else 0)

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        require_code_zero(cls, code)
        identifier, flags = body.unpack(_FIXED)
        return cls(identifier, bool(flags & _MOBILE_ROUTERS))


@dataclass(frozen=True, slots=True)
class HomeAgentAddressDiscoveryReply(KnownIcmpv6):
    """The home agents of the link, the preferred ones first (RFC 6275 section 6.6)."""

    TYPE: ClassVar[int] = 145

    identifier: int
    addresses: tuple[IPv6Address, ...]
    mobile_routers: bool = False

    def encode_body(self) -> bytes:
        fixed = _FIXED.pack(self.identifier, _MOBILE_ROUTERS if self.mobile_routers else 0)
        return fixed + b"".join(address.packed for address in self.addresses)

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        require_code_zero(cls, code)
        identifier, flags = body.unpack(_FIXED)
        addresses = []
        while body.remaining:
            addresses.append(body.ipv6())
        return cls(identifier, tuple(addresses), bool(flags & _MOBILE_ROUTERS))


@dataclass(frozen=True, slots=True)
class MobilePrefixSolicitation(KnownIcmpv6):
    """A mobile node away from home asks about its home prefixes (RFC 6275 section 6.7)."""

    TYPE: ClassVar[int] = 146

    identifier: int

    def encode_body(self) -> bytes:
        return _FIXED.pack(self.identifier, 0)

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        require_code_zero(cls, code)
        identifier, _ = body.unpack(_FIXED)
        return cls(identifier)


@dataclass(frozen=True, slots=True)
class MobilePrefixAdvertisement(KnownIcmpv6):
    """The home prefixes, as prefix information options (RFC 6275 section 6.8)."""

    TYPE: ClassVar[int] = 147

    identifier: int
    managed: bool = False
    other: bool = False
    options: NDOptions = ()

    def encode_body(self) -> bytes:
        flags = (_MANAGED if self.managed else 0) | (_OTHER if self.other else 0)
        return _FIXED.pack(self.identifier, flags) + encode_nd_options(self.options)

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        require_code_zero(cls, code)
        identifier, flags = body.unpack(_FIXED)
        return cls(identifier, bool(flags & _MANAGED), bool(flags & _OTHER), decode_nd_options(body))
