"""Home prefixes, and telling mobile nodes about them (RFC 6275 sections 10.3.1 and 10.6)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from itertools import pairwise

import pytest
from ha_scenario import (
    COA1,
    CONFIG,
    HA,
    HOME,
    HOME_PREFIX,
    PLAIN_ENTRY,
    Mobile,
    Outcome,
    Scenario,
    scenario,
)

from dsmip.core.actions import ForwardPacket, InstallBinding, RemoveBinding, SendPacket, StoreBinding
from dsmip.wire.constants import BAStatus
from dsmip.wire.icmpv6 import (
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
    decode_icmpv6,
    encode_icmpv6,
)
from dsmip.wire.messages import BindingRefreshRequest, decode_message
from dsmip.wire.packet import Packet, decode_packet, encode_packet

INFINITE = 0xFFFF_FFFF
#: So that a test does not have to wait for a day.
INTERVAL = (20.0, 60.0)


def solicit(agent: Scenario, identifier: int = 5) -> Outcome:
    header = encode_icmpv6(MobilePrefixSolicitation(identifier), HOME, HA)
    return agent.receive(encode_packet(COA1, HA, header, 58, home_address=HOME))


def advertised(outcome: Outcome) -> list[tuple[Packet, MobilePrefixAdvertisement]]:
    """The Mobile Prefix Advertisements among what is sent."""
    found = []
    for action in outcome.actions:
        if isinstance(action, SendPacket | ForwardPacket):
            packet = decode_packet(action.packet)
            if packet.next_header == 58:
                message = decode_icmpv6(packet.payload, packet.sender, packet.recipient)
                if isinstance(message, MobilePrefixAdvertisement):
                    found.append((packet, message))
    return found


def prefixes(message: MobilePrefixAdvertisement) -> dict[str, tuple[int, int]]:
    return {
        str(option.prefix): (option.valid_lifetime, option.preferred_lifetime)
        for option in message.options
        if isinstance(option, PrefixInformation)
    }


def bound(**changes: object) -> tuple[Scenario, Mobile]:
    agent, mobile = scenario(mobile_prefix_interval=INTERVAL, **changes)
    agent.receive(mobile.update(lifetime=1000))
    assert agent.bound
    return agent, mobile


def test_rfc6275_10_6_a_configured_prefix_goes_on_for_ever() -> None:
    agent, _ = bound()
    ((packet, message),) = advertised(solicit(agent, 99))
    assert (packet.source, packet.destination, packet.routing_home_address) == (HA, COA1, HOME)
    assert message.identifier == 99
    assert message.options == (
        PrefixInformation(HOME_PREFIX, True, True, True, INFINITE, INFINITE, address=HA),
    )


def test_rfc6275_10_6_4_lifetimes_are_what_is_left_of_them() -> None:
    agent, _ = bound()
    agent.advertise(HOME_PREFIX, 7000, preferred=6000)
    agent.after(98.0)
    agent.after(2.0)
    ((_, message),) = advertised(solicit(agent))
    assert prefixes(message) == {str(HOME_PREFIX): (6900, 5900)}


def test_rfc6275_10_6_1_prefixes_of_other_home_agents_are_told_as_well() -> None:
    agent, _ = bound()
    agent.advertise(IPv6Network("2001:db8:101::/64"), 500, own=False)
    ((_, message),) = advertised(solicit(agent))
    assert prefixes(message)["2001:db8:101::/64"] == (500, 500)
    agent.after(500.0)
    agent.after(2.0)
    ((_, message),) = advertised(solicit(agent))
    assert list(prefixes(message)) == [str(HOME_PREFIX)]


def test_a_flood_of_prefixes_is_kept_out() -> None:
    agent, _ = bound()
    for number in range(100):
        agent.advertise(IPv6Network((0x20010DB8_00000000 + (number << 8) << 64, 64)), 500, own=False)
    ((packet, message),) = advertised(solicit(agent))
    assert len(message.options) == 17
    assert len(packet.raw) <= 1280


def test_rfc6275_10_6_2_a_change_is_told_until_it_is_acknowledged() -> None:
    """After a random delay; then after 3, 6 and 12 seconds more (PREFIX_ADV_TIMEOUT, PREFIX_ADV_RETRIES)."""
    agent, _ = bound()
    agent.advertise(HOME_PREFIX, 7000)
    times = []
    for _ in range(800):
        outcome = agent.after(0.1)
        if advertised(outcome):
            times.append(agent.now.monotonic - 5000.0)
    assert INTERVAL[0] <= times[0] <= INTERVAL[1] + 0.2
    assert [round(b - a) for a, b in pairwise(times)] == [3, 6, 12]


def test_rfc6275_10_6_2_a_solicitation_acknowledges() -> None:
    agent, _ = bound()
    agent.advertise(HOME_PREFIX, 7000)
    while not advertised(agent.after(0.5)):
        pass
    agent.after(1.0)
    assert len(advertised(solicit(agent))) == 1
    assert all(not advertised(agent.after(0.5)) for _ in range(100))


def test_rfc6275_10_6_2_nothing_after_the_binding() -> None:
    agent, mobile = bound()
    agent.advertise(HOME_PREFIX, 7000)
    agent.receive(mobile.update(sequence=16, lifetime=0))
    assert not agent.bound
    assert all(not advertised(agent.after(0.5)) for _ in range(200))
    assert agent.agent.timeout() is None or agent.agent.timeout() > agent.now.monotonic


def test_rfc6275_10_6_2_another_binding_update_starts_it_again() -> None:
    agent, mobile = bound()
    agent.advertise(HOME_PREFIX, 7000)
    for _ in range(100):
        agent.after(1.0)
    assert not advertised(agent.after(1.0))
    agent.receive(mobile.update(now=agent.now, sequence=16, lifetime=1000))
    assert any(advertised(agent.after(0.5)) for _ in range(10))


def test_rfc6275_10_6_2_time_is_no_change() -> None:
    """Lifetimes that stand still, or count down, are what the mobile node knows already."""
    agent, _ = bound()
    agent.advertise(HOME_PREFIX, 7000)
    agent.after(100.0)
    solicit(agent)
    agent.after(1.0)
    for valid in (7000, 6990):
        agent.advertise(HOME_PREFIX, valid)
        assert all(not advertised(agent.after(1.0)) for _ in range(10))
    assert all(not advertised(agent.after(0.5)) for _ in range(60))


def test_rfc6275_10_6_2_flags_are_a_change() -> None:
    agent, _ = bound()
    agent.advertise(HOME_PREFIX, 7000)
    agent.after(100.0)
    solicit(agent)
    agent.after(1.0)
    agent.advertise(HOME_PREFIX, 7000, autonomous=False)
    assert any(advertised(agent.after(1.0)) for _ in range(70))


def test_rfc6275_6_8_at_most_one_a_second() -> None:
    agent, _ = bound()
    assert len(advertised(solicit(agent))) == 1
    for _ in range(3):
        assert not advertised(solicit(agent))
    assert solicit(agent).drops == ["prefix-solicitation-rate"]
    assert not advertised(agent.after(0.9))
    assert len(advertised(agent.after(0.1))) == 1
    assert not advertised(agent.after(5.0))


def test_rfc6275_11_4_3_who_was_told_unasked_asks_at_once_and_is_answered() -> None:
    agent, _ = bound()
    agent.advertise(HOME_PREFIX, 7000)
    while not advertised(agent.after(0.1)):
        pass
    assert not solicit(agent).drops
    ((packet, message),) = advertised(agent.after(1.0))
    assert (packet.destination, packet.routing_home_address) == (COA1, HOME)
    assert message.identifier == 5
    assert all(not advertised(agent.after(0.5)) for _ in range(100))


def test_rfc6275_8_4_advertisements_can_be_switched_off() -> None:
    agent, _ = bound(mobile_prefix_advertisements=False)
    assert solicit(agent).drops == ["prefix-advertisements-disabled"]
    agent.advertise(HOME_PREFIX, 7000)
    assert all(not advertised(agent.after(0.5)) for _ in range(200))


def test_from_an_ipv4_network_question_and_answer_go_through_the_tunnel() -> None:
    agent, mobile = scenario(mobile_prefix_interval=INTERVAL)
    agent.receive(mobile.update_in_udp(lifetime=1000))
    ((packet, message),) = advertised(agent.icmp(MobilePrefixSolicitation(3), HOME, HA, home_link=False))
    assert (packet.destination, packet.routing_home_address) == (HOME, None)
    assert message.identifier == 3
    agent.after(1.5)
    agent.advertise(HOME_PREFIX, 7000)
    found = [sent for _ in range(70) for sent in advertised(agent.after(1.0))]
    assert found[0][0].destination == HOME


def test_a_solicitation_of_nobody_gets_nothing() -> None:
    agent, _ = scenario()
    outcome = agent.icmp(MobilePrefixSolicitation(3), HOME, HA, home_link=False)
    assert outcome.drops == ["home-address-option-missing"]


# What prefixes mean for bindings ---------------------------------------------------------------------------


def test_rfc6275_10_3_1_a_binding_ends_with_the_prefix() -> None:
    agent, _ = bound()
    outcome = agent.advertise(HOME_PREFIX, 300)
    assert outcome.one(StoreBinding).binding.expires == agent.now.unix + 300
    assert outcome.one(InstallBinding).binding.expires == agent.now.unix + 300
    (request,) = [
        decode_packet(action.packet) for action in outcome.actions if isinstance(action, SendPacket)
    ]
    assert (request.destination, request.routing_home_address) == (COA1, HOME)
    assert isinstance(decode_message(request.payload, HA, HOME), BindingRefreshRequest)
    agent.after(299.0)
    assert agent.bound
    assert agent.after(1.5).removed.reason == "expired"


def test_rfc6275_10_3_1_a_prefix_that_is_over_takes_its_bindings_along() -> None:
    agent, mobile = bound()
    outcome = agent.advertise(HOME_PREFIX, 0)
    assert outcome.one(RemoveBinding).reason == "expired"
    assert not [action for action in outcome.actions if isinstance(action, SendPacket)]
    assert agent.receive(mobile.update(sequence=16)).ba.status == BAStatus.NOT_HOME_SUBNET


def test_a_prefix_that_is_renewed_cuts_nothing() -> None:
    agent, _ = bound()
    agent.advertise(HOME_PREFIX, 7000)
    agent.after(10.0)
    outcome = agent.advertise(HOME_PREFIX, 7000)
    assert not [action for action in outcome.actions if isinstance(action, InstallBinding)]


@pytest.mark.parametrize("home_agent", [False, True], ids=["H=0", "H=1"])
def test_routers_that_are_no_home_agents_are_not_believed(home_agent: bool) -> None:
    agent, _ = bound()
    agent.advertise(HOME_PREFIX, 0, own=False, home_agent=home_agent)
    assert agent.bound != home_agent


def test_only_bindings_of_that_prefix_are_cut() -> None:
    other = IPv6Network("2001:db8:999::/64")
    agent = Scenario(replace(CONFIG, home_prefixes=(HOME_PREFIX, other), mobile_nodes=(PLAIN_ENTRY,)))
    agent.receive(Mobile(PLAIN_ENTRY).update(lifetime=1000))
    agent.advertise(other, 10)
    assert agent.binding.expires == agent.now.unix + 4000
    assert IPv6Address(HOME) in HOME_PREFIX
