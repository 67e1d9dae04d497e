"""Asking the router of a link about its neighbours, for a fast handover (RFC 5568 section 6.1).

Both messages have ICMPv6 type 154, the type of experimental mobility protocols (RFC 4065), whose first octet
after the checksum tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from dsmip.wire.cursor import Cursor
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv6message import KnownIcmpv6, require_code_zero
from dsmip.wire.ndoptioncodec import NDOptions, decode_nd_options, encode_nd_options

_FIXED = Struct(">BxH")

_MAX_CODE = 5


@dataclass(frozen=True, slots=True)
class FastRouterDiscovery(KnownIcmpv6):
    """What request and answer share; `identifier` matches them."""

    TYPE: ClassVar[int] = 154
    #: First octet of the body; no message has that of the base.
    SUBTYPE: ClassVar[int] = 0

    identifier: int
    options: NDOptions = ()

    def encode_body(self) -> bytes:
        return _FIXED.pack(self.SUBTYPE, self.identifier) + encode_nd_options(self.options)

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> FastRouterDiscovery:
        subtype, identifier = body.unpack(_FIXED)
        if subtype == RouterSolicitationForProxyAdvertisement.SUBTYPE:
            require_code_zero(RouterSolicitationForProxyAdvertisement, code)
            return RouterSolicitationForProxyAdvertisement(identifier, decode_nd_options(body))
        if subtype == ProxyRouterAdvertisement.SUBTYPE:
            if code > _MAX_CODE:
                raise DecodeError("malformed", f"ProxyRouterAdvertisement with code {code}")
            return ProxyRouterAdvertisement(identifier, decode_nd_options(body), code)
        raise DecodeError("malformed", f"mobility message of subtype {subtype}")


@dataclass(frozen=True, slots=True)
class RouterSolicitationForProxyAdvertisement(FastRouterDiscovery):
    """A mobile node asks about access points, "RtSolPr" (RFC 5568 section 6.1.1)."""

    SUBTYPE: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class ProxyRouterAdvertisement(FastRouterDiscovery):
    """The router tells about the routers next to it, "PrRtAdv" (RFC 5568 section 6.1.2).

    Code 0 = answer, 1 = unsolicited, hand over now, 2 = nothing new, 3 = a part of what was asked for,
    4 = unsolicited information, 5 = use DHCP at the new router. `identifier` is 0 if unsolicited.
    """

    SUBTYPE: ClassVar[int] = 3

    code: int = 0

    @property
    def type_code(self) -> tuple[int, int]:
        return self.TYPE, self.code
