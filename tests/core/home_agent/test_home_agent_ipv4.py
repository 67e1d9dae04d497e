"""IPv4 home addresses and IPv4 mobile network prefixes (RFC 5555 sections 3.1.1, 3.2.1 and 4.5)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from ha_scenario import (
    AHR,
    ENTRY,
    HOME,
    HOME4,
    Mobile,
    Scenario,
    scenario,
)

from dsmip.core.actions import Event
from dsmip.core.types import IPv4Grant
from dsmip.wire.constants import BAStatus, IPv4AckStatus
from dsmip.wire.options import (
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
    find,
    find_all,
)

ANY = IPv4Address(0)
POOL = IPv4Network("192.0.2.128/29")
PREFIX_POOL = IPv4Network("203.0.113.0/24")
DYNAMIC = replace(ENTRY, ipv4_home_address=None, ipv4_prefixes=())


# IPv4 home address ------------------------------------------------------------------------------------------


def acknowledged(agent: Scenario, update: bytes) -> list[tuple[int, str, int]]:
    """Status, address and prefix length of every acknowledgement option of an accepted update."""
    outcome = agent.receive(update)
    assert outcome.ba.status == BAStatus.ACCEPTED
    return [
        (o.status, str(o.address), o.prefix_length)
        for o in find_all(outcome.ba.options, IPv4AddressAcknowledgement)
    ]


def test_rfc5555_4_5_static_ipv4_home_address() -> None:
    agent, mobile = scenario()
    assert acknowledged(agent, mobile.update(options=[IPv4HomeAddress(HOME4)])) == [(0, "192.0.2.44", 32)]
    assert agent.binding.ipv4 == (IPv4Grant.of(IPv4Network("192.0.2.44/32")),)
    assert agent.binding.ipv4_home_address == HOME4


def test_rfc5555_4_5_no_option_no_acknowledgement() -> None:
    agent, mobile = scenario()
    assert acknowledged(agent, mobile.update_in_udp()) == []
    assert agent.binding.ipv4 == ()


def test_rfc5555_4_5_somebody_elses_ipv4_home_address_is_130_and_ipv6_is_accepted() -> None:
    theirs = IPv4Address("192.0.2.130")
    home = IPv6Address("2001:db8:100::2")
    other = replace(ENTRY, home_address=home, identifier="x", ipv4_home_address=theirs)
    agent, mobile = scenario(ipv4_pool=POOL)
    agent = Scenario(replace(agent.config, mobile_nodes=(ENTRY, other)))
    options = [IPv4HomeAddress(theirs)]
    assert acknowledged(agent, mobile.update(options=options)) == [(130, "192.0.2.130", 0)]
    assert agent.binding.ipv4 == ()


@pytest.mark.parametrize("address", ["224.0.0.1", "127.0.0.1", "255.255.255.255", "0.1.2.3"])
def test_rfc5555_3_2_1_an_ipv4_home_address_that_is_not_unicast_is_131(address: str) -> None:
    agent, mobile = scenario()
    options = [IPv4HomeAddress(IPv4Address(address))]
    assert acknowledged(agent, mobile.update(options=options)) == [(131, address, 0)]


@pytest.mark.parametrize("length", [0, 33, 63])
def test_rfc5555_3_1_1_an_impossible_prefix_length_is_an_error(length: int) -> None:
    agent, mobile = scenario()
    options = [IPv4HomeAddress(HOME4, length)]
    assert acknowledged(agent, mobile.update(options=options)) == [
        (IPv4AckStatus.UNSPECIFIED, "192.0.2.44", 0)
    ]


def test_asking_for_any_address_gives_the_static_one() -> None:
    agent, mobile = scenario(ipv4_pool=POOL)
    assert acknowledged(agent, mobile.update(options=[IPv4HomeAddress(ANY)])) == [(0, "192.0.2.44", 32)]


def test_rfc5555_4_5_dynamic_ipv4_home_address() -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_pool=POOL)
    assert acknowledged(agent, mobile.update(options=[IPv4HomeAddress(ANY)])) == [(0, "192.0.2.129", 32)]
    assert agent.binding.ipv4 == (IPv4Grant.of(IPv4Network("192.0.2.129/32"), dynamic=True),)


def test_rfc5555_4_5_a_refresh_keeps_the_dynamic_address_however_it_asks() -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_pool=POOL)
    agent.receive(mobile.update(options=[IPv4HomeAddress(ANY)]))
    again = [(0, "192.0.2.129", 32)]
    assert acknowledged(agent, mobile.update(sequence=16, options=[IPv4HomeAddress(ANY)])) == again
    named = IPv4HomeAddress(IPv4Address("192.0.2.129"))
    assert acknowledged(agent, mobile.update_in_udp(sequence=17, options=[named])) == again


def test_rfc5555_4_5_no_address_left_is_132() -> None:
    """Five of the eight addresses of the pool can be had: network, broadcast and home agent are taken."""
    nodes = [
        replace(DYNAMIC, home_address=IPv6Address(int(HOME) + number), identifier=f"mn{number}@example.com")
        for number in range(6)
    ]
    agent, _ = scenario(ipv4_pool=POOL, ipv4_address=IPv4Address("192.0.2.130"))
    agent = Scenario(replace(agent.config, mobile_nodes=tuple(nodes)))
    answers = [
        acknowledged(agent, Mobile(node).update(options=[IPv4HomeAddress(ANY)], identifier=node.identifier))
        for node in nodes
    ]
    got = [address for [(status, address, _)] in answers if status == 0]
    assert sorted(got) == ["192.0.2.129", "192.0.2.131", "192.0.2.132", "192.0.2.133", "192.0.2.134"]
    assert answers[-1] == [(132, "0.0.0.0", 0)]


@pytest.mark.parametrize("pool", [None, POOL])
def test_rfc5555_4_5_without_a_pool_or_the_permission_it_is_132(pool: IPv4Network | None) -> None:
    agent, mobile = scenario(replace(DYNAMIC, allow_dynamic_ipv4=pool is None), ipv4_pool=pool)
    assert acknowledged(agent, mobile.update(options=[IPv4HomeAddress(ANY)])) == [(132, "0.0.0.0", 0)]


def test_rfc5555_an_update_without_the_option_removes_only_the_ipv4_binding() -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_pool=POOL)
    agent.receive(mobile.update(options=[IPv4HomeAddress(ANY)]))
    assert acknowledged(agent, mobile.update(sequence=16)) == []
    assert agent.bound
    assert agent.binding.ipv4 == ()
    # The address is free again.
    assert acknowledged(agent, mobile.update(sequence=17, options=[IPv4HomeAddress(ANY)])) == [
        (0, "192.0.2.129", 32)
    ]


@pytest.mark.parametrize("end", ["de-registration", "expiry"])
def test_a_dynamic_address_goes_back_when_the_binding_ends_and_can_be_had_again(end: str) -> None:
    other = replace(DYNAMIC, home_address=IPv6Address("2001:db8:100::2"), identifier="x@example.com")
    agent, mobile = scenario(DYNAMIC, ipv4_pool=POOL)
    agent = Scenario(replace(agent.config, mobile_nodes=(DYNAMIC, other)))
    agent.receive(mobile.update(options=[IPv4HomeAddress(ANY)]))
    if end == "expiry":
        agent.after(420.0)
    else:
        agent.receive(mobile.update(sequence=16, lifetime=0))
    named = IPv4HomeAddress(IPv4Address("192.0.2.129"))
    assert acknowledged(agent, mobile.update(now=agent.now, sequence=17, options=[named])) == [
        (0, "192.0.2.129", 32)
    ]
    theirs = Mobile(other).update(now=agent.now, identifier="x@example.com", options=[named])
    assert acknowledged(agent, theirs) == [(130, "192.0.2.129", 0)]


def test_a_refused_update_allots_nothing() -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_pool=POOL, max_bindings=0)
    outcome = agent.receive(mobile.update(options=[IPv4HomeAddress(ANY)]))
    assert find(outcome.ba.options, IPv4AddressAcknowledgement) is None


# IPv4 prefixes ----------------------------------------------------------------------------------------------


def test_rfc5555_4_5_configured_prefix_by_name_and_by_request() -> None:
    agent, mobile = scenario()
    named = IPv4HomeAddress(IPv4Address("192.0.2.64"), 28)
    expected = [(0, "192.0.2.64", 28)]
    assert acknowledged(agent, mobile.update(flags=AHR, options=[named])) == expected
    asked = IPv4HomeAddress(ANY, 24, prefix_requested=True)
    assert acknowledged(agent, mobile.update(sequence=16, flags=AHR, options=[asked])) == expected
    assert agent.binding.ipv4 == (IPv4Grant.of(IPv4Network("192.0.2.64/28")),)


def test_rfc5555_3_1_1_address_and_prefix_in_two_options() -> None:
    agent, mobile = scenario()
    options = [IPv4HomeAddress(HOME4), IPv4HomeAddress(ANY, 28, prefix_requested=True)]
    assert acknowledged(agent, mobile.update(flags=AHR, options=options)) == [
        (0, "192.0.2.44", 32),
        (0, "192.0.2.64", 28),
    ]
    assert agent.binding.ipv4_home_address == HOME4


def test_rfc5555_4_5_prefix_from_the_pool_has_the_requested_length() -> None:
    """P is for new requests only: a refresh, by request or by name, gets the same prefix."""
    agent, mobile = scenario(DYNAMIC, ipv4_prefix_pool=PREFIX_POOL)
    asked = IPv4HomeAddress(ANY, 28, prefix_requested=True)
    named = IPv4HomeAddress(IPv4Address("203.0.113.0"), 28, prefix_requested=True)
    for sequence, option in ((15, asked), (16, asked), (17, named)):
        update = mobile.update(sequence=sequence, flags=AHR, options=[option])
        assert acknowledged(agent, update) == [(0, "203.0.113.0", 28)]
    assert agent.binding.ipv4 == (IPv4Grant.of(IPv4Network("203.0.113.0/28"), dynamic=True),)


@pytest.mark.parametrize(("length", "pool"), [(28, None), (23, PREFIX_POOL), (32, PREFIX_POOL)])
def test_rfc5555_4_5_no_prefix_to_be_had_is_133(length: int, pool: IPv4Network | None) -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_prefix_pool=pool)
    asked = IPv4HomeAddress(ANY, length, prefix_requested=True)
    assert acknowledged(agent, mobile.update(flags=AHR, options=[asked])) == [(133, "0.0.0.0", 0)]


def test_rfc5555_4_5_somebody_elses_prefix_is_133() -> None:
    agent, mobile = scenario()
    named = IPv4HomeAddress(IPv4Address("192.0.2.80"), 28)
    assert acknowledged(agent, mobile.update(flags=AHR, options=[named])) == [(133, "192.0.2.80", 0)]


def test_more_options_than_anybody_needs_are_prohibited() -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_prefix_pool=PREFIX_POOL)
    options = [IPv4HomeAddress(ANY, 32 - 2, prefix_requested=True)] * 9
    answers = acknowledged(agent, mobile.update(flags=AHR, options=options))
    assert [status for status, _, _ in answers] == [0] * 8 + [129]
    assert len(agent.binding.ipv4) == 8


def test_an_exhausted_pool_is_told_of() -> None:
    agent, mobile = scenario(DYNAMIC)
    outcome = agent.receive(mobile.update(options=[IPv4HomeAddress(ANY)]))
    assert outcome.ba.status == BAStatus.ACCEPTED
    (told,) = [
        event for event in outcome.actions if isinstance(event, Event) and event.kind == "ipv4-refused"
    ]
    assert told.fields["reason"] == "DYNAMIC_IPV4_HOME_ADDRESS_NOT_AVAILABLE"
    assert told.fields["home_address"] == HOME
