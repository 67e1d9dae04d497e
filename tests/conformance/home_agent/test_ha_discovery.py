"""Dynamic home agent address discovery (RFC 6275 section 10.5, RFC 3963 section 7)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import (
    HomeAgentAddressDiscoveryRequest,
    HomeAgentInformation,
    PrefixInformation,
    RouterAdvertisement,
    RouterSolicitation,
    encode_icmpv6,
)
from dsmip.wire.packet import encode_packet
from tests.conformance.home_agent.conftest import HomeAgent
from tests.conformance.home_agent.neighbours import Neighbours
from tests.conformance.home_agent.world import (
    ALL_NODES,
    HOME_AGENT,
    HOME_PREFIX,
    NEIGHBOUR_LINK_LOCAL,
    discovery,
)

pytestmark = pytest.mark.root

ALL_ROUTERS = IPv6Address("ff02::2")

#: What the documentation tells to put into radvd.conf.
RADVD = """\
interface home0 {
    AdvSendAdvert on; MinDelayBetweenRAs 0.03; AdvHomeAgentFlag on; AdvHomeAgentInfo on;
    HomeAgentPreference 10; HomeAgentLifetime 1800; AdvMobRtrSupportFlag on;
    prefix 2001:db8:100::1/64 { AdvRouterAddr on; };
};
"""

BOTH = pytest.mark.parametrize("mobile_routers", [False, True], ids=["R=0", "R=1"])


@pytest.fixture
def others(home_agent: HomeAgent) -> Iterator[Neighbours]:
    neighbours = Neighbours(home_agent.cables)
    yield neighbours
    neighbours.withdraw()


@pytest.mark.row("HA-DHAAD-001", "NHA-DHAAD-001")
def test_ha_dhaad_001_advertisement(probing: HomeAgent, tmp_path: Path) -> None:
    config = tmp_path / "radvd.conf"
    config.write_text(RADVD)
    radvd = probing.cables.run(
        "radvd", "-n", "-C", str(config), "-p", str(tmp_path / "pid"), "-m", "stderr", "-u", "root"
    )
    solicitation = discovery(RouterSolicitation(), NEIGHBOUR_LINK_LOCAL, ALL_ROUTERS)
    deadline = time.monotonic() + 10
    found: list[RouterAdvertisement] = []
    while not found:
        assert time.monotonic() < deadline, probing.cables.log()
        probing.cables.from_home(solicitation)
        frames = list(probing.cables.frames(0.2))
        found = [frame.message for frame in frames if isinstance(frame.message, RouterAdvertisement)]
    advertisement = found[0]
    assert advertisement.home_agent
    (information,) = [o for o in advertisement.options if isinstance(o, HomeAgentInformation)]
    assert (information.preference, information.mobile_routers) == (10, True)
    (prefix,) = [o for o in advertisement.options if isinstance(o, PrefixInformation)]
    assert (prefix.prefix, prefix.router_address) == (HOME_PREFIX, True)
    assert prefix.address == HOME_AGENT
    # The home agent hears its own advertisement: it is not another home agent, and it says how long the
    # home prefix lasts.
    assert Neighbours(probing.cables).ask().addresses == (HOME_AGENT,)
    mobile = probing.mobiles.prefix_homed()
    probing.bind(mobile)
    assert "home-prefix" in [event["event"] for event in probing.events()]
    radvd.terminate()
    radvd.wait(10)


@pytest.mark.row("HA-DHAAD-002", "NHA-DHAAD-001")
@BOTH
@pytest.mark.parametrize("reserved", [0, 0x7FFF], ids=["reserved-0", "reserved-not-0"])
@pytest.mark.parametrize("identifier", [0, 0xBEEF])
def test_ha_dhaad_002_alone(others: Neighbours, mobile_routers: bool, reserved: int, identifier: int) -> None:
    reply = others.ask(identifier=identifier, mobile_routers=mobile_routers, reserved=reserved)
    assert reply.addresses == (HOME_AGENT,)


@pytest.mark.row("HA-DHAAD-004", "NHA-DHAAD-002")
def test_ha_dhaad_004_without_preference(others: Neighbours) -> None:
    others.announce(1, preference=None)
    assert others.ask().addresses == (HOME_AGENT, others.address(1))
    # Such a home agent does not say that it serves mobile routers either.
    assert others.ask(mobile_routers=True).addresses == (HOME_AGENT,)


@pytest.mark.row("HA-DHAAD-005", "NHA-DHAAD-002")
def test_ha_dhaad_005_lifetime(others: Neighbours) -> None:
    others.announce(1, lifetime=2, router_lifetime=1800)
    others.announce(2, preference=None, router_lifetime=2)
    others.announce(3, lifetime=1800, router_lifetime=2)
    announced = time.monotonic()
    everybody = {HOME_AGENT, *(others.address(number) for number in (1, 2, 3))}
    while time.monotonic() < announced + 1.5:
        assert set(others.ask().addresses) == everybody
        time.sleep(0.3)
    time.sleep(max(0.0, announced + 2.2 - time.monotonic()))
    assert others.ask().addresses == (others.address(3), HOME_AGENT)


@pytest.mark.row("HA-DHAAD-005", "NHA-DHAAD-002")
def test_ha_dhaad_005_an_address_lasts_as_long_as_its_prefix(others: Neighbours) -> None:
    """RFC 6275 section 10.1."""
    others.announce(1, addresses=(others.address(1),))
    # Of a prefix of its own, so that the home prefix is left alone.
    others.announce(1, addresses=(others.address(1),), valid=0)
    assert others.ask().addresses == (HOME_AGENT,)


@pytest.mark.row("HA-DHAAD-007", "NHA-DHAAD-002")
@BOTH
def test_ha_dhaad_007_order(others: Neighbours, mobile_routers: bool) -> None:
    others.announce(1, preference=20)
    others.announce(2, preference=20)
    others.announce(3, preference=5)
    others.announce(4, preference=30)
    first, last = others.address(4), others.address(3)
    equals = {others.address(1), others.address(2)}
    orders = set()
    for _ in range(40):
        addresses = others.ask(mobile_routers=mobile_routers).addresses
        assert addresses[0] == first
        assert set(addresses[1:3]) == equals
        assert addresses[3:] == (HOME_AGENT, last)
        orders.add(addresses)
    # Equals come in random order (RFC 6275 section 10.5.1): once in 2**39 runs they do not.
    assert len(orders) == 2


@pytest.mark.row("HA-DHAAD-007", "NHA-DHAAD-002")
def test_ha_dhaad_007_several_addresses(others: Neighbours) -> None:
    addresses = (others.address(1), others.address(0x1001))
    others.announce(1, addresses=addresses)
    found = others.ask().addresses
    assert set(found[:2]) == set(addresses)
    assert found[2:] == (HOME_AGENT,)


@pytest.mark.row("HA-DHAAD-007", "NHA-DHAAD-002")
def test_ha_dhaad_007_a_new_preference_counts(others: Neighbours) -> None:
    others.announce(1, preference=20)
    assert others.ask().addresses == (others.address(1), HOME_AGENT)
    others.announce(1, preference=1)
    assert others.ask().addresses == (HOME_AGENT, others.address(1))


@pytest.mark.row("HA-DHAAD-008", "NHA-DHAAD-002")
@pytest.mark.parametrize("farewell", ["option", "router-lifetime", "no-home-agent"])
def test_ha_dhaad_008_removed_at_once(others: Neighbours, farewell: str) -> None:
    others.announce(1)
    assert others.ask().addresses == (others.address(1), HOME_AGENT)
    if farewell == "option":
        others.announce(1, lifetime=0)
    elif farewell == "router-lifetime":
        others.announce(1, preference=None, router_lifetime=0)
    else:
        others.announce(1, home_agent=False)
    assert others.ask().addresses == (HOME_AGENT,)


@pytest.mark.row("HA-DHAAD-009", "NHA-DHAAD-002")
def test_ha_dhaad_009_without_address(others: Neighbours) -> None:
    others.announce(1, router_address=False)
    assert others.ask().addresses == (HOME_AGENT,)


@pytest.mark.row("HA-DHAAD-010", "NHA-DHAAD-002")
@BOTH
def test_ha_dhaad_010_as_many_as_fit(others: Neighbours, mobile_routers: bool) -> None:
    for number in range(1, 79):
        others.announce(number, preference=100 + number)
    found = others.ask(mobile_routers=mobile_routers).addresses
    assert found == tuple(others.address(number) for number in range(78, 1, -1))
    assert len(found) == 77


@pytest.mark.row("NHA-DHAAD-003")
def test_nha_dhaad_003_for_mobile_routers(others: Neighbours) -> None:
    others.announce(1, home_agent=True, mobile_routers=True)
    others.announce(2, home_agent=True, mobile_routers=False)
    others.announce(3, home_agent=False, mobile_routers=True)
    others.announce(4, home_agent=False, mobile_routers=False)
    everybody = {others.address(1), others.address(2), HOME_AGENT}
    assert set(others.ask(mobile_routers=False).addresses) == everybody
    assert others.ask(mobile_routers=True).addresses == (others.address(1), HOME_AGENT)


@pytest.mark.row("HA-DHAAD-002")
def test_ha_dhaad_002_only_at_the_anycast_address(home_agent: HomeAgent, others: Neighbours) -> None:
    source = home_agent.cables.stranger()
    header = encode_icmpv6(HomeAgentAddressDiscoveryRequest(1), source, HOME_AGENT)
    home_agent.cables.from_net(encode_packet(source, HOME_AGENT, header, NextHeader.ICMPV6))
    # One reply only, and that to the question at the anycast address.
    assert others.ask().addresses == (HOME_AGENT,)
    assert home_agent.counters()["discovery-not-anycast"] >= 1


@pytest.mark.row("HA-DHAAD-008")
def test_ha_dhaad_008_only_neighbours_advertise(home_agent: HomeAgent, others: Neighbours) -> None:
    """A router advertisement that came through a router is no valid one (RFC 4861 section 6.1.2)."""
    others.announce(1)
    farewell = RouterAdvertisement(0, home_agent=False)
    far = discovery(farewell, others.link_local(1), ALL_NODES)
    home_agent.cables.from_home(far[:7] + bytes((254,)) + far[8:])
    home_agent.cables.from_net(discovery(farewell, others.address(1), ALL_NODES))
    assert others.ask().addresses == (others.address(1), HOME_AGENT)
