"""One test per rule of an RFC about the octets of a message, named for its section."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import BAFlag, BUFlag, MHType, NextHeader, OptionType
from dsmip.wire.errors import DecodeError, EncodeError
from dsmip.wire.flows import FlowIdentification
from dsmip.wire.ip import is_unicast_routable
from dsmip.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    UnknownMessage,
    decode_message,
    encode_message,
)
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.option import KnownOption, MalformedOption
from dsmip.wire.optioncodec import OPTION_CLASSES
from dsmip.wire.options import (
    AlternateCareOfAddress,
    BindingRefreshAdvice,
    IPv4AddressAcknowledgement,
    IPv4CareOfAddress,
    IPv4HomeAddress,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    NatDetection,
    UnknownOption,
    find,
    find_all,
)
from dsmip.wire.proxyoptions import MagIPv6Address
from dsmip.wire.returnroutability import HomeTestInit
from tests.wire.wire_vectors import CN, COA, HA, HOA, HOA4

UPDATE = BindingUpdate(1, BUFlag.A | BUFlag.H, 60)


def header(
    octets: str, *, payload_proto: int = 59, length: int | None = None, mh_type: int = MHType.BINDING_UPDATE
) -> bytes:
    """A mobility header with the message data given in hex and a right checksum."""
    data = bytes.fromhex(octets)
    size = 6 + len(data)
    raw = bytearray(
        bytes((payload_proto, size // 8 - 1 if length is None else length, mh_type, 0, 0, 0)) + data
    )
    raw[4:6] = pseudo_checksum_v6(HOA, HA, NextHeader.MOBILITY, raw).to_bytes(2, "big")
    return bytes(raw)


def update_with(options: str) -> bytes:
    """A Binding Update with options given in hex."""
    octets = "0001c000003c" + options.replace(" ", "")
    padding = -(6 + len(octets) // 2) % 8
    return header(octets + "00" * padding)


def refused(data: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode_message(data, HOA, HA)
    return caught.value


def test_rfc6275_6_1_1_checksum_covers_the_pseudo_header() -> None:
    good = encode_message(UPDATE, HOA, HA)
    assert decode_message(good, HOA, HA) == UPDATE
    for source, destination in ((COA, HA), (HOA, CN)):
        with pytest.raises(DecodeError) as caught:
            decode_message(good, source, destination)
        assert caught.value.reason == "checksum"
        assert caught.value.pointer is None
    assert decode_message(good, COA, CN, verify_checksum=False) == UPDATE


def test_rfc6275_6_1_1_reserved_octet_is_ignored() -> None:
    changed = bytearray(encode_message(UPDATE, HOA, HA))
    changed[3] = 0xFF
    assert decode_message(bytes(changed), HOA, HA, verify_checksum=False) == UPDATE


def test_rfc6275_9_2_checksum_is_checked_before_everything() -> None:
    bad = bytearray(header("0001c000003c", payload_proto=17, length=0, mh_type=99))
    bad[4] ^= 1
    assert refused(bytes(bad)).reason == "checksum"


def test_rfc6275_9_2_unknown_type_is_reported_before_payload_proto() -> None:
    message = decode_message(header("0001c000003c00000000", payload_proto=17, mh_type=99), HOA, HA)
    assert message == UnknownMessage(99, bytes.fromhex("0001c000003c00000000"))
    assert message.options == ()


def test_rfc6275_9_2_payload_proto_is_checked_before_header_len() -> None:
    error = refused(header("0001", payload_proto=17))
    assert (error.reason, error.pointer) == ("payload-proto", 0)


@pytest.mark.parametrize(
    ("mh_type", "minimum"),
    [
        *((1, 1), (2, 1), (3, 2), (4, 2), (5, 1), (6, 1), (7, 2), (8, 1), (9, 1)),
        *((13, 1), (14, 1), (15, 1), (16, 1)),
    ],
)
def test_rfc6275_9_2_header_len_below_the_minimum_points_at_itself(mh_type: int, minimum: int) -> None:
    short = header("00" * (2 + 8 * (minimum - 1)), mh_type=mh_type)
    assert short[1] == minimum - 1
    error = refused(short)
    assert (error.reason, error.pointer) == ("header-length", 1)
    long_enough = header("01" + "00" * (1 + 8 * minimum), mh_type=mh_type)
    assert decode_message(long_enough, HOA, HA).type_code == mh_type


def test_rfc6275_9_2_header_len_too_small_with_the_checksum_of_all_octets() -> None:
    """The sender of such a message took the length of the packet for its checksum."""
    error = refused(header("0001c000003c01020000", length=0))
    assert (error.reason, error.pointer) == ("header-length", 1)


def test_header_len_beyond_the_packet_is_refused_without_a_pointer() -> None:
    error = refused(header("0001c000003c01020000", length=9))
    assert (error.reason, error.pointer) == ("truncated", None)


def test_rfc8200_4_7_octets_after_the_header_are_ignored() -> None:
    good = encode_message(UPDATE, HOA, HA)
    assert decode_message(good + b"\xff" * 16, HOA, HA) == UPDATE


def test_rfc6275_6_1_7_reserved_flags_are_ignored() -> None:
    message = decode_message(header("0001c00f003c00000000"), HOA, HA)
    assert message == BindingUpdate(1, BUFlag.A | BUFlag.H, 60)


def test_rfc6275_6_1_8_reserved_flag_is_ignored() -> None:
    message = decode_message(header("00c10001003c00000000", mh_type=6), HOA, HA)
    assert message == BindingAcknowledgement(0, BAFlag.K | BAFlag.R, 1, 60)


@pytest.mark.parametrize(
    ("message", "length"),
    [
        (BindingRefreshRequest(), 0),
        (UPDATE, 1),
        (BindingAcknowledgement(0, BAFlag(0), 1, 60), 1),
        (BindingError(1, HOA), 2),
    ],
)
def test_rfc6275_6_1_header_len_without_options(message: BindingUpdate, length: int) -> None:
    assert encode_message(message, HOA, HA)[1] == length


def test_rfc6275_6_2_1_unknown_options_are_skipped_and_kept() -> None:
    message = decode_message(update_with("ff 03 aabbcc  03 10 20010db8020000000000000000005678"), HOA, HA)
    assert message.options == (UnknownOption(0xFF, b"\xaa\xbb\xcc"), AlternateCareOfAddress(COA))


def test_rfc6275_6_2_1_options_may_stand_anywhere_on_receipt() -> None:
    """Alignment is the sender's duty; a receiver has no use for it."""
    message = decode_message(update_with("00 00 00  03 10 20010db8020000000000000000005678"), HOA, HA)
    assert message.options == (AlternateCareOfAddress(COA),)


