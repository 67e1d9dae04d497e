"""On the home link and on others at once (RFC 5648 section 5.6), with the real home agent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from home_and_foreign_world import AT_HOME, HOME_BID, MAC, WITH_HOME, WITH_LINK, HomeWorld
from mobile_node_bench import HOME_ADDRESS, Bench, Sent, at, only
from multihomed_world import LTE, LTE_BID, NATED, NATED_BID, POLICY, WLAN, WLAN_BID

from dsmip.core.actions import InstallPath, SettleHome, ShareHome
from dsmip.core.flow_selectors import FlowDescription
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.mobile_node.policy import FlowPolicy
from dsmip.core.types import MobileNodeEntry, TunnelFormat
from dsmip.wire.constants import BUFlag
from dsmip.wire.fasthandoveroptions import MHLinkLayerAddress
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import find, find_all

VIDEO = FlowPolicy("video", FlowDescription(protocol=(17, 17), remote_ports=(5004, 5010)), ("wwan0",))
VOICE = FlowPolicy("voice", FlowDescription(protocol=(17, 17), dscp=(46, 46)), duplicate=2)


def abroad(config: MobileNodeConfig = WITH_HOME, agent: HomeAgentConfig = WITH_LINK) -> HomeWorld:
    """Registered on three links, none of which is the home link."""
    world = HomeWorld(config, agent)
    world.be(WLAN, LTE, NATED, home=None)
    world.wait(3.0)
    assert world.bound == {WLAN_BID, LTE_BID, NATED_BID}
    return world


def shared(config: MobileNodeConfig = WITH_HOME, agent: HomeAgentConfig = WITH_LINK) -> HomeWorld:
    """At home and on two others."""
    world = abroad(config, agent)
    world.be(LTE, NATED)
    world.wait(2.0)
    assert world.bound == {HOME_BID, LTE_BID, NATED_BID}
    assert world.home_bound
    return world


def identifiers(sent: Sent) -> dict[int, bool]:
    """Binding identifiers of an update, and whether they have the H flag."""
    return {one.bid: one.home for one in find_all(sent.update.options, BindingIdentifier)}


def bids_of(world: HomeWorld, name: str) -> set[tuple[int, ...]]:
    """Where the home agent sends a flow."""
    several = world.node.multihoming
    assert several is not None
    return {flow.bids for fid, flow in world.agent.flows.items() if several.arranger.flow_name(fid) == name}


def test_rfc5648_5_6_3_the_home_link_is_registered_beside_others() -> None:
    world = abroad()
    before = len(world.sent)
    world.be(WLAN, LTE, NATED)
    [sent] = world.sent[before:]
    [identifier] = find_all(sent.update.options, BindingIdentifier)
    assert (identifier.bid, identifier.home, identifier.care_of) == (HOME_BID, True, HOME_ADDRESS)
    assert sent.update.lifetime
    assert not sent.update.flags & BUFlag.O
    assert (sent.packet.source, sent.packet.home_address) == (HOME_ADDRESS, None)
    option = find(sent.update.options, MHLinkLayerAddress)
    assert option is not None
    assert (option.code, option.address) == (2, MAC)
    assert world.met == [AT_HOME]
    # Not before the acknowledgement.
    assert not world.on_link
    assert HOME_BID not in world.paths
    world.wait(1.0)
    assert world.on_link
    assert not world.native
    assert world.neighbors == [MAC]
    assert world.bound == {HOME_BID, WLAN_BID, LTE_BID, NATED_BID}
    assert world.home_bound
    assert world.paths[HOME_BID].format is TunnelFormat.LINK
    assert world.paths[HOME_BID].next_hop == AT_HOME.router
    assert world.preference[0] == world.agent.order[0] == HOME_BID
    assert world.node.state(at(world.time)) is MobileNodeState.REGISTERED
    assert [event.fields["step"] for event in world.kinds("home")] == ["sharing", "shared"]


def test_flows_use_both_by_policy() -> None:
    config = replace(WITH_HOME, multihoming=replace(WITH_HOME.multihoming or POLICY, flows=(VIDEO, VOICE)))
    world = shared(config)
    assert bids_of(world, "video") == {(LTE_BID,)}
    # A copy over the home link could not be told from another packet.
    assert bids_of(world, "voice") == {(LTE_BID, NATED_BID)}
    assert world.preference[0] == HOME_BID


def test_rfc5648_5_6_5_every_update_from_elsewhere_keeps_the_home_link() -> None:
    world = shared()
    before = len(world.sent)
    world.wait(1500.0)
    updates = world.sent[before:]
    assert {sent.action.interface for sent in updates} == {"wwan0", "lte1", AT_HOME.interface}
    assert all(identifiers(sent)[HOME_BID] for sent in updates)
    assert world.bound == {HOME_BID, LTE_BID, NATED_BID}
    assert world.home_bound
    ends = {one.bid: one.ends for one in (world.agent.binding or pytest.fail("unbound")).care_ofs}
    assert min(ends.values()) > world.time
    assert not any(
        binding is not None and not binding.at_home for binding in world.installed[-len(updates) :]
    )


def test_rfc5648_8_1_an_ipv4_address_begins_alone_and_the_home_link_is_registered_again() -> None:
    world = abroad()
    world.be(LTE)
    world.wait(2.0)
    before = len(world.sent)
    world.be(LTE, NATED)
    world.wait(2.0)
    first, again = world.sent[before : before + 2]
    assert identifiers(first) == {NATED_BID: False}
    assert identifiers(again) == {HOME_BID: True}
    assert world.bound == {HOME_BID, LTE_BID, NATED_BID}
    assert world.home_bound


def test_rfc5648_5_6_5_leaving_the_home_link() -> None:
    world = shared()
    before = len(world.sent)
    world.be(LTE, NATED, home=None)
    assert not world.on_link
    assert HOME_BID not in world.paths
    assert world.preference == (LTE_BID, NATED_BID)
    [sent] = world.sent[before:]
    # At once, with a lifetime and without the H flag.
    assert sent.update.lifetime
    assert identifiers(sent) == {LTE_BID: False}
    world.wait(1.0)
    world.agree()
    assert not world.home_bound
    assert world.bound == {LTE_BID, NATED_BID}
    assert [event.fields["step"] for event in world.kinds("home")][-1] == "left"


def test_the_home_link_is_left_for_another_network_on_the_same_interface() -> None:
    world = shared()
    elsewhere = replace(WLAN, interface=AT_HOME.interface, ifindex=AT_HOME.ifindex)
    world.be(LTE, NATED, elsewhere, home=None)
    world.wait(2.0)
    assert not world.home_bound
    assert world.agent.bindings[HOME_BID].care_of == WLAN.address
    world.agree()


def test_leaving_the_other_links_is_returning_home() -> None:
    world = shared()
    world.be()
    # While the home agent may still send there, the home link is one of its paths.
    assert world.on_link
    assert set(world.paths) == {HOME_BID}
    assert world.node.state(at(world.time)) is MobileNodeState.RETURNING_HOME
    assert not world.sent[-1].update.lifetime
    assert not identifiers(world.sent[-1])
    world.wait(1.0)
    assert world.agent.binding is None
    assert world.native
    assert world.paths == {}
    assert world.preference == ()
    assert world.node.state(at(world.time)) is MobileNodeState.AT_HOME


def test_one_of_the_other_links_goes_and_the_home_link_stays() -> None:
    world = shared()
    world.be(NATED)
    world.wait(1.0)
    assert world.bound == {HOME_BID, NATED_BID}
    assert world.home_bound
    assert world.on_link
    assert world.preference == (HOME_BID, NATED_BID)


def test_settled_at_home_and_another_link_comes() -> None:
    """Registered at home first: nothing else would tell the home agent that the home address is in use."""
    world = HomeWorld(agent=replace(WITH_LINK, dad=True))
    world.be()
    world.wait(1.0)
    assert world.node.state(at(world.time)) is MobileNodeState.AT_HOME
    before = len(world.sent)
    world.be(LTE, NATED)
    assert [identifiers(sent) for sent in world.sent[before:]] == [{HOME_BID: True}]
    assert world.sent[-1].update.flags & BUFlag.O
    assert world.on_link
    assert world.native
    assert world.paths == {}
    world.wait(2.0)
    assert world.bound == {HOME_BID, LTE_BID, NATED_BID}
    assert world.home_bound
    assert world.on_link
    assert set(world.paths) == {HOME_BID, LTE_BID, NATED_BID}
    world.be()
    world.wait(1.0)
    assert world.agent.binding is None
    assert world.native


def test_settled_at_home_and_the_home_agent_is_silent() -> None:
    world = HomeWorld()
    world.be()
    world.wait(1.0)
    world.dead.add(AT_HOME.interface)
    world.be(LTE)
    world.wait(5.0)
    assert world.on_link
    assert world.native
    assert world.paths == {}
    world.dead.clear()
    world.wait(40.0)
    assert world.bound == {HOME_BID, LTE_BID}
    assert world.home_bound


def test_everything_at_once_at_the_start() -> None:
    world = HomeWorld(agent=replace(WITH_LINK, dad=True))
    world.be(LTE, NATED)
    world.wait(3.0)
    assert world.bound == {HOME_BID, LTE_BID, NATED_BID}
    assert world.home_bound
    assert world.on_link


def test_the_home_link_reached_through_another_interface() -> None:
    world = shared()
    other = replace(AT_HOME, interface="eth9", ifindex=9)
    world.be(LTE, NATED, home=other)
    world.wait(2.0)
    assert world.home_bound
    assert world.on_link
    assert world.bound == {LTE_BID, NATED_BID, 6}  # RFC 5648 section 5.6.3: one home binding at a time


def test_another_router_on_the_home_link() -> None:
    world = shared()
    other = replace(AT_HOME, router=AT_HOME.router + 1 if AT_HOME.router is not None else None)
    world.be(LTE, NATED, home=other)
    assert world.paths[HOME_BID].next_hop == other.router
    assert world.on_link


@pytest.mark.parametrize(
    "agent", [replace(WITH_LINK, simultaneous_home=False), replace(WITH_LINK, home_link=False)]
)
def test_rfc5648_4_4_the_home_agent_prohibits_it(agent: HomeAgentConfig) -> None:
    world = abroad(agent=agent)
    world.be(LTE, NATED)
    world.wait(2.0)
    assert [event.fields["status"] for event in world.kinds("simultaneous-home-refused")] == [169]
    assert world.agent.binding is None
    assert world.native
    assert world.node.state(at(world.time)) is MobileNodeState.AT_HOME
    # Not tried again, whatever comes and goes.
    before = len(world.sent)
    world.be(LTE)
    world.wait(10.0)
    assert world.sent[before:] == []
    # Abroad all is as before.
    world.be(LTE, NATED, home=None)
    world.wait(2.0)
    assert world.bound == {LTE_BID, NATED_BID}


def test_no_bulk_registration_no_home_link_beside_others() -> None:
    """Every update has to name the home link (RFC 5648 section 5.6.5)."""
    world = abroad(agent=replace(WITH_LINK, bulk_registration=False))
    world.be(WLAN, LTE)
    world.wait(1500.0)
    assert world.native
    assert world.agent.binding is None


def test_rfc5648_5_5_1_the_policy_may_want_the_home_link_alone() -> None:
    policy = replace(WITH_HOME.multihoming or POLICY, simultaneous_home=False)
    world = abroad(replace(WITH_HOME, multihoming=policy))
    world.be(LTE, NATED)
    world.wait(1.0)
    assert world.agent.binding is None
    assert world.native
    world.node.use_policy(replace(policy, simultaneous_home=True), at(world.time))
    world.drain()
    world.wait(2.0)
    assert world.bound == {HOME_BID, LTE_BID, NATED_BID}
    assert world.home_bound
    world.node.use_policy(policy, at(world.time))
    world.drain()
    world.wait(2.0)
    assert world.agent.binding is None
    assert world.native


def test_rfc5648_6_3_neighbour_discovery_is_prohibited() -> None:
    """Status 5: registered, but not to be answered for on the home link."""
    bench = Bench(WITH_HOME)
    bench.attach(0.0, LTE)
    bench.answer(time=0.1, options=(BindingIdentifier(LTE_BID),), care_of=LTE.address)
    bench.attach(1.0, LTE, home=AT_HOME)
    answer = (BindingIdentifier(HOME_BID),)
    actions = bench.answer(time=1.1, status=5, options=answer, care_of=HOME_ADDRESS)
    [installed] = only(actions, InstallPath)
    assert (installed.bid, installed.path.format) == (HOME_BID, TunnelFormat.LINK)
    assert only(actions, ShareHome) == []
    # The home agent changes its mind with the next update, and back.
    bench.run(500.0)
    assert identifiers(bench.last) == {HOME_BID: True}
    actions = bench.answer(options=answer, care_of=HOME_ADDRESS)
    assert only(actions, ShareHome) == [ShareHome(AT_HOME)]


def test_rfc5648_6_3_no_binding_identifier_in_the_answer() -> None:
    """It was taken for a de-registration: the home link only."""
    bench = Bench(WITH_HOME)
    bench.attach(0.0, LTE)
    bench.answer(time=0.1, options=(BindingIdentifier(LTE_BID),), care_of=LTE.address)
    bench.attach(1.0, LTE, home=AT_HOME)
    bench.answer(time=1.1, care_of=HOME_ADDRESS)
    assert not bench.last.update.lifetime
    assert identifiers(bench.last) == {}
    actions = bench.answer(time=1.2, status=133)
    assert only(actions, SettleHome) == [SettleHome(AT_HOME, acknowledged=True)]


def test_the_home_agent_loses_everything() -> None:
    world = shared()
    world.agent.restart()
    world.wait(1500.0)
    assert world.home_bound
    assert world.bound == {HOME_BID, LTE_BID, NATED_BID}
    assert world.on_link


def test_the_home_agent_is_changed_under_way() -> None:
    """A new key: everything is registered anew, and the home link is taken up again."""
    world = shared()
    entry = world.agent.config.mobile_nodes[0]
    changed = replace(world.agent.config, mobile_nodes=(_with_key(entry, bytes(16)),))
    world.agent.engine.reconfigure(changed)
    world.node.rekey(key=bytes(16), spi=entry.spi, lifetime=600, now=at(world.time))
    world.drain()
    world.wait(3.0)
    assert world.home_bound
    assert world.bound == {HOME_BID, LTE_BID, NATED_BID}
    assert world.on_link


def _with_key(entry: MobileNodeEntry, key: bytes) -> MobileNodeEntry:
    return replace(entry, key=key)


def test_every_loss_of_signalling_is_mended() -> None:
    for lost in range(12):
        count = iter(range(1000))
        world = HomeWorld(lose=lambda count=count, lost=lost: next(count) == lost + 3)  # type: ignore[misc]
        world.be(WLAN, LTE, home=None)
        world.wait(5.0)
        world.be(LTE, NATED)
        world.wait(10.0)
        assert world.bound == {HOME_BID, LTE_BID, NATED_BID}, lost
        assert world.home_bound, lost
        world.be(LTE, NATED, home=None)
        world.wait(10.0)
        assert world.bound == {LTE_BID, NATED_BID}, lost
        assert not world.on_link
        world.agree()
