"""The home link is renumbered while the mobile node is there; and what is decided when, afterwards."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Interface, IPv6Network

from home_and_foreign_world import AT_HOME, WITH_LINK, HomeWorld
from mobile_node_bench import CONFIG, HOME, HOME_ADDRESS, HOME_PREFIX, WIFI6, Bench, at, event, only
from multihomed_world import LTE

from dsmip.core.actions import Action, HomeAddressChanged, HomeAddressesChanged
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.mobile_node.renumbering import PATIENCE, HomeAddress
from dsmip.wire.constants import BAStatus

NEW_PREFIX = IPv6Network("2001:db8:101::/64")
NEW_ADDRESS = IPv6Address("2001:db8:101::1234")
DEPRECATED = replace(HOME, valid_until=500.0, successor=NEW_PREFIX)


def networks(actions: list[Action]) -> tuple[object, ...]:
    return only(actions, HomeAddressesChanged)[-1].networks


def renumbered_at_home() -> Bench:
    """At home since 0.1 s; the home link is renumbered at 10 s."""
    bench = Bench(CONFIG)
    bench.attach(0.0, home=HOME)
    bench.answer(time=0.1)
    return bench


def test_on_the_home_link_the_home_address_follows_at_once() -> None:
    bench = renumbered_at_home()
    actions = bench.attach(10.0, home=DEPRECATED)
    assert networks(actions) == (IPv6Network(NEW_ADDRESS), IPv6Network(HOME_ADDRESS))
    assert only(actions, HomeAddressChanged) == [
        HomeAddressChanged(NEW_ADDRESS, NEW_PREFIX, IPv6Interface((HOME_ADDRESS, 64)))
    ]
    assert event(actions, "renumbered").fields["home_address"] == str(NEW_ADDRESS)
    assert bench.node.state(at(10.0)) is MobileNodeState.AT_HOME
    assert bench.node.former_valid_until == 500.0
    # By the new prefix from now on.
    bench.attach(11.0, home=replace(HOME, valid_until=None))
    assert not only(bench.run(499.0), HomeAddressChanged)
    assert only(bench.run(501.0), HomeAddressChanged) == [HomeAddressChanged(NEW_ADDRESS, NEW_PREFIX)]
    assert bench.node.former_home_address is None
    bench.attach(600.0, WIFI6)
    assert bench.last.packet.sender == NEW_ADDRESS


def test_who_left_a_renumbered_home_link_registers_what_it_has() -> None:
    bench = renumbered_at_home()
    bench.attach(10.0, home=DEPRECATED)
    bench.attach(20.0, WIFI6)
    assert bench.last.packet.sender == NEW_ADDRESS
    bench.answer(time=20.1)
    assert bench.node.former_home_address == HOME_ADDRESS
    assert bench.node.state(at(20.1)) is MobileNodeState.REGISTERED
    bench.run(100.0)
    assert bench.node.config.home_address == NEW_ADDRESS


def test_what_the_home_agent_does_not_serve_is_given_up_after_the_home_link() -> None:
    bench = renumbered_at_home()
    bench.attach(10.0, home=DEPRECATED)
    bench.attach(20.0, WIFI6)
    actions = bench.answer(time=20.1, status=int(BAStatus.ADMINISTRATIVELY_PROHIBITED))
    assert only(actions, HomeAddressChanged) == [HomeAddressChanged(HOME_ADDRESS, HOME_PREFIX)]
    assert bench.last.packet.sender == HOME_ADDRESS
    bench.answer(time=20.2)
    # Nor taken again on the home link soon.
    bench.attach(30.0, home=DEPRECATED)
    bench.answer(time=30.1)
    assert bench.node.config.home_address == HOME_ADDRESS


def test_back_on_the_home_link_before_the_home_agent_was_heard_it_keeps_the_address() -> None:
    bench = renumbered_at_home()
    bench.attach(10.0, home=DEPRECATED)
    bench.attach(20.0, WIFI6)
    bench.attach(21.0, home=HOME)
    bench.answer(time=21.1)
    assert bench.node.config.home_address == NEW_ADDRESS
    assert bench.node.former_home_address == HOME_ADDRESS
    bench.attach(30.0, WIFI6)
    actions = bench.answer(time=30.1, status=int(BAStatus.NOT_HOME_SUBNET))
    assert only(actions, HomeAddressChanged)[-1].home_address == HOME_ADDRESS


def test_a_home_agent_that_may_still_have_a_binding_is_told_of_that_first() -> None:
    bench = Bench(CONFIG)
    bench.attach(0.0, home=DEPRECATED)
    bench.run(5.0)
    assert bench.node.config.home_address == HOME_ADDRESS
    bench.answer(time=5.1)
    assert bench.node.config.home_address == NEW_ADDRESS


def test_without_a_network_nothing_is_decided() -> None:
    """A vehicle starts in its garage, minutes before its modem has found a network."""
    bench = Bench(CONFIG)
    bench.node.resume_home_address(HomeAddress(NEW_ADDRESS, NEW_PREFIX), 1000.0, at(0.0))
    bench.run(90.0)
    bench.attach(90.0, WIFI6)
    assert bench.last.packet.sender == NEW_ADDRESS
    bench.answer(time=90.1)
    assert bench.node.former_home_address == HOME_ADDRESS


def test_an_address_that_is_over_is_nothing_to_go_back_to() -> None:
    bench = Bench(CONFIG)
    bench.node.resume_home_address(HomeAddress(NEW_ADDRESS, NEW_PREFIX), 5.0, at(0.0))
    bench.attach(0.0, WIFI6)
    bench.run(PATIENCE + 10.0)
    assert bench.last.packet.sender == NEW_ADDRESS
    assert bench.node.config.home_address == NEW_ADDRESS
    bench.answer(time=PATIENCE + 10.1)
    assert bench.node.state(at(bench.time)) is MobileNodeState.REGISTERED


def test_at_home_and_abroad_the_home_agent_is_asked() -> None:
    prefixes = (HOME_PREFIX, NEW_PREFIX)
    world = HomeWorld(agent=replace(WITH_LINK, home_prefixes=prefixes, renumbering=True))
    world.be(LTE)
    world.wait(5.0)
    assert world.home_bound
    paths = dict(world.paths)
    world.be(LTE, home=replace(AT_HOME, successor=NEW_PREFIX))
    world.wait(5.0)
    bindings = world.agent.engine.bindings
    assert list(bindings) == [NEW_ADDRESS]
    assert {one.bid for one in bindings[NEW_ADDRESS].care_ofs} == set(paths)
    assert bindings[NEW_ADDRESS].at_home
    assert bindings[NEW_ADDRESS].former == HOME_ADDRESS
    assert world.on_link
    assert world.node.config.home_address == NEW_ADDRESS
    assert world.node.former_home_address == HOME_ADDRESS