def test_rfc6275_6_2_3_padn_may_have_any_length_and_content() -> None:
    message = decode_message(update_with("01 00  01 05 ffffffffff  02 02 0007"), HOA, HA)
    assert message.options == (BindingRefreshAdvice(7),)


@pytest.mark.parametrize("options", ["03", "03 10 0102", "01 09 00", "ff 20 00", "01 ff"])
def test_rfc6275_6_2_1_option_past_the_end_is_refused(options: str) -> None:
    data = bytearray(update_with("00" * 12))
    tail = bytes.fromhex(options.replace(" ", ""))
    data[-len(tail) :] = tail
    with pytest.raises(DecodeError) as caught:
        decode_message(bytes(data), HOA, HA, verify_checksum=False)
    assert caught.value.reason == "truncated"


#: Option: (type, shortest, longest, alignment) as their RFCs say.
LAYOUTS = {
    "BindingRefreshAdvice": (2, 2, 2, (2, 0)),
    "AlternateCareOfAddress": (3, 16, 16, (8, 6)),
    "NonceIndices": (4, 4, 4, (2, 0)),
    "BindingAuthorizationData": (5, 1, 255, (8, 2)),
    "MobileNetworkPrefix": (6, 18, 18, (8, 4)),
    "MHLinkLayerAddress": (7, 1, 255, (1, 0)),
    "MobileNodeIdentifier": (8, 1, 255, (1, 0)),
    "Authentication": (9, 5, 255, (4, 1)),
    "MessageIdentifier": (10, 8, 8, (8, 2)),
    "CgaParametersRequest": (11, 0, 0, (1, 0)),
    "CgaParameters": (12, 1, 255, (1, 0)),
    "Signature": (13, 1, 255, (1, 0)),
    "PermanentHomeKeygenToken": (14, 8, 255, (1, 0)),
    "CareOfTestInitOption": (15, 0, 0, (1, 0)),
    "CareOfTestOption": (16, 8, 8, (1, 0)),
    "DnsUpdate": (17, 2, 255, (1, 0)),
    "ExperimentalOption": (18, 0, 255, (1, 0)),
    "VendorSpecific": (19, 5, 255, (4, 2)),
    "ServiceSelection": (20, 1, 255, (1, 0)),
    "FastBindingAuthorizationData": (21, 16, 255, (1, 0)),
    "HomeNetworkPrefix": (22, 18, 18, (8, 4)),
    "HandoffIndicator": (23, 2, 2, (1, 0)),
    "AccessTechnologyType": (24, 2, 2, (1, 0)),
    "LinkLocalAddress": (26, 16, 16, (8, 6)),
    "Timestamp": (27, 8, 8, (8, 2)),
    "RestartCounter": (28, 4, 4, (4, 2)),
    "IPv4HomeAddress": (29, 6, 6, (4, 0)),
    "IPv4AddressAcknowledgement": (30, 6, 6, (4, 0)),
    "NatDetection": (31, 6, 6, (4, 0)),
    "IPv4CareOfAddress": (32, 6, 6, (4, 0)),
    "GreKey": (33, 2, 6, (4, 0)),
    "MHIPv6AddressPrefix": (34, 18, 18, (8, 4)),
    "BindingIdentifier": (35, 4, 20, (1, 0)),
    "FlowSummary": (44, 2, 254, (2, 0)),
    "FlowIdentification": (45, 6, 255, (8, 0)),
    "MagIPv6Address": (51, 18, 18, (8, 4)),
}


