"""Networks that let nothing through: left for others, and told from a home agent that is down."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from mobile_node_bench import CAFE4, WIFI6, Bench, at
from mobile_node_world import Access, World
from multihomed_world import LTE, LTE_BID, MULTIHOMED, WLAN, WLAN_BID, MultihomedWorld

from dsmip.core.actions import Event
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.network_silence import FIRST_PAUSE, LONGEST_PAUSE, Silence


def cut_off(world: Bench) -> list[str]:
    """Interfaces whose network is known to let nothing through."""
    return [one.interface for one in (WLAN, LTE) if world.node.is_cut_off(one, at(world.time))]


def portal_on_wlan() -> MultihomedWorld:
    """The Wi-Fi swallows everything from the start, the modem works."""
    world = MultihomedWorld(MULTIHOMED)
    world.dead = {"wlan0"}
    world.move(WLAN, LTE)
    world.wait(12.0)
    return world


def test_one_of_two_uplinks_behind_a_portal() -> None:
    world = portal_on_wlan()
    assert cut_off(world) == ["wlan0"]
    assert [told.fields["interface"] for told in world.kinds("network-cut-off")] == ["wlan0"]
    assert world.preference[0] == LTE_BID
    assert set(world.agent.bindings) == {LTE_BID}


def test_after_the_log_in_the_uplink_is_used_again_by_itself() -> None:
    world = portal_on_wlan()
    world.dead.clear()
    world.wait(33.0)  # the longest retransmission timer
    assert cut_off(world) == []
    world.agree()
    assert world.preference[0] == WLAN_BID


def test_a_portal_that_closes_again_is_recognised() -> None:
    world = MultihomedWorld(MULTIHOMED)
    world.move(WLAN, LTE)
    world.wait(5.0)
    assert cut_off(world) == []
    world.dead = {"wlan0"}
    world.use(WLAN_BID)
    world.wait(20.0)
    assert cut_off(world) == ["wlan0"]
    assert world.preference[0] == LTE_BID


def test_nobody_is_accused_while_the_home_agent_is_down() -> None:
    world = MultihomedWorld(MULTIHOMED)
    world.move(WLAN, LTE)
    world.wait(5.0)
    world.dead = {"wlan0", "wwan0"}
    world.wait(600.0)
    assert cut_off(world) == []
    assert world.kinds("network-cut-off") == []


def test_nor_when_only_its_daemon_is_down() -> None:
    """Its data plane goes on to answer probes over one of the uplinks."""
    world = MultihomedWorld(MULTIHOMED)
    world.move(WLAN, LTE)
    world.wait(5.0)
    world.agent.answers = False
    world.dead = {"wlan0"}
    world.use(LTE_BID)
    world.wait(60.0)
    assert world.kinds("network-cut-off") == []


def test_what_was_found_does_not_stand_when_the_home_agent_goes_down_later() -> None:
    world = portal_on_wlan()
    world.dead.add("wwan0")
    world.wait(60.0)
    assert cut_off(world) == []


def test_with_one_binding_the_other_network_is_used_and_the_first_tried_with_longer_pauses() -> None:
    closed, open_ = Access(WIFI6, dead=True), Access(replace(CAFE4, interface="wwan0", ifindex=9))
    world = World()
    world.move(closed, open_)
    world.run(11.0)
    assert world.node.is_cut_off(WIFI6, at(world.time))
    for _ in range(700):
        world.run(1.0)
        assert world.reaches_home_agent()
    attempts = [
        time
        for time, action in world.log
        if isinstance(action, Event)
        and (action.kind, action.fields.get("care_of")) == ("care-of-address", str(WIFI6.address))
    ]
    pauses = [round(later - earlier) for earlier, later in pairwise(attempts)]
    # An attempt takes 7 s with a binding in place, the first one took 10.5 s and two ways to the home agent.
    assert pauses == [round(10.54 + FIRST_PAUSE), *(round(7 + n * FIRST_PAUSE) for n in (2, 4, 8))]
    closed.dead = False
    world.run(LONGEST_PAUSE + 1)
    assert world.node.care_of == WIFI6
    assert world.node.state(at(world.time)) is MobileNodeState.REGISTERED
    assert not world.node.is_cut_off(WIFI6, at(world.time))


def test_the_pause_has_an_end_and_is_short_at_the_next_visit() -> None:
    silence = Silence(WIFI6, (0.0, 1.0, 3.0), 7.0 + LONGEST_PAUSE)
    assert silence.answered_elsewhere(CAFE4, 7.1)
    for _ in range(6):
        now = silence.until + 7.0
        silence.again(WIFI6, (now - 7.0, now - 6.0, now - 4.0), now)
        assert not silence.answered_elsewhere(CAFE4, now)
    assert silence.pause == LONGEST_PAUSE
    now = silence.until + LONGEST_PAUSE + 1
    silence.again(WIFI6, (now - 7.0,), now)
    assert (silence.pause, silence.cut_off) == (FIRST_PAUSE, False)


def test_an_answer_long_after_the_last_attempt_says_nothing_about_the_network() -> None:
    silence = Silence(WIFI6, (0.0, 1.0, 3.0), 7.0 + LONGEST_PAUSE)
    assert not silence.answered_elsewhere(CAFE4, 12.0)
    assert not silence.is_cut_off(12.0)
    assert silence.until == 12.0 + FIRST_PAUSE  # but it is worth another try


def test_a_network_is_not_to_blame_because_only_one_of_its_address_families_works() -> None:
    dual = replace(CAFE4, network=WIFI6.network)
    world = World()
    world.move(Access(WIFI6, dead=True), Access(dual))
    world.run(30.0)
    assert world.node.care_of == dual
    assert not world.node.is_cut_off(WIFI6, at(world.time))
