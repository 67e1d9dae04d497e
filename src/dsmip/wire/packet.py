"""Whole signalling packets: IPv6 with extension headers, bare or in UDP over IPv4 (RFC 5555 section 4.1)."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import msgspec

from dsmip.wire.checksum import pseudo_checksum_v4
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.extensionheaders import (
    EXTENSION_HEADERS,
    encode_home_address_option,
    encode_type_2_routing_header,
    walk_extension_headers,
)
from dsmip.wire.ip import (
    IPV6_HEADER_SIZE,
    UDP_HEADER_SIZE,
    IPv4Header,
    encode_udp,
    is_fragment,
    pack_ipv6,
    unpack_ipv4,
    unpack_ipv6,
    unpack_udp,
)

#: Nearly everything is for the few addresses a node has: these are kept.
_own_ipv6 = lru_cache(64)(IPv6Address)
_own_ipv4 = lru_cache(64)(IPv4Address)
_UDP = int(NextHeader.UDP)


class UdpOuter(msgspec.Struct, frozen=True, gc=False):
    """The UDP and IPv4 headers around a packet, as seen on the wire: after any NAT."""

    source: IPv4Address
    source_port: int
    destination: IPv4Address
    destination_port: int


class Packet(msgspec.Struct, frozen=True, gc=False):
    """A received IPv6 packet, taken apart as far as its upper-layer header.

    `source` and `destination` are those of the IPv6 header, `payload` is the upper layer (a mobility header
    when `next_header` is 135) and starts `payload_offset` octets into `raw`, the IPv6 packet without what
    was around it. `udp` is what was around it.
    """

    source: IPv6Address
    destination: IPv6Address
    home_address: IPv6Address | None
    routing_home_address: IPv6Address | None
    next_header: int
    payload: bytes
    payload_offset: int
    hop_limit: int
    udp: UdpOuter | None
    raw: bytes

    @property
    def sender(self) -> IPv6Address:
        """Who the upper layer sees as the source: the home address if there is a Home Address option.

        It also stands in the pseudo-header of checksums (RFC 6275 section 6.1.1).
        """
        return self.home_address or self.source

    @property
    def recipient(self) -> IPv6Address:
        """Who the upper layer sees as the destination: the home address of a type 2 routing header if any."""
        return self.routing_home_address or self.destination


def decode_packet(data: bytes, *, verify_udp_checksum: bool = False) -> Packet:
    """The IPv6 packet that `data` starts with, or that is in UDP in the IPv4 packet it starts with.

    A UDP checksum is not verified unless asked for, because transmit offload leaves it unfinished on a packet
    that never was on a wire. Nothing but DecodeError is raised: the reasons of `walk_extension_headers`, and
    "truncated", "version", "malformed", "checksum", "fragment", "outer-protocol" (IPv4 without UDP) and
    "inner-version" (no IPv6 in UDP; a NAT keepalive for example).
    """
    if not data:
        raise DecodeError("truncated", "empty packet")
    udp: UdpOuter | None = None
    if data[0] >> 4 == 4:
        udp, data = _decapsulate(data, verify_udp_checksum)
    _, length, next_header, hop_limit, source, destination = unpack_ipv6(data)
    end = IPV6_HEADER_SIZE + length
    if end < len(data):
        data = data[:end]
    offset, home_address, routing_home_address = IPV6_HEADER_SIZE, None, None
    if next_header in EXTENSION_HEADERS:
        found = walk_extension_headers(data, next_header, IPV6_HEADER_SIZE)
        next_header, offset = found.next_header, found.offset
        home_address, routing_home_address = found.home_address, found.routing_home_address
    return Packet(
        IPv6Address(source),
        _own_ipv6(destination),
        home_address,
        routing_home_address,
        next_header,
        data[offset:],
        offset,
        hop_limit,
        udp,
        data,
    )


def encode_packet(
    source: IPv6Address,
    destination: IPv6Address,
    payload: bytes,
    next_header: int = NextHeader.MOBILITY,
    *,
    home_address: IPv6Address | None = None,
    routing_home_address: IPv6Address | None = None,
    hop_limit: int = 64,
    traffic_class: int = 0,
) -> bytes:
    """An IPv6 packet: header, type 2 routing header, Home Address option (RFC 6275 6.4, 6.3), payload.

    Checksums inside `payload` are the caller's business. EncodeError when the packet gets too long.
    """
    extensions = b""
    if home_address is not None:
        extensions = encode_home_address_option(home_address, next_header)
        next_header = NextHeader.DESTINATION
    if routing_home_address is not None:
        extensions = encode_type_2_routing_header(routing_home_address, next_header) + extensions
        next_header = NextHeader.ROUTING
    payload = extensions + payload
    header = pack_ipv6(source, destination, next_header, len(payload), hop_limit, traffic_class)
    return header + payload


def encapsulate_udp(
    inner: bytes, outer: UdpOuter, *, ttl: int = 64, traffic_class: int = 0, identification: int = 0
) -> bytes:
    """`inner` in UDP in IPv4, with both checksums (RFC 5555 section 4.1)."""
    datagram = encode_udp(outer.source, outer.source_port, outer.destination, outer.destination_port, inner)
    header = IPv4Header(
        outer.source, outer.destination, NextHeader.UDP, len(datagram), ttl, traffic_class, identification
    )
    return header.encode() + datagram


def _decapsulate(data: bytes, verify_checksum: bool) -> tuple[UdpOuter, bytes]:
    """The UDP and IPv4 headers that `data` starts with, and the IPv6 packet after them."""
    first, _, total, _, flags, _, protocol, _, source, destination = unpack_ipv4(data)
    if is_fragment(flags):
        raise DecodeError("fragment", "IPv4 fragment")
    if protocol != _UDP:
        raise DecodeError("outer-protocol", f"IPv4 protocol {protocol}")
    start = (first & 0x0F) * 4
    source_port, destination_port, length, checksum = unpack_udp(data, start, total)
    outer = UdpOuter(IPv4Address(source), source_port, _own_ipv4(destination), destination_port)
    end = start + length
    if (
        verify_checksum
        and checksum
        and pseudo_checksum_v4(outer.source, outer.destination, _UDP, data[start:end])
    ):
        raise DecodeError("checksum", "UDP")
    inner = data[start + UDP_HEADER_SIZE : end]
    if not inner or inner[0] >> 4 != 6:
        raise DecodeError("inner-version", f"{inner[:1].hex() or 'nothing'} after the UDP header")
    return outer, inner