def test_option_layouts() -> None:
    found = {cls.__name__: (cls.TYPE, *cls.LENGTH, cls.ALIGNMENT) for cls in OPTION_CLASSES}
    assert found == LAYOUTS


@pytest.mark.parametrize("cls", OPTION_CLASSES, ids=lambda cls: cls.__name__)
def test_known_option_of_the_shortest_legal_length_is_read(cls: type[KnownOption]) -> None:
    length = cls.LENGTH[0]
    data = "00" * length if cls is not MagIPv6Address else "00 80" + "00" * 16
    message = decode_message(update_with(f"{cls.TYPE:02x} {length:02x}" + data), HOA, HA)
    assert [type(option) for option in message.options] == [cls]


def test_option_of_255_octets_is_the_longest() -> None:
    sent = BindingUpdate(1, BUFlag.A, 1, (MobileNodeIdentifier(b"x" * 254),))
    assert decode_message(encode_message(sent, HOA, HA), HOA, HA) == sent


def test_decode_error_says_what_is_wrong() -> None:
    assert str(DecodeError("truncated")) == "truncated"
    assert str(DecodeError("truncated", "3 octets")) == "truncated: 3 octets"
    assert DecodeError("truncated", "3 octets").detail == "3 octets"


#: Options that are answered with a status when their length is wrong.
ANSWERED = (BindingIdentifier, FlowIdentification)


@pytest.mark.parametrize(
    "cls",
    [cls for cls in OPTION_CLASSES if cls.LENGTH != (0, 255) and cls not in ANSWERED],
    ids=lambda cls: cls.__name__,
)
def test_known_option_with_an_illegal_length_is_refused(cls: type[KnownOption]) -> None:
    shortest, longest = cls.LENGTH
    illegal = [length for length in (shortest - 1, longest + 1) if 0 <= length <= 255]
    assert illegal
    for length in illegal:
        error = refused(update_with(f"{cls.TYPE:02x} {length:02x}" + "00" * length))
        assert error.reason == "option-length"


@pytest.mark.parametrize("length", [0, 1, 3, 5, 6, 7, 9, 16, 19, 21])
def test_rfc5648_6_2_binding_identifier_of_a_wrong_length_is_kept_for_an_answer(length: int) -> None:
    data = (b"\x00\x07" + bytes(length))[:length]
    message = decode_message(update_with(f"23 {length:02x}" + data.hex()), HOA, HA)
    (option,) = message.options
    assert option == MalformedOption(35, data)
    assert isinstance(option, MalformedOption)
    assert option.identifier == (7 if length > 1 else 0)


@pytest.mark.parametrize(
    "data", ["", "0007", "00070001000002010b", "000700010000030601004000000a", "00070001000003"]
)
def test_rfc6089_4_2_flow_identification_gone_wrong_is_kept_for_an_answer(data: str) -> None:
    octets = bytes.fromhex(data)
    message = decode_message(update_with(f"2d {len(octets):02x}" + data), HOA, HA)
    assert message.options == (MalformedOption(45, octets),)


def test_rfc5648_4_3_length_says_which_care_of_address_there_is() -> None:
    message = decode_message(
        update_with(
            "23 04 0001 00 00  23 08 0002 00 8a 0a010203  23 14 0003 a7 00 20010db8020000000000000000005678"
        ),
        HOA,
        HA,
    )
    assert message.options == (
        BindingIdentifier(1),
        BindingIdentifier(2, home=True, priority=10, care_of=IPv4Address("10.1.2.3")),
        BindingIdentifier(3, status=167, care_of=COA),
    )


def test_rfc3963_4_3_reserved_octet_and_host_bits_are_ignored() -> None:
    message = decode_message(update_with("06 12 ff 40 20010db8aaaa0001 00000000000000ff"), HOA, HA)
    assert message.options == (MobileNetworkPrefix.of(IPv6Network("2001:db8:aaaa:1::/64")),)


def test_rfc3963_4_3_prefix_length_over_128_is_refused() -> None:
    assert refused(update_with("06 12 00 81 20010db8aaaa0001 0000000000000000")).reason == "malformed"


