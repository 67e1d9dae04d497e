"""Messages and options of the neighbouring protocols: layouts in octets, and what is refused."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from dsmip.wire.binding import BindingUpdate
from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import HOST_MH_TYPES, BUFlag, MHType
from dsmip.wire.errors import DecodeError, EncodeError
from dsmip.wire.experimental import ExperimentalMessage
from dsmip.wire.fasthandover import FastBindingUpdate
from dsmip.wire.fasthandoveroptions import FastBindingAuthorizationData
from dsmip.wire.fastndoptions import (
    IPAddressPrefix,
    LinkLayerAddress,
    LinkLayerAddressCode,
    NeighborAdvertisementAcknowledgment,
)
from dsmip.wire.flowbinding import FlowBindingAcknowledgement, FlowBindingIndication
from dsmip.wire.icmpv6 import (
    Icmpv6Message,
    NeighborAdvertisement,
    ProxyRouterAdvertisement,
    RouterAdvertisement,
    RouterSolicitationForProxyAdvertisement,
    UnknownNDOption,
    decode_icmpv6,
    encode_icmpv6,
)
from dsmip.wire.localizedrouting import LocalizedRoutingAcknowledgment, LocalizedRoutingInitiation
from dsmip.wire.messages import (
    MESSAGE_CLASSES,
    Message,
    UnknownMessage,
    covered_octets,
    decode_message,
    encode_message,
)
from dsmip.wire.multicastsubscription import SubscriptionQuery, SubscriptionResponse
from dsmip.wire.option import MobilityOption
from dsmip.wire.otheroptions import DnsUpdate
from dsmip.wire.proxyoptions import (
    TIMESTAMP_SECOND,
    AccessTechnologyType,
    GreKey,
    HandoffIndicator,
    HomeNetworkPrefix,
    LinkLocalAddress,
    MagIPv6Address,
    Timestamp,
)
from dsmip.wire.updatenotification import UpdateNotification, UpdateNotificationAcknowledgement
from tests.wire.wire_vectors import COA, HA, HOA

#: Each message and its octets from offset 6 on (the types and layouts of RFCs 5096, 6705, 7077, 7109, 7161).
LAYOUTS: list[tuple[Message, int, str]] = [
    (ExperimentalMessage(bytes.fromhex("0102030405060708 090a")), 11, "0102 0304050607 08090a"),
    (LocalizedRoutingInitiation(0x0801, 600), 17, "0801 0000 0258 01020000"),
    (LocalizedRoutingAcknowledgment(0x0801, 129, 0xFFFF, True), 18, "0801 80 81 ffff 01020000"),
    (UpdateNotification(7, 3, True, True), 19, "0007 0003 c000 01020000"),
    (UpdateNotification(7, 3, acknowledge=True), 19, "0007 0003 8000 01020000"),
    (UpdateNotificationAcknowledgement(7, 128), 20, "0007 80 000000 01020000"),
    (FlowBindingIndication(9, 2, acknowledge=True), 21, "0001 0009 02 80 01020000"),
    (FlowBindingAcknowledgement(9, 128), 21, "0002 0009 80 00 01020000"),
    (SubscriptionQuery(255), 22, "ff 00"),
    (SubscriptionResponse(255, True), 23, "ff 80"),
]


@pytest.mark.parametrize(("message", "mh_type", "octets"), LAYOUTS, ids=lambda value: type(value).__name__)
def test_message_layout(message: Message, mh_type: int, octets: str) -> None:
    header = encode_message(message, HOA, HA)
    assert header[2] == mh_type
    assert header[6:] == bytes.fromhex(octets)
    assert decode_message(header, HOA, HA) == message


def test_every_assigned_mh_type_has_a_class() -> None:
    assert {cls.MH_TYPE for cls in MESSAGE_CLASSES} == set(MHType)


def test_rfc6275_9_2_a_host_knows_its_own_types_only() -> None:
    assert {0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 16} == HOST_MH_TYPES


def test_rfc6275_9_2_type_comes_before_payload_proto_and_length() -> None:
    """Whoever does not know a type has nothing to say about the rest of the message."""
    header = bytearray(encode_message(LocalizedRoutingInitiation(1, 2), HOA, HA))
    header[0] = 17
    with pytest.raises(DecodeError, match="payload-proto"):
        decode_message(bytes(header), HOA, HA, verify_checksum=False)
    message = decode_message(bytes(header), HOA, HA, verify_checksum=False, known=HOST_MH_TYPES)
    assert message == UnknownMessage(17, bytes(header[6:]))


def test_experimental_message_has_no_options_to_look_at() -> None:
    header = encode_message(ExperimentalMessage(bytes((5, 12, *range(12), 0, 0, 0, 0))), HOA, HA)
    assert decode_message(header, HOA, HA).options == ()
    assert covered_octets(header) is None


def test_flow_binding_of_an_unknown_kind_is_refused() -> None:
    header = bytearray(encode_message(FlowBindingAcknowledgement(9, 0), HOA, HA))
    header[7] = 3
    with pytest.raises(DecodeError, match="flow binding type 3"):
        decode_message(bytes(header), HOA, HA, verify_checksum=False)


OPTION_LAYOUTS: list[tuple[MobilityOption, str]] = [
    (DnsUpdate(b"mn.example", 130, True), "82 80" + b"mn.example".hex()),
    (HomeNetworkPrefix.of(IPv6Network("2001:db8:1::/48")), "00 30 20010db8000100000000000000000000"),
    (HandoffIndicator(3), "00 03"),
    (AccessTechnologyType(4), "00 04"),
    (LinkLocalAddress(IPv6Address("fe80::1")), "fe80" + "00" * 13 + "01"),
    (Timestamp(2 * TIMESTAMP_SECOND + 0x8000), "0000 0000 0002 8000"),
    (GreKey(), "0000"),
    (GreKey(0xDEADBEEF), "0000 deadbeef"),
    (MagIPv6Address(COA), "00 80" + COA.packed.hex()),
]


@pytest.mark.parametrize(("option", "octets"), OPTION_LAYOUTS, ids=lambda value: type(value).__name__)
def test_option_layout(option: MobilityOption, octets: str) -> None:
    assert option.encode_data() == bytes.fromhex(octets)
    header = encode_message(BindingUpdate(1, BUFlag.A, 1, (option,)), HOA, HA)
    assert decode_message(header, HOA, HA).options == (option,)


@pytest.mark.parametrize(
    "option",
    ["16 12 00 81" + "00" * 16, "33 12 00 40" + "00" * 16, "21 03 000000", "21 05 0000000000"],
    ids=["prefix of 129 bits", "gateway address of 64 bits", "GRE key of 1 octet", "GRE key of 3 octets"],
)
def test_impossible_option_is_refused(option: str) -> None:
    with pytest.raises(DecodeError):
        decode_message(_fast_update(bytes.fromhex(option)), HOA, HA)


def _fast_update(options: bytes) -> bytes:
    """A Fast Binding Update with these octets behind its fixed part, padded in front."""
    padding = -(12 + len(options)) % 8
    filled = b"\0" * padding + options
    header = bytearray((59, (12 + len(filled)) // 8 - 1, 8, 0, 0, 0, 0, 1, 0xC0, 0, 0, 10)) + filled
    header[4:6] = pseudo_checksum_v6(HOA, HA, 135, header).to_bytes(2, "big")
    return bytes(header)


AUTHENTICATOR = bytes(range(1, 13))


def test_rfc5568_6_4_5_length_that_counts_the_authenticator_alone_is_understood() -> None:
    option = bytes((21, 12)) + (0x100).to_bytes(4, "big") + AUTHENTICATOR
    message = decode_message(_fast_update(option), HOA, HA)
    assert isinstance(message, FastBindingUpdate)
    assert message.options == (FastBindingAuthorizationData(0x100, AUTHENTICATOR),)


def test_rfc5568_6_4_5_length_that_counts_the_spi_too_is_what_we_send() -> None:
    option = bytes((21, 16)) + (0x100).to_bytes(4, "big") + AUTHENTICATOR
    message = decode_message(_fast_update(option), HOA, HA)
    assert message.options == (FastBindingAuthorizationData(0x100, AUTHENTICATOR),)
    assert encode_message(message, HOA, HA).endswith(option)


@pytest.mark.parametrize("tail", ["", "0104 00000000", "0101 00"])
def test_rfc5568_6_4_5_authenticator_shorter_than_the_default_is_refused(tail: str) -> None:
    """With more or less than an SPI's length behind it, the length counts the SPI too."""
    option = bytes((21, 12)) + (0x100).to_bytes(4, "big") + AUTHENTICATOR[:8]
    with pytest.raises(DecodeError) as caught:
        decode_message(_fast_update(option + bytes.fromhex(tail)), HOA, HA)
    assert caught.value.reason == "option-length"


