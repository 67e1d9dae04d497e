"""The mobile node and the real home agent, wired together by function call."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from mobile_node_bench import CAFE4, CONFIG, HOME, HOME_ADDRESS, MOBILE_PREFIX, NAT4, OTHER6, WIFI6, at
from mobile_node_world import HOME_AGENT_CONFIG, Access, World

from dsmip.core.actions import Event
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.mobile_node.engine import MobileNode, MobileNodeState
from dsmip.core.types import Attachments, CareOfAddress, Instant, IPv4Grant, TunnelFormat

LINK, IPV4, IPV6, UDP4 = TunnelFormat.LINK, TunnelFormat.IPV4, TunnelFormat.IPV6, TunnelFormat.UDP4

FW4 = CareOfAddress(IPv4Address("203.0.113.20"), "eth0", 5, IPv4Address("203.0.113.1"), "fw4")
CGN4 = CareOfAddress(IPv4Address("192.168.1.2"), "eth0", 5, IPv4Address("192.168.1.1"), "cgn4")
DUAL4 = CareOfAddress(IPv4Address("198.51.100.99"), "eth0", 5, IPv4Address("198.51.100.65"), "dual-v4")
DUAL6 = CareOfAddress(IPv6Address("2001:db8:600::5"), "eth0", 5, IPv6Address("fe80::6"), "dual-v6")

ROUTER = replace(
    CONFIG, mobile_router=True, prefixes=(MOBILE_PREFIX,), ipv4_home_address=IPv4Address("10.1.0.9")
)
[ENTRY] = HOME_AGENT_CONFIG.mobile_nodes
SERVES_ROUTER = replace(
    HOME_AGENT_CONFIG,
    mobile_nodes=(replace(ENTRY, prefixes=(MOBILE_PREFIX,), ipv4_home_address=IPv4Address("10.1.0.9")),),
)


def wifi6() -> tuple[Access, ...]:
    return (Access(WIFI6),)


def cafe4() -> tuple[Access, ...]:
    return (Access(CAFE4),)


def nat4() -> tuple[Access, ...]:
    return (Access(NAT4, nat=IPv4Address("203.0.113.77")),)


def cgn4() -> tuple[Access, ...]:
    return (Access(CGN4, nat=IPv4Address("203.0.113.78")),)


def fw4() -> tuple[Access, ...]:
    return (Access(FW4, filters=True),)


def dual_without_ipv6() -> tuple[Access, ...]:
    return (Access(DUAL4), Access(DUAL6, dead=True))


def dual() -> tuple[Access, ...]:
    return (Access(DUAL4), Access(DUAL6))


def agree(world: World) -> None:
    """Both ends know the same, and packets flow both ways."""
    assert world.reaches_home_agent()
    assert world.reaches_mobile_node()
    binding = world.home_agent.bindings.get(HOME_ADDRESS)
    if world.at_home:
        assert world.node.state(at(world.time)) is MobileNodeState.AT_HOME
        assert binding is None
    else:
        assert world.node.state(at(world.time)) is MobileNodeState.REGISTERED
        assert binding is not None
        assert world.path is not None
        assert world.node.lifetime_left(at(world.time)) <= binding.expires - at(world.time).unix + 1e-6
        if world.path.format is not UDP4 or binding.format is not UDP4:
            assert binding.care_of == world.path.local
        assert binding.format is world.path.format


TOUR = [
    (wifi6, IPV6),
    (cafe4, IPV4),
    (nat4, UDP4),
    (dual, IPV6),
    (cgn4, UDP4),
    (fw4, UDP4),
    (nat4, UDP4),
    (cafe4, IPV4),
    (wifi6, IPV6),
]


def test_tour_of_all_network_kinds() -> None:
    world = World(ROUTER, SERVES_ROUTER)
    world.move(home=HOME)
    world.run(1.0)
    assert world.node.format is LINK
    agree(world)
    for place, tunnel_format in TOUR:
        world.move(*place())
        world.run(20.0)
        assert world.node.format is tunnel_format, place.__name__
        agree(world)
        binding = world.home_agent.bindings[HOME_ADDRESS]
        assert binding.prefixes == (MOBILE_PREFIX,)
        assert binding.ipv4 == (IPv4Grant.of(IPv4Network("10.1.0.9/32")),)
    world.move(home=HOME)
    world.run(1.0)
    agree(world)
    assert world.node.format is LINK


@pytest.mark.parametrize("place", [wifi6, cafe4, nat4, fw4], ids=lambda place: place.__name__)
def test_break_before_make_takes_one_round_trip(place: object) -> None:
    world = World(latency=0.05)
    world.move(*dual())
    world.run(10.0)
    world.move(*place())  # type: ignore[operator]
    assert not world.reaches_home_agent()
    world.run(0.051)
    assert world.reaches_home_agent()  # half a round trip after the move
    assert world.reaches_mobile_node()


def test_no_packet_is_lost_while_the_tunnel_format_of_an_ipv4_network_is_found() -> None:
    world = World(latency=0.02)
    world.move(*cafe4())
    world.run(0.05)
    for _ in range(200):
        world.run(0.001)
        assert world.reaches_home_agent()
        assert world.reaches_mobile_node()
    assert world.node.format is IPV4


def test_make_before_break_loses_nothing() -> None:
    world = World(latency=0.02)
    [nat] = nat4()
    [wifi] = wifi6()
    world.move(nat)
    world.run(5.0)
    world.move(nat, wifi)
    for _ in range(100):
        world.run(0.001)
        assert world.reaches_mobile_node()
    agree(world)
    assert world.node.format is IPV6


def test_rfc5555_4_4_1_broken_ipv6_is_left_for_ipv4_and_found_again_when_it_works() -> None:
    world = World()
    ipv4, ipv6 = dual()
    ipv6.dead = True
    world.move(ipv4, ipv6)
    world.run(15.0)
    agree(world)
    assert world.node.format is IPV4
    ipv6.dead = False
    for _ in range(3000):
        world.run(0.1)
        assert world.reaches_home_agent()
        assert world.reaches_mobile_node()
    agree(world)
    assert world.node.format is IPV6


def test_nat_that_forgets_its_mapping_is_repaired_by_the_next_keepalive() -> None:
    world = World()
    [nat] = nat4()
    world.move(nat)
    world.run(60.0)
    nat.ports.clear()
    world.run(60.0)
    agree(world)


def test_refreshes_keep_the_binding_for_hours() -> None:
    world = World()
    world.move(*wifi6())
    for _ in range(100):
        world.run(100.0)
        agree(world)
    updates = [action for _, action in world.log if isinstance(action, Event)]
    assert sum(event.kind == "binding-update-sent" for event in updates) == 21


def test_home_agent_that_refuses_forced_udp() -> None:
    world = World(home_agent=replace(HOME_AGENT_CONFIG, udp="refuse"))
    world.move(*cafe4())
    world.run(5.0)
    agree(world)
    assert world.node.format is IPV4


def test_home_agent_that_forces_udp() -> None:
    world = World(home_agent=replace(HOME_AGENT_CONFIG, udp="force"))
    world.move(*cafe4())
    world.run(5.0)
    agree(world)
    assert world.node.format is UDP4


def test_wrong_clock_is_corrected_by_the_home_agent() -> None:
    world = World()
    world.move(*wifi6())
    world.run(1.0)
    # A mobile node whose clock is a year behind takes the place of the first.
    late = MobileNode(CONFIG, Instant(world.time, 1.0), random.Random(5))

    class Behind:
        """The same engine under a clock that is wrong."""

        def __getattr__(self, name: str) -> object:
            method = getattr(late, name)
            if name in ("tick", "attachments_changed", "receive", "echo_reply"):

                def call(*arguments: object) -> None:
                    *rest, now = arguments
                    assert isinstance(now, Instant)
                    method(*rest, Instant(now.monotonic, now.unix - 3.15e7))

                return call
            return method

    world.node = Behind()  # type: ignore[assignment]
    late.attachments_changed(Attachments(None, (WIFI6,)), Instant(world.time, at(world.time).unix - 3.15e7))
    world.run(5.0)
    assert late.state(Instant(world.time, 0.0)) is MobileNodeState.REGISTERED


def test_wrong_key_never_registers_and_backs_off() -> None:
    world = World(replace(CONFIG, key=bytes(16)))
    world.move(*wifi6())
    world.run(120.0)
    assert HOME_ADDRESS not in world.home_agent.bindings
    assert world.node.state(at(world.time)) is MobileNodeState.REGISTERING
    sent = [action for _, action in world.log if isinstance(action, Event)]
    assert sum(event.kind == "binding-update-sent" for event in sent) == 8


def test_restarted_mobile_node_recovers_its_sequence_number() -> None:
    world = World(replace(CONFIG, authentication="none"), anonymous())
    world.move(*wifi6())
    world.run(1.0)
    last = world.home_agent.bindings[HOME_ADDRESS].sequence
    for seed in range(10):
        world.node = MobileNode(world.config, at(world.time), random.Random(seed))
        world.move(*wifi6())
        world.run(5.0)
        agree(world)
    assert world.home_agent.bindings[HOME_ADDRESS].sequence != last


def anonymous() -> HomeAgentConfig:
    return replace(
        HOME_AGENT_CONFIG,
        mobile_nodes=(replace(ENTRY, authentication="none", key=b"", spi=0, identifier=""),),
    )


PLACES = [wifi6, cafe4, nat4, cgn4, fw4, dual, dual_without_ipv6]


@pytest.mark.parametrize("seed", range(40))
def test_after_any_tour_with_any_loss_both_ends_agree(seed: int) -> None:
    rng = random.Random(seed)
    world = World(ROUTER, SERVES_ROUTER, seed=seed, latency=rng.choice([0.002, 0.05, 0.4]), loss=0.3)
    for _ in range(25):
        kind = rng.random()
        if kind < 0.1:
            world.move()
        elif kind < 0.25:
            world.move(home=HOME)
        elif kind < 0.4:
            world.move(Access(OTHER6), *rng.choice(PLACES)())
        else:
            world.move(*rng.choice(PLACES)())
        world.run(rng.choice([0.001, 0.05, 0.5, 3.0, 20.0]))
    world.loss = 0.0
    if not world.here:
        world.move(*rng.choice(PLACES)())
    for access in world.here:
        access.dead = False
    world.run(620.0)  # what broke unnoticed is found out by the next keepalive or refresh
    agree(world)
