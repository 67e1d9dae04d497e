"""IPv4, IPv6 and UDP headers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from struct import Struct, error
from typing import NamedTuple

from dsmip.wire.checksum import internet_checksum, pseudo_checksum_v4, pseudo_checksum_v6
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError, EncodeError

IPV4_HEADER_SIZE = 20
IPV6_HEADER_SIZE = 40
UDP_HEADER_SIZE = 8

_IPV4 = Struct(">BBHHHBBH4s4s")
_IPV6 = Struct(">IHBB16s16s")
_UDP = Struct(">HHHH")
_U16 = Struct(">H")

_DONT_FRAGMENT = 0x4000
_MORE_FRAGMENTS = 0x2000
_FRAGMENT_OFFSET = 0x1FFF

# 2000::/3, all that IANA has given out so far: it comes first because nearly every address is of these.
_GLOBAL_UNICAST = 1
# fe80::/10 and ::ffff:0:0/96, as what is left of an address after shifting the rest out.
_LINK_LOCAL = 0xFE80 >> 6
_IPV4_MAPPED = 0xFFFF


class IPv4Header(NamedTuple):
    """An IPv4 header (RFC 791 section 3.1). Options are passed over on receipt and never sent.

    `payload_length` and `fragment_offset` are in octets, `header_length` too.
    """

    source: IPv4Address
    destination: IPv4Address
    protocol: int
    payload_length: int
    ttl: int = 64
    traffic_class: int = 0
    identification: int = 0
    dont_fragment: bool = False
    more_fragments: bool = False
    fragment_offset: int = 0
    header_length: int = IPV4_HEADER_SIZE

    @property
    def fragmented(self) -> bool:
        """True for a piece of a larger packet."""
        return self.more_fragments or self.fragment_offset > 0

    def encode(self) -> bytes:
        """The header without options, 20 octets, with its checksum."""
        flags = _DONT_FRAGMENT if self.dont_fragment else 0
        flags |= _MORE_FRAGMENTS if self.more_fragments else 0
        fields = (
            0x45,
            self.traffic_class,
            IPV4_HEADER_SIZE + self.payload_length,
            self.identification,
            flags | self.fragment_offset >> 3,
            self.ttl,
            self.protocol,
            0,
            self.source.packed,
            self.destination.packed,
        )
        try:
            header = bytearray(_IPV4.pack(*fields))
        except error as problem:
            raise EncodeError(f"IPv4 header: {problem}") from problem
        header[10:12] = _U16.pack(internet_checksum(header))
        return bytes(header)

    @classmethod
    def decode(cls, data: bytes) -> IPv4Header:
        """The header at the start of `data`, whose checksum must be right and whose payload must be complete.

        DecodeError "truncated", "version", "malformed" or "checksum".
        """
        fields = unpack_ipv4(data)
        first, tos, total, identification, flags, ttl, protocol, _, source, destination = fields
        header_length = (first & 0x0F) * 4
        return cls(
            IPv4Address(source),
            IPv4Address(destination),
            protocol,
            total - header_length,
            ttl,
            tos,
            identification,
            bool(flags & _DONT_FRAGMENT),
            bool(flags & _MORE_FRAGMENTS),
            (flags & _FRAGMENT_OFFSET) << 3,
            header_length,
        )


class IPv6Header(NamedTuple):
    """An IPv6 header (RFC 8200 section 3). `payload_length` counts the octets after these 40."""

    source: IPv6Address
    destination: IPv6Address
    next_header: int
    payload_length: int
    hop_limit: int = 64
    traffic_class: int = 0
    flow_label: int = 0

    def encode(self) -> bytes:
        """The header, 40 octets."""
        return pack_ipv6(*self)

    @classmethod
    def decode(cls, data: bytes) -> IPv6Header:
        """The header at the start of `data`, which must hold the whole payload.

        DecodeError "truncated" or "version".
        """
        first, length, next_header, hop_limit, source, destination = unpack_ipv6(data)
        return cls(
            IPv6Address(source),
            IPv6Address(destination),
            next_header,
            length,
            hop_limit,
            first >> 20 & 0xFF,
            first & 0xFFFFF,
        )


def unpack_ipv4(data: bytes) -> tuple[int, int, int, int, int, int, int, int, bytes, bytes]:
    """The fields of the IPv4 header at the start of `data`, checked as `IPv4Header.decode` does.

    That is version and header length, traffic class, total length, identification, flags and fragment
    offset, TTL, protocol, checksum, source and destination.
    """
    if len(data) < IPV4_HEADER_SIZE:
        raise DecodeError("truncated", f"IPv4 header in {len(data)} octets")
    fields: tuple[int, int, int, int, int, int, int, int, bytes, bytes] = _IPV4.unpack_from(data)
    first, total = fields[0], fields[2]
    header_length = (first & 0x0F) * 4
    if first >> 4 != 4:
        raise DecodeError("version", f"{first >> 4} where 4 was expected")
    if header_length < IPV4_HEADER_SIZE or total < header_length:
        raise DecodeError("malformed", f"IPv4 header of {header_length} octets in a packet of {total}")
    if total > len(data):
        raise DecodeError("truncated", f"IPv4 packet of {total} octets, {len(data)} received")
    if internet_checksum(data[:header_length]):
        raise DecodeError("checksum", "IPv4 header")
    return fields


def is_fragment(flags: int) -> bool:
    """Whether flags and fragment offset of an IPv4 header are those of a piece of a larger packet."""
    return flags & (_MORE_FRAGMENTS | _FRAGMENT_OFFSET) != 0


def unpack_udp(data: bytes, start: int, end: int) -> tuple[int, int, int, int]:
    """The fields of the UDP header between two offsets: ports, length and checksum.

    Checked as `UdpHeader.decode` does.
    """
    if end - start < UDP_HEADER_SIZE:
        raise DecodeError("truncated", f"UDP header in {end - start} octets")
    fields: tuple[int, int, int, int] = _UDP.unpack_from(data, start)
    length = fields[2]
    if length < UDP_HEADER_SIZE:
        raise DecodeError("malformed", f"UDP length {length}")
    if length > end - start:
        raise DecodeError("truncated", f"UDP datagram of {length} octets, {end - start} received")
    return fields


def pack_ipv6(
    source: IPv6Address,
    destination: IPv6Address,
    next_header: int,
    payload_length: int,
    hop_limit: int,
    traffic_class: int,
    flow_label: int = 0,
) -> bytes:
    """An IPv6 header, 40 octets. Raises EncodeError."""
    try:
        return _IPV6.pack(
            6 << 28 | traffic_class << 20 | flow_label,
            payload_length,
            next_header,
            hop_limit,
            source.packed,
            destination.packed,
        )
    except error as problem:
        raise EncodeError(f"IPv6 header: {problem}") from problem


def unpack_ipv6(data: bytes) -> tuple[int, int, int, int, bytes, bytes]:
    """The fields of the IPv6 header at the start of `data`, checked as `IPv6Header.decode` does.

    That is the first 32 bits, payload length, next header, hop limit, source and destination.
    """
    if len(data) < IPV6_HEADER_SIZE:
        raise DecodeError("truncated", f"IPv6 header in {len(data)} octets")
    first, length, next_header, hop_limit, source, destination = _IPV6.unpack_from(data)
    if first >> 28 != 6:
        raise DecodeError("version", f"{first >> 28} where 6 was expected")
    if IPV6_HEADER_SIZE + length > len(data):
        raise DecodeError("truncated", f"IPv6 payload of {length} octets in a packet of {len(data)}")
    return first, length, next_header, hop_limit, source, destination


class UdpHeader(NamedTuple):
    """A UDP header (RFC 768). `length` includes these 8 octets; a checksum of 0 is none (IPv4 only)."""

    source_port: int
    destination_port: int
    length: int
    checksum: int = 0

    def encode(self) -> bytes:
        """The header, 8 octets."""
        try:
            return _UDP.pack(self.source_port, self.destination_port, self.length, self.checksum)
        except error as problem:
            raise EncodeError(f"UDP header: {problem}") from problem

    @classmethod
    def decode(cls, data: bytes) -> UdpHeader:
        """The header at the start of `data`, which must hold the whole datagram.

        DecodeError "truncated" or "malformed".
        """
        return cls(*unpack_udp(data, 0, len(data)))


def encode_udp(
    source: IPv4Address | IPv6Address,
    source_port: int,
    destination: IPv4Address | IPv6Address,
    destination_port: int,
    payload: bytes,
) -> bytes:
    """A UDP datagram with its checksum, for addresses of either family (RFC 768, RFC 8200 section 8.1)."""
    header = UdpHeader(source_port, destination_port, UDP_HEADER_SIZE + len(payload))
    datagram = bytearray(header.encode() + payload)
    if isinstance(source, IPv4Address) and isinstance(destination, IPv4Address):
        checksum = pseudo_checksum_v4(source, destination, NextHeader.UDP, datagram)
    elif isinstance(source, IPv6Address) and isinstance(destination, IPv6Address):
        checksum = pseudo_checksum_v6(source, destination, NextHeader.UDP, datagram)
    else:
        raise EncodeError(f"UDP from {source} to {destination}")
    # Zero would mean that there is no checksum.
    datagram[6:8] = _U16.pack(checksum or 0xFFFF)
    return bytes(datagram)


def is_unicast_routable(address: IPv6Address) -> bool:
    """True for what RFC 6275 calls a unicast routable address (section 6.3): one that may be a home address.

    That is no multicast, link-local, loopback, unspecified or IPv4-mapped address. `IPv6Address` has
    properties for these, but they search lists of networks and take a hundred times as long.
    """
    number = int(address)
    if number >> 125 == _GLOBAL_UNICAST:
        return True
    return (
        number > 1 and number >> 120 != 0xFF and number >> 118 != _LINK_LOCAL and number >> 32 != _IPV4_MAPPED
    )
