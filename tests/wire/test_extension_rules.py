"""Rules of the extensions, flow bindings and fast handovers, named for their sections."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from dsmip.wire.errors import DecodeError
from dsmip.wire.fasthandover import HandoverInitiate
from dsmip.wire.flows import FlowIdentification
from dsmip.wire.messages import decode_message, encode_message
from dsmip.wire.revocation import BindingRevocationIndication, RevocationFlag
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector, decode_traffic_selector
from tests.wire.wire_vectors import CN, HA, HOA, HOA4


def test_rfc6088_3_2_ipv6_selector() -> None:
    selector = IPv6TrafficSelector(
        source=(CN, IPv6Address("2001:db8:400::ffff")),
        destination=(HOA, HOA),
        spi=(256, 511),
        flow_label=(0x12345, 0x12345),
        source_port=(5000, 5010),
        destination_port=(443, 443),
        traffic_class=(0xB8, 0xB8),
        next_header=(6, 17),
    )
    octets = (
        "02 00 eeeb0000"
        + CN.packed.hex()
        + "20010db804000000000000000000ffff"
        + HOA.packed.hex()
        + "00000100 000001ff 00012345 1388 1392 01bb b8 06 11"
    )
    assert selector.encode().hex() == octets.replace(" ", "")
    assert decode_traffic_selector(bytes.fromhex(octets)) == selector


@pytest.mark.parametrize(
    ("selector", "alignment"),
    [
        (IPv4TrafficSelector(source=(HOA4, HOA4)), 4),
        (IPv4TrafficSelector(spi=(1, 1), protocol=(6, 6)), 4),
        (IPv4TrafficSelector(source_port=(1, 1), protocol=(6, 6)), 2),
        (IPv4TrafficSelector(protocol=(6, 6)), 1),
        (IPv6TrafficSelector(destination=(HOA, HOA)), 8),
        (IPv6TrafficSelector(flow_label=(1, 1), source_port=(1, 1)), 4),
        (IPv6TrafficSelector(destination_port=(1, 1)), 2),
        (IPv6TrafficSelector(next_header=(6, 6)), 1),
        (IPv6TrafficSelector(), 1),
    ],
)
def test_rfc6088_3_alignment(selector: IPv4TrafficSelector | IPv6TrafficSelector, alignment: int) -> None:
    assert selector.alignment == alignment


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "01",
        "0100",
        "0100 8000 00",
        "0100 40000000 c0000201",
        "0100 80000000 c00002",
        "0100 80000000 c0000201 00",
    ],
)
def test_rfc6088_3_damaged_selectors(octets: str) -> None:
    with pytest.raises(DecodeError):
        decode_traffic_selector(bytes.fromhex(octets))


@pytest.mark.parametrize(
    "sub_options", ["02 00", "02 01 00", "02 02 0001 02 02 0001", "03 02 0900 03 02 0900"]
)
def test_rfc6089_4_2_1_damaged_sub_options(sub_options: str) -> None:
    data = bytes.fromhex("0009 0005 00 00" + sub_options)
    with pytest.raises(DecodeError):
        FlowIdentification.decode_data(data)


def test_rfc5568_6_2_1_1_flags_of_a_handover_initiate() -> None:
    for assign, buffer, octet in ((False, False, 0), (True, False, 0x80), (False, True, 0x40)):
        sent = HandoverInitiate(1, 0, assign, buffer)
        data = encode_message(sent, HOA, HA)
        assert data[8] == octet
        assert decode_message(data, HOA, HA) == sent


def test_rfc5846_5_1_reserved_flags_are_ignored() -> None:
    revocation = BindingRevocationIndication(1, 2, RevocationFlag.P | RevocationFlag.V | RevocationFlag.G)
    data = bytearray(encode_message(revocation, HOA, HA))
    assert data[10:12].hex() == "e000"
    data[10:12] = b"\xff\xff"
    assert decode_message(bytes(data), HOA, HA, verify_checksum=False) == revocation
    assert RevocationFlag.V == 0x4000


def test_rfc5846_5_unknown_revocation_type_is_refused() -> None:
    data = bytearray(encode_message(BindingRevocationIndication(1, 2), HOA, HA))
    data[6] = 3
    with pytest.raises(DecodeError):
        decode_message(bytes(data), HOA, HA, verify_checksum=False)
