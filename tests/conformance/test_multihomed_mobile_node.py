"""Rows of a mobile node with several uplinks: RFC 5648, the engine and a home agent that the test plays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from home_and_foreign_world import AT_HOME, HOME_BID, MAC, WITH_HOME, HomeWorld
from mobile_node_bench import HOME_ADDRESS, HOME_AGENT, Bench, Sent, at, only
from multihomed_world import LTE, LTE_BID, NATED, NATED_BID, POLICY, WLAN, WLAN_BID, MultihomedWorld, settled

from dsmip.core.actions import InstallPath, SendDatagram, SettleHome, ShareHome
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.types import TunnelFormat
from dsmip.wire.constants import BUFlag
from dsmip.wire.fasthandoveroptions import MHLinkLayerAddress
from dsmip.wire.messages import BindingRefreshRequest, encode_message
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import AlternateCareOfAddress, IPv4CareOfAddress, find, find_all
from dsmip.wire.packet import encode_packet


def identifiers(sent: Sent) -> tuple[BindingIdentifier, ...]:
    return find_all(sent.update.options, BindingIdentifier)


@pytest.mark.row("MMN-BU-001")
def test_mmn_bu_001_the_first_one_overwrites() -> None:
    world = settled()
    assert [bool(sent.update.flags & BUFlag.O) for sent in world.sent] == [True, False, False]
    world.wait(600.0)
    assert not any(sent.update.flags & BUFlag.O for sent in world.sent[1:])


@pytest.mark.row("MMN-BU-002")
def test_mmn_bu_002_an_identifier_for_each_care_of_address() -> None:
    world = settled()
    assert [identifiers(sent) for sent in world.sent] == [
        (BindingIdentifier(bid, priority=identifiers(sent)[0].priority, care_of=care_of.address),)
        for sent, bid, care_of in zip(
            world.sent, (WLAN_BID, LTE_BID, NATED_BID), (WLAN, LTE, NATED), strict=True
        )
    ]
    for sent in world.sent:
        assert find(sent.update.options, AlternateCareOfAddress) is None
        assert find(sent.update.options, IPv4CareOfAddress) is None
    world.move(LTE)
    world.wait(1.0)
    world.move(LTE, WLAN)
    world.wait(1.0)
    assert set(world.agent.bindings) == {WLAN_BID, LTE_BID}


@pytest.mark.row("MMN-BU-003")
def test_mmn_bu_003_one_series_of_sequence_numbers() -> None:
    world = settled()
    world.wait(1200.0)
    numbers = [sent.update.sequence for sent in world.sent]
    assert len(numbers) > 6
    assert numbers == [(numbers[0] + place) % 0x10000 for place in range(len(numbers))]


@pytest.mark.row("MMN-BU-004")
def test_mmn_bu_004_a_plain_binding_is_in_the_way() -> None:
    world = settled(WLAN, LTE)
    world.agent.restart()
    world.agent.plain = WLAN.address
    before = len(world.sent)
    world.wait(600.0)
    assert any(sent.update.flags & BUFlag.O for sent in world.sent[before:])
    assert world.agent.plain is None
    world.agree()


@pytest.mark.row("MMN-BU-005")
@pytest.mark.parametrize("status", [None, 166])
def test_mmn_bu_005_one_plain_binding(status: int | None) -> None:
    world = MultihomedWorld()
    world.agent.knows_bids = status is not None
    world.agent.refuses = {} if status is None else {WLAN_BID: status, LTE_BID: status}
    world.move(WLAN, LTE)
    world.wait(5.0)
    assert world.agent.plain == WLAN.address
    before = len(world.sent)
    world.move(LTE)
    world.wait(700.0)
    assert world.agent.plain == LTE.address
    assert not any(identifiers(sent) for sent in world.sent[before:])


@pytest.mark.row("MMN-BU-006")
def test_mmn_bu_006_no_bulk_registrations() -> None:
    world = settled()
    update = world.agent.update
    world.agent.update = lambda sent: (  # type: ignore[method-assign]
        (168, tuple(BindingIdentifier(one.bid) for one in identifiers(sent)))
        if len(identifiers(sent)) > 1
        else update(sent)
    )
    several = world.node.multihoming
    assert several is not None
    several.leave("wlan0", at(world.time))
    world.drain()
    world.wait(3.0)
    assert world.agent.order[0] == LTE_BID
    before = len(world.sent)
    several.give_back("wlan0", at(world.time))
    world.drain()
    world.wait(700.0)
    assert world.agent.order[0] == WLAN_BID
    assert all(len(identifiers(sent)) == 1 for sent in world.sent[before:] if sent.update.lifetime)


@pytest.mark.row("MMN-BU-007")
def test_mmn_bu_007_a_status_for_each() -> None:
    world = MultihomedWorld()
    world.agent.refuses = {LTE_BID: 130}
    world.move(WLAN, LTE)
    world.wait(2.0)
    assert set(world.agent.bindings) == {WLAN_BID}
    assert [event.fields["status"] for event in world.kinds("binding-refused")][:1] == [130]
    world.agent.refuses = {}
    world.wait(60.0)
    world.agree()
    assert set(world.agent.bindings) == {WLAN_BID, LTE_BID}


@pytest.mark.row("MMN-BU-008")
def test_mmn_bu_008_named_by_its_identifier_only() -> None:
    world = settled()
    for lost in (WLAN_BID, LTE_BID):
        del world.agent.bindings[lost]
    before = len(world.sent)
    # The other way round: some of them are named in bulk, by number.
    interfaces = tuple(
        replace(one, choice=replace(one.choice, preference=100 - one.choice.preference))
        for one in POLICY.interfaces
    )
    world.node.use_policy(replace(POLICY, interfaces=interfaces), at(world.time))
    world.drain()
    world.wait(2.0)
    bulk, *again = world.sent[before:]
    unknown = {one.bid for one in identifiers(bulk) if one.care_of is None}
    assert unknown
    named = {one.bid: one.care_of for sent in again for one in identifiers(sent) if one.care_of is not None}
    assert all(named[bid] == {WLAN_BID: WLAN, LTE_BID: LTE}[bid].address for bid in unknown)
    assert unknown <= set(world.agent.bindings)


@pytest.mark.row("MMN-BU-009")
def test_mmn_bu_009_a_binding_refresh_request() -> None:
    world = settled()
    world.wait(20.0)
    before = len(world.sent)
    header = encode_message(BindingRefreshRequest((BindingIdentifier(WLAN_BID),)), HOME_AGENT, HOME_ADDRESS)
    packet = encode_packet(HOME_AGENT, WLAN.address, header, routing_home_address=HOME_ADDRESS)  # type: ignore[arg-type]
    world.node.receive(packet, at(world.time))
    world.drain()
    world.wait(1.0)
    named = {one.bid for sent in world.sent[before:] for one in identifiers(sent)}
    assert named == {WLAN_BID, LTE_BID, NATED_BID}


@pytest.mark.row("MMN-BU-010")
def test_mmn_bu_010_renewed_in_time() -> None:
    world = settled()
    last = dict.fromkeys((WLAN_BID, LTE_BID, NATED_BID), world.time)
    before = len(world.sent)
    world.wait(3000.0)
    for sent in world.sent[before:]:
        for one in identifiers(sent):
            assert sent.time - last[one.bid] < 600.0
            last[one.bid] = sent.time
    assert min(last.values()) > world.time - 600.0


@pytest.mark.row("MMN-DR-001")
def test_mmn_dr_001_one_that_is_gone() -> None:
    world = settled()
    before = len(world.sent)
    world.move(LTE, NATED)
    [sent] = world.sent[before:]
    assert not sent.update.lifetime
    assert [one.bid for one in identifiers(sent)] == [WLAN_BID]
    assert sent.packet.source == LTE.address
    world.wait(1.0)
    assert set(world.agent.bindings) == {LTE_BID, NATED_BID}


@pytest.mark.row("MMN-DR-002")
def test_mmn_dr_002_at_home_and_nowhere_else() -> None:
    world = HomeWorld()
    world.be(WLAN, LTE, home=None)
    world.wait(2.0)
    before = len(world.sent)
    world.be()
    [sent] = world.sent[before:]
    assert not sent.update.lifetime
    assert identifiers(sent) == ()
    assert sent.packet.source == HOME_ADDRESS
    world.wait(1.0)
    assert world.agent.binding is None
    assert world.node.state(at(world.time)) is MobileNodeState.AT_HOME


@pytest.mark.row("MMN-V4-001")
def test_mmn_v4_001_an_ipv4_care_of_address() -> None:
    world = settled(WLAN)
    before = len(world.sent)
    world.move(WLAN, NATED)
    [sent] = world.sent[before:]
    assert isinstance(sent.action, SendDatagram)
    assert [(one.bid, one.care_of) for one in identifiers(sent)] == [(NATED_BID, NATED.address)]
    assert find(sent.update.options, IPv4CareOfAddress) is None
    assert (sent.packet.source, sent.packet.destination) == (HOME_ADDRESS, HOME_AGENT)


@pytest.mark.row("MMN-HL-001")
def test_mmn_hl_001_the_home_link_beside_others() -> None:
    world = HomeWorld()
    world.be(WLAN, LTE, home=None)
    world.wait(2.0)
    before = len(world.sent)
    world.be(LTE)
    world.wait(2.0)
    there = [sent for sent in world.sent[before:] if sent.action.interface == AT_HOME.interface]
    sent = there[0]
    [identifier] = identifiers(sent)
    assert identifier.home
    assert identifier.care_of == HOME_ADDRESS
    assert sent.update.lifetime
    assert find(sent.update.options, MHLinkLayerAddress) == MHLinkLayerAddress(2, MAC)
    assert world.home_bound
    assert world.bound == {HOME_BID, LTE_BID}


def abroad() -> Bench:
    """Registered on one link, by hand."""
    bench = Bench(WITH_HOME)
    bench.attach(0.0, LTE)
    bench.answer(time=0.1, options=(BindingIdentifier(LTE_BID),), care_of=LTE.address)
    return bench


@pytest.mark.row("MMN-HL-002")
@pytest.mark.parametrize("status", [0, 5])
def test_mmn_hl_002_neighbour_discovery_on_the_home_link(status: int) -> None:
    bench = abroad()
    actions = bench.attach(1.0, LTE, home=AT_HOME)
    assert only(actions, ShareHome) == []
    options = (BindingIdentifier(HOME_BID),)
    actions = bench.answer(time=1.1, status=status, options=options, care_of=HOME_ADDRESS)
    assert only(actions, ShareHome) == ([] if status else [ShareHome(AT_HOME)])
    [installed] = only(actions, InstallPath)
    assert (installed.path.format, installed.path.next_hop) == (TunnelFormat.LINK, AT_HOME.router)


@pytest.mark.row("MMN-HL-003")
def test_mmn_hl_003_kept_and_left() -> None:
    world = HomeWorld()
    world.be(LTE, NATED, home=None)
    world.wait(2.0)
    world.be(LTE, NATED)
    world.wait(2.0)
    before = len(world.sent)
    world.wait(1000.0)
    others = [sent for sent in world.sent[before:] if sent.action.interface != AT_HOME.interface]
    assert others
    assert all(any(one.home for one in identifiers(sent)) for sent in others)
    assert world.home_bound
    before = len(world.sent)
    world.be(LTE, NATED, home=None)
    sent = world.sent[before]
    assert sent.update.lifetime
    assert not any(one.home for one in identifiers(sent))
    world.wait(1.0)
    assert not world.home_bound


@pytest.mark.row("MMN-HL-004")
@pytest.mark.parametrize("status", [169, None])
def test_mmn_hl_004_not_beside_others(status: int | None) -> None:
    bench = abroad()
    bench.attach(1.0, LTE, home=AT_HOME)
    if status is None:
        bench.answer(time=1.1, care_of=HOME_ADDRESS)
    else:
        options = (BindingIdentifier(HOME_BID),)
        bench.answer(time=1.1, status=status, options=options, care_of=HOME_ADDRESS)
    assert not bench.last.update.lifetime
    assert identifiers(bench.last) == ()
    assert only(bench.answer(time=1.2), SettleHome) == [SettleHome(AT_HOME, acknowledged=True)]
