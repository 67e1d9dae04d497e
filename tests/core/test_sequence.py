"""Sequence numbers modulo 65536."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmip.core.sequence import is_newer, successor

numbers = st.integers(0, 0xFFFF)


@pytest.mark.parametrize(
    ("sequence", "last"), [(16, 15), (32782, 15), (32784, 32783), (14, 32783), (0, 65535)]
)
def test_rfc6275_9_5_1_newer_numbers(sequence: int, last: int) -> None:
    """HA-SEQ-001: up to 32767 ahead."""
    assert is_newer(sequence, last)


@pytest.mark.parametrize(
    ("sequence", "last"),
    [(15, 15), (14, 15), (0, 15), (32783, 15), (65535, 15), (32783, 32783), (32782, 32783), (15, 32783)],
)
def test_rfc6275_9_5_1_numbers_out_of_window(sequence: int, last: int) -> None:
    """HA-SEQ-002: the RFC's example, with the value 32768 ahead on the refused side."""
    assert not is_newer(sequence, last)


@pytest.mark.parametrize("last", [0, 15, 0x7FFF, 0x8000, 0xFFFF])
def test_rfc6275_9_5_1_half_of_all_numbers_less_one_are_newer(last: int) -> None:
    assert sum(is_newer(sequence, last) for sequence in range(0x10000)) == 32767


@given(numbers, numbers)
def test_of_two_numbers_at_most_one_is_newer(one: int, other: int) -> None:
    assert not (is_newer(one, other) and is_newer(other, one))


@given(numbers)
def test_the_successor_is_newer(last: int) -> None:
    assert 0 <= successor(last) <= 0xFFFF
    assert is_newer(successor(last), last)
