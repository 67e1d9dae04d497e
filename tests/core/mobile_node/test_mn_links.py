"""Several uplinks: moves that lose nothing, links that die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address

from mobile_node_bench import at, only
from multihomed_world import (
    LTE,
    LTE_BID,
    MULTIHOMED,
    NATED,
    NATED_BID,
    SAT,
    SAT_BID,
    WLAN,
    WLAN_BID,
    MultihomedWorld,
    Sent,
    identifiers,
    keep_using,
    moved_after,
    settled,
)

from dsmip.core.actions import RemovePath, SendDatagram, SendIPv4, SendPacket
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.mobile_node.home_agents import HomeAgentAddress
from dsmip.wire.pathprobe import ProbePayload

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


def test_a_lease_of_half_a_minute_that_is_renewed_moves_no_traffic() -> None:
    world = settled(replace(WLAN, valid_until=30.0), LTE)
    for renewal in range(1, 5):
        world.run(15.0 * renewal + 0.5)  # asked for at half its time, and granted
        assert world.preference == (WLAN_BID, LTE_BID)
        world.move(replace(WLAN, valid_until=15.0 * renewal + 30.0), LTE)
    world.agree()


def test_traffic_leaves_an_address_before_its_end() -> None:
    world = settled(replace(WLAN, valid_until=200.0), LTE)
    world.run(194.9)
    assert world.preference == (WLAN_BID, LTE_BID)
    world.run(196.0)
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


class _Echoing(MultihomedWorld):
    """A home agent that reflects nothing: its kernel answers echoes over the path it prefers. On `deaf`
    interfaces packets leave, and none come back."""

    def __init__(self) -> None:
        super().__init__()
        self.agent.extensions = None
        self.deaf: set[str] = set()
        self._back = False

    def _later(self, interface: str, what: Callable[[], None]) -> None:
        if not (self._back and interface in self.deaf):
            super()._later(interface, what)

    def _update_arrives(self, sent: Sent) -> None:
        self._back = True
        super()._update_arrives(sent)
        self._back = False

    def _probe_arrives(self, action: SendPacket | SendDatagram | SendIPv4, payload: ProbePayload) -> None:
        if payload.bid not in self.agent.bindings:
            return
        over = {WLAN_BID: "wlan0", LTE_BID: "wwan0"}[self.agent.order[0]]
        self._back = True
        data = payload.encode()
        self._later(
            over, lambda: self.node.echo_reply(payload.bid, payload.sequence & 0xFFFF, at(self.time), data)
        )
        self._back = False


def test_an_answer_that_may_have_come_over_another_path_brings_none_back() -> None:
    """It shows that the home agent heard the probe, not that anything comes back over the path."""
    world = _Echoing()
    world.move(WLAN, LTE)
    keep_using(world, 1.0, WLAN_BID)
    assert world.preference == (WLAN_BID, LTE_BID)
    world.deaf.add("wlan0")
    keep_using(world, 100.0, LTE_BID)
    assert world.preference == (LTE_BID, WLAN_BID)
    told = [event.fields["health"] for event in world.kinds("path-health") if event.fields["bid"] == WLAN_BID]
    assert told == ["silent"]
    world.deaf.clear()
    keep_using(world, 100.0, LTE_BID)
    assert world.preference == (WLAN_BID, LTE_BID)
    world.agree()
