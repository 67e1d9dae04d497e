"""Where authenticators stand and what they cover, named for the sections of their RFCs."""

from __future__ import annotations

import pytest

from dsmip.wire.constants import BUFlag
from dsmip.wire.errors import EncodeError
from dsmip.wire.messages import (
    BindingUpdate,
    UnknownMessage,
    covered_octets,
    decode_message,
    encode_message,
)
from dsmip.wire.options import (
    MN_AAA,
    MN_HA,
    NAI,
    Authentication,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    MessageIdentifier,
    MobileNodeIdentifier,
)
from tests.wire.wire_vectors import HA, HOA

UPDATE = BindingUpdate(1, BUFlag.A | BUFlag.H, 60)


@pytest.mark.parametrize("size", [12, 20])
@pytest.mark.parametrize("name", ["", "m", "mn", "mn1", "mn-1", "mn-12", "mn-123", "mn-1234"])
def test_rfc4285_5_1_authentication_option_ends_the_message(name: str, size: int) -> None:
    """With these sizes an offset of 8n+5 both keeps the 4n+1 alignment and leaves nothing to pad."""
    option = Authentication(256, b"\xaa" * size)
    message = BindingUpdate(1, BUFlag.A, 1, (MobileNodeIdentifier(name.encode()), option))
    data = encode_message(message, HOA, HA)
    assert data.endswith(bytes((9, 5 + size)) + option.encode_data())
    assert (len(data) - 7 - size) % 4 == 1


def test_rfc4285_5_1_alignment_wins_over_the_end_of_the_message() -> None:
    """16 octets cannot have both."""
    data = encode_message(BindingUpdate(1, BUFlag.A, 1, (Authentication(256, b"\xaa" * 14),)), HOA, HA)
    assert data.index(b"\x09\x13\x01") % 4 == 1
    assert len(data) % 8 == 0


def test_rfc4285_5_1_covered_octets_have_a_zero_checksum_and_end_with_the_spi() -> None:
    message = BindingUpdate(1, BUFlag.A, 1, (MessageIdentifier(7), Authentication(0x1234, b"\xaa" * 12)))
    data = encode_message(message, HOA, HA)
    covered = covered_octets(data)
    assert covered is not None
    assert covered == data[:4] + b"\0\0" + data[6 : len(covered)]
    assert covered.endswith(b"\x09\x11\x01\x00\x00\x12\x34")
    assert data[len(covered) :] == b"\xaa" * 12


def test_rfc4285_5_only_the_mn_ha_option_counts() -> None:
    mn_aaa = Authentication(3, b"\xbb" * 12, MN_AAA)
    mn_ha = Authentication(256, b"\xaa" * 12)
    both = encode_message(BindingUpdate(1, BUFlag.A, 1, (mn_ha, mn_aaa)), HOA, HA)
    covered = covered_octets(both)
    assert covered is not None
    assert covered.endswith(b"\x01\x00\x00\x01\x00")
    assert covered_octets(encode_message(BindingUpdate(1, BUFlag.A, 1, (mn_aaa,)), HOA, HA)) is None


def test_covered_octets_without_an_authenticator() -> None:
    assert covered_octets(encode_message(UPDATE, HOA, HA)) is None
    assert covered_octets(encode_message(UnknownMessage(99, bytes(10)), HOA, HA)) is None
    assert covered_octets(b"") is None


def test_rfc6275_6_2_7_binding_authorization_data_ends_the_message() -> None:
    option = BindingAuthorizationData(b"\xaa" * 12)
    for front in ((), (BindingRefreshAdvice(1),), (MessageIdentifier(1),)):
        data = encode_message(BindingUpdate(1, BUFlag.A, 1, (*front, option)), HOA, HA)
        assert data.endswith(b"\x05\x0c" + b"\xaa" * 12)


def test_an_empty_authenticator_is_signed_with_twelve_octets() -> None:
    message = BindingUpdate(1, BUFlag.A, 1, (Authentication(256, b""),))
    data = encode_message(message, HOA, HA, lambda covered: bytes(range(12)))
    decoded = decode_message(data, HOA, HA)
    assert decoded.options == (Authentication(256, bytes(range(12))),)


@pytest.mark.parametrize(
    "options", [(), (Authentication(256, bytes(12)), BindingRefreshAdvice(1)), (BindingRefreshAdvice(1),)]
)
def test_only_a_message_that_ends_with_an_authenticator_can_be_signed(
    options: tuple[Authentication, ...],
) -> None:
    with pytest.raises(EncodeError):
        encode_message(BindingUpdate(1, BUFlag.A, 1, options), HOA, HA, lambda covered: bytes(12))


def test_a_signature_of_the_wrong_length_is_an_error() -> None:
    message = BindingUpdate(1, BUFlag.A, 1, (Authentication(256, bytes(16)),))
    with pytest.raises(EncodeError):
        encode_message(message, HOA, HA, lambda covered: bytes(12))


def test_rfc4283_3_1_and_rfc4285_5_subtypes() -> None:
    assert (NAI, MN_HA, MN_AAA) == (1, 1, 2)
