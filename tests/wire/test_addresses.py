"""Addresses as text: exactly what `ipaddress` makes of them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmip.wire.ip import text_of


@given(st.lists(st.sampled_from([0, 0, 0, 1, 0xDB8, 0xFFFF]), min_size=8, max_size=8))
def test_rfc5952_4_ipv6(groups: list[int]) -> None:
    address = IPv6Address(b"".join(group.to_bytes(2) for group in groups))
    assert text_of(address) == str(address)


@pytest.mark.parametrize("text", ["::", "::1", "1::", "::ffff:192.0.2.1", "::2", "2001:db8::1:0:0:1"])
def test_rfc5952_4_special_cases(text: str) -> None:
    assert text_of(IPv6Address(text)) == str(IPv6Address(text))


@given(st.ip_addresses(v=4))
def test_ipv4(address: IPv4Address) -> None:
    assert text_of(address) == str(address)
