"""Several paths of one binding: order, silence, expiry, and what is known of each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path as FilePath

import pytest
from msgspec.structs import replace

from dsmip.core.types import FlowRule, TunnelFormat
from dsmip.dataplane.api import PathState, Role, Traffic
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector
from tests.dataplane.bench import BINDING, TC_REDIRECT, Bench
from tests.dataplane.packets import TUNNELS, care_of_bid, frame, inner, wrap

pytestmark = pytest.mark.root


@pytest.fixture(scope="module", params=list(Role), ids=lambda role: role.value)
def bench(request: pytest.FixtureRequest, bpf_directory: FilePath) -> Iterator[Bench]:
    with Bench("paths", request.param, bpf_directory) as made:
        yield made


def packet(bench: Bench, version: int = 6) -> bytes:
    return inner(version, to_home=bench.role is Role.HOME_AGENT)


def taken(bench: Bench, version: int = 6) -> int:
    """The BID over which a packet goes now."""
    bench.send(packet(bench, version))
    [bid] = bench.bids_on_wire()
    return bid


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_rfc6089_5_3_6_the_preferred_path_is_taken(bench: Bench, tunnel: TunnelFormat) -> None:
    bench.bind_bids(7, 300, 2, tunnel=tunnel)
    for version in (6, 4):
        assert taken(bench, version) == 7
    bench.plane.set_preference(BINDING, [300, 2, 7])
    assert taken(bench) == 300


def test_paths_that_are_not_there_or_have_expired_are_passed_over(bench: Bench) -> None:
    paths = bench.bind_bids(1, 2, 3)
    bench.plane.remove_path(BINDING, 1)
    assert taken(bench) == 2
    bench.plane.set_path(BINDING, replace(paths[2], expires=time.monotonic() - 1), 2)
    assert taken(bench) == 3
    bench.plane.remove_path(BINDING, 3)
    assert bench.drops_of(lambda: bench.send(packet(bench))) == {"expired": 1}
    bench.plane.remove_path(BINDING, 2)
    assert bench.drops_of(lambda: bench.send(packet(bench))) == {"no-path": 1}
    assert bench.plane.paths(BINDING) == {}


def test_eight_paths(bench: Bench) -> None:
    bids = (11, 12, 13, 14, 15, 16, 17, 18)
    bench.bind_bids(*bids)
    for bid in bids:
        assert taken(bench) == bid
        bench.plane.remove_path(BINDING, bid)


def test_without_preference_there_is_no_path(bench: Bench) -> None:
    bench.bind_bids(1)
    bench.plane.set_preference(BINDING, ())
    assert bench.drops_of(lambda: bench.send(packet(bench))) == {"no-path": 1}


def test_a_plain_path_takes_everything_while_it_exists(bench: Bench) -> None:
    paths = bench.bind_bids(1, 2)
    rules = [FlowRule(IPv6TrafficSelector(), (1,)), FlowRule(IPv4TrafficSelector(), (1,))]
    bench.plane.set_flows(BINDING, rules)
    changed = {"local" if bench.role is Role.MOBILE_NODE else "remote": care_of_bid(99, TunnelFormat.IPV6)}
    bench.plane.set_path(BINDING, replace(paths[2], **changed))
    assert taken(bench) == 99
    bench.plane.remove_path(BINDING)
    assert taken(bench) == 1


def test_counters_of_each_path_and_of_all(bench: Bench) -> None:
    tunnel = TunnelFormat.UDP4
    bench.bind_bids(1, 2, tunnel=tunnel)
    size = len(packet(bench))
    assert taken(bench) == 1
    bench.plane.set_preference(BINDING, [2, 1])
    assert taken(bench) == taken(bench) == 2
    local, remote = bench.ends(tunnel)
    back = inner(6, to_home=bench.role is Role.MOBILE_NODE)
    for bid in (1, 2, 2):
        care_of = care_of_bid(bid, tunnel)
        outer = (care_of, local) if bench.role is Role.HOME_AGENT else (remote, care_of)
        assert bench.receive(frame(wrap(tunnel, back, *outer)))[0] == TC_REDIRECT
    first, second = Traffic(1, size, 1, size), Traffic(2, 2 * size, 2, 2 * size)
    assert bench.plane.paths(BINDING) == {1: PathState(first), 2: PathState(second)}
    assert bench.plane.traffic(BINDING) == first + second
    bench.plane.remove_path(BINDING, 2)
    assert bench.plane.paths(BINDING) == {1: PathState(first)}
    assert bench.plane.traffic(BINDING) == first + second
    # A packet that was under way still counts, for the binding.
    if bench.role is Role.HOME_AGENT:
        assert bench.receive(frame(wrap(tunnel, back, care_of_bid(2, tunnel), local)))[0] == TC_REDIRECT
        assert bench.plane.traffic(BINDING) == first + second + Traffic(0, 0, 1, size)


def test_removing_a_binding_leaves_nothing(bench: Bench) -> None:
    bench.bind_bids(1, 2)
    bench.plane.set_flows(BINDING, [FlowRule(IPv6TrafficSelector(), (1, 2))])
    bench.plane.set_duplication(BINDING, True)
    bench.plane.remove_binding(BINDING)
    tables = ("paths", "traffic", "choices", "rules", "windows", "networks6", "networks4", "sources")
    assert not any(list(bench.plane._maps[name].items()) for name in tables)
    assert bench.plane.bindings() == frozenset()


def test_at_home_and_abroad_at_once(bench: Bench) -> None:
    """RFC 5648 section 5.6: one of the paths is the home link."""
    paths = bench.bind_bids(1, 2)
    gateway = ip_address("2001:db8:f::1")
    bench.plane.set_path(BINDING, replace(paths[1], format=TunnelFormat.LINK, next_hop=gateway), 1)
    bench.send(packet(bench))
    [sent] = bench.on_wire()
    assert sent[14:] == packet(bench)
    bench.plane.set_preference(BINDING, [2, 1])
    assert taken(bench) == 2
