"""Mobile nodes whose signalling is under IPsec are served with it and not without (RFC 3776, RFC 4877)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ha_scenario import COA1, HA, HOME, PLAIN_ENTRY, Mobile, Outcome, Scenario, scenario

from dsmip.core.actions import Drop, ForwardPacket, SendPacket
from dsmip.wire.constants import BAStatus
from dsmip.wire.icmpv6 import (
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    RouterAdvertisement,
    decode_icmpv6,
    encode_icmpv6,
)
from dsmip.wire.packet import Packet, decode_packet, encode_packet

ENTRY = replace(PLAIN_ENTRY, authentication="ipsec")
SOLICITATION = encode_icmpv6(MobilePrefixSolicitation(5), HOME, HA)
#: As they come over IPv6, and as they come out of a tunnel.
WITH_OPTION = encode_packet(COA1, HA, SOLICITATION, 58, home_address=HOME)
BARE = encode_packet(HOME, HA, SOLICITATION, 58)


def bound(*, udp: bool = False) -> tuple[Scenario, Mobile]:
    agent, mobile = scenario(ENTRY)
    update = mobile.update_in_udp(lifetime=1000) if udp else mobile.update(lifetime=1000)
    assert agent.receive(update, protected=True).ba.status == BAStatus.ACCEPTED
    return agent, mobile


def advertised(outcome: Outcome) -> list[Packet]:
    sent = [action for action in outcome.actions if isinstance(action, SendPacket | ForwardPacket)]
    packets = [decode_packet(action.packet) for action in sent]
    for packet in packets:
        message = decode_icmpv6(packet.payload, packet.sender, packet.recipient)
        assert isinstance(message, MobilePrefixAdvertisement)
        assert message.identifier == 5
    return packets


def test_rfc4877_4_1_a_binding_update_without_ipsec_is_dropped() -> None:
    agent, mobile = scenario(ENTRY)
    assert agent.receive(mobile.update()).drops == ["not-protected"]
    assert not agent.bound


def test_rfc3776_3_3_a_protected_solicitation_is_answered_by_the_way_it_came() -> None:
    agent, _ = bound()
    (packet,) = advertised(agent.receive(WITH_OPTION, protected=True))
    assert (packet.source, packet.destination, packet.routing_home_address) == (HA, COA1, HOME)


def test_rfc3776_4_1_a_solicitation_without_ipsec_is_dropped_and_counted() -> None:
    agent, _ = bound()
    outcome = agent.receive(WITH_OPTION)
    assert outcome.actions == [Drop("not-protected", "prefix solicitation without IPsec", str(HOME))]
    # It has not used up the second that has to lie between two answers.
    assert len(advertised(agent.receive(WITH_OPTION, protected=True))) == 1


def test_from_an_ipv4_network_it_comes_through_the_tunnel_under_ipsec() -> None:
    agent, _ = bound(udp=True)
    (packet,) = advertised(agent.receive(BARE, protected=True))
    assert (packet.source, packet.destination, packet.routing_home_address) == (HA, HOME, None)


def test_from_an_ipv4_network_it_is_dropped_without() -> None:
    agent, _ = bound(udp=True)
    outcome = agent.icmp(MobilePrefixSolicitation(5), HOME, HA, home_link=False)
    assert outcome.drops == ["not-protected"]
    assert advertised(outcome) == []
    assert agent.receive(BARE).drops == ["not-signalling"]


def test_without_a_binding_ipsec_alone_gets_no_answer() -> None:
    agent, _ = scenario(ENTRY)
    assert agent.receive(BARE, protected=True).drops == ["home-address-option-missing"]


@pytest.mark.parametrize(
    ("octets", "reason"),
    [(encode_icmpv6(RouterAdvertisement(1800), HOME, HA), "not-signalling"), (b"\x92", "truncated")],
    ids=["another message", "cut short"],
)
def test_nothing_else_is_taken_from_ipsec(octets: bytes, reason: str) -> None:
    """Not even from a mobile node with keys: its router advertisement, say, would be nobody's."""
    agent, _ = bound(udp=True)
    outcome = agent.receive(encode_packet(HOME, HA, octets, 58), protected=True)
    assert outcome.drops == [reason]
    assert outcome.silent


def test_a_mobile_node_with_another_authentication_needs_none() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update(lifetime=1000))
    assert len(advertised(agent.receive(WITH_OPTION))) == 1
