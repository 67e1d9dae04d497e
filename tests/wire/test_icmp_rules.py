"""Rules about ICMP, neighbour discovery and ARP, named for their sections."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from dsmip.wire.arp import ArpPacket
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError, EncodeError
from dsmip.wire.icmpv4 import EchoRequest as EchoRequest4
from dsmip.wire.icmpv4 import decode_icmpv4, encode_icmpv4
from dsmip.wire.icmpv6 import (
    DestinationUnreachable,
    EchoRequest,
    HomeAgentAddressDiscoveryReply,
    HomeAgentAddressDiscoveryRequest,
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    NeighborAdvertisement,
    NeighborSolicitation,
    PrefixInformation,
    RouterAdvertisement,
    RouterSolicitation,
    SourceLinkLayerAddress,
    decode_icmpv6,
    encode_icmpv6,
)
from dsmip.wire.packet import encode_packet
from tests.wire.wire_vectors import COA, COA4, HA, HA4, HOA, VECTORS

UNSPECIFIED = IPv6Address("::")
LINK_LOCAL = IPv6Address("fe80::1")
PAYLOAD = bytes(range(8))


def icmpv6_refused(octets: str, source: IPv6Address = LINK_LOCAL) -> str:
    with pytest.raises(DecodeError) as caught:
        decode_icmpv6(bytes.fromhex(octets.replace(" ", "")), source, HA, verify_checksum=False)
    return caught.value.reason


def test_rfc4443_2_3_checksum() -> None:
    data = encode_icmpv6(EchoRequest(1, 2, b"x"), HOA, HA)
    assert decode_icmpv6(data, HOA, HA) == EchoRequest(1, 2, b"x")
    with pytest.raises(DecodeError) as caught:
        decode_icmpv6(data, COA, HA)
    assert caught.value.reason == "checksum"


def test_rfc4443_2_4_c_error_fits_into_the_minimum_mtu() -> None:
    data = encode_icmpv6(DestinationUnreachable(3, bytes(3000)), HA, HOA)
    assert len(encode_packet(HA, HOA, data, NextHeader.ICMPV6)) == 1280


@pytest.mark.parametrize("kind", ["85", "86", "87", "88"])
def test_rfc4861_6_1_and_7_1_code_must_be_zero(kind: str) -> None:
    body = "0000" + "20010db8" * 8
    assert icmpv6_refused(kind + "01" + body) == "malformed"


@pytest.mark.parametrize(("kind", "minimum"), [("85", 8), ("86", 16), ("87", 24), ("88", 24)])
def test_rfc4861_6_1_and_7_1_minimum_length(kind: str, minimum: int) -> None:
    assert icmpv6_refused(kind + "00" * (minimum - 2)) == "truncated"
    shortest = bytes.fromhex(kind + "00" * (minimum - 1))
    assert decode_icmpv6(shortest, LINK_LOCAL, HA, verify_checksum=False).type_code == (shortest[0], 0)


@pytest.mark.parametrize("kind", ["87", "88"])
def test_rfc4861_7_1_target_must_not_be_multicast(kind: str) -> None:
    assert icmpv6_refused(kind + "000000 00000000 ff020000000000000000000000000001") == "malformed"


def test_rfc4861_6_1_1_option_length_zero() -> None:
    assert icmpv6_refused("85000000 00000000 0100000000000000") == "option-length"
    assert icmpv6_refused("85000000 00000000 0102000000000000") == "truncated"
    assert icmpv6_refused("85000000 00000000 01") == "truncated"


@pytest.mark.parametrize("kind", ["03", "05", "07", "08"])
def test_nd_option_of_a_length_it_cannot_have(kind: str) -> None:
    assert icmpv6_refused(f"85000000 00000000 {kind}03" + "00" * 22) == "option-length"


@pytest.mark.parametrize("message", [RouterSolicitation, NeighborSolicitation])
def test_rfc4861_6_1_1_and_7_1_1_unspecified_source_has_no_link_layer_address(
    message: type[RouterSolicitation | NeighborSolicitation],
) -> None:
    options = (SourceLinkLayerAddress(b"\x02\0\0\0\0\x01"),)
    sent = (
        NeighborSolicitation(HOA, options) if message is NeighborSolicitation else RouterSolicitation(options)
    )
    with pytest.raises(DecodeError) as caught:
        decode_icmpv6(encode_icmpv6(sent, UNSPECIFIED, HA), UNSPECIFIED, HA)
    assert caught.value.reason == "malformed"
    assert decode_icmpv6(encode_icmpv6(sent, LINK_LOCAL, HA), LINK_LOCAL, HA) == sent


def test_rfc4861_4_4_flags_of_a_neighbor_advertisement() -> None:
    for router, solicited, override, octet in ((1, 0, 0, 0x80), (0, 1, 0, 0x40), (0, 0, 1, 0x20)):
        message = NeighborAdvertisement(HOA, bool(router), bool(solicited), bool(override))
        assert encode_icmpv6(message, HA, HOA)[4] == octet


def test_rfc6275_7_1_and_rfc4191_2_2_flags_of_a_router_advertisement() -> None:
    for message, octet in (
        (RouterAdvertisement(0, managed=True), 0x80),
        (RouterAdvertisement(0, other=True), 0x40),
        (RouterAdvertisement(0, home_agent=True), 0x20),
        (RouterAdvertisement(0, preference=1), 0x08),
        (RouterAdvertisement(0, preference=3), 0x18),
    ):
        assert encode_icmpv6(message, HA, HOA)[5] == octet
    with pytest.raises(EncodeError):
        encode_icmpv6(RouterAdvertisement(0, preference=4), HA, HOA)


def test_rfc6275_7_2_router_address_needs_the_address() -> None:
    data = bytearray(VECTORS["ra_home_agent"][40:])
    message = decode_icmpv6(bytes(data), HA, HOA, verify_checksum=False)
    assert isinstance(message, RouterAdvertisement)
    option = message.options[1]
    assert isinstance(option, PrefixInformation)
    assert option.address == HA
    without = PrefixInformation(option.prefix, True, True, True, 1, 1)
    with pytest.raises(EncodeError):
        encode_icmpv6(RouterAdvertisement(0, options=(without,)), HA, HOA)
    data[16 + 8 + 2] = 129
    with pytest.raises(DecodeError):
        decode_icmpv6(bytes(data), HA, HOA, verify_checksum=False)


def test_rfc792_checksum() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_icmpv4(bytes.fromhex("0800000000010001"))
    assert caught.value.reason == "checksum"


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 5])
def test_rfc826_arp_is_for_ipv4_on_ethernet(offset: int) -> None:
    good = ArpPacket(1, bytes(6), IPv4Address("192.0.2.1"), bytes(6), IPv4Address("192.0.2.2")).encode()
    bad = bytearray(good)
    bad[offset] ^= 1
    with pytest.raises(DecodeError) as caught:
        ArpPacket.decode(bytes(bad))
    assert caught.value.reason == "malformed"
    with pytest.raises(DecodeError):
        ArpPacket.decode(good[:-1])


def test_rfc826_mac_address_has_six_octets() -> None:
    with pytest.raises(EncodeError):
        ArpPacket(1, bytes(5), IPv4Address("192.0.2.1"), bytes(6), IPv4Address("192.0.2.2")).encode()


def test_icmp_and_arp_out_of_range() -> None:
    with pytest.raises(EncodeError):
        encode_icmpv6(EchoRequest(0x10000, 0), HA, HOA)
    with pytest.raises(EncodeError):
        encode_icmpv4(EchoRequest4(0x10000, 0))
    with pytest.raises(EncodeError):
        ArpPacket(0x10000, bytes(6), COA4, bytes(6), HA4).encode()


def test_rfc6275_6_5_and_6_8_reserved_bits_are_sent_as_zero() -> None:
    for message in (
        HomeAgentAddressDiscoveryRequest(0x1234),
        HomeAgentAddressDiscoveryReply(0x1234, ()),
        MobilePrefixSolicitation(0x1234),
        MobilePrefixAdvertisement(0x1234),
    ):
        assert encode_icmpv6(message, COA, HA)[4:].hex() == "12340000"
