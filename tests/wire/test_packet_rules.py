"""Rules about headers: extension headers, IPv4 and UDP, named for their sections."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from dsmip.wire.checksum import internet_checksum, pseudo_checksum_v4
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError, EncodeError
from dsmip.wire.ip import IPv4Header, IPv6Header, UdpHeader, encode_udp
from dsmip.wire.packet import UdpOuter, decode_packet, encapsulate_udp, encode_packet
from tests.wire.wire_vectors import COA, COA4, HA, HA4, HOA

UNSPECIFIED = IPv6Address("::")
LINK_LOCAL = IPv6Address("fe80::1")
PAYLOAD = bytes(range(8))

HOME_ADDRESS = "c910" + HOA.packed.hex()


def options_header(options: str, next_header: int = 59) -> bytes:
    """An options header with the options given in hex, padded with Pad1."""
    data = bytes.fromhex(options.replace(" ", ""))
    size = -(-(2 + len(data)) // 8) * 8
    return (bytes((next_header, size // 8 - 1)) + data).ljust(size, b"\0")


def routing_header(
    address: IPv6Address = HOA, *, length: int = 2, kind: int = 2, left: int = 1, next_header: int = 59
) -> bytes:
    return (
        bytes((next_header, length, kind, left)) + bytes(4) + address.packed + bytes(8 * max(0, length - 2))
    )


def refused(extensions: bytes, first: int) -> str:
    with pytest.raises(DecodeError) as caught:
        decode_packet(encode_packet(COA, HA, extensions + PAYLOAD, first))
    return caught.value.reason


def test_rfc6275_6_3_home_address_option_stands_at_8n_plus_6() -> None:
    packet = encode_packet(COA, HA, PAYLOAD, home_address=HOA)
    assert packet[40:64] == bytes.fromhex("8702 01020000 c910") + HOA.packed
    assert packet[6] == NextHeader.DESTINATION


def test_rfc6275_6_4_1_type_2_routing_header() -> None:
    packet = encode_packet(HA, COA, PAYLOAD, routing_home_address=HOA)
    assert packet[40:64] == bytes.fromhex("87020201 00000000") + HOA.packed
    assert packet[6] == NextHeader.ROUTING


def test_rfc6275_6_3_home_address_option_follows_the_routing_header() -> None:
    packet = encode_packet(COA, HA, PAYLOAD, home_address=HOA, routing_home_address=HOA)
    assert (packet[6], packet[40], packet[64]) == (43, 60, 135)
    assert decode_packet(packet).payload_offset == 88


@pytest.mark.parametrize("address", ["::", "::1", "fe80::1", "ff02::1", "::ffff:192.0.2.1"])
def test_rfc6275_6_3_home_address_must_be_unicast_routable(address: str) -> None:
    packed = IPv6Address(address).packed
    assert refused(options_header("c910" + packed.hex()), NextHeader.DESTINATION) == "home-address"


@pytest.mark.parametrize("extra", [False, True])
def test_rfc6275_6_3_home_address_option_appears_once(extra: bool) -> None:
    if extra:
        headers = options_header(HOME_ADDRESS, NextHeader.DESTINATION) + options_header(HOME_ADDRESS)
    else:
        headers = options_header(HOME_ADDRESS + HOME_ADDRESS)
    assert refused(headers, NextHeader.DESTINATION) == "home-address"


@pytest.mark.parametrize("length", [0, 4, 15, 17])
def test_rfc6275_6_3_option_length_must_be_16(length: int) -> None:
    assert (
        refused(options_header(f"c9{length:02x}" + "20" * length), NextHeader.DESTINATION) == "option-length"
    )


def test_rfc6275_6_3_a_home_address_is_no_hop_by_hop_option() -> None:
    assert refused(options_header(HOME_ADDRESS), NextHeader.HOP_BY_HOP) == "unrecognized-option"


@pytest.mark.parametrize(
    "header",
    [
        routing_header(length=4),
        routing_header(left=0),
        routing_header(left=2),
        routing_header(LINK_LOCAL),
        routing_header(UNSPECIFIED),
        routing_header(IPv6Address("ff0e::1")),
        routing_header(next_header=NextHeader.ROUTING) + routing_header(),
        routing_header(kind=0),
        routing_header(kind=4, left=3),
    ],
)
def test_rfc6275_6_4_unacceptable_routing_headers(header: bytes) -> None:
    assert refused(header, NextHeader.ROUTING) == "routing-header"


def test_rfc6275_6_4_1_reserved_field_is_ignored() -> None:
    header = bytearray(routing_header())
    header[4:8] = b"\xff" * 4
    packet = decode_packet(encode_packet(HA, COA, bytes(header) + PAYLOAD, NextHeader.ROUTING))
    assert packet.recipient == HOA


def test_rfc8200_4_4_used_up_routing_header_is_passed_over() -> None:
    header = routing_header(kind=0, left=0, next_header=NextHeader.ROUTING) + routing_header()
    packet = decode_packet(encode_packet(HA, COA, header + PAYLOAD, NextHeader.ROUTING))
    assert packet.recipient == HOA
    assert packet.payload == PAYLOAD


@pytest.mark.parametrize("option", [0x40, 0x80, 0xC0, 0xC2, 0xC8])
def test_rfc8200_4_2_option_that_must_not_be_skipped(option: int) -> None:
    assert refused(options_header(f"{option:02x}00"), NextHeader.DESTINATION) == "unrecognized-option"


def test_rfc8200_4_2_other_unknown_options_are_skipped() -> None:
    """The router alert (RFC 2711) is one."""
    headers = options_header("0502 0000", NextHeader.DESTINATION) + options_header("1e01ff" + HOME_ADDRESS)
    packet = decode_packet(encode_packet(COA, HA, headers + PAYLOAD, NextHeader.HOP_BY_HOP))
    assert packet.home_address == HOA
    assert packet.payload == PAYLOAD


def test_rfc8200_4_1_hop_by_hop_options_come_first() -> None:
    headers = options_header("", NextHeader.HOP_BY_HOP) + options_header("")
    assert refused(headers, NextHeader.DESTINATION) == "malformed"
    assert refused(headers, NextHeader.HOP_BY_HOP) == "malformed"


def test_rfc8200_4_5_fragments() -> None:
    atomic = bytes.fromhex("3b00 0006 12345678")
    assert decode_packet(encode_packet(COA, HA, atomic + PAYLOAD, NextHeader.FRAGMENT)).payload == PAYLOAD
    for fragment in ("3b00 0001 12345678", "3b00 0008 12345678", "3b00 fff8 12345678"):
        assert refused(bytes.fromhex(fragment), NextHeader.FRAGMENT) == "fragment"


@pytest.mark.parametrize("first", [0, 43, 44, 60])
def test_rfc8200_4_header_past_the_end(first: int) -> None:
    for headers in (b"", b"\x3b\x02", bytes.fromhex("3b03 010400000000 0000000000000000")):
        with pytest.raises(DecodeError) as caught:
            decode_packet(encode_packet(COA, HA, headers[: 40 if first != 44 else 7], first))
        assert caught.value.reason == "truncated"


def test_rfc8200_3_payload_length_and_version() -> None:
    packet = encode_packet(COA, HA, PAYLOAD)
    assert decode_packet(packet + b"trailer").payload == PAYLOAD
    with pytest.raises(DecodeError) as caught:
        decode_packet(packet[:-1])
    assert caught.value.reason == "truncated"
    with pytest.raises(DecodeError) as caught:
        decode_packet(b"\x50" + packet[1:])
    assert caught.value.reason == "version"


def test_payload_that_does_not_fit() -> None:
    with pytest.raises(EncodeError):
        encode_packet(COA, HA, bytes(65536))
    with pytest.raises(EncodeError):
        encode_packet(COA, HA, PAYLOAD, hop_limit=256)
    with pytest.raises(EncodeError):
        encapsulate_udp(bytes(65535 - 27), UdpOuter(COA4, 4191, HA4, 4191))


# --- UDP over IPv4 ---------------------------------------------------------------------------------------

OUTER = UdpOuter(COA4, 4191, HA4, 4191)
INNER = encode_packet(HOA, HA, PAYLOAD)
WHOLE = encapsulate_udp(INNER, OUTER)


def changed(offset: int, value: int, *, checksum: bool = True) -> bytes:
    """The packet in UDP with one octet changed, and the IPv4 checksum made right again."""
    data = bytearray(WHOLE)
    data[offset] = value
    if checksum:
        data[10:12] = b"\0\0"
        data[10:12] = internet_checksum(data[:20]).to_bytes(2, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (changed(8, 1, checksum=False), "checksum"),
        (changed(0, 0x44), "malformed"),
        (changed(3, 19), "malformed"),
        (changed(3, len(WHOLE) + 1), "truncated"),
        (changed(3, 20), "truncated"),
        (changed(6, 0x20), "fragment"),
        (changed(7, 0x01), "fragment"),
        (changed(9, 41), "outer-protocol"),
        (changed(25, 7), "malformed"),
        (changed(25, len(WHOLE) - 19), "truncated"),
        (changed(25, 8), "inner-version"),
        (changed(25, 20), "truncated"),
        (changed(28, 0x45), "inner-version"),
        (changed(28, 0xFF), "inner-version"),
    ],
)
def test_rfc5555_4_1_damaged_outer_headers(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_packet(data)
    assert caught.value.reason == reason


def test_rfc3948_2_3_nat_keepalive_is_no_packet() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_packet(encapsulate_udp(b"\xff", OUTER))
    assert caught.value.reason == "inner-version"


def test_rfc768_udp_checksum_is_verified_on_request_and_when_present() -> None:
    wrong = changed(27, WHOLE[27] ^ 1)
    assert decode_packet(wrong).raw == INNER
    with pytest.raises(DecodeError) as caught:
        decode_packet(wrong, verify_udp_checksum=True)
    assert caught.value.reason == "checksum"
    absent = bytearray(WHOLE)
    absent[26:28] = b"\0\0"
    assert decode_packet(bytes(absent), verify_udp_checksum=True).raw == INNER


def test_rfc791_3_1_ipv4_options_are_passed_over() -> None:
    header = bytearray(IPv4Header(COA4, HA4, NextHeader.UDP, len(WHOLE) - 16).encode() + b"\x01\x01\x01\x00")
    header[0] = 0x46
    header[10:12] = b"\0\0"
    header[10:12] = internet_checksum(header).to_bytes(2, "big")
    assert decode_packet(bytes(header) + WHOLE[20:], verify_udp_checksum=True).udp == OUTER


def test_udp_out_of_range() -> None:
    with pytest.raises(EncodeError):
        encode_udp(COA4, 0x10000, HA4, 4191, PAYLOAD)
    with pytest.raises(EncodeError):
        encode_udp(COA4, 4191, HA, 4191, PAYLOAD)


def test_rfc768_a_checksum_of_zero_is_sent_as_ones() -> None:
    for word in range(0x10000):
        payload = word.to_bytes(2, "big")
        if pseudo_checksum_v4(COA4, HA4, NextHeader.UDP, UdpHeader(1, 2, 10).encode() + payload) == 0:
            break
    assert encode_udp(COA4, 1, HA4, 2, payload)[6:8] == b"\xff\xff"


def test_ip_headers_out_of_range() -> None:
    with pytest.raises(EncodeError):
        IPv4Header(COA4, HA4, 256, 0).encode()
    with pytest.raises(EncodeError):
        IPv6Header(COA, HA, 0, 0, traffic_class=4096).encode()
