"""Another home prefix, another home address (RFC 6275 sections 10.6 and 11.4.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Interface, IPv6Network

import pytest
from mobile_node_bench import (
    CAFE4,
    CONFIG,
    HOME,
    HOME_ADDRESS,
    HOME_PREFIX,
    MOBILE_PREFIX,
    OTHER6,
    WIFI6,
    Bench,
    asked,
    at,
    drops,
    event,
    only,
    order,
    registered,
)
from mobile_node_world import HOME_AGENT_CONFIG, Access, World

from dsmip.core.actions import (
    Action,
    Event,
    HomeAddressChanged,
    HomeAddressesChanged,
    InstallPath,
    RemovePath,
)
from dsmip.core.mobile_node.engine import MobileNodeConfig, MobileNodeState
from dsmip.core.mobile_node.renumbering import PATIENCE, HomeAddress
from dsmip.wire.constants import BAStatus
from dsmip.wire.icmpv6 import (
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
    RouterAdvertisement,
    encode_icmpv6,
)

INFINITE = 0xFFFFFFFF
NEW_PREFIX = IPv6Network("2001:db8:101::/64")
NEW_ADDRESS = IPv6Address("2001:db8:101::1234")
GIVEN_UP = PrefixInformation(HOME_PREFIX, True, True, False, 1000, 0)
NEW = PrefixInformation(NEW_PREFIX, True, True, False, INFINITE, INFINITE)


def advertise(bench: Bench, *options: PrefixInformation, time: float = 10.0) -> list[Action]:
    """A solicited mobile prefix advertisement with these prefixes."""
    actions = bench.prefix_advertisement(MobilePrefixAdvertisement(0xFFFF), time=time)
    [(_, solicitation)] = asked(actions, MobilePrefixSolicitation)
    message = MobilePrefixAdvertisement(solicitation.identifier, options=options)
    return bench.prefix_advertisement(message, time=time + 0.1)


def on_trial(config: MobileNodeConfig = CONFIG) -> Bench:
    """A mobile node that has asked for the new home address at 10.1 s."""
    bench = registered(config)
    advertise(bench, GIVEN_UP, NEW)
    assert bench.last.packet.sender == NEW_ADDRESS
    return bench


def networks(actions: list[Action]) -> tuple[object, ...]:
    return only(actions, HomeAddressesChanged)[-1].networks


def test_a_deprecated_home_address_gives_way_to_another_one() -> None:
    bench = registered()
    actions = advertise(bench, GIVEN_UP, NEW)
    assert event(actions, "renumbering").fields == {"from": str(HOME_ADDRESS), "to": str(NEW_ADDRESS)}
    # Until the home agent accepts, everything stays as it is.
    assert networks(actions) == (IPv6Network(NEW_ADDRESS), IPv6Network(HOME_ADDRESS))
    assert not only(actions, RemovePath)
    assert not only(actions, HomeAddressChanged)
    actions = bench.answer(time=10.2)
    assert only(actions, HomeAddressChanged) == [
        HomeAddressChanged(NEW_ADDRESS, NEW_PREFIX, IPv6Interface((HOME_ADDRESS, 64)))
    ]
    assert event(actions, "renumbered").fields == {
        "home_address": str(NEW_ADDRESS),
        "former": str(HOME_ADDRESS),
    }
    assert bench.node.config.home_address == NEW_ADDRESS
    assert bench.node.state(at(10.2)) is MobileNodeState.REGISTERED


def test_the_former_home_address_is_given_up_when_its_prefix_ends() -> None:
    bench = on_trial()
    bench.answer(time=10.2)
    assert bench.node.former_home_address == HOME_ADDRESS
    before = bench.run(1010.0)
    assert not only(before, HomeAddressesChanged)
    actions = bench.run(1010.2)
    assert networks(actions) == (IPv6Network(NEW_ADDRESS),)
    assert only(actions, HomeAddressChanged) == [HomeAddressChanged(NEW_ADDRESS, NEW_PREFIX)]
    assert event(actions, "former-home-address-ended").fields == {"former": str(HOME_ADDRESS)}
    assert bench.node.former_home_address is None
    assert bench.node.config.home_address == NEW_ADDRESS


def test_the_address_before_is_kept_when_the_one_before_that_ends_during_a_trial() -> None:
    bench = on_trial()
    bench.answer(time=10.2)
    third = replace(NEW, prefix=IPv6Network("2001:db8:102::/64"))
    advertise(
        bench, replace(GIVEN_UP, valid_lifetime=10), replace(NEW, preferred_lifetime=0), third, time=20.0
    )
    assert bench.node.config.home_prefix == third.prefix
    actions = bench.run(30.2)
    assert networks(actions) == tuple(map(IPv6Network, (bench.node.config.home_address, NEW_ADDRESS)))
    assert only(actions, HomeAddressChanged) == [HomeAddressChanged(NEW_ADDRESS, NEW_PREFIX)]


def test_a_later_advertisement_says_when_the_former_prefix_ends() -> None:
    bench = on_trial()
    bench.answer(time=10.2)
    actions = advertise(bench, replace(GIVEN_UP, valid_lifetime=30), NEW, time=20.0)
    # Whoever writes it down has to know.
    assert only(actions, HomeAddressChanged)
    assert bench.node.former_valid_until == pytest.approx(50.1)


def test_it_asks_whether_the_former_prefix_goes_on_for_longer() -> None:
    """Who renumbers a network may advertise the old prefix with the same valid lifetime for months."""
    bench = on_trial()
    bench.answer(time=10.2)
    assert not asked(bench.run(949.0), MobilePrefixSolicitation)
    [(_, solicitation)] = asked(bench.run(951.0), MobilePrefixSolicitation)
    bench.prefix_advertisement(
        MobilePrefixAdvertisement(solicitation.identifier, options=(GIVEN_UP, NEW)), time=951.1
    )
    bench.run(1900.0)
    assert bench.node.former_home_address == HOME_ADDRESS
    assert bench.node.former_valid_until == pytest.approx(1951.1)


def test_registrations_are_no_longer_cut_by_the_former_prefix() -> None:
    bench = registered()
    advertise(bench, replace(GIVEN_UP, valid_lifetime=100), NEW)
    assert bench.last.update.lifetime * 4 == CONFIG.lifetime


@pytest.mark.parametrize(
    "options",
    [
        (replace(GIVEN_UP, preferred_lifetime=500), NEW),
        (GIVEN_UP,),
        (GIVEN_UP, replace(NEW, autonomous=False)),
        (GIVEN_UP, replace(NEW, preferred_lifetime=0)),
        (GIVEN_UP, replace(NEW, prefix=IPv6Network("2001:db8:110::/60"))),
        (GIVEN_UP, replace(NEW, valid_lifetime=10, preferred_lifetime=20)),
        (NEW,),
    ],
    ids=["preferred", "no other", "not autonomous", "deprecated too", "length", "malformed", "no news"],
)
def test_the_home_address_stays(options: tuple[PrefixInformation, ...]) -> None:
    bench = registered()
    actions = advertise(bench, *options)
    assert not [action for action in only(actions, Event) if action.kind == "renumbering"]
    assert bench.node.config.home_address == HOME_ADDRESS


@pytest.mark.parametrize(
    "changes",
    [
        {"authentication": "none"},
        {"home_address": MOBILE_PREFIX[5], "mobile_router": True, "prefixes": (MOBILE_PREFIX,)},
    ],
    ids=["no key", "home address of the mobile network"],
)
def test_some_have_to_keep_their_home_address(changes: dict[str, object]) -> None:
    bench = registered(replace(CONFIG, **changes))  # type: ignore[arg-type]
    advertise(bench, GIVEN_UP, NEW)
    assert bench.node.config.home_address == bench.config.home_address


def test_an_address_about_to_end_gives_way_even_if_preferred() -> None:
    bench = registered()
    advertise(bench, replace(GIVEN_UP, valid_lifetime=50, preferred_lifetime=50), NEW)
    assert bench.node.config.home_address == NEW_ADDRESS


def test_it_asks_when_the_home_address_becomes_deprecated() -> None:
    bench = registered()
    advertise(bench, replace(GIVEN_UP, preferred_lifetime=40))
    assert not asked(bench.run(50.0), MobilePrefixSolicitation)
    assert asked(bench.run(50.2), MobilePrefixSolicitation)


def test_of_several_prefixes_the_one_preferred_longest_is_taken() -> None:
    bench = registered()
    other = replace(NEW, prefix=IPv6Network("2001:db8:102::/64"), preferred_lifetime=5000)
    advertise(bench, GIVEN_UP, other, NEW)
    assert bench.node.config.home_prefix == NEW_PREFIX


def test_an_unsolicited_advertisement_is_not_believed() -> None:
    bench = registered()
    actions = bench.prefix_advertisement(MobilePrefixAdvertisement(7, options=(GIVEN_UP, NEW)), time=10.0)
    assert drops(actions)
    assert bench.node.config.home_address == HOME_ADDRESS


def refuse(status: BAStatus) -> Callable[[Bench], list[Action]]:
    return lambda bench: bench.answer(time=10.2, status=int(status))


@pytest.mark.parametrize(
    "end",
    [
        refuse(BAStatus.ADMINISTRATIVELY_PROHIBITED),
        refuse(BAStatus.NOT_HOME_SUBNET),
        refuse(BAStatus.DUPLICATE_ADDRESS_DETECTION_FAILED),
        refuse(BAStatus.INSUFFICIENT_RESOURCES),
        refuse(BAStatus.FORWARDING_SETUP_FAILED),
        lambda bench: bench.run(10.2 + PATIENCE),
    ],
    ids=["129", "132", "134", "130", "hold", "silence"],
)
def test_a_home_agent_that_does_not_serve_the_new_address_has_the_old_one_again(
    end: Callable[[Bench], list[Action]],
) -> None:
    bench = on_trial()
    actions = end(bench)
    assert event(actions, "renumbering-refused").fields["to"] == str(NEW_ADDRESS)
    assert networks(actions) == (IPv6Network(HOME_ADDRESS),)
    if only(actions, RemovePath):
        assert order(actions, RemovePath, InstallPath)[-1] is InstallPath
    assert bench.last.packet.sender == HOME_ADDRESS
    assert bench.node.config.home_prefix == HOME_PREFIX
    bench.answer()
    assert bench.node.state(at(bench.time)) is MobileNodeState.REGISTERED
    # And is not asked again at once.
    advertise(bench, GIVEN_UP, NEW, time=100.0)
    assert bench.node.config.home_address == HOME_ADDRESS
    bench.answer(time=490.3)
    advertise(bench, GIVEN_UP, NEW, time=700.0)
    assert bench.node.config.home_address == NEW_ADDRESS


def test_wrong_numbers_and_clocks_are_no_refusal() -> None:
    bench = on_trial()
    bench.answer(time=10.2, status=int(BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW), sequence=7)
    assert bench.last.packet.sender == NEW_ADDRESS
    assert only(bench.answer(time=10.3), HomeAddressChanged)


def test_on_the_home_link_a_trial_is_over() -> None:
    bench = on_trial()
    bench.attach(10.5, home=HOME)
    assert bench.last.packet.sender == HOME_ADDRESS
    assert bench.last.update.lifetime == 0
    assert bench.node.config.home_address == HOME_ADDRESS


def test_the_home_address_of_an_earlier_life_is_tried_first() -> None:
    bench = Bench(CONFIG)
    bench.node.resume_home_address(HomeAddress(NEW_ADDRESS, NEW_PREFIX), 100.0, at(0.0))
    bench.attach(0.0, WIFI6)
    assert bench.last.packet.sender == NEW_ADDRESS
    actions = bench.answer(time=0.1)
    assert only(actions, HomeAddressChanged) == [
        HomeAddressChanged(NEW_ADDRESS, NEW_PREFIX, IPv6Interface((HOME_ADDRESS, 64)))
    ]
    assert bench.node.former_valid_until == 100.0


def test_the_home_address_of_an_earlier_life_holds_on_the_home_link() -> None:
    bench = Bench(CONFIG)
    bench.node.resume_home_address(HomeAddress(NEW_ADDRESS, NEW_PREFIX), None, at(0.0))
    actions = bench.attach(0.0, home=HOME)
    assert only(actions, HomeAddressChanged)
    assert bench.last.packet.sender == NEW_ADDRESS


def test_the_home_address_of_an_earlier_life_that_is_refused_is_given_up() -> None:
    bench = Bench(CONFIG)
    bench.node.resume_home_address(HomeAddress(NEW_ADDRESS, NEW_PREFIX), None, at(0.0))
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.1, status=129)
    assert bench.last.packet.sender == HOME_ADDRESS


# With the home agent ---------------------------------------------------------------------------------------


SERVES_BOTH = replace(
    HOME_AGENT_CONFIG,
    home_prefixes=(HOME_PREFIX, NEW_PREFIX),
    renumbering=True,
    mobile_prefix_interval=(1.0, 2.0),
)


def home_link_says(world: World, valid: int, preferred: int) -> None:
    """The home agent's router advertisement: the old prefix with these lifetimes, and the new one."""
    option = PrefixInformation(HOME_PREFIX, True, True, False, valid, preferred)
    message = RouterAdvertisement(1800, home_agent=True, options=(option, NEW))
    source, destination = IPv6Address("fe80::a"), IPv6Address("ff02::1")
    data = encode_icmpv6(message, source, destination)
    world.home_agent.receive_icmpv6(
        data, source, destination, hop_limit=255, home_link=True, own=True, now=at(world.time)
    )


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_renumbering_of_the_home_link(loss: float) -> None:
    world = World(home_agent=SERVES_BOTH, loss=loss)
    world.move(Access(WIFI6))
    world.run(20.0)
    home_link_says(world, 300, 0)
    world.run(90.0)
    assert list(world.home_agent.bindings) == [NEW_ADDRESS]
    assert world.node.config.home_address == NEW_ADDRESS
    # Both addresses are there, at both ends, until the old prefix ends.
    for address in (HOME_ADDRESS, NEW_ADDRESS):
        assert world.home_agent.binding_of(address) is world.home_agent.bindings[NEW_ADDRESS]
    assert world.node.former_home_address == HOME_ADDRESS
    assert not [action for _, action in world.log if isinstance(action, RemovePath)]
    world.move(Access(OTHER6))
    world.run(20.0)
    assert world.home_agent.bindings[NEW_ADDRESS].care_of == OTHER6.address
    world.run(900.0)
    assert world.node.former_home_address is None
    assert world.home_agent.binding_of(HOME_ADDRESS) is None
    assert world.home_agent.bindings[NEW_ADDRESS].care_of == OTHER6.address


