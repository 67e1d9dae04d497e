"""Rows of a mobile node with several uplinks: RFC 6089 and RFC 6088, flows."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network

import pytest
from mobile_node_bench import Sent, at
from multihomed_world import (
    LTE,
    LTE_BID,
    MULTIHOMED,
    NATED,
    NATED_BID,
    POLICY,
    WLAN,
    WLAN_BID,
    MultihomedWorld,
    settled,
)

from dsmip.core.flow_selectors import FlowDescription
from dsmip.core.mobile_node.policy import FlowPolicy, InterfacePolicy, UplinkChoice
from dsmip.wire.flows import FlowIdentification, FlowSummary
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import find_all
from dsmip.wire.trafficselectors import IPv6TrafficSelector

REMOTE = IPv6Network("2001:db8:b::/48")
VIDEO = FlowPolicy("video", FlowDescription(protocol=(17, 17), remote_ports=(5004, 5010)), ("wwan0", "wlan0"))
BACKUP = FlowPolicy("backup", FlowDescription(remote=REMOTE), ("lte1",))
FLOWS = replace(POLICY, flows=(VIDEO, BACKUP))
WITH_FLOWS = replace(MULTIHOMED, multihoming=FLOWS)


def with_flows() -> MultihomedWorld:
    world = settled(WLAN, LTE, NATED, config=WITH_FLOWS)
    assert {flow.bids for flow in world.agent.flows.values()} == {(LTE_BID,), (NATED_BID,)}
    return world


def described(sent: Sent) -> dict[int, FlowIdentification]:
    return {flow.fid: flow for flow in find_all(sent.update.options, FlowIdentification)}


def kept(sent: Sent) -> set[int]:
    return {fid for summary in find_all(sent.update.options, FlowSummary) for fid in summary.fids}


def fid_of(world: MultihomedWorld, name: str) -> int:
    several = world.node.multihoming
    assert several is not None
    return next(fid for fid in world.agent.flows if several.arranger.flow_name(fid) == name)


@pytest.mark.row("MMN-FL-001")
def test_mmn_fl_001_priorities_of_care_of_addresses() -> None:
    world = settled()
    assert all(
        one.priority
        for sent in world.sent
        if sent.update.lifetime
        for one in find_all(sent.update.options, BindingIdentifier)
    )
    assert world.agent.order == list(world.preference) == [WLAN_BID, LTE_BID, NATED_BID]
    several = world.node.multihoming
    assert several is not None
    other = InterfacePolicy("lte1", UplinkChoice(preference=5))
    interfaces = (*(one for one in POLICY.interfaces if one.name != "lte1"), other)
    world.node.use_policy(replace(POLICY, interfaces=interfaces), at(world.time))
    world.drain()
    world.wait(1.0)
    assert world.agent.order == list(world.preference) == [NATED_BID, WLAN_BID, LTE_BID]


@pytest.mark.row("MMN-FL-002")
def test_mmn_fl_002_new_flows() -> None:
    world = with_flows()
    registered: set[int] = set()
    new: dict[int, FlowIdentification] = {}
    for sent in world.sent:
        registered |= {one.bid for one in find_all(sent.update.options, BindingIdentifier)}
        for flow in described(sent).values():
            assert flow.fid not in kept(sent)
            assert flow.status == 0
            assert set(flow.bids) <= registered
            new.setdefault(flow.fid, flow)
    assert len(new) == 2
    assert len({flow.priority for flow in new.values()}) == 2
    assert all(flow.fid and flow.priority and flow.bids for flow in new.values())
    video, backup = new[fid_of(world, "video")], new[fid_of(world, "backup")]
    assert video.priority < backup.priority
    assert isinstance(video.selector, IPv6TrafficSelector)
    # From the correspondent to the mobile node.
    assert (video.selector.next_header, video.selector.source_port) == ((17, 17), (5004, 5010))
    assert isinstance(backup.selector, IPv6TrafficSelector)
    assert backup.selector.source == (REMOTE[0], REMOTE[-1])
    assert backup.selector.destination is None


@pytest.mark.row("MMN-FL-003")
def test_mmn_fl_003_every_flow_in_every_update() -> None:
    world = with_flows()
    fids = {fid_of(world, "video"), fid_of(world, "backup")}
    before = len(world.sent)
    world.wait(1500.0)
    assert len(world.sent) > before
    assert all(kept(sent) == fids and not described(sent) for sent in world.sent[before:])
    several = world.node.multihoming
    assert several is not None
    before = len(world.sent)
    several.leave("wwan0", at(world.time))
    world.drain()
    [sent] = world.sent[before:]
    moved = described(sent)[fid_of(world, "video")]
    assert (moved.bids, moved.selector) == ((WLAN_BID,), None)
    assert kept(sent) == {fid_of(world, "backup")}
    world.wait(1.0)
    world.agree()


@pytest.mark.row("MMN-FL-004")
def test_mmn_fl_004_a_flow_that_is_no_more() -> None:
    world = with_flows()
    gone = fid_of(world, "video")
    before = len(world.sent)
    world.node.use_policy(replace(FLOWS, flows=(BACKUP,)), at(world.time))
    world.drain()
    [sent] = world.sent[before:]
    assert kept(sent) | set(described(sent)) == {fid_of(world, "backup")}
    world.wait(1.0)
    assert gone not in world.agent.flows
    world.agree()


@pytest.mark.row("MMN-FL-005")
def test_mmn_fl_005_all_flows_move_in_the_update_that_removes() -> None:
    world = with_flows()
    before = len(world.sent)
    world.move(WLAN, NATED)
    [sent] = world.sent[before:]
    assert not sent.update.lifetime
    assert [one.bid for one in find_all(sent.update.options, BindingIdentifier)] == [LTE_BID]
    assert described(sent)[fid_of(world, "video")].bids == (WLAN_BID,)
    assert kept(sent) == {fid_of(world, "backup")}
    world.wait(1.0)
    world.agree()


@pytest.mark.row("MMN-FL-006")
def test_mmn_fl_006_a_home_agent_without_flows() -> None:
    world = MultihomedWorld(WITH_FLOWS)
    world.agent.knows_flows = False
    world.move(WLAN, LTE, NATED)
    world.wait(3.0)
    world.agree()
    assert set(world.agent.bindings) == {WLAN_BID, LTE_BID, NATED_BID}
    assert [event.kind for _, event in world.events].count("flows-not-supported") == 1
    before = len(world.sent)
    world.wait(1500.0)
    assert not any(described(sent) or kept(sent) for sent in world.sent[before:])
    # What we send takes the way that the policy wants.
    assert {rule.bids for rule in world.rules} == {(LTE_BID,), (NATED_BID,)}


@pytest.mark.row("MMN-FL-007")
def test_mmn_fl_007_forgotten_flows() -> None:
    world = with_flows()
    lost = fid_of(world, "video")
    del world.agent.flows[lost]
    before = len(world.sent)
    world.wait(700.0)
    again = [described(sent)[lost] for sent in world.sent[before:] if lost in described(sent)]
    assert again
    assert again[0].selector is not None
    world.agree()


@pytest.mark.row("MMN-FL-007")
def test_mmn_fl_007_refused_flows() -> None:
    world = MultihomedWorld(WITH_FLOWS)
    flows = world.agent._flows

    def refuse(sent: Sent) -> list[FlowIdentification]:
        return [
            FlowIdentification(
                answer.fid, answer.priority, status=129 if answer.bids == () else answer.status
            )
            for answer in flows(sent)
        ]

    world.agent._flows = refuse  # type: ignore[method-assign]
    world.move(WLAN, LTE, NATED)
    world.wait(3.0)
    assert set(world.agent.bindings) == {WLAN_BID, LTE_BID, NATED_BID}
    assert {event.fields["status"] for event in world.kinds("flow-refused")} == {129}
    before = len(world.sent)
    world.wait(20.0)
    assert len(world.sent) - before <= 1  # nothing is asked for again and again


@pytest.mark.row("MMN-FL-008")
def test_mmn_fl_008_the_other_direction() -> None:
    world = with_flows()
    video, backup = world.rules
    assert isinstance(video.selector, IPv6TrafficSelector)
    assert (video.selector.destination_port, video.selector.source_port) == ((5004, 5010), None)
    assert isinstance(backup.selector, IPv6TrafficSelector)
    assert backup.selector.destination == (REMOTE[0], REMOTE[-1])
    assert (video.bids, backup.bids) == ((LTE_BID,), (NATED_BID,))
