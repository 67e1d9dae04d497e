"""Data for a mobile node that has no binding: tell the sender (RFC 4443 section 3.1, RFC 792).

Such packets come up to the home agent because the home prefix is routed into the tunnel device. Some must
never be answered: RFC 4443 section 2.4 (e) and RFC 1122 section 3.2.2.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from dsmip.core.actions import SendError
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.registration import is_unicast_ipv4
from dsmip.wire import icmpv4, icmpv6
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.ip import IPv4Header, IPv6Header, is_unicast_routable
from dsmip.wire.packet import encode_packet

_ADDRESS_UNREACHABLE = 3
_HOST_UNREACHABLE = 1

_IPV6_HEADER_SIZE = 40
_FIRST_ICMPV6_INFORMATIONAL = 128
_ICMPV6_REDIRECT = 137
_IPV4_FRAGMENT_OFFSET = 0x1FFF

#: ICMPv4 types that are questions and answers; everything else may be an error message.
_ICMPV4_INFORMATIONAL = frozenset({0, 8, 13, 14, 15, 16, 17, 18})

#: Octets of the offending IPv4 packet that are quoted: the answer stays below 576 (RFC 1812 section 4.3.2.3).
_IPV4_QUOTE = 548

#: Extension headers that are passed over in search of ICMPv6; all begin with next header and length.
_EXTENSION_HEADERS = frozenset({NextHeader.HOP_BY_HOP, NextHeader.ROUTING, NextHeader.DESTINATION})


def unreachable(packet: bytes, config: HomeAgentConfig) -> SendError | None:
    """The answer to a data packet of either family; None where there must not be one."""
    version = packet[0] >> 4 if packet else 0
    try:
        if version == 6:
            return _unreachable_ipv6(packet, config.address)
        if version == 4 and config.ipv4_address is not None:
            return _unreachable_ipv4(packet, config.ipv4_address)
    except DecodeError:
        return None
    return None


def may_be_answered_ipv6(packet: bytes) -> bool:
    """Whether an IPv6 packet, header and as much of the rest as there is, may be answered by an error."""
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    if not is_unicast_routable(source) or not is_unicast_routable(destination):
        return False
    return not _may_be_icmpv6_error(packet, packet[6])


def may_be_answered_ipv4(packet: bytes) -> bool:
    """Whether an IPv4 packet, header and as much of the rest as there is, may be answered by an error."""
    source, destination = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    if not is_unicast_ipv4(source) or not is_unicast_ipv4(destination):
        return False
    if int.from_bytes(packet[6:8]) & _IPV4_FRAGMENT_OFFSET:
        return False
    header_length = (packet[0] & 0x0F) * 4
    if packet[9] != NextHeader.ICMPV4:
        return True
    return header_length < len(packet) and packet[header_length] in _ICMPV4_INFORMATIONAL


def _unreachable_ipv6(packet: bytes, address: IPv6Address) -> SendError | None:
    header = IPv6Header.decode(packet)
    if not may_be_answered_ipv6(packet):
        return None
    error = icmpv6.DestinationUnreachable(_ADDRESS_UNREACHABLE, packet)
    message = icmpv6.encode_icmpv6(error, address, header.source)
    return SendError(encode_packet(address, header.source, message, NextHeader.ICMPV6))


def _may_be_icmpv6_error(packet: bytes, next_header: int) -> bool:
    """True for an ICMPv6 error or redirect, and for a packet that does not show what it is."""
    offset = _IPV6_HEADER_SIZE
    while next_header in _EXTENSION_HEADERS:
        if offset + 2 > len(packet):
            return True
        next_header, length = packet[offset], packet[offset + 1]
        offset += 8 * (length + 1)
    if next_header == NextHeader.FRAGMENT:
        return True
    if next_header != NextHeader.ICMPV6:
        return False
    if offset >= len(packet):
        return True
    return packet[offset] < _FIRST_ICMPV6_INFORMATIONAL or packet[offset] == _ICMPV6_REDIRECT


def _unreachable_ipv4(packet: bytes, address: IPv4Address) -> SendError | None:
    header = IPv4Header.decode(packet)
    if not may_be_answered_ipv4(packet):
        return None
    error = icmpv4.DestinationUnreachable(_HOST_UNREACHABLE, 0, packet[:_IPV4_QUOTE])
    message = icmpv4.encode_icmpv4(error)
    answer = IPv4Header(address, header.source, NextHeader.ICMPV4, len(message))
    return SendError(answer.encode() + message)
