"""A mobile node with several uplinks and the real home agent: planned, pulled, silent moves, flows, a NAT."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv6Network

import pytest
from mobile_node_bench import at
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
)
from real_home_agent_world import CONFIG, OUTSIDE, RealWorld

from dsmip.core.flow_selectors import FlowDescription
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.engine import MobileNode, MobileNodeState
from dsmip.core.mobile_node.policy import FlowPolicy, Probing
from dsmip.core.network_memory import Encapsulation, NetworkMemory
from dsmip.core.types import TunnelFormat, UdpEndpoint
from dsmip.wire.extensions import Extensions
from dsmip.wire.flows import FlowIdentification, FlowSummary
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import find, find_all

VIDEO = FlowPolicy("video", FlowDescription(protocol=(17, 17), remote_ports=(5004, 5010)), ("lte1", "wwan0"))
VOICE = FlowPolicy("voice", FlowDescription(protocol=(17, 17), dscp=(46, 46)), duplicate=2)
BULK = FlowPolicy("bulk", FlowDescription(remote=IPv6Network("2001:db8:b::/48")), use="cheapest")
WITH_FLOWS = replace(MULTIHOMED, multihoming=replace(POLICY, flows=(VIDEO, VOICE, BULK)))


def settled(config: MobileNodeConfig = MULTIHOMED, agent: HomeAgentConfig = CONFIG) -> RealWorld:
    world = RealWorld(config, agent)
    world.move(WLAN, LTE, NATED)
    world.wait(3.0)
    world.agree()
    return world


def keep_using(world: RealWorld, seconds: float, *bids: int) -> None:
    for _ in range(round(seconds / 0.1)):
        world.use(*bids)
        world.wait(0.1)


def where(world: RealWorld, name: str) -> set[tuple[int, ...]]:
    """The care-of addresses that the home agent sends a flow to."""
    several = world.node.multihoming
    assert several is not None
    return {flow.bids for fid, flow in world.agent.flows.items() if several.arranger.flow_name(fid) == name}


def test_three_uplinks_one_of_them_behind_a_nat() -> None:
    world = settled()
    binding = world.agent.binding
    assert binding is not None
    assert [one.bid for one in binding.care_ofs] == [WLAN_BID, LTE_BID, NATED_BID]
    assert binding.care_ofs[2].nat_source == UdpEndpoint(OUTSIDE, 40001)
    assert binding.extensions == Extensions.PROBES | Extensions.DUPLICATION
    assert len(world.sent) == 3


def test_what_was_told_and_taken_back_before_it_was_answered_is_told_again() -> None:
    """The home agent may have heard the first, whose answer does not count any more."""
    world = settled()
    several = world.node.multihoming
    assert several is not None
    for change in (several.leave, several.give_back):
        change("wlan0", at(world.time))
        world.drain()
        world.wait(0.001)
    world.wait(3.0)
    world.agree()
    assert world.agent.order == [WLAN_BID, LTE_BID, NATED_BID]


def test_pulled_and_plugged_in_again() -> None:
    world = settled()
    keep_using(world, 1.0, WLAN_BID)
    world.move(LTE, NATED)
    world.wait(1.0)
    world.agree()
    world.move(LTE, NATED, WLAN)
    world.wait(1.0)
    world.agree()
    assert world.agent.order[0] == WLAN_BID


def test_silent_death_and_the_way_back() -> None:
    world = settled()
    keep_using(world, 1.0, WLAN_BID)
    died = world.time
    world.dead.add("wlan0")
    keep_using(world, 1.0, WLAN_BID)
    assert world.agent.order == [LTE_BID, NATED_BID, WLAN_BID]
    moved = [time for time, event in world.events if event.kind == "arrangement" and time > died]
    assert moved[0] - died <= 0.3
    world.dead.clear()
    keep_using(world, 20.0, LTE_BID)
    assert world.agent.order == [WLAN_BID, LTE_BID, NATED_BID]
    world.agree()


def test_news_travel_over_the_nated_path_when_it_is_the_best_left() -> None:
    world = RealWorld()
    world.move(WLAN, NATED)
    world.wait(3.0)
    keep_using(world, 1.0, WLAN_BID)
    world.dead.add("wlan0")
    keep_using(world, 2.0, NATED_BID)
    assert world.agent.order == [NATED_BID, WLAN_BID]
    binding = world.agent.binding
    assert binding is not None
    assert binding.care_ofs[0].nat_source == UdpEndpoint(OUTSIDE, 40001)
    world.move(NATED)
    world.wait(2.0)
    assert world.agent.order == [NATED_BID]
    world.agree()


def test_a_nat_that_maps_anew_is_repaired_when_the_path_falls_silent() -> None:
    world = RealWorld()
    world.move(NATED, LTE)
    world.wait(3.0)
    world.port = 40002
    keep_using(world, 10.0, LTE_BID)
    binding = world.agent.binding
    assert binding is not None
    entry = binding.care_of_binding(NATED_BID)
    assert entry is not None
    assert entry.nat_source == UdpEndpoint(OUTSIDE, 40002)
    world.agree()


def test_a_path_in_protocol_41_that_falls_silent_is_tried_in_udp() -> None:
    memory = NetworkMemory()
    memory.remember_encapsulation(SAT.network, Encapsulation.IP_IN_IP, 0.0)
    world = RealWorld()
    world.node = MobileNode(MULTIHOMED, at(0.0), random.Random(1), memory)
    world.move(SAT, LTE)
    world.wait(0.1)
    [bid] = [bid for bid, path in world.paths.items() if path.format is TunnelFormat.IPV4]
    world.dead.add(SAT.interface)
    world.wait(120.0)
    world.dead.clear()
    world.wait(120.0)
    assert world.paths[bid].format is TunnelFormat.UDP4
    world.agree()


def test_rfc6089_flows_go_their_own_ways_and_move_in_one_update() -> None:
    world = settled(WITH_FLOWS)
    assert where(world, "video") == {(NATED_BID,)}
    assert where(world, "voice") == {(WLAN_BID, LTE_BID)}
    assert where(world, "bulk") == {(WLAN_BID,)}
    assert len(world.rules) == len(world.agent.flows)
    before = len(world.sent)
    world.move(WLAN, LTE)
    world.wait(1.0)
    assert len(world.sent) == before + 1
    update = world.last.update
    moved = find_all(update.options, FlowIdentification)
    assert {flow.bids for flow in moved} == {(LTE_BID,)}
    assert all(flow.selector is None for flow in moved)  # known already
    summary = find(update.options, FlowSummary)
    assert summary is not None
    assert set(summary.fids) | {flow.fid for flow in moved} == set(world.agent.flows)
    assert where(world, "video") == {(LTE_BID,)}
    world.agree()


def test_flows_leave_a_silent_path_with_everything_else() -> None:
    world = settled(WITH_FLOWS)
    keep_using(world, 1.0, WLAN_BID, NATED_BID)
    world.dead.add("lte1")
    keep_using(world, 1.0, WLAN_BID, NATED_BID)
    assert where(world, "video") == {(LTE_BID,)}
    world.dead.clear()
    keep_using(world, 20.0, WLAN_BID, LTE_BID)
    assert where(world, "video") == {(NATED_BID,)}
    world.agree()


def test_rfc6089_5_1_a_home_agent_that_lost_the_flows_is_told_again() -> None:
    world = settled(WITH_FLOWS)
    keep_using(world, 1.0, WLAN_BID)
    world.agent.restart()
    keep_using(world, 30.0, WLAN_BID)
    world.agree()
    assert where(world, "video") == {(NATED_BID,)}


def test_a_home_agent_without_flow_bindings_still_serves_all_uplinks() -> None:
    world = RealWorld(WITH_FLOWS, replace(CONFIG, flow_bindings=False))
    world.move(WLAN, LTE, NATED)
    world.wait(30.0)
    assert world.agent.order == [WLAN_BID, LTE_BID, NATED_BID]
    assert not world.agent.flows
    assert world.kinds("flows-not-supported") or world.kinds("flow-refused")
    assert world.rules  # what we send ourselves goes where the policy wants it
    assert len(world.sent) < 10


def test_a_home_agent_without_rfc5648_gets_one_binding() -> None:
    world = RealWorld(MULTIHOMED, replace(CONFIG, multiple_care_of_addresses=False))
    world.move(WLAN, LTE, NATED)
    world.wait(3.0)
    binding = world.agent.binding
    assert binding is not None
    assert not binding.multiple
    assert binding.care_of == WLAN.address
    assert world.kinds("single-binding")
    assert world.node.state(at(world.time)) is MobileNodeState.REGISTERED


def test_a_home_agent_that_prohibits_bulk_registration_is_told_one_by_one() -> None:
    world = RealWorld(MULTIHOMED, replace(CONFIG, bulk_registration=False))
    world.move(WLAN, LTE, NATED)
    world.wait(3.0)
    keep_using(world, 1.0, WLAN_BID)
    several = world.node.multihoming
    assert several is not None
    several.leave("wlan0", at(world.time))
    world.drain()
    world.wait(3.0)
    assert world.agent.order == [LTE_BID, NATED_BID, WLAN_BID]
    world.agree()


def test_a_flapping_uplink_costs_few_updates_and_no_disagreement() -> None:
    world = settled()
    before = len(world.sent)
    for _ in range(20):
        world.dead.add("wlan0")
        keep_using(world, 0.5, *world.preference[:1])
        world.dead.clear()
        keep_using(world, 1.0, *world.preference[:1])
    assert len(world.sent) - before < 60
    keep_using(world, 130.0, LTE_BID)
    world.agree()
    assert world.preference[0] == WLAN_BID


@pytest.mark.parametrize("seed", range(6))
def test_after_any_tour_with_any_loss_both_ends_agree(seed: int) -> None:
    rng = random.Random(seed)
    loss = [0.3]
    slow = replace(POLICY, flows=(VIDEO, VOICE, BULK), probing=Probing(0.1, 10.0, 60.0))
    config = replace(MULTIHOMED, multihoming=slow)
    world = RealWorld(config, lose=lambda: rng.random() < loss[0], latency=rng.choice([0.005, 0.05, 0.3]))
    uplinks = [WLAN, LTE, NATED, SAT]
    for _ in range(15):
        kind = rng.random()
        if kind < 0.5:
            world.move(*rng.sample(uplinks, rng.randrange(0, 5)))
        elif kind < 0.6:
            world.agent.restart()
        elif kind < 0.7:
            world.port += 1
        elif kind < 0.85:
            world.dead ^= {rng.choice(uplinks).interface}
        else:
            world.use(*world.preference[:1])
        world.wait(rng.choice([0.001, 0.05, 0.5, 3.0]))
    loss[0] = 0.0
    world.dead.clear()
    if not world.here:
        world.move(WLAN, NATED)
    world.wait(700.0)
    world.agree()
    assert world.node.state(at(world.time)) is MobileNodeState.REGISTERED
    assert set(world.agent.bindings) == {
        {"wlan0": WLAN_BID, "wwan0": LTE_BID, "lte1": NATED_BID, "sat0": 4}[one.interface]
        for one in world.here
    }
    for sent in world.sent:
        assert len(find_all(sent.update.options, BindingIdentifier)) <= 4
