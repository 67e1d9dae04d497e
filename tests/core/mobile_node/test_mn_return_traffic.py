"""Packets leave and none comes back: the mobile node asks before its sessions die of it."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address

from mobile_node_bench import CAFE4, NAT4, WIFI6, at
from mobile_node_world import Access, World

from dsmip.core.actions import Event
from dsmip.core.mobile_node.return_traffic import LONGEST_PATIENCE, PATIENCE, ReturnTraffic
from dsmip.core.types import CareOfAddress

#: Seconds between two looks at the counters.
LOOK = 0.5


def nat4() -> Access:
    return Access(NAT4, nat=IPv4Address("203.0.113.77"))


def send(world: World, seconds: float, *, begin: int = 0) -> int:
    """A packet leaves every look; one comes back for each as long as the home agent and we are connected.
    Returns how many have left."""
    sent, received = begin, begin
    end = world.time + seconds
    while world.time < end:
        world.run(LOOK)
        sent += 1
        if world.reaches_home_agent() and world.reaches_mobile_node():
            received += 1
        world.node.count({0: (sent, received)}, at(world.time))
    return sent


def asked(world: World) -> int:
    return sum(
        1 for _, action in world.log if isinstance(action, Event) and action.kind == "nothing-comes-back"
    )


def test_a_nat_that_was_restarted_is_found_out_in_seconds() -> None:
    world, access = World(), nat4()
    world.move(access)
    sent = send(world, 5.0)
    assert world.reaches_mobile_node()
    assert not asked(world)
    access.ports.clear()
    assert not world.reaches_mobile_node()
    send(world, 4.0, begin=sent)
    assert world.reaches_mobile_node()
    assert world.reaches_home_agent()
    assert asked(world) == 1


def test_a_network_that_carries_nothing_any_more_is_left_for_another_family() -> None:
    dual4 = CareOfAddress(CAFE4.address, "eth0", 5, CAFE4.gateway, "dual-v4")
    over_ipv6, over_ipv4 = Access(WIFI6), Access(dual4)
    world = World()
    world.move(over_ipv6, over_ipv4)
    sent = send(world, 3.0)
    assert world.path is not None
    assert world.path.local == WIFI6.address
    over_ipv6.dead = True
    send(world, 15.0, begin=sent)
    assert world.path.local == CAFE4.address
    assert world.reaches_mobile_node()


def test_who_only_sends_asks_ever_more_rarely() -> None:
    watch = ReturnTraffic()
    times = [look * LOOK for look in range(4000)]
    due = [time for look, time in enumerate(times) if watch.count(look, 7, time)]
    gaps = [after - before for before, after in itertools.pairwise(due)]
    assert due[0] <= PATIENCE + 2 * LOOK
    assert gaps[:3] == [4 + LOOK, 8 + LOOK, 16 + LOOK]
    assert gaps[-1] == LONGEST_PATIENCE + LOOK


def test_a_lone_packet_without_an_answer_is_no_reason() -> None:
    watch = ReturnTraffic()
    assert not any(watch.count(1, 0, look * LOOK) for look in range(100))


def test_any_packet_that_arrives_begins_anew() -> None:
    watch = ReturnTraffic()
    assert not any(watch.count(look, look // 3, look * LOOK) for look in range(100))


def test_nobody_asks_on_the_home_link() -> None:
    world = World()
    world.node.count({0: (1, 0)}, at(0.0))
    world.node.count({0: (2, 0)}, at(60.0))
    assert not asked(world)
