"""Each vector is decoded into the message it stands for, and the message is encoded into the vector again."""

from __future__ import annotations

import hashlib
import hmac
from ipaddress import IPv6Address

import pytest

from dsmip.wire.constants import NextHeader
from dsmip.wire.fasthandover import FastBindingUpdate
from dsmip.wire.icmpv6 import (
    Icmpv6Message,
    decode_icmpv6,
)
from dsmip.wire.messages import (
    BindingAcknowledgement,
    BindingUpdate,
    Message,
    covered_octets,
    decode_message,
    encode_message,
)
from dsmip.wire.options import (
    Authentication,
    BindingAuthorizationData,
)
from dsmip.wire.packet import Packet, UdpOuter, decode_packet
from tests.wire.wire_cases import CASES
from tests.wire.wire_vectors import CN, COA, COA2, COA4, HA, HA2, HA4, HOA, MATERIAL, VECTORS

#: Data packets and packets in other tunnels: decoded as packets, or refused, but no messages.
DATA = {
    "data_6in6",
    "data_4in6",
    "data_6in4",
    "data_4in4",
    "data_6in_udp4",
    "data_4in_udp4",
    "data_ro_mn_to_cn",
    "data_ro_cn_to_mn",
    "hoti_tunnelled",
}


def test_every_vector_is_used() -> None:
    assert set(CASES) | DATA == set(VECTORS)


@pytest.mark.parametrize("name", CASES)
def test_encode(name: str) -> None:
    assert CASES[name].encode().hex() == VECTORS[name].hex()


@pytest.mark.parametrize("name", CASES)
def test_decode(name: str) -> None:
    case = CASES[name]
    packet = decode_packet(VECTORS[name], verify_udp_checksum=True)
    assert packet.source == case.source
    assert packet.destination == case.destination
    assert packet.home_address == case.home_address
    assert packet.routing_home_address == case.routing_home_address
    assert packet.hop_limit == case.hop_limit
    assert packet.udp == case.udp
    assert packet.raw == VECTORS[name][28 if case.udp else 0 :]
    assert packet.raw[packet.payload_offset :] == packet.payload
    decoded = decode_packet_message(packet)
    assert decoded == case.message
    assert type(decoded) is type(case.message)


def decode_packet_message(packet: Packet) -> Message | Icmpv6Message:
    if packet.next_header == NextHeader.MOBILITY:
        return decode_message(packet.payload, packet.sender, packet.recipient)
    assert packet.next_header == NextHeader.ICMPV6
    return decode_icmpv6(packet.payload, packet.sender, packet.recipient)


def test_tunnelled_packets_show_their_protocol() -> None:
    assert decode_packet(VECTORS["data_6in6"]).next_header == NextHeader.IPV6
    assert decode_packet(VECTORS["data_4in6"]).next_header == NextHeader.IPV4
    in_udp = decode_packet(VECTORS["data_6in_udp4"])
    assert in_udp.next_header == NextHeader.UDP
    assert in_udp.udp == UdpOuter(COA4, 4191, HA4, 4191)
    assert decode_packet(decode_packet(VECTORS["hoti_tunnelled"]).payload).sender == HOA


def test_route_optimised_packets_show_home_addresses() -> None:
    assert decode_packet(VECTORS["data_ro_mn_to_cn"]).sender == HOA
    assert decode_packet(VECTORS["data_ro_cn_to_mn"]).recipient == HOA


def test_rfc4285_5_1_sign_covers_through_the_spi() -> None:
    material = MATERIAL["bu_rfc4285_mnha"]
    key = bytes.fromhex(str(material["key"]))
    case = CASES["bu_rfc4285_mnha"]
    assert isinstance(case.message, BindingUpdate)
    options = (*case.message.options[:-1], Authentication(0x1000, b""))
    unsigned = BindingUpdate(case.message.sequence, case.message.flags, case.message.lifetime, options)
    seen = []

    def sign(covered: bytes) -> bytes:
        seen.append(covered)
        return hmac.digest(key, COA.packed + HOA.packed + covered, hashlib.sha1)[:12]

    header = encode_message(unsigned, HOA, HA, sign)
    packet = decode_packet(VECTORS["bu_rfc4285_mnha"])
    assert header == packet.payload
    assert seen == [covered_octets(packet.payload)]


@pytest.mark.parametrize(
    ("name", "key", "care_of"),
    [("bu_cn_rr", "Kbm", COA), ("ba_cn_rr", "Kbm", COA), ("bu_cn_delete_at_home", "Kbm_delete", HOA)],
)
def test_rfc6275_6_2_7_sign_covers_through_the_option_length(
    name: str, key: str, care_of: IPv6Address
) -> None:
    kbm = bytes.fromhex(str(MATERIAL[name][key]))
    packet = decode_packet(VECTORS[name])
    message = decode_packet_message(packet)
    assert isinstance(message, BindingUpdate | BindingAcknowledgement)
    option = message.options[-1]
    assert isinstance(option, BindingAuthorizationData)
    covered = covered_octets(packet.payload)
    assert covered is not None

    def sign(octets: bytes) -> bytes:
        assert octets == covered
        return hmac.digest(kbm, care_of.packed + CN.packed + octets, hashlib.sha1)[:12]

    assert encode_message(message, packet.sender, packet.recipient, sign) == packet.payload


def test_rfc5568_6_4_5_sign_covers_through_the_spi() -> None:
    key = bytes.fromhex(str(MATERIAL["fmip_fbu"]["key"]))
    packet = decode_packet(VECTORS["fmip_fbu"])

    def sign(octets: bytes) -> bytes:
        return hmac.digest(key, COA2.packed + HA2.packed + octets, hashlib.sha1)[:12]

    message = CASES["fmip_fbu"].message
    assert isinstance(message, FastBindingUpdate)
    assert encode_message(message, packet.sender, packet.recipient, sign) == packet.payload
