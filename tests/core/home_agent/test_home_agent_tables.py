"""The home agent's data structures one by one: cache, pools, prefix table, lifetimes, rate limit."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from ha_scenario import COA1, HOME, MNP1, MNP2
from hypothesis import given
from hypothesis import strategies as st

from dsmip.core.address_pool import IPv4Pool
from dsmip.core.binding_cache import BindingCache
from dsmip.core.frozen_entries import freeze
from dsmip.core.home_agent.nodes import ServedNode
from dsmip.core.lifetime import PrefixLifetime, grant, whole_units
from dsmip.core.mobile_prefixes import granted, still_own
from dsmip.core.registration import is_unicast_ipv4
from dsmip.core.types import Binding, CareOfBinding, MobileNodeEntry, ReplayState, TunnelFormat
from dsmip.wire.constants import BAStatus
from dsmip.wire.options import MobileNetworkPrefix


def binding(number: int = 0, ends: float = 10.0) -> Binding:
    care_of = CareOfBinding(0, COA1, TunnelFormat.IPV6, 4.0, 0.0, 4.0, ends=ends)
    return Binding(IPv6Address(int(HOME) + number), 1, (care_of,), 0, 0.0)


# Binding cache ----------------------------------------------------------------------------------------------


def test_the_cache_is_a_mapping() -> None:
    cache = BindingCache()
    cache.store(binding())
    assert dict(cache) == {HOME: binding()}
    assert cache.remove(HOME) == binding()
    assert cache.remove(HOME) is None
    assert len(cache) == 0


operations = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(0, 5), st.integers(1, 50)),
        st.tuples(st.just("remove"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("pass"), st.just(0), st.integers(1, 20)),
    ),
    max_size=60,
)


@given(operations)
def test_the_cache_expires_what_a_plain_table_would(steps: list[tuple[str, int, int]]) -> None:
    cache = BindingCache()
    model: dict[IPv6Address, float] = {}
    now = 0.0
    for operation, number, amount in steps:
        home_address = binding(number).home_address
        if operation == "store":
            cache.store(binding(number, now + amount))
            model[home_address] = now + amount
        elif operation == "remove":
            assert (cache.remove(home_address) is None) == (model.pop(home_address, None) is None)
        else:
            now += amount
            expired = {entry.home_address for entry in cache.expire(now)}
            due = {address for address, deadline in model.items() if deadline <= now}
            assert expired == due
            for address in due:
                del model[address]
        assert set(cache) == set(model)
        deadline = cache.next_deadline()
        if model:
            assert deadline is not None
            assert deadline <= min(model.values())


def test_refreshes_do_not_make_the_calendar_grow() -> None:
    cache = BindingCache()
    for second in range(10_000):
        cache.store(binding(second % 10, 420.0 + second))
    assert len(cache._calendar) <= 10


def test_ever_shorter_lifetimes_do_not_make_the_calendar_grow_without_end() -> None:
    cache = BindingCache()
    for step in range(10_000):
        cache.store(binding(step % 10, 1_000_000.0 - step))
    assert len(cache._calendar) < 100
    assert [entry.home_address for entry in cache.expire(990_001.0)] == [binding(9).home_address]


# IPv4 pools -------------------------------------------------------------------------------------------------


def networks(*texts: str) -> list[IPv4Network]:
    return [IPv4Network(text) for text in texts]


def test_the_pool_of_addresses_sets_network_and_broadcast_aside() -> None:
    pool = IPv4Pool.of_addresses(networks("192.0.2.0/29"))
    got = [pool.allocate(32) for _ in range(7)]
    assert got[-1] is None
    assert sorted(str(network.network_address) for network in got[:-1] if network) == [
        f"192.0.2.{number}" for number in range(1, 7)
    ]


def test_a_network_of_two_addresses_has_no_broadcast() -> None:
    pool = IPv4Pool.of_addresses(networks("192.0.2.4/31"))
    assert [str(pool.allocate(32)) for _ in range(3)] == ["192.0.2.4/32", "192.0.2.5/32", "None"]


def test_prefixes_of_several_lengths_fill_the_pool() -> None:
    pool = IPv4Pool(networks("203.0.113.0/24"))
    assert [str(pool.allocate(length)) for length in (28, 26, 28, 25, 26)] == [
        "203.0.113.0/28",
        "203.0.113.64/26",
        "203.0.113.16/28",
        "203.0.113.128/25",
        "None",
    ]


def test_a_wanted_network_can_be_had_once() -> None:
    pool = IPv4Pool(networks("10.0.0.0/8"))
    wanted = IPv4Network("10.200.3.64/28")
    assert pool.reserve(wanted)
    assert not pool.reserve(wanted)
    assert not pool.reserve(IPv4Network("10.200.3.70/32"))
    assert not pool.reserve(IPv4Network("10.200.0.0/16"))
    assert not pool.reserve(IPv4Network("11.0.0.0/28"))
    pool.release(wanted)
    assert pool.reserve(IPv4Network("10.0.0.0/8"))


def test_giving_back_what_was_never_given_out_changes_nothing() -> None:
    pool = IPv4Pool(networks("192.0.2.0/30"))
    pool.release(IPv4Network("198.51.100.0/30"))
    pool.release(IPv4Network("192.0.2.0/31"))
    assert pool.allocate(30) == IPv4Network("192.0.2.0/30")
    assert pool.allocate(30) is None


def test_two_networks_do_not_melt_into_one() -> None:
    pool = IPv4Pool(networks("192.0.2.0/25", "192.0.2.128/25"))
    first = pool.allocate(25)
    assert first is not None
    pool.release(first)
    assert pool.allocate(24) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["allocate", "reserve", "release"]), st.integers(24, 32), st.integers(0, 255)
        )
    )
)
def test_nothing_in_the_pool_is_given_out_twice_or_lost(steps: list[tuple[str, int, int]]) -> None:
    pool = IPv4Pool(networks("192.0.2.0/24"))
    taken: list[IPv4Network] = []
    for operation, length, number in steps:
        if operation == "release" and taken:
            pool.release(taken.pop(number % len(taken)))
            continue
        if operation == "reserve":
            network = IPv4Network((IPv4Address("192.0.2.0") + number, length), strict=False)
            free = not any(network.overlaps(other) for other in taken)
            assert pool.reserve(network) == free
            got = network if free else None
        else:
            got = pool.allocate(length)
        if got is not None:
            assert not any(got.overlaps(other) for other in taken)
            taken.append(got)
    for network in taken:
        pool.release(network)
    assert pool.allocate(24) == IPv4Network("192.0.2.0/24")


# Mobile network prefixes ------------------------------------------------------------------------------------


def test_rfc3963_6_1_2_prefixes_are_those_configured() -> None:
    assert granted((MNP1, MNP2), ()) == (MNP1, MNP2)
    assert granted((), (MobileNetworkPrefix.of(MNP1),)) is BAStatus.NOT_AUTHORIZED_FOR_PREFIX


def test_a_prefix_named_twice_counts_once() -> None:
    assert granted((MNP1, MNP2), (MobileNetworkPrefix.of(MNP1),) * 2) == (MNP1,)


def test_what_is_left_of_an_older_binding() -> None:
    assert still_own((MNP2,), (MNP1, MNP2)) == (MNP2,)
    assert still_own((MNP2,), (IPv6Network("2001:db8:1002::/80"),)) == (IPv6Network("2001:db8:1002::/80"),)


# Lifetimes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "units"), [(0.0, 0), (3.99, 0), (4.0, 1), (-5.0, 0), (1e9, 0xFFFF)])
def test_rfc6275_6_1_7_units_are_four_seconds(seconds: float, units: int) -> None:
    assert whole_units(seconds) == units


@given(
    st.integers(0, 0xFFFF),
    st.floats(0, 300_000),
    st.one_of(st.none(), st.floats(0, 300_000)),
    st.one_of(st.none(), st.floats(0, 300_000)),
)
def test_rfc6275_10_3_1_bounds_of_a_grant(
    requested: int, maximum: float, valid: float | None, preferred: float | None
) -> None:
    granted = grant(requested, maximum, 0.0, PrefixLifetime(valid, preferred))
    assert granted.units <= requested
    assert granted.seconds <= maximum
    assert valid is None or granted.seconds <= valid
    # Deprecation shortens nothing.
    assert granted.units == grant(requested, maximum, 0.0, PrefixLifetime(valid)).units


# Addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "unicast"),
    [
        ("192.0.2.1", True),
        ("10.0.0.1", True),
        ("100.64.0.1", True),
        ("223.255.255.255", True),
        ("0.0.0.0", False),
        ("127.0.0.1", False),
        ("169.254.1.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
    ],
)
def test_unicast_ipv4(address: str, unicast: bool) -> None:
    assert is_unicast_ipv4(IPv4Address(address)) is unicast


# Mobile nodes -----------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("index"), st.integers(0, (1 << 32) - 1)),
            st.tuples(st.just("sequence"), st.integers(0, (1 << 16) - 1)),
            st.tuples(st.just("timestamp"), st.integers(0, (1 << 64) - 1)),
            st.tuples(st.just("deregistered_until"), st.floats(0.0, 1e9)),
        )
    )
)
def test_the_numbers_of_a_mobile_node_leave_each_other_alone(steps: list[tuple[str, float]]) -> None:
    node = ServedNode(freeze(MobileNodeEntry(HOME, identifier="bus")), int(HOME))
    expected: dict[str, float] = {"index": 0, "sequence": 0, "timestamp": 0, "deregistered_until": 0.0}
    for name, value in steps:
        setattr(node, name, value)
        expected[name] = value
        assert {each: getattr(node, each) for each in expected} == expected
    sequence, timestamp, index = (expected[name] for name in ("sequence", "timestamp", "index"))
    assert node.replay == ReplayState(HOME, int(sequence), int(timestamp), int(index))
