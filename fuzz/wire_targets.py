"""Fuzz targets of the wire layer: decoders either raise DecodeError or read what can be written again."""

from __future__ import annotations

from ipaddress import IPv6Address

from dsmip.wire.arp import ArpPacket
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv4 import decode_icmpv4, encode_icmpv4
from dsmip.wire.icmpv6 import decode_icmpv6, encode_icmpv6
from dsmip.wire.ip import IPv4Header, IPv6Header, UdpHeader
from dsmip.wire.messages import UnknownMessage, covered_octets, decode_message, encode_message
from dsmip.wire.packet import decode_packet

_HERE = IPv6Address("2001:db8:100::1")
_THERE = IPv6Address("2001:db8:100::1234")


def packet(data: bytes) -> None:
    """A packet from a tunnel device or UDP socket, as deep as it goes."""
    try:
        received = decode_packet(data, verify_udp_checksum=False)
    except DecodeError:
        return
    assert received.raw in data
    assert received.raw[received.payload_offset :] == received.payload
    if received.next_header == NextHeader.MOBILITY:
        _message(received.payload, received.sender, received.recipient)
    elif received.next_header == NextHeader.ICMPV6:
        _icmpv6(received.payload, received.sender, received.recipient)


def message(data: bytes) -> None:
    """A mobility header."""
    _message(data, _THERE, _HERE)


def icmpv6(data: bytes) -> None:
    """An ICMPv6 message, neighbour discovery included."""
    _icmpv6(data, _THERE, _HERE)


def small_decoders(data: bytes) -> None:
    """ICMP for IPv4, ARP and the three headers; the first octet says which."""
    kind, data = data[:1], data[1:]
    try:
        match kind[0] % 5 if kind else 0:
            case 0:
                received = decode_icmpv4(data, verify_checksum=False)
                assert decode_icmpv4(encode_icmpv4(received)) == received
            case 1:
                arp = ArpPacket.decode(data)
                assert ArpPacket.decode(arp.encode()) == arp
            case 2:
                ipv6 = IPv6Header.decode(data)
                assert ipv6.encode() == data[:40]
            case 3:
                ipv4 = IPv4Header.decode(data)
                assert 20 <= ipv4.header_length <= len(data)
            case _:
                udp = UdpHeader.decode(data)
                assert 8 <= udp.length <= len(data)
    except DecodeError:
        return


def _message(data: bytes, source: IPv6Address, destination: IPv6Address) -> None:
    covered = covered_octets(data)
    assert covered is None or len(covered) <= len(data)
    received = refusal = None
    try:
        received = decode_message(data, source, destination, verify_checksum=False)
    except DecodeError as error:
        refusal = error
    if received is None:
        assert refusal is not None
        assert (refusal.pointer is not None) == (refusal.reason in ("payload-proto", "header-length"))
        return
    if isinstance(received, UnknownMessage):
        return
    again = encode_message(received, source, destination)
    assert decode_message(again, source, destination) == received


def _icmpv6(data: bytes, source: IPv6Address, destination: IPv6Address) -> None:
    try:
        received = decode_icmpv6(data, source, destination, verify_checksum=False)
    except DecodeError:
        return
    # The invoking packet of an error is cut to what fits, and stays so.
    again = encode_icmpv6(received, source, destination)
    assert encode_icmpv6(decode_icmpv6(again, source, destination), source, destination) == again
