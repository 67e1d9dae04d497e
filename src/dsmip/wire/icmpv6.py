"""ICMPv6: errors and echo (RFC 4443), and the codec for all messages."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import ClassVar, Self

from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import NextHeader
from dsmip.wire.cursor import Cursor
from dsmip.wire.errors import DecodeError
from dsmip.wire.fastrouterdiscovery import (
    FastRouterDiscovery,
    ProxyRouterAdvertisement,
    RouterSolicitationForProxyAdvertisement,
)
from dsmip.wire.homeagentdiscovery import (
    HomeAgentAddressDiscoveryReply,
    HomeAgentAddressDiscoveryRequest,
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
)
from dsmip.wire.icmpmessage import CHECKSUM, HEADER, Echo, UnknownIcmp, unchecked
from dsmip.wire.icmpv6message import Icmpv6Message, KnownIcmpv6
from dsmip.wire.ndoption import NDOption, UnknownNDOption
from dsmip.wire.ndoptions import (
    AdvertisementInterval,
    HomeAgentInformation,
    Mtu,
    PrefixInformation,
    SourceLinkLayerAddress,
    TargetLinkLayerAddress,
)
from dsmip.wire.neighbordiscovery import (
    NeighborAdvertisement,
    NeighborSolicitation,
    RouterAdvertisement,
    RouterSolicitation,
)

__all__ = [
    "AdvertisementInterval",
    "DestinationUnreachable",
    "EchoReply",
    "EchoRequest",
    "HomeAgentAddressDiscoveryReply",
    "HomeAgentAddressDiscoveryRequest",
    "HomeAgentInformation",
    "Icmpv6Message",
    "MobilePrefixAdvertisement",
    "MobilePrefixSolicitation",
    "Mtu",
    "NDOption",
    "NeighborAdvertisement",
    "NeighborSolicitation",
    "PacketTooBig",
    "ParameterProblem",
    "PrefixInformation",
    "ProxyRouterAdvertisement",
    "RouterAdvertisement",
    "RouterSolicitation",
    "RouterSolicitationForProxyAdvertisement",
    "SourceLinkLayerAddress",
    "TargetLinkLayerAddress",
    "TimeExceeded",
    "UnknownIcmpv6",
    "UnknownNDOption",
    "decode_icmpv6",
    "encode_icmpv6",
]

#: How much of the invoking packet fits into an error of 1280 octets behind an IPv6 and an ICMPv6 header.
MAX_INVOKING = 1280 - 40 - 8

_U32 = struct.Struct(">I")
_UNSPECIFIED = IPv6Address("::")


@dataclass(frozen=True, slots=True)
class _Error(KnownIcmpv6):
    """An error: `invoking` is the packet it is about, on receipt as much of it as came."""

    code: int
    invoking: bytes

    @property
    def type_code(self) -> tuple[int, int]:
        return self.TYPE, self.code

    def encode_body(self) -> bytes:
        return bytes(4) + self.invoking[:MAX_INVOKING]

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        body.advance(4)
        return cls(code, body.rest())


@dataclass(frozen=True, slots=True)
class DestinationUnreachable(_Error):
    """The packet could not be delivered, for the reason in `code` (RFC 4443 section 3.1)."""

    TYPE: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class TimeExceeded(_Error):
    """Code 0: hop limit exceeded; code 1: reassembly time exceeded (RFC 4443 section 3.3)."""

    TYPE: ClassVar[int] = 3


@dataclass(frozen=True, slots=True)
class PacketTooBig(KnownIcmpv6):
    """The packet is larger than `mtu` octets, the MTU of the next link (RFC 4443 section 3.2)."""

    TYPE: ClassVar[int] = 2

    mtu: int
    invoking: bytes

    def encode_body(self) -> bytes:
        return _U32.pack(self.mtu) + self.invoking[:MAX_INVOKING]

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        (mtu,) = body.unpack(_U32)
        return cls(mtu, body.rest())


@dataclass(frozen=True, slots=True)
class ParameterProblem(KnownIcmpv6):
    """The octet at `pointer` in the invoking packet cannot be accepted (RFC 4443 section 3.4).

    Code 0: erroneous header field; 1: unrecognised next header; 2: unrecognised option.
    """

    TYPE: ClassVar[int] = 4

    code: int
    pointer: int
    invoking: bytes

    @property
    def type_code(self) -> tuple[int, int]:
        return self.TYPE, self.code

    def encode_body(self) -> bytes:
        return _U32.pack(self.pointer) + self.invoking[:MAX_INVOKING]

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        (pointer,) = body.unpack(_U32)
        return cls(code, pointer, body.rest())


@dataclass(frozen=True, slots=True)
class EchoRequest(Echo, KnownIcmpv6):
    """Asks for an Echo Reply with the same content (RFC 4443 section 4.1)."""

    TYPE: ClassVar[int] = 128


@dataclass(frozen=True, slots=True)
class EchoReply(Echo, KnownIcmpv6):
    """Answers an Echo Request (RFC 4443 section 4.2)."""

    TYPE: ClassVar[int] = 129


@dataclass(frozen=True, slots=True)
class UnknownIcmpv6(UnknownIcmp, Icmpv6Message):
    """A message of a type without a class here; `body` is everything after the checksum."""


_CLASSES: dict[int, type[KnownIcmpv6]] = {
    cls.TYPE: cls
    for cls in (
        DestinationUnreachable,
        PacketTooBig,
        TimeExceeded,
        ParameterProblem,
        EchoRequest,
        EchoReply,
        RouterSolicitation,
        RouterAdvertisement,
        NeighborSolicitation,
        NeighborAdvertisement,
        HomeAgentAddressDiscoveryRequest,
        HomeAgentAddressDiscoveryReply,
        MobilePrefixSolicitation,
        MobilePrefixAdvertisement,
        FastRouterDiscovery,
    )
}


def encode_icmpv6(message: Icmpv6Message, source: IPv6Address, destination: IPv6Address) -> bytes:
    """The octets of `message`, with its checksum; addresses of the pseudo-header as in `encode_message`.

    An invoking packet is cut so that the error fits into 1280 octets (RFC 4443 section 2.4 c).
    """
    octets = unchecked(message)
    checksum = pseudo_checksum_v6(source, destination, NextHeader.ICMPV6, octets)
    octets[CHECKSUM] = checksum.to_bytes(2, "big")
    return bytes(octets)


def decode_icmpv6(
    data: bytes, source: IPv6Address, destination: IPv6Address, verify_checksum: bool = True
) -> Icmpv6Message:
    """The message in `data`; raises DecodeError.

    Of the checks that RFC 4861 sections 6.1 and 7.1 want for neighbour discovery, those of the hop limit and
    of the two IP addresses are left to who has the IP header. Everything in the message itself is checked
    here.
    """
    cursor = Cursor(data)
    kind, code, _ = cursor.unpack(HEADER)
    if verify_checksum and pseudo_checksum_v6(source, destination, NextHeader.ICMPV6, data):
        raise DecodeError("checksum", "ICMPv6")
    cls = _CLASSES.get(kind)
    if cls is None:
        return UnknownIcmpv6(kind, code, cursor.rest())
    message = cls.decode_body(code, cursor)
    if source == _UNSPECIFIED and isinstance(message, RouterSolicitation | NeighborSolicitation):
        for option in message.options:
            if isinstance(option, SourceLinkLayerAddress):
                raise DecodeError("malformed", "the unspecified address with a link-layer address")
    return message
