"""ICMP errors about tunnel packets, told to the sender of the packet inside (RFC 2473 section 8).

Routers on the way to a care-of address complain to the home agent, whose address is on the outside. What they
say is of use to the correspondent only, in words that fit its own packet: too big by the size of the outer
headers less; otherwise the mobile node is unreachable.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from dsmip.core.actions import SendError
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.home_agent.unreachable import may_be_answered_ipv4, may_be_answered_ipv6
from dsmip.core.types import DSMIP_PORT, IPAddress
from dsmip.wire import icmpv4, icmpv6
from dsmip.wire.constants import NextHeader
from dsmip.wire.ip import IPV4_HEADER_SIZE, IPV6_HEADER_SIZE, UDP_HEADER_SIZE, IPv4Header
from dsmip.wire.packet import encode_packet

#: The smallest MTU of an IPv6 link (RFC 8200 section 5): no source is asked to send less.
MINIMUM_MTU = 1280
#: The same for IPv4 (RFC 791).
MINIMUM_MTU_IPV4 = 68

_ADDRESS_UNREACHABLE = 3
_HOST_UNREACHABLE = 1
_ICMPV4_TIME_EXCEEDED = 11
#: Octets of an IPv4 packet that are quoted: the error stays below 576 (RFC 1812 section 4.3.2.3).
_IPV4_QUOTE = 548

#: Tells whether an inner destination belongs to a binding whose care-of address is the outer one.
Belongs = Callable[[IPAddress, IPAddress], bool]


def relay_icmpv6(message: icmpv6.Icmpv6Message, config: HomeAgentConfig, belongs: Belongs) -> SendError | str:
    """What becomes of an ICMPv6 error about one of our IPv6 tunnel packets; a slug when nothing does."""
    match message:
        case icmpv6.PacketTooBig(mtu=mtu, invoking=invoking):
            limit = mtu
        case icmpv6.DestinationUnreachable(invoking=invoking) | icmpv6.TimeExceeded(invoking=invoking):
            limit = 0
        case _:
            return "icmp-error-not-relayed"
    if len(invoking) < IPV6_HEADER_SIZE or invoking[8:24] != config.address.packed:
        return "icmp-error-not-ours"
    if invoking[6] not in (NextHeader.IPV6, NextHeader.IPV4):
        return "icmp-error-not-tunnel"
    outer = IPv6Address(invoking[24:40])
    return _relay(invoking[IPV6_HEADER_SIZE:], outer, limit, IPV6_HEADER_SIZE, config, belongs)


def relay_icmpv4(message: icmpv4.Icmpv4Message, config: HomeAgentConfig, belongs: Belongs) -> SendError | str:
    """The same for an ICMP error about one of our IPv4 tunnel packets, with or without UDP."""
    match message:
        case icmpv4.DestinationUnreachable(mtu=mtu, invoking=invoking):
            limit = mtu
        case icmpv4.UnknownIcmpv4(type=kind, body=body) if kind == _ICMPV4_TIME_EXCEEDED:
            limit, invoking = 0, body[4:]
        case _:
            return "icmp-error-not-relayed"
    if len(invoking) < IPV4_HEADER_SIZE or config.ipv4_address is None:
        return "icmp-error-not-ours"
    if invoking[12:16] != config.ipv4_address.packed:
        return "icmp-error-not-ours"
    size = (invoking[0] & 0x0F) * 4
    if invoking[9] == NextHeader.UDP:
        if int.from_bytes(invoking[size : size + 2]) != DSMIP_PORT:
            return "icmp-error-not-tunnel"
        size += UDP_HEADER_SIZE
    elif invoking[9] not in (NextHeader.IPV6, NextHeader.IPV4):
        return "icmp-error-not-tunnel"
    outer = IPv4Address(invoking[16:20])
    return _relay(invoking[size:], outer, limit, size, config, belongs)


def _relay(
    inner: bytes, outer: IPAddress, limit: int, overhead: int, config: HomeAgentConfig, belongs: Belongs
) -> SendError | str:
    """`limit` is the path's MTU, 0 = the error is another one; `overhead` are the octets of outer headers."""
    version = inner[0] >> 4 if inner else 0
    if version == 6 and len(inner) >= IPV6_HEADER_SIZE:
        if not belongs(IPv6Address(inner[24:40]), outer):
            return "icmp-error-no-binding"
        return to_ipv6_source(inner, limit and limit - overhead, config)
    if version == 4 and len(inner) >= IPV4_HEADER_SIZE and config.ipv4_address is not None:
        if not belongs(IPv4Address(inner[16:20]), outer):
            return "icmp-error-no-binding"
        return to_ipv4_source(inner, limit and limit - overhead, config.ipv4_address)
    return "icmp-error-truncated"


def to_ipv6_source(inner: bytes, mtu: int, config: HomeAgentConfig) -> SendError | str:
    """The error about `inner`, `mtu` 0 = not of its size; a slug when there must be none (RFC 2473 8.2)."""
    source = IPv6Address(inner[8:24])
    if not may_be_answered_ipv6(inner):
        return "icmp-error-not-relayed"
    error: icmpv6.Icmpv6Message
    if mtu:
        if IPV6_HEADER_SIZE + int.from_bytes(inner[4:6]) <= MINIMUM_MTU:
            return "icmp-error-not-relayed"
        error = icmpv6.PacketTooBig(max(mtu, MINIMUM_MTU), inner)
    else:
        error = icmpv6.DestinationUnreachable(_ADDRESS_UNREACHABLE, inner)
    payload = icmpv6.encode_icmpv6(error, config.address, source)
    return SendError(encode_packet(config.address, source, payload, NextHeader.ICMPV6))


def to_ipv4_source(inner: bytes, mtu: int, address: IPv4Address) -> SendError | str:
    """The same of IPv4 (RFC 2473 section 8.3)."""
    if not may_be_answered_ipv4(inner):
        return "icmp-error-not-relayed"
    source = IPv4Address(inner[12:16])
    if mtu:
        if not inner[6] & 0x40:
            return "icmp-error-not-relayed"
        code, mtu = icmpv4.FRAGMENTATION_NEEDED, max(mtu, MINIMUM_MTU_IPV4)
    else:
        code = _HOST_UNREACHABLE
    message = icmpv4.encode_icmpv4(icmpv4.DestinationUnreachable(code, mtu, inner[:_IPV4_QUOTE]))
    header = IPv4Header(address, source, NextHeader.ICMPV4, len(message))
    return SendError(header.encode() + message)
