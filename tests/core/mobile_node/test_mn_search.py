"""Finding a home agent: the list, discovery, and going from one to the next (RFC 6275 section 11.4.1)."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mobile_node_bench import (
    CAFE4,
    CONFIG,
    HOME,
    HOME_AGENT,
    HOME_AGENT_IPV4,
    NO_NAT_FORCED,
    OTHER6,
    SPI,
    WIFI6,
    Bench,
    asked,
    at,
    drops,
    event,
    only,
    registered,
)

from dsmip.core.actions import Drop, HomeAgentChanged, InstallPath, RemovePath, SettleHome
from dsmip.core.mobile_node.discovery import home_agents_anycast
from dsmip.core.mobile_node.engine import MobileNode, MobileNodeState
from dsmip.core.mobile_node.home_agents import MAX_HOME_AGENTS, HomeAgentAddress, HomeAgents
from dsmip.wire.icmpv6 import (
    HomeAgentAddressDiscoveryReply,
    HomeAgentAddressDiscoveryRequest,
    ParameterProblem,
    encode_icmpv6,
)

SECOND = HomeAgentAddress(HOME_AGENT + 1, IPv4Address("192.0.2.2"))
THIRD = HomeAgentAddress(HOME_AGENT + 2)
SEVERAL = replace(CONFIG, other_home_agents=(SECOND, THIRD))
DISCOVERING = replace(CONFIG, discovery=True)
LOST = replace(DISCOVERING, home_agent=IPv6Address("::"), home_agent_ipv4=None)


# The list ---------------------------------------------------------------------------------------------------


def test_those_told_come_before_those_discovered() -> None:
    agents = HomeAgents((SECOND, THIRD))
    agents.learn([HOME_AGENT, SECOND.address, HOME_AGENT])
    assert agents.addresses == (SECOND.address, THIRD.address, HOME_AGENT)
    agents.learn([HOME_AGENT + 9])
    assert agents.addresses == (SECOND.address, THIRD.address, HOME_AGENT + 9)


def test_one_that_failed_is_passed_over_for_its_time() -> None:
    agents = HomeAgents((SECOND, THIRD))
    assert agents.next(HOME_AGENT, 0.0) == SECOND
    agents.pass_over(SECOND.address, 60.0)
    assert agents.next(HOME_AGENT, 59.0) == THIRD
    assert agents.next(THIRD.address, 59.0) is None
    assert agents.next(THIRD.address, 60.0) == SECOND


def test_a_reply_cannot_fill_the_memory() -> None:
    agents = HomeAgents((SECOND,))
    agents.learn(HOME_AGENT + 100 + number for number in range(1000))
    assert len(agents.addresses) == MAX_HOME_AGENTS


@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        ("2001:db8:100::/64", "2001:db8:100:0:fdff:ffff:ffff:fffe"),
        ("2001:db8:100::/48", "2001:db8:100:ffff:ffff:ffff:ffff:fffe"),
        ("2001:db8:100::/112", "2001:db8:100::fffe"),
    ],
)
def test_rfc2526_2_home_agents_anycast_address(prefix: str, address: str) -> None:
    assert home_agents_anycast(IPv6Network(prefix)) == IPv6Address(address)


# From one to the next ---------------------------------------------------------------------------------------


def test_a_refusal_leads_to_the_next_in_the_list() -> None:
    bench = Bench(SEVERAL)
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.1, status=130)
    actions = bench.run(1.5)
    assert only(actions, HomeAgentChanged) == [
        HomeAgentChanged(SECOND.address, SECOND.ipv4, HOME_AGENT, HOME_AGENT_IPV4, CONFIG.grace)
    ]
    assert bench.last.packet.destination == SECOND.address
    [installed] = only(bench.answer(time=1.6), InstallPath)
    assert installed.path.remote == SECOND.address
    assert bench.node.config.home_agent == SECOND.address


def test_what_the_previous_home_agent_says_later_is_not_believed() -> None:
    bench = Bench(SEVERAL)
    bench.attach(0.0, WIFI6)
    first = bench.last
    bench.answer(time=0.1, status=130)
    bench.run(1.5)
    assert drops(bench.answer(first, time=1.6)) == ["unknown-sender"]
    assert bench.node.state(at(1.6)) is MobileNodeState.REGISTERING


def test_silence_leads_round_the_list_without_hammering() -> None:
    bench = Bench(SEVERAL)
    bench.attach(0.0, WIFI6)
    bench.run(600.0)
    order = [sent.packet.destination for sent in bench.sent]
    assert order[:9] == [HOME_AGENT] * 3 + [SECOND.address] * 3 + [THIRD.address] * 3
    assert HOME_AGENT in order[9:]
    assert len(order) < 80


def test_rfc6275_11_4_1_a_new_registration_goes_to_the_current_home_agent_first() -> None:
    bench = registered(SEVERAL)
    bench.attach(10.0, OTHER6)
    assert bench.last.packet.destination == HOME_AGENT
    bench.run(40.9)
    assert {sent.packet.destination for sent in bench.sent} == {HOME_AGENT}
    bench.run(41.0)
    assert bench.last.packet.destination == SECOND.address


def test_another_address_family_is_tried_before_another_home_agent() -> None:
    bench = Bench(SEVERAL)
    bench.attach(0.0, WIFI6, CAFE4)
    bench.run(10.5)
    assert bench.last.care_of == CAFE4.address
    assert bench.node.config.home_agent == HOME_AGENT


def test_a_home_agent_without_ipv4_serves_no_ipv4_network() -> None:
    bench = Bench(replace(CONFIG, other_home_agents=(THIRD,)))
    bench.attach(0.0, CAFE4)
    bench.answer(time=0.1, status=130, options=(NO_NAT_FORCED,))
    bench.run(2.0)
    assert bench.node.config.home_agent == THIRD.address
    assert bench.node.state(at(2.0)) is MobileNodeState.DETACHED
    bench.attach(3.0, CAFE4, WIFI6)
    assert bench.last.packet.destination == THIRD.address


# Discovery --------------------------------------------------------------------------------------------------


def test_without_a_home_agent_nothing_is_registered_until_one_is_found() -> None:
    bench = Bench(LOST)
    bench.attach(0.0, CAFE4)
    assert not bench.sent
    [(_, request)] = asked(bench.attach(5.0, WIFI6), HomeAgentAddressDiscoveryRequest)
    bench.icmpv6(HomeAgentAddressDiscoveryReply(request.identifier, (HOME_AGENT,)), time=5.1)
    bench.run(5.1)
    assert bench.last.packet.destination == HOME_AGENT
    bench.answer(time=5.2)
    assert bench.node.state(at(5.2)) is MobileNodeState.REGISTERED


def test_without_a_home_agent_the_home_link_is_just_a_link() -> None:
    bench = Bench(LOST)
    assert only(bench.attach(0.0, home=HOME), SettleHome)
    assert not bench.sent
    assert bench.node.state(at(0.0)) is MobileNodeState.AT_HOME


def test_a_movement_starts_the_discovery_anew() -> None:
    bench = Bench(LOST)
    bench.attach(0.0, WIFI6)
    [(packet, _)] = asked(bench.attach(1.0, OTHER6), HomeAgentAddressDiscoveryRequest)
    assert packet.source == OTHER6.address


def test_an_unanswered_discovery_is_repeated_later() -> None:
    bench = Bench(LOST)
    bench.attach(0.0, WIFI6)
    first = asked(bench.run(200.0), HomeAgentAddressDiscoveryRequest)
    again = asked(bench.run(400.0), HomeAgentAddressDiscoveryRequest)
    assert len(first) == 4
    assert 1 <= len(again) <= 10


def test_a_home_agent_that_served_and_fell_silent_is_looked_for_at_once() -> None:
    """Its address has changed, say: when the binding is over, three Binding Updates decide."""
    bench = Bench(replace(LOST, lifetime=8))
    [(_, request)] = asked(bench.attach(0.0, WIFI6), HomeAgentAddressDiscoveryRequest)
    bench.icmpv6(HomeAgentAddressDiscoveryReply(request.identifier, (HOME_AGENT,)), time=0.1)
    bench.run(0.1)
    bench.answer(time=0.2)
    [(_, request)] = asked(bench.run(12.0), HomeAgentAddressDiscoveryRequest)
    bench.icmpv6(HomeAgentAddressDiscoveryReply(request.identifier, (THIRD.address,)), time=12.1)
    bench.run(14.0)
    assert bench.last.packet.destination == THIRD.address


def test_one_that_was_found_and_does_not_serve_is_looked_for_after_a_pause() -> None:
    bench = Bench(LOST)
    [(_, request)] = asked(bench.attach(0.0, WIFI6), HomeAgentAddressDiscoveryRequest)
    bench.icmpv6(HomeAgentAddressDiscoveryReply(request.identifier, (HOME_AGENT,)), time=0.1)
    assert not asked(bench.run(119.0), HomeAgentAddressDiscoveryRequest)
    assert asked(bench.run(121.0), HomeAgentAddressDiscoveryRequest)


def test_only_a_discovery_that_is_allowed_takes_place() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    assert not asked(bench.answer(time=0.1, status=130), HomeAgentAddressDiscoveryRequest)
    assert not asked(bench.run(500.0), HomeAgentAddressDiscoveryRequest)


def test_addresses_that_cannot_be_home_agents_are_ignored() -> None:
    bench = Bench(LOST)
    [(_, request)] = asked(bench.attach(0.0, WIFI6), HomeAgentAddressDiscoveryRequest)
    strange = tuple(map(IPv6Address, ("::", "ff02::1", "fe80::1", "::1")))
    bench.icmpv6(HomeAgentAddressDiscoveryReply(request.identifier, (*strange, HOME_AGENT)), time=0.1)
    bench.run(0.1)
    assert bench.last.packet.destination == HOME_AGENT


def test_a_reply_counts_once() -> None:
    bench = Bench(LOST)
    [(_, request)] = asked(bench.attach(0.0, WIFI6), HomeAgentAddressDiscoveryRequest)
    bench.icmpv6(HomeAgentAddressDiscoveryReply(request.identifier, (HOME_AGENT,)), time=0.1)
    again = HomeAgentAddressDiscoveryReply(request.identifier, (SECOND.address,))
    assert [drop.reason for drop in only(bench.icmpv6(again), Drop)] == ["home-agent-discovery"]


def test_the_change_is_told() -> None:
    bench = Bench(SEVERAL)
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.1, status=140)
    told = event(bench.run(1.5), "home-agent").fields
    assert told == {"home_agent": str(SECOND.address), "ipv4": "192.0.2.2", "previous": str(HOME_AGENT)}


# Whatever arrives -------------------------------------------------------------------------------------------


def test_rfc6275_11_3_5_a_parameter_problem_of_another_code_changes_nothing() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    packet = getattr(bench.last.action, "packet", b"")
    bench.icmpv6(ParameterProblem(2, 40, packet), time=0.1)
    bench.run(1.5)
    assert len(bench.sent) == 2


@given(st.binary(max_size=200), st.sampled_from([1, 4, 129, 145, 147, 200]))
def test_any_icmpv6_is_survived(body: bytes, kind: int) -> None:
    node = MobileNode(LOST, at(0.0), random.Random(1))
    node.icmpv6(bytes((kind, 0, 0, 0)) + body, HOME_AGENT, IPv6Address("2001:db8::1"), at(1.0))
    node.icmpv6(body, HOME_AGENT, IPv6Address("2001:db8::1"), at(1.0))
    assert not node.config.home_agent_ipv4


def test_an_icmpv6_message_that_is_cut_off_is_dropped() -> None:
    bench = Bench()
    message = HomeAgentAddressDiscoveryReply(1, (HOME_AGENT,))
    data = encode_icmpv6(message, HOME_AGENT, IPv6Address("2001:db8::1"))[:-3]
    bench.node.icmpv6(data, HOME_AGENT, IPv6Address("2001:db8::1"), at(0.0))
    assert drops(bench.drain()) == ["truncated"]


# A home agent known by name ---------------------------------------------------------------------------------

NAMED = replace(CONFIG, home_agent=IPv6Address("::"), home_agent_ipv4=None)
HERE = HomeAgentAddress(HOME_AGENT, HOME_AGENT_IPV4)
THERE = HomeAgentAddress(HOME_AGENT + 5, IPv4Address("192.0.2.5"))


def locate(bench: Bench, agent: HomeAgentAddress, time: float) -> list[HomeAgentChanged]:
    bench.run(time)
    bench.node.home_agent_located(agent, at(time))
    return only(bench.drain(), HomeAgentChanged)


def test_nothing_is_sent_until_the_name_is_found_and_then_at_once() -> None:
    bench = Bench(NAMED)
    bench.attach(0.0, CAFE4)
    bench.run(30.0)
    assert not bench.sent
    [changed] = locate(bench, HERE, 31.0)
    assert (changed.home_agent, changed.home_agent_ipv4, changed.previous) == (
        HOME_AGENT,
        HOME_AGENT_IPV4,
        None,
    )
    assert bench.last.time == 31.0
    bench.answer(time=31.1, options=(NO_NAT_FORCED,))
    assert bench.node.state(at(31.1)) is MobileNodeState.REGISTERED


def test_the_same_address_again_changes_nothing() -> None:
    bench = Bench(NAMED)
    locate(bench, HERE, 0.0)
    bench.attach(1.0, WIFI6)
    bench.answer(time=1.1)
    before = len(bench.sent)
    assert locate(bench, HERE, 2.0) == []
    assert len(bench.sent) == before
    assert bench.node.state(at(2.0)) is MobileNodeState.REGISTERED


def test_a_home_agent_that_moved_is_followed() -> None:
    bench = Bench(NAMED)
    locate(bench, HERE, 0.0)
    bench.attach(1.0, WIFI6)
    [changed] = locate(bench, THERE, 20.0)
    assert (changed.home_agent, changed.previous) == (THERE.address, HOME_AGENT)
    bench.run(22.0)
    assert bench.last.packet.destination == THERE.address
    bench.answer(time=22.1)
    assert bench.node.state(at(22.1)) is MobileNodeState.REGISTERED


def test_another_home_agent_that_serves_meanwhile_goes_on() -> None:
    bench = Bench(replace(NAMED, other_home_agents=(SECOND,)))
    locate(bench, HERE, 0.0)
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.1, status=130)
    bench.run(1.5)
    bench.answer(time=1.6)
    assert bench.node.config.home_agent == SECOND.address
    assert locate(bench, THERE, 5.0) == []
    assert bench.node.config.home_agent == SECOND.address


def test_another_key_registers_anew_while_traffic_goes_on() -> None:
    bench = registered()
    bench.node.rekey(key=bytes(range(1, 17)), spi=SPI, lifetime=300, now=at(bench.time))
    actions = bench.drain()
    assert not only(actions, RemovePath)
    assert bench.node.state(at(bench.time)) is not MobileNodeState.REGISTERED
    assert bench.last.update.lifetime == 300 // 4
    # What the home agent says with the old key is worth nothing any more.
    assert drops(bench.answer(time=bench.time + 0.05)) == ["authenticator"]