def test_rfc4283_3_1_subtype_1_is_a_network_access_identifier() -> None:
    assert MobileNodeIdentifier("mn@exämple".encode()).nai == "mn@exämple"
    assert MobileNodeIdentifier(b"\x02\x00", subtype=5).nai == ""
    assert MobileNodeIdentifier(b"mn\xff").nai == "mn\\xff"


def test_rfc5555_3_1_1_fields_of_the_ipv4_home_address_option() -> None:
    option = IPv4HomeAddress(IPv4Network("198.51.100.16/28").network_address, 28, True)
    assert option.encode_data().hex() == "7200c6336410"
    message = decode_message(update_with("1d 06 73 ff c6336410"), HOA, HA)
    assert message.options == (option,)


def test_rfc5555_3_1_1_prefix_length_zero_is_left_to_the_home_agent() -> None:
    """It has to be answered, so it must be possible to read it."""
    message = decode_message(update_with("1d 06 00 00 c633640a"), HOA, HA)
    assert message.options == (IPv4HomeAddress(HOA4, 0),)


def test_rfc5555_3_1_2_reserved_octets_are_ignored() -> None:
    message = decode_message(update_with("20 06 ffff 0a010203"), HOA, HA)
    assert message.options == (IPv4CareOfAddress(IPv4Address("10.1.2.3")),)


def test_rfc5555_3_2_1_fields_of_the_ipv4_address_acknowledgement() -> None:
    assert IPv4AddressAcknowledgement(0, HOA4, 28).encode_data().hex() == "0070c633640a"
    message = decode_message(header("0000 0001003c 1e06 84 83 c633640a 00000000", mh_type=6), HOA, HA)
    assert message.options == (IPv4AddressAcknowledgement(132, HOA4, 32),)


def test_rfc5555_3_2_2_reserved_bits_are_ignored() -> None:
    message = decode_message(header("0000 0001003c 1f06 ffff ffffffff 00000000", mh_type=6), HOA, HA)
    assert message.options == (NatDetection(True, 0xFFFF_FFFF),)
    assert NatDetection(False, 110).encode_data().hex() == "00000000006e"


def test_rfc5555_3_2_2_only_the_first_bit_is_the_flag() -> None:
    message = decode_message(header("0000 0001003c 1f06 7fff 00000000 00000000", mh_type=6), HOA, HA)
    assert message.options == (NatDetection(False, 0),)


def test_rfc5555_option_types() -> None:
    assert (IPv4HomeAddress.TYPE, IPv4AddressAcknowledgement.TYPE) == (29, 30)
    assert (NatDetection.TYPE, IPv4CareOfAddress.TYPE) == (31, 32)
    assert BUFlag.F == 0x0100


@pytest.mark.parametrize(
    "message",
    [
        BindingUpdate(0x10000, BUFlag.A, 1),
        BindingUpdate(1, BUFlag.A, -1),
        BindingAcknowledgement(256, BAFlag(0), 1, 1),
        BindingUpdate(1, BUFlag.A, 1, (IPv4HomeAddress(HOA4, 64),)),
        BindingUpdate(1, BUFlag.A, 1, (BindingIdentifier(1, priority=128),)),
        HomeTestInit(bytes(7)),
        BindingUpdate(1, BUFlag.A, 1, (MobileNodeIdentifier(b"x" * 255),)),
        BindingUpdate(1, BUFlag.A, 1, (MobileNodeIdentifier(b"x", subtype=256),)),
        BindingUpdate(1, BUFlag.A, 1, (MobileNodeIdentifier(b"x" * 200),) * 11),
        UnknownMessage(256, b""),
    ],
)
def test_what_does_not_fit_is_an_encode_error(message: BindingUpdate) -> None:
    with pytest.raises(EncodeError):
        encode_message(message, HOA, HA)


def test_find() -> None:
    options = (BindingRefreshAdvice(1), IPv4HomeAddress(HOA4), BindingRefreshAdvice(2))
    assert find(options, BindingRefreshAdvice) == BindingRefreshAdvice(1)
    assert find(options, NatDetection) is None
    assert find_all(options, BindingRefreshAdvice) == (BindingRefreshAdvice(1), BindingRefreshAdvice(2))
    assert find_all((), BindingRefreshAdvice) == ()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("2001:db8::1", True),
        ("fd00::1", True),
        ("fec0::1", True),
        ("::2", True),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("febf:ffff::1", False),
        ("ff02::1", False),
        ("ff0e::1", False),
        ("::ffff:192.0.2.1", False),
    ],
)
def test_rfc6275_6_3_unicast_routable(address: str, expected: bool) -> None:
    assert is_unicast_routable(IPv6Address(address)) is expected


def test_all_option_types_are_named() -> None:
    assert {cls.TYPE for cls in OPTION_CLASSES} <= set(OptionType)
    assert len({cls.TYPE for cls in OPTION_CLASSES}) == len(OPTION_CLASSES)