MAC = bytes.fromhex("02005e100001")

#: Each message and its octets from offset 4 on (RFC 5568 sections 6.1 and 6.4).
ICMPV6_LAYOUTS: list[tuple[Icmpv6Message, str]] = [
    (
        RouterSolicitationForProxyAdvertisement(
            0x1234, (LinkLayerAddress(LinkLayerAddressCode.NEW_ACCESS_POINT, MAC + bytes(7)),)
        ),
        "02 00 1234  13 02 01 02005e100001 00000000000000",
    ),
    (
        ProxyRouterAdvertisement(0x1234, (IPAddressPrefix(3, 128, HA),), 1),
        "03 00 1234  11 03 03 80 00000000" + HA.packed.hex(),
    ),
    (
        RouterAdvertisement(0, options=(NeighborAdvertisementAcknowledgment(2, COA),)),
        "00 00 0000 00000000 00000000  14 03 00 02 00000000" + COA.packed.hex(),
    ),
    (
        RouterAdvertisement(0, options=(NeighborAdvertisementAcknowledgment(128),)),
        "00 00 0000 00000000 00000000  14 01 00 80 00000000",
    ),
]


@pytest.mark.parametrize(("message", "octets"), ICMPV6_LAYOUTS)
def test_icmpv6_layout(message: Icmpv6Message, octets: str) -> None:
    encoded = encode_icmpv6(message, HA, HOA)
    assert encoded[4:] == bytes.fromhex(octets)
    assert decode_icmpv6(encoded, HA, HOA) == message


