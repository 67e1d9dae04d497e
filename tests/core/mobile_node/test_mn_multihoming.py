"""Several uplinks at once (RFC 5648): registration, moves that lose nothing, links that die."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mobile_node_bench import CONFIG, HOME, HOME_AGENT, Bench, at, only
from multihomed_world import (
    LTE,
    LTE_BID,
    MULTIHOMED,
    NATED,
    NATED_BID,
    POLICY,
    SAT,
    SAT_BID,
    WLAN,
    WLAN_BID,
    MultihomedWorld,
)

from dsmip.core.actions import InstallPath, RemovePath, SendDatagram
from dsmip.core.mobile_node import MobileNodeState
from dsmip.core.mobile_node_home_agents import HomeAgentAddress
from dsmip.core.mobile_node_policy import InterfacePolicy, Policy, Probing, UplinkChoice
from dsmip.core.types import TunnelFormat
from dsmip.wire.constants import BUFlag
from dsmip.wire.extensions import Extensions, read_extensions
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import AlternateCareOfAddress, IPv4CareOfAddress, find, find_all


def settled(*care_of: object, **options: object) -> MultihomedWorld:
    """A mobile node with these care-of addresses, all of them registered."""
    world = MultihomedWorld(**options)  # type: ignore[arg-type]
    world.move(*(care_of or (WLAN, LTE, NATED)))  # type: ignore[arg-type]
    world.wait(2.0)
    world.agree()
    return world


def identifiers(world: MultihomedWorld, number: int = -1) -> tuple[BindingIdentifier, ...]:
    """The binding identifiers of one of the Binding Updates sent."""
    return find_all(world.sent[number].update.options, BindingIdentifier)


def keep_using(world: MultihomedWorld, seconds: float, *bids: int) -> None:
    """Traffic over these paths for so long."""
    for _ in range(round(seconds / 0.1)):
        world.use(*bids)
        world.wait(0.1)


def moved_after(world: MultihomedWorld, since: float) -> float:
    """Seconds from `since` to the moment when traffic went elsewhere."""
    return next(time for time, event in world.events if time >= since and event.kind == "arrangement") - since


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


# A peer that knows one binding only -------------------------------------------------------------------------


def test_rfc5648_5_2_no_binding_identifier_in_the_answer_means_one_plain_binding() -> None:
    world = MultihomedWorld()
    world.agent.knows_bids = False
    world.move(NATED, LTE)
    world.wait(2.0)
    assert world.agent.plain == LTE.address
    assert [event.fields["status"] for event in world.kinds("single-binding")] == [0]
    assert world.node.multihoming is not None
    assert not world.node.multihoming.supported
    assert world.node.state(at(world.time)) is MobileNodeState.REGISTERED
    assert list(world.paths) == [0]
    assert world.preference == ()
    assert find(world.last.update.options, AlternateCareOfAddress) is not None


def test_one_plain_binding_moves_as_ever() -> None:
    world = MultihomedWorld()
    world.agent.knows_bids = False
    world.move(WLAN, LTE)
    world.wait(2.0)
    world.move(LTE)
    world.wait(1.0)
    assert world.agent.plain == LTE.address


def test_mcoa_prohibited_means_one_plain_binding() -> None:
    world = MultihomedWorld()
    world.agent.refuses = {WLAN_BID: 166, LTE_BID: 166}
    world.move(WLAN, LTE)
    world.wait(2.0)
    assert world.agent.plain == WLAN.address
    assert world.kinds("single-binding")


def test_rfc5648_5_2_a_plain_binding_in_the_way_is_overwritten() -> None:
    world = settled(WLAN, LTE)
    world.agent.restart()
    world.agent.plain = IPv6Address("2001:db8:bad::1")
    world.wait(600.0)
    world.agree()
    assert world.agent.plain is None


def test_another_home_agent_is_asked_for_several_bindings_again() -> None:
    other = HomeAgentAddress(IPv6Address("2001:db8:100::2"))
    world = MultihomedWorld(replace(MULTIHOMED, other_home_agents=(other,)))
    world.agent.knows_bids = False
    world.move(WLAN, LTE)
    world.wait(2.0)
    world.dead |= {"wlan0", "wwan0"}
    world.run(world.time + 700.0)
    assert world.node.config.home_agent != HOME_AGENT or world.kinds("home-agent")
    assert find_all(world.last.update.options, BindingIdentifier)


# Planned moves ----------------------------------------------------------------------------------------------


def test_a_better_uplink_is_registered_before_traffic_moves() -> None:
    world = settled(LTE)
    actions = []
    world.here = (LTE, WLAN)
    actions += world.attach(world.time, LTE, WLAN)
    assert world.preference == (LTE_BID, WLAN_BID)  # not acknowledged yet
    world.wait(0.03)
    assert world.preference == (WLAN_BID, LTE_BID)
    assert world.agent.order == [WLAN_BID, LTE_BID]
    assert not only(actions, RemovePath)
    world.agree()


def test_leave_moves_traffic_in_one_update_over_another_path_and_return_brings_it_back() -> None:
    world = settled(WLAN, LTE)
    several = world.node.multihoming
    assert several is not None
    before = len(world.sent)
    assert several.leave("wlan0", at(world.time))
    world.drain()
    assert world.preference == (LTE_BID, WLAN_BID)
    assert len(world.sent) == before + 1
    assert world.last.action.interface == "wwan0"
    world.wait(1.0)
    world.agree()
    assert several.give_back("wlan0", at(world.time))
    world.drain()
    world.wait(1.0)
    assert world.agent.order == [WLAN_BID, LTE_BID]
    world.agree()
    assert not several.leave("eth7", at(world.time))


def test_traffic_leaves_an_uplink_whose_signal_is_weak_until_it_is_good_again() -> None:
    world = settled(WLAN, LTE)
    several = world.node.multihoming
    assert several is not None
    several.signal("wlan0", at(world.time), weak=True)
    world.drain()
    assert world.preference == (LTE_BID, WLAN_BID)
    world.wait(1.0)
    several.give_back("wlan0", at(world.time))  # what nobody had asked to leave is not given back
    world.wait(1.0)
    assert world.preference == (LTE_BID, WLAN_BID)
    world.agree()
    several.signal("wlan0", at(world.time), weak=False)
    world.wait(1.0)
    assert world.preference == (WLAN_BID, LTE_BID)
    world.agree()


def test_a_weak_signal_is_known_before_the_uplink_is_one() -> None:
    world = settled(LTE)
    several = world.node.multihoming
    assert several is not None
    several.signal("wlan0", at(world.time), weak=True)
    world.move(WLAN, LTE)
    world.wait(1.0)
    assert world.preference == (LTE_BID, WLAN_BID)
    world.agree()


def test_an_uplink_that_was_left_and_came_back_is_used_again() -> None:
    world = settled(WLAN, LTE)
    several = world.node.multihoming
    assert several is not None
    several.leave("wlan0", at(world.time))
    world.drain()
    world.wait(1.0)
    world.move(LTE)
    world.wait(1.0)
    assert list(world.agent.bindings) == [LTE_BID]
    world.move(WLAN, LTE)
    world.wait(1.0)
    assert world.agent.order == [WLAN_BID, LTE_BID]
    world.agree()


def test_traffic_leaves_an_address_before_its_end() -> None:
    world = settled(replace(WLAN, valid_until=200.0), LTE)
    world.run(184.9)
    assert world.preference == (WLAN_BID, LTE_BID)
    world.run(186.0)
    assert world.preference == (LTE_BID, WLAN_BID)
    world.agree()
    world.run(200.0)
    assert list(world.agent.bindings) == [LTE_BID]


def test_an_uplink_for_emergencies_is_registered_but_not_used_unless_alone() -> None:
    world = settled(SAT, NATED)
    assert world.preference == (NATED_BID, SAT_BID)
    world.move(SAT)
    world.wait(1.0)
    assert world.preference == (SAT_BID,)
    assert world.agent.order == [SAT_BID]


# Links that go ----------------------------------------------------------------------------------------------


def test_cable_pull_removes_the_binding_in_one_update_over_another_path() -> None:
    world = settled()
    before = len(world.sent)
    world.move(LTE, NATED)
    assert world.preference == (LTE_BID, NATED_BID)
    assert len(world.sent) == before + 1
    assert world.last.update.lifetime == 0
    assert [one.bid for one in identifiers(world)] == [WLAN_BID]
    assert world.last.action.interface == "wwan0"
    world.wait(1.0)
    assert world.agent.order == [LTE_BID, NATED_BID]
    world.agree()
    assert len(world.sent) == before + 1


def test_removal_over_a_nated_path_is_signed_for_the_home_address() -> None:
    world = settled(WLAN, NATED)
    world.move(NATED)
    world.wait(1.0)
    assert isinstance(world.last.action, SendDatagram)
    assert list(world.agent.bindings) == [NATED_BID]
    world.agree()


def test_the_last_uplink_gone_and_back() -> None:
    world = settled(WLAN)
    world.move()
    world.wait(5.0)
    assert world.node.state(at(world.time)) is MobileNodeState.DETACHED
    assert world.preference == ()
    world.move(LTE)
    world.wait(1.0)
    assert world.agent.order == [LTE_BID]
    world.agree()


def test_silent_death_is_found_out_within_three_probe_intervals() -> None:
    for offset in range(10):
        world = settled(WLAN, LTE)
        keep_using(world, 1.0, WLAN_BID)
        world.wait(offset / 100)
        died = world.time
        world.dead.add("wlan0")
        keep_using(world, 1.0, WLAN_BID)
        assert moved_after(world, died) <= 0.3
        assert world.preference == (LTE_BID, WLAN_BID)
        assert world.agent.order == [LTE_BID, WLAN_BID]


def test_probes_vouch_for_less_than_three_intervals_while_in_use() -> None:
    world = settled(WLAN, LTE)
    keep_using(world, 2.0, WLAN_BID)
    holds = {payload.bid: payload.hold for _, payload in world.probes}
    assert 200 <= holds[WLAN_BID] < 300
    assert holds[LTE_BID] >= 2000
    rate = [time for time, payload in world.probes if payload.bid == WLAN_BID and time > world.time - 1.0]
    assert 9 <= len(rate) <= 11


def test_a_process_that_hands_over_leaves_no_path_to_fall_silent() -> None:
    world = settled(WLAN, LTE)
    several = world.node.multihoming
    assert several is not None
    several.rest(at(world.time))
    world.drain()
    assert {payload.bid: payload.hold for _, payload in world.probes[-2:]} == {WLAN_BID: 0, LTE_BID: 0}


def test_a_single_loss_moves_nothing() -> None:
    world = settled(WLAN, LTE)
    keep_using(world, 1.0, WLAN_BID)
    world.dead.add("wlan0")
    world.wait(0.1)
    world.dead.clear()
    keep_using(world, 2.0, WLAN_BID)
    assert not world.kinds("path-health")
    assert world.preference == (WLAN_BID, LTE_BID)


def test_idle_paths_are_probed_slowly_and_metered_ones_hardly_ever() -> None:
    world = settled(LTE, SAT)
    world.wait(120.0)
    begin = world.time
    world.wait(60.0)
    count = {
        bid: sum(p.bid == bid and time > begin for time, p in world.probes) for bid in (LTE_BID, SAT_BID)
    }
    assert 58 <= count[LTE_BID] <= 62
    assert 1 <= count[SAT_BID] <= 3


def test_the_way_back_is_slow_and_slower_each_time() -> None:
    world = settled(WLAN, LTE)
    absences = []
    for _ in range(4):
        keep_using(world, 1.0, WLAN_BID)
        world.dead.add("wlan0")
        keep_using(world, 1.0, LTE_BID)
        assert world.preference == (LTE_BID, WLAN_BID)
        world.dead.clear()
        begin = world.time
        while world.preference != (WLAN_BID, LTE_BID):
            keep_using(world, 0.5, LTE_BID)
            assert world.time < begin + 100.0
        absences.append(world.time - begin)
    assert absences[0] >= 1.0
    assert absences[-1] > 2 * absences[0]
    world.wait(1.0)
    world.agree()


def test_everything_silent_keeps_the_paths_and_finds_back() -> None:
    world = settled(WLAN, LTE)
    keep_using(world, 1.0, WLAN_BID)
    world.dead |= {"wlan0", "wwan0"}
    keep_using(world, 20.0, WLAN_BID)
    assert set(world.preference) == {WLAN_BID, LTE_BID}
    assert set(world.paths) == {WLAN_BID, LTE_BID}
    world.dead.clear()
    keep_using(world, 100.0, LTE_BID)
    world.agree()
    assert world.preference == (WLAN_BID, LTE_BID)


def test_a_home_agent_that_lost_everything_is_told_again() -> None:
    world = settled()
    keep_using(world, 1.0, WLAN_BID)
    world.agent.restart()
    keep_using(world, 100.0, WLAN_BID)
    world.agree()


def test_a_home_agent_that_reflects_no_probes_is_not_taken_for_dead() -> None:
    world = MultihomedWorld()
    world.agent.extensions = None
    world.move(WLAN, LTE)
    keep_using(world, 30.0, WLAN_BID)
    world.agree()
    assert not world.kinds("path-health")
    assert len([time for time, _ in world.probes if time > 25.0]) < 3


def test_a_home_agent_silent_over_all_uplinks_is_left_for_another() -> None:
    other = HomeAgentAddress(IPv6Address("2001:db8:100::2"))
    world = MultihomedWorld(replace(MULTIHOMED, other_home_agents=(other,)))
    world.dead |= {"wlan0", "wwan0"}
    world.move(WLAN, LTE)
    world.wait(60.0)
    assert world.kinds("home-agent")


def test_ipv6_that_carries_no_updates_is_left_for_ipv4_of_the_same_interface() -> None:
    ipv4 = replace(NATED, interface="wlan0", ifindex=WLAN.ifindex, network="wlan4")
    world = MultihomedWorld(lose=lambda: False)
    world.move(WLAN, ipv4, LTE)
    world.wait(1.0)
    assert world.agent.bindings[WLAN_BID].care_of == WLAN.address
    world.move(ipv4, LTE)
    world.wait(1.0)
    assert world.agent.bindings[WLAN_BID].care_of == ipv4.address
    world.agree()


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
