"""The mobile router (RFC 3963 section 5)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network

import pytest
from mobile_node_bench import (
    CONFIG,
    HOME,
    HOME_ADDRESS,
    MOBILE_PREFIX,
    OTHER6,
    WIFI6,
    Bench,
    at,
    event,
    only,
)

from dsmip.core.actions import InstallPath, RemovePath
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.wire.constants import BUFlag
from dsmip.wire.options import MobileNetworkPrefix, find_all

SECOND_PREFIX = IPv6Network("2001:db8:5::/64")
EXPLICIT = replace(CONFIG, mobile_router=True, prefixes=(MOBILE_PREFIX, SECOND_PREFIX), nemo_mode="explicit")
IMPLICIT = replace(EXPLICIT, nemo_mode="implicit")


def prefixes(bench: Bench) -> list[IPv6Network]:
    """The mobile network prefixes of the last Binding Update."""
    return [option.prefix for option in find_all(bench.last.update.options, MobileNetworkPrefix)]


def test_rfc3963_5_2_explicit_mode_has_the_prefixes_in_every_update() -> None:
    bench = Bench(EXPLICIT)
    bench.attach(0.0, WIFI6)
    for time in (0.02, 480.02, 960.02):
        assert bench.last.update.flags == BUFlag.A | BUFlag.H | BUFlag.R
        assert prefixes(bench) == [MOBILE_PREFIX, SECOND_PREFIX]
        bench.answer(time=time)
        bench.run(time + 480.0)
    assert len(bench.sent) == 4
    bench.attach(bench.time, OTHER6)
    assert prefixes(bench) == [MOBILE_PREFIX, SECOND_PREFIX]


def test_rfc3963_5_2_implicit_mode_has_none() -> None:
    bench = Bench(IMPLICIT)
    bench.attach(0.0, WIFI6)
    assert bench.last.update.flags & BUFlag.R
    assert prefixes(bench) == []


@pytest.mark.parametrize("config", [EXPLICIT, IMPLICIT])
def test_rfc3963_5_5_the_tunnel_carries_the_mobile_network(config: object) -> None:
    bench = Bench(config)  # type: ignore[arg-type]
    [install] = only(bench.attach(0.0, WIFI6), InstallPath)
    assert install.networks == (IPv6Network(HOME_ADDRESS), MOBILE_PREFIX, SECOND_PREFIX)
    bench.answer(time=0.02)
    assert bench.node.state(at(0.02)) is MobileNodeState.REGISTERED


def test_a_mobile_node_that_is_no_router_has_no_mobile_network() -> None:
    bench = Bench(replace(CONFIG, prefixes=(MOBILE_PREFIX,)))
    [install] = only(bench.attach(0.0, WIFI6), InstallPath)
    assert install.networks == (IPv6Network(HOME_ADDRESS),)
    assert not bench.last.update.flags & BUFlag.R
    bench.answer(time=0.02)
    assert bench.node.state(at(0.02)) is MobileNodeState.REGISTERED


@pytest.mark.parametrize("status", [0, 1, 127])
def test_rfc3963_5_3_home_agent_without_nemo_is_deregistered_from(status: int) -> None:
    bench = Bench(EXPLICIT)
    bench.attach(0.0, WIFI6)
    actions = bench.answer(time=0.02, status=status, flags=0)
    assert event(actions, "mobile-router-not-supported")
    assert len(only(actions, RemovePath)) == 1
    assert bench.last.update.lifetime == 0
    assert bench.last.update.flags == BUFlag.A | BUFlag.H
    assert bench.last.packet.home_address == HOME_ADDRESS
    bench.answer(time=0.04)
    assert bench.node.format is None
    bench.attach(100.0, OTHER6)
    bench.run(599.0)
    assert len(bench.sent) == 2
    bench.run(601.0)
    assert bench.last.update.lifetime == 150  # perhaps it was mended


@pytest.mark.parametrize("config", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
@pytest.mark.parametrize("status", [140, 141, 142, 143])
def test_rfc3963_5_4_refused_mobile_router_stops_and_forwards_nothing(config: object, status: int) -> None:
    bench = Bench(config)  # type: ignore[arg-type]
    bench.attach(0.0, WIFI6)
    actions = bench.answer(time=0.02, status=status)
    assert event(actions, "binding-refused").fields["status"] == status
    assert len(only(actions, RemovePath)) == 1
    assert bench.node.state(at(0.02)) is MobileNodeState.REFUSED
    bench.attach(10.0, OTHER6)
    bench.run(599.0)
    assert len(bench.sent) == 1


def test_rfc3963_5_8_returning_home_carries_no_prefixes_and_lifts_the_refusal() -> None:
    bench = Bench(EXPLICIT)
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.02, status=142)
    bench.attach(10.0, home=HOME)
    assert bench.last.update.lifetime == 0
    assert prefixes(bench) == []
    bench.answer(time=10.02)
    bench.attach(20.0, WIFI6)
    assert prefixes(bench) == [MOBILE_PREFIX, SECOND_PREFIX]
