"""Sentences about what is wrong with a mobile node that is registered all the same."""

from __future__ import annotations

import pytest

from dsmip.daemon.mobile_node.problems import clocks, ipv4
from dsmip.wire.constants import IPv4AckStatus


@pytest.mark.parametrize(
    ("offset", "text"),
    [(3600.2, "is 3600 s behind the home agent's"), (-90.0, "is 90 s ahead of the home agent's")],
)
def test_clocks_apart_are_said_with_how_much_and_which_way(offset: float, text: str) -> None:
    (sentence,) = clocks(offset)
    assert text in sentence
    assert "NTP" in sentence


@pytest.mark.parametrize("offset", [0.0, 1.4, -1.9])
def test_what_is_lost_in_telling_the_time_is_no_problem(offset: float) -> None:
    assert not list(clocks(offset))


def test_an_exhausted_pool_is_told_once_with_its_key() -> None:
    status = IPv4AckStatus.DYNAMIC_IPV4_HOME_ADDRESS_NOT_AVAILABLE
    (sentence,) = ipv4((status, status))
    assert "`ipv4_pool`" in sentence


def test_every_refusal_has_a_sentence() -> None:
    told = list(ipv4(status for status in (*IPv4AckStatus, 200) if status))
    assert len(set(told)) == len(told) == 7
    assert "status 200" in told[-1]
