"""Several uplinks at once (RFC 5648): registration, refusals, home, policy, and anything at all."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mobile_node_bench import CONFIG, HOME, Bench, at, only
from multihomed_world import (
    LTE,
    LTE_BID,
    MULTIHOMED,
    NATED,
    NATED_BID,
    POLICY,
    SAT,
    WLAN,
    WLAN_BID,
    MultihomedWorld,
    identifiers,
    settled,
)

from dsmip.core.actions import InstallPath, RemovePath, SendDatagram
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.mobile_node.policy import InterfacePolicy, Policy, Probing, UplinkChoice
from dsmip.core.types import TunnelFormat
from dsmip.wire.constants import BUFlag
from dsmip.wire.extensions import Extensions, read_extensions
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import AlternateCareOfAddress, IPv4CareOfAddress, find, find_all

# Registration -----------------------------------------------------------------------------------------------


def test_rfc5648_4_2_the_first_update_overwrites_and_the_others_add() -> None:
    world = settled()
    assert [bool(sent.update.flags & BUFlag.O) for sent in world.sent] == [True, False, False]
    assert [identifiers(world, number)[0].care_of for number in range(3)] == [
        WLAN.address,
        LTE.address,
        NATED.address,
    ]
    assert world.agent.order == [WLAN_BID, LTE_BID, NATED_BID]
    assert world.preference == (WLAN_BID, LTE_BID, NATED_BID)


def test_rfc5648_4_1_and_8_1_no_other_care_of_address_option_beside_binding_identifiers() -> None:
    world = settled()
    for sent in world.sent:
        assert find(sent.update.options, AlternateCareOfAddress) is None
        assert find(sent.update.options, IPv4CareOfAddress) is None


def test_rfc5648_8_1_each_care_of_address_is_registered_over_its_own_path_and_nat_is_found() -> None:
    world = settled()
    assert [sent.action.interface for sent in world.sent] == ["wlan0", "wwan0", "lte1"]
    assert isinstance(world.sent[2].action, SendDatagram)
    assert world.paths[NATED_BID].format is TunnelFormat.UDP4
    assert world.paths[WLAN_BID].format is TunnelFormat.IPV6


def test_rfc5648_4_1_one_series_of_sequence_numbers_and_updates_take_turns() -> None:
    world = settled(latency=0.05)
    numbers = [sent.update.sequence for sent in world.sent]
    assert numbers == [(numbers[0] + step) % 0x10000 for step in range(3)]
    assert [sent.time for sent in world.sent] == pytest.approx([0.0, 0.1, 0.2])


def test_an_uplink_that_does_not_answer_keeps_others_waiting_for_a_moment_only() -> None:
    world = MultihomedWorld()
    world.dead.add("wlan0")
    world.move(WLAN, LTE)
    world.wait(1.0)
    assert list(world.agent.bindings) == [LTE_BID]
    assert world.sent[1].time == pytest.approx(0.25)
    assert world.preference[0] == LTE_BID


def test_binding_identifiers_stay_with_their_interfaces() -> None:
    world = settled()
    other = replace(WLAN, address=IPv6Address("2001:db8:777::1"), network="another")
    world.move(other, LTE, NATED)
    world.wait(1.0)
    assert world.agent.bindings[WLAN_BID].care_of == other.address
    world.agree()


def test_extensions_are_offered_and_hold_when_acknowledged() -> None:
    world = settled()
    assert read_extensions(world.last.update.options) == Extensions.DUPLICATION | Extensions.PROBES
    assert world.duplication
    other = MultihomedWorld()
    other.agent.extensions = None
    other.move(WLAN, LTE)
    other.wait(1.0)
    assert not other.duplication


def test_without_a_policy_one_plain_binding_as_ever() -> None:
    bench = Bench(CONFIG)
    bench.attach(0.0, WLAN, LTE)
    bench.answer(time=0.02)
    assert not find_all(bench.last.update.options, BindingIdentifier)
    assert read_extensions(bench.last.update.options) is None
    assert bench.node.multihoming is None


def test_refresh_keeps_all_bindings_for_hours_with_one_update_each() -> None:
    world = settled(WLAN, LTE)
    before = len(world.sent)
    world.wait(4 * 480.0)
    world.agree()
    assert len(world.sent) - before == 8


# Refusals of several ----------------------------------------------------------------------------------------


def test_rfc5648_5_2_one_refused_binding_is_no_obstacle_to_the_others() -> None:
    world = MultihomedWorld()
    world.agent.refuses = {LTE_BID: 164}
    world.move(WLAN, LTE, NATED)
    world.wait(5.0)
    assert set(world.agent.bindings) == {WLAN_BID, NATED_BID}
    assert world.preference[:2] == (WLAN_BID, NATED_BID)


def test_binding_that_the_home_agent_has_lost_is_registered_again() -> None:
    world = settled(WLAN, LTE)
    world.agent.bindings.pop(WLAN_BID)
    several = world.node.multihoming
    assert several is not None
    several.leave("wlan0", at(world.time))
    world.drain()
    world.wait(3.0)
    world.agree()


# Home -------------------------------------------------------------------------------------------------------


def test_at_home_everything_is_de_registered_and_away_again_everything_is_registered() -> None:
    world = settled()
    world.attach(world.time, home=HOME)
    world.answer()
    assert world.node.state(at(world.time)) is MobileNodeState.AT_HOME
    assert world.last.update.lifetime == 0
    assert not identifiers(world)
    assert world.preference == ()
    world.agent.restart()
    world.move(WLAN, LTE)
    world.wait(2.0)
    world.agree()
    assert world.agent.order == [WLAN_BID, LTE_BID]


# Policy -----------------------------------------------------------------------------------------------------


def test_another_policy_moves_traffic_without_dropping_a_binding() -> None:
    world = settled(WLAN, LTE)
    several = world.node.multihoming
    assert several is not None
    installed = len(world.paths)
    changed = Policy(
        (
            InterfacePolicy("wlan0", UplinkChoice(preference=50)),
            InterfacePolicy("wwan0", UplinkChoice(preference=20)),
        ),
        probing=Probing(interval=0.2),
    )
    several.reconfigure(changed, at(world.time))
    actions = world.drain()
    assert not only(actions, RemovePath)
    assert not only(actions, InstallPath)
    world.wait(1.0)
    assert world.preference == (LTE_BID, WLAN_BID)
    assert len(world.paths) == installed
    world.agree()


# Anything at all --------------------------------------------------------------------------------------------

#: Few probes: the end takes as long as a lifetime.
SLOW = replace(MULTIHOMED, multihoming=replace(POLICY, probing=Probing(0.1, 10.0, 60.0)))

_UPLINKS = {"wlan0": WLAN, "wwan0": LTE, "lte1": NATED, "sat0": SAT}

steps = st.lists(
    st.tuples(
        st.sampled_from(["attach", "detach", "die", "live", "leave", "return", "restart", "use", "nothing"]),
        st.sampled_from(list(_UPLINKS)),
        st.sampled_from([0.001, 0.02, 0.1, 0.3, 1.0, 5.0]),
    ),
    max_size=25,
)


@given(steps, st.integers(0, 1000), st.sampled_from([0.0, 0.2, 0.5]))
@settings(max_examples=30, deadline=None)
def test_after_anything_both_ends_agree(script: list[tuple[str, str, float]], seed: int, loss: float) -> None:
    rng = random.Random(seed)
    losing = [loss]
    world = MultihomedWorld(SLOW, lose=lambda: rng.random() < losing[0])
    several = world.node.multihoming
    assert several is not None
    for what, name, pause in script:
        here = {care_of.interface: care_of for care_of in world.here}
        if what == "attach":
            here[name] = _UPLINKS[name]
            world.move(*here.values())
        elif what == "detach":
            here.pop(name, None)
            world.move(*here.values())
        elif what == "die":
            world.dead.add(name)
        elif what == "live":
            world.dead.discard(name)
        elif what in ("leave", "return"):
            (several.leave if what == "leave" else several.give_back)(name, at(world.time))
            world.drain()
        elif what == "restart":
            world.agent.restart()
        elif what == "use":
            world.use(*(bid for bid in world.preference[:1]))
        world.wait(pause)
    losing[0] = 0.0
    world.dead.clear()
    if not world.here:
        world.move(WLAN)
    world.wait(700.0)  # what broke unnoticed is found out by the next keepalive or refresh
    world.agree()
    assert world.node.state(at(world.time)) is MobileNodeState.REGISTERED
