"""The home agents list and what is answered out of it (RFC 6275 sections 10.1 and 10.5.1)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from random import Random

import pytest
from ha_scenario import ALL_NODES, COA1, CONFIG, HA, HOME_PREFIX, ROUTER, Scenario

from dsmip.core.actions import ForwardPacket
from dsmip.core.home_agents_list import MAXIMUM_HOME_AGENTS, HomeAgentsList, anycast_address
from dsmip.wire.icmpv6 import (
    HomeAgentAddressDiscoveryReply,
    HomeAgentAddressDiscoveryRequest,
    HomeAgentInformation,
    PrefixInformation,
    RouterAdvertisement,
    decode_icmpv6,
)
from dsmip.wire.packet import decode_packet

OTHER = IPv6Address("2001:db8:100::b")
ASK = HomeAgentAddressDiscoveryRequest(7)
ANYCAST = IPv6Address("2001:db8:100:0:fdff:ffff:ffff:fffe")


def advertisement(
    address: IPv6Address = OTHER, *, lifetime: int = 100, preference: int = 9, valid: int = 1000
) -> RouterAdvertisement:
    prefix = PrefixInformation(HOME_PREFIX, True, True, True, valid, valid, address)
    return RouterAdvertisement(
        1800, home_agent=True, options=(prefix, HomeAgentInformation(preference, lifetime))
    )


@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        ("2001:db8:100::/64", "2001:db8:100:0:fdff:ffff:ffff:fffe"),
        ("2001:db8:100:200::/56", "2001:db8:100:2ff:ffff:ffff:ffff:fffe"),
    ],
)
def test_rfc2526_2_anycast_addresses(prefix: str, address: str) -> None:
    assert anycast_address(IPv6Network(prefix)) == IPv6Address(address)


def test_rfc6275_10_1_an_address_goes_with_its_prefix() -> None:
    agents = HomeAgentsList(HA, 0, Random(1))
    agents.advertisement(ROUTER, advertisement(valid=10), 0.0)
    assert agents.reply(ASK, 9.9).addresses == (OTHER, HA)
    assert agents.reply(ASK, 10.1).addresses == (HA,)


def test_rfc6275_10_5_1_addresses_add_up() -> None:
    agents = HomeAgentsList(HA, 0, Random(1))
    agents.advertisement(ROUTER, advertisement(OTHER), 0.0)
    agents.advertisement(ROUTER, advertisement(OTHER + 1), 1.0)
    assert set(agents.reply(ASK, 2.0).addresses) == {OTHER, OTHER + 1, HA}


def test_addresses_that_are_none_are_not_listed() -> None:
    agents = HomeAgentsList(HA, 0, Random(1))
    for number, address in enumerate((IPv6Address("fe80::9"), IPv6Address("::"), ALL_NODES, HA)):
        agents.advertisement(ROUTER + number, advertisement(address), 0.0)
    assert agents.reply(ASK, 1.0).addresses == (HA,)


def test_a_flood_of_advertisements_is_kept_out_until_entries_expire() -> None:
    agents = HomeAgentsList(HA, 0, Random(1))
    for number in range(MAXIMUM_HOME_AGENTS):
        agents.advertisement(ROUTER + number, advertisement(OTHER + number, preference=1), 0.0)
    agents.advertisement(ROUTER - 1, advertisement(OTHER - 1, preference=99), 1.0)
    assert OTHER - 1 not in agents.reply(ASK, 2.0).addresses
    agents.advertisement(ROUTER - 1, advertisement(OTHER - 1, preference=99), 101.0)
    assert agents.reply(ASK, 102.0).addresses == (OTHER - 1, HA)


def reply(scenario: Scenario, source: IPv6Address = COA1) -> HomeAgentAddressDiscoveryReply | None:
    outcome = scenario.icmp(ASK, source, ANYCAST, hop_limit=60, home_link=False)
    packets = [action for action in outcome.actions if isinstance(action, ForwardPacket)]
    if not packets:
        return None
    packet = decode_packet(packets[0].packet)
    assert (packet.source, packet.destination) == (HA, source)
    message = decode_icmpv6(packet.payload, HA, source)
    assert isinstance(message, HomeAgentAddressDiscoveryReply)
    return message


def test_rfc6275_10_5_1_a_request_is_answered_to_its_source() -> None:
    scenario = Scenario()
    scenario.icmp(advertisement(), ROUTER, ALL_NODES)
    assert reply(scenario) == HomeAgentAddressDiscoveryReply(7, (OTHER, HA))


def test_our_own_advertisement_does_not_make_us_another_home_agent() -> None:
    scenario = Scenario()
    scenario.icmp(advertisement(HA), ROUTER, ALL_NODES, own=True)
    assert reply(scenario) == HomeAgentAddressDiscoveryReply(7, (HA,))


@pytest.mark.parametrize(
    ("source", "hop_limit"), [(ROUTER, 254), (OTHER, 255)], ids=["routed", "not-link-local"]
)
def test_rfc4861_6_1_2_invalid_advertisements(source: IPv6Address, hop_limit: int) -> None:
    scenario = Scenario()
    outcome = scenario.icmp(advertisement(), source, ALL_NODES, hop_limit=hop_limit, home_link=True)
    assert outcome.drops == ["advertisement-invalid"]
    assert reply(scenario) == HomeAgentAddressDiscoveryReply(7, (HA,))


@pytest.mark.parametrize("own", [False, True])
def test_routers_on_uplinks_are_nobodys_business(own: bool) -> None:
    scenario = Scenario()
    outcome = scenario.icmp(advertisement(), ROUTER, ALL_NODES, home_link=False, own=own)
    assert outcome.actions == []
    assert reply(scenario) == HomeAgentAddressDiscoveryReply(7, (HA,))


def test_requests_of_nobody_and_to_others_are_dropped() -> None:
    scenario = Scenario()
    assert scenario.icmp(ASK, COA1, HA).drops == ["discovery-not-anycast"]
    assert scenario.icmp(ASK, IPv6Address("::"), ANYCAST).drops == ["discovery-not-anycast"]


def test_requests_are_answered_at_a_limited_rate() -> None:
    """Anybody may ask, and the answer may be a hundred times as long as the question."""
    scenario = Scenario(CONFIG)
    answered = [reply(scenario) for _ in range(50)]
    assert 0 < sum(message is not None for message in answered) <= 10
    scenario.after(1.0)
    assert reply(scenario) is not None
