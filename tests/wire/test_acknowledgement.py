"""An acknowledgement filled into a pattern is the one that would have been encoded."""

from __future__ import annotations

import hashlib
import itertools
from ipaddress import IPv4Address, IPv6Address

import pytest

from dsmip.wire.acknowledgement import AcknowledgementPattern, Shape
from dsmip.wire.constants import BAFlag
from dsmip.wire.messages import BindingAcknowledgement, encode_message
from dsmip.wire.option import MobilityOption
from dsmip.wire.options import (
    Authentication,
    BindingRefreshAdvice,
    IPv4AddressAcknowledgement,
    MessageIdentifier,
    NatDetection,
)

SOURCE = IPv6Address("2001:db8:1::2")
HOME = IPv6Address("2001:db8:100::1")
ADDRESSES = (
    IPv4AddressAcknowledgement(0, IPv4Address("192.0.2.1"), 32),
    IPv4AddressAcknowledgement(131, IPv4Address("198.51.100.16"), 28),
    IPv4AddressAcknowledgement(0, IPv4Address("203.0.113.0"), 24),
)
NAT = NatDetection(True, 110)


def sign(covered: bytes) -> bytes:
    return hashlib.sha1(covered).digest()[:12]


@pytest.mark.parametrize(
    "shape",
    [
        Shape(ipv4, *present)
        for ipv4 in range(len(ADDRESSES) + 1)
        for present in itertools.product((False, True), repeat=4)
    ],
)
def test_every_shape_is_what_encoding_gives(shape: Shape) -> None:
    options: list[MobilityOption] = list(ADDRESSES[: shape.ipv4])
    options += [NAT] if shape.nat else []
    options += [BindingRefreshAdvice(77)] if shape.advice else []
    options += [MessageIdentifier(0xE5A1_B2C3_0000_0001)] if shape.timestamp else []
    options += [Authentication(4096, b"")] if shape.signed else []
    message = BindingAcknowledgement(1, BAFlag.K | BAFlag.R, 65535, 900, tuple(options))
    expected = encode_message(message, SOURCE, HOME, sign if shape.signed else None)
    pattern = AcknowledgementPattern(SOURCE, shape)
    for _ in range(2):  # nothing of the first stays in the pattern
        filled = pattern.fill(
            HOME,
            (1, BAFlag.K | BAFlag.R, 65535, 900),
            ipv4=ADDRESSES[: shape.ipv4],
            nat=NAT.encode_data(),
            advice=77,
            timestamp=0xE5A1_B2C3_0000_0001,
            spi=4096,
            sign=sign,
        )
        assert filled == expected
        pattern.fill(
            SOURCE,
            (128, BAFlag(0), 1, 0),
            ipv4=ADDRESSES[: shape.ipv4][::-1],
            nat=NatDetection(False, 1).encode_data(),
            sign=lambda covered: bytes(12),
        )