def test_a_mobile_router_takes_its_network_and_ipv4_home_address_along() -> None:
    config = replace(
        CONFIG, mobile_router=True, prefixes=(MOBILE_PREFIX,), ipv4_home_address=IPv4Address("10.1.0.9")
    )
    [entry] = HOME_AGENT_CONFIG.mobile_nodes
    entry = replace(entry, prefixes=(MOBILE_PREFIX,), ipv4_home_address=IPv4Address("10.1.0.9"))
    world = World(config, replace(SERVES_BOTH, mobile_nodes=(entry,)))
    world.move(Access(WIFI6))
    world.run(10.0)
    before = world.home_agent.bindings[HOME_ADDRESS]
    home_link_says(world, 300, 0)
    world.run(30.0)
    binding = world.home_agent.bindings[NEW_ADDRESS]
    assert (binding.index, binding.prefixes, binding.ipv4) == (before.index, before.prefixes, before.ipv4)
    world.move(Access(CAFE4))
    world.run(10.0)
    assert world.home_agent.bindings[NEW_ADDRESS].care_of == CAFE4.address


def test_a_home_agent_without_renumbering_keeps_the_old_binding() -> None:
    world = World(home_agent=replace(SERVES_BOTH, renumbering=False))
    world.move(Access(WIFI6))
    world.run(10.0)
    home_link_says(world, 300, 0)
    world.run(60.0)
    assert list(world.home_agent.bindings) == [HOME_ADDRESS]
    assert world.node.state(at(world.time)) is MobileNodeState.REGISTERED
    told = [action for _, action in world.log if isinstance(action, Event)]
    assert "renumbering-refused" in [action.kind for action in told]
