"""RFC 4285 as both ends use it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmip.core.authentication import (
    SecurityAssociation,
    clock_correction,
    corrected_timestamp,
    is_close,
    is_later,
    mn_ha_authenticator,
    ntp_timestamp,
    timestamp_seconds,
)
from dsmip.wire.messages import BindingUpdate, covered_octets, decode_message
from dsmip.wire.options import Authentication, MessageIdentifier, find
from dsmip.wire.packet import decode_packet

#: PROTOCOL vector bu_rfc4285_mnha, section 9.40: a whole IPv6 packet.
VECTOR = bytes.fromhex(
    "6000000000683c4020010db802000000000000000000567820010db801000000"
    "0000000000000001870201020000c91020010db8010000000000000000001234"
    "3b09050050260400c000003c0100031020010db8020000000000000000005678"
    "0810016d6e31406578616d706c652e636f6d0a08e5a1b2c30000000100091101"
    "00001000dec18ffd0af949c16aba170b"
)
KEY = bytes(range(16))
CARE_OF = IPv6Address("2001:db8:200::5678")
HOME = IPv6Address("2001:db8:100::1234")
ASSOCIATION = SecurityAssociation(0x1000, KEY, "mn1@example.com")


def test_rfc4285_5_1_authenticator_of_the_vector() -> None:
    packet = decode_packet(VECTOR)
    covered = covered_octets(packet.payload)
    assert covered is not None
    assert mn_ha_authenticator(KEY, CARE_OF, HOME, covered).hex() == "dec18ffd0af949c16aba170b"
    update = decode_message(packet.payload, packet.sender, packet.recipient)
    assert isinstance(update, BindingUpdate)
    option = find(update.options, Authentication)
    assert option is not None
    assert ASSOCIATION.verify(option.authenticator, CARE_OF, HOME, covered)


def test_rfc4285_5_1_every_input_counts() -> None:
    covered = b"\x3b\x09\x05\x00\x00\x00"
    right = mn_ha_authenticator(KEY, CARE_OF, HOME, covered)
    assert len(right) == 12
    wrong = [
        mn_ha_authenticator(KEY[::-1], CARE_OF, HOME, covered),
        mn_ha_authenticator(KEY, HOME, HOME, covered),
        mn_ha_authenticator(KEY, CARE_OF, CARE_OF, covered),
        mn_ha_authenticator(KEY, CARE_OF, HOME, covered + b"\0"),
    ]
    assert right not in wrong


def test_rfc4285_5_1_an_ipv4_care_of_address_counts_with_four_octets() -> None:
    """As the mobile node sees it: the IPv4 Care-of Address option of RFC 5555 section 3.1.2."""
    care_of = IPv4Address("10.1.2.3")
    by_hand = mn_ha_authenticator(KEY, HOME, HOME, b"")
    assert mn_ha_authenticator(KEY, care_of, HOME, b"covered") != by_hand
    assert ASSOCIATION.signer(care_of, HOME)(b"covered") == mn_ha_authenticator(
        KEY, care_of, HOME, b"covered"
    )


@pytest.mark.parametrize("authenticator", [b"", b"\0" * 12, b"\0" * 11, b"\0" * 20])
def test_rfc4285_5_1_1_other_authenticators_are_refused(authenticator: bytes) -> None:
    assert not ASSOCIATION.verify(authenticator, CARE_OF, HOME, b"covered")


def test_the_key_is_not_shown() -> None:
    assert "\\x00\\x01" not in repr(ASSOCIATION)
    assert "key" not in repr(ASSOCIATION)


def test_rfc4285_6_timestamp_is_ntp() -> None:
    """2001-09-09 01:46:40.5 UTC is 1,000,000,000.5 Unix and 3,208,988,800.5 NTP seconds."""
    assert ntp_timestamp(1_000_000_000.5) == 3_208_988_800 << 32 | 1 << 31
    assert timestamp_seconds(3_208_988_800 << 32 | 1 << 31) == 1_000_000_000.5


def test_timestamps_go_on_after_the_seconds_run_over_in_2036() -> None:
    before, after = 2_085_978_495.0, 2_085_978_497.0
    assert ntp_timestamp(before) >> 32 == 0xFFFF_FFFF
    assert ntp_timestamp(after) >> 32 == 1
    assert timestamp_seconds(ntp_timestamp(after)) == after
    assert is_later(ntp_timestamp(after), ntp_timestamp(before))
    assert not is_later(ntp_timestamp(before), ntp_timestamp(after))
    assert is_close(ntp_timestamp(after), before)


@given(st.floats(0, 4_000_000_000))
def test_timestamp_round_trip(unix: float) -> None:
    assert timestamp_seconds(ntp_timestamp(unix)) == pytest.approx(unix, abs=1e-6)


def test_rfc4285_6_the_next_timestamp_is_greater_even_if_the_clock_is_set_back() -> None:
    first = ntp_timestamp(1_800_000_000.0)
    assert is_later(ntp_timestamp(1_800_000_000.0, after=first), first)
    assert is_later(ntp_timestamp(1_799_999_000.0, after=first), first)
    assert ntp_timestamp(1_800_000_001.0, after=first) == ntp_timestamp(1_800_000_001.0)


def test_rfc4285_6_later_is_strict() -> None:
    stamp = ntp_timestamp(1_800_000_000.0)
    assert not is_later(stamp, stamp)
    assert is_later(stamp + 1, stamp)


@pytest.mark.parametrize(
    ("offset", "close"), [(0.0, True), (7.0, True), (-7.0, True), (7.001, False), (-7.001, False)]
)
def test_rfc4285_6_close_enough_is_seven_seconds(offset: float, close: bool) -> None:
    assert is_close(ntp_timestamp(1_800_000_000.0 + offset), 1_800_000_000.0) is close


def test_rfc4285_6_a_refusal_carries_our_seconds_and_their_fraction() -> None:
    refused = 0x1111_1111_2222_2222
    corrected = corrected_timestamp(refused, 1_800_000_000.75)
    assert corrected == ntp_timestamp(1_800_000_000.0) | 0x2222_2222


@given(st.floats(1_700_000_000, 1_900_000_000), st.floats(-1e6, 1e6), st.integers(0, 2**64 - 1))
def test_rfc4285_6_the_mobile_node_adjusts_to_within_a_second(
    unix: float, error: float, refused: int
) -> None:
    """A mobile node whose clock is off by `error` ends up well inside the default tolerance."""
    corrected = corrected_timestamp(refused, unix)
    adjusted = (unix + error) + clock_correction(corrected, unix + error)
    assert abs(adjusted - unix) <= 0.51
    assert is_close(ntp_timestamp(adjusted), unix)


def test_the_timestamp_of_the_vector() -> None:
    packet = decode_packet(VECTOR)
    update = decode_message(packet.payload, packet.sender, packet.recipient)
    assert isinstance(update, BindingUpdate)
    option = find(update.options, MessageIdentifier)
    assert option is not None
    assert option.timestamp == 0xE5A1_B2C3_0000_0001
    assert timestamp_seconds(option.timestamp) == pytest.approx(0xE5A1_B2C3 - 2_208_988_800)
