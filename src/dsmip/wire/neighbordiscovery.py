"""Router and neighbour solicitations and advertisements (RFC 4861 section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.cursor import Cursor
from dsmip.wire.errors import DecodeError, EncodeError
from dsmip.wire.icmpv6message import KnownIcmpv6, require_code_zero
from dsmip.wire.ndoptioncodec import NDOptions, decode_nd_options, encode_nd_options

_RESERVED = 4
_ROUTER_ADVERTISEMENT = Struct(">BBHII")
_NEIGHBOR_ADVERTISEMENT = Struct(">B3x")

_MANAGED = 0x80
_OTHER = 0x40
_HOME_AGENT = 0x20
_PREFERENCE_SHIFT = 3
_PREFERENCE = 0x03

_ROUTER = 0x80
_SOLICITED = 0x40
_OVERRIDE = 0x20


@dataclass(frozen=True, slots=True)
class RouterSolicitation(KnownIcmpv6):
    """A host asks the routers of its link to advertise at once (RFC 4861 section 4.1)."""

    TYPE: ClassVar[int] = 133

    options: NDOptions = ()

    def encode_body(self) -> bytes:
        return bytes(_RESERVED) + encode_nd_options(self.options)

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        require_code_zero(cls, code)
        body.advance(_RESERVED)
        return cls(decode_nd_options(body))


@dataclass(frozen=True, slots=True)
class RouterAdvertisement(KnownIcmpv6):
    """A router says what its link is like (RFC 4861 section 4.2).

    `router_lifetime` is in seconds, `reachable_time` and `retrans_timer` are in milliseconds; 0 in these two
    and in `hop_limit` says nothing. `home_agent` is the H flag (RFC 6275 section 7.1), `preference` the two
    bits of RFC 4191 section 2.2: 0 medium, 1 high, 3 low.
    """

    TYPE: ClassVar[int] = 134

    router_lifetime: int
    hop_limit: int = 0
    managed: bool = False
    other: bool = False
    home_agent: bool = False
    preference: int = 0
    reachable_time: int = 0
    retrans_timer: int = 0
    options: NDOptions = ()

    def encode_body(self) -> bytes:
        if not 0 <= self.preference <= _PREFERENCE:
            raise EncodeError(f"a router preference of {self.preference} does not fit into two bits")
        flags = self.preference << _PREFERENCE_SHIFT
        flags |= _MANAGED if self.managed else 0
        flags |= _OTHER if self.other else 0
        flags |= _HOME_AGENT if self.home_agent else 0
        fixed = _ROUTER_ADVERTISEMENT.pack(
            self.hop_limit, flags, self.router_lifetime, self.reachable_time, self.retrans_timer
        )
        return fixed + encode_nd_options(self.options)

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        require_code_zero(cls, code)
        hop_limit, flags, router_lifetime, reachable_time, retrans_timer = body.unpack(_ROUTER_ADVERTISEMENT)
        return cls(
            router_lifetime,
            hop_limit,
            bool(flags & _MANAGED),
            bool(flags & _OTHER),
            bool(flags & _HOME_AGENT),
            flags >> _PREFERENCE_SHIFT & _PREFERENCE,
            reachable_time,
            retrans_timer,
            decode_nd_options(body),
        )


@dataclass(frozen=True, slots=True)
class NeighborSolicitation(KnownIcmpv6):
    """Who has `target`, and is it still there (RFC 4861 section 4.3)."""

    TYPE: ClassVar[int] = 135

    target: IPv6Address
    options: NDOptions = ()

    def encode_body(self) -> bytes:
        return bytes(_RESERVED) + self.target.packed + encode_nd_options(self.options)

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        require_code_zero(cls, code)
        body.advance(_RESERVED)
        return cls(_target(body), decode_nd_options(body))


@dataclass(frozen=True, slots=True)
class NeighborAdvertisement(KnownIcmpv6):
    """`target` is here (RFC 4861 section 4.4): flags R, S and O."""

    TYPE: ClassVar[int] = 136

    target: IPv6Address
    router: bool = False
    solicited: bool = False
    override: bool = False
    options: NDOptions = ()

    def encode_body(self) -> bytes:
        flags = _ROUTER if self.router else 0
        flags |= _SOLICITED if self.solicited else 0
        flags |= _OVERRIDE if self.override else 0
        fixed = _NEIGHBOR_ADVERTISEMENT.pack(flags)
        return fixed + self.target.packed + encode_nd_options(self.options)

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        require_code_zero(cls, code)
        (flags,) = body.unpack(_NEIGHBOR_ADVERTISEMENT)
        target = _target(body)
        return cls(
            target,
            bool(flags & _ROUTER),
            bool(flags & _SOLICITED),
            bool(flags & _OVERRIDE),
            decode_nd_options(body),
        )


def _target(body: Cursor) -> IPv6Address:
    target = body.ipv6()
    if target.packed[0] == 0xFF:
        raise DecodeError("malformed", f"multicast target {target}")
    return target