def test_rfc5568_6_1_2_code_of_a_proxy_router_advertisement() -> None:
    assert encode_icmpv6(ProxyRouterAdvertisement(0, code=5), HA, HOA)[:2] == bytes((154, 5))


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (1, "02 00 0000"),
        (6, "03 00 0000"),
        (0, "04 00 0000"),
        (0, "03 00 0000 11 03 04 81 00000000" + "00" * 16),
        (0, "03 00 0000 14 02 00 02 00000000" + "00" * 8),
        (0, "03 00"),
    ],
    ids=["code", "code", "subtype", "prefix of 129 bits", "NAACK of 2 units", "truncated"],
)
def test_impossible_fast_handover_icmpv6_is_refused(code: int, body: str) -> None:
    with pytest.raises(DecodeError):
        decode_icmpv6(bytes((154, code, 0, 0)) + bytes.fromhex(body), HA, HOA, verify_checksum=False)


def test_option_too_long_for_its_length_field_is_not_sent() -> None:
    longest = UnknownNDOption(200, bytes(255 * 8 - 2))
    message = NeighborAdvertisement(HOA, options=(longest,))
    assert decode_icmpv6(encode_icmpv6(message, HA, HOA), HA, HOA) == message
    with pytest.raises(EncodeError):
        encode_icmpv6(NeighborAdvertisement(HOA, options=(UnknownNDOption(200, bytes(2039)),)), HA, HOA)
