"""Who a packet claims to be from, at a glance."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from dsmip.bench.fleet import HOME_AGENT, HOME_PREFIX, IPV4_HOME_PREFIX, Vehicle, vehicles
from dsmip.core.home_agent.engine import HomeAgent, HomeAgentConfig
from dsmip.core.standing import Standing, claim_of, standing_at_mobile_node
from dsmip.core.types import Instant
from dsmip.wire.packet import encode_packet

UNIX = 1.8e9
ELSEWHERE = IPv6Address("2001:db8:666::1")
FLEET = vehicles(3)
#: Behind a NAT; in an IPv6 network; not registered.
ODD, EVEN, ABSENT = FLEET


@pytest.fixture
def agent() -> HomeAgent:
    made = HomeAgent(
        HomeAgentConfig(
            address=HOME_AGENT,
            ipv4_address=IPv4Address("192.0.2.2"),
            home_prefixes=(HOME_PREFIX,),
            ipv4_home_prefixes=(IPV4_HOME_PREFIX,),
            mobile_nodes=tuple(vehicle.entry() for vehicle in FLEET),
        )
    )
    for vehicle in (ODD, EVEN):
        made.receive(vehicle.update(1, UNIX), Instant(0.0, UNIX))
        assert vehicle.home_address in made.bindings
    return made


def forged(vehicle: Vehicle, number: int) -> bytes:
    """Its Binding Update, with the wrong key."""
    return vehicle.update(number, UNIX + 1)[:-1] + b"?"


@pytest.mark.parametrize("vehicle", FLEET)
def test_who_has_the_key_is_proven_wherever_it_is(agent: HomeAgent, vehicle: Vehicle) -> None:
    for number in (1, 2):
        assert agent.standing(vehicle.update(number, UNIX + 1)) == (
            Standing.PROVEN,
            vehicle.home_address.packed,
        )


@pytest.mark.parametrize("vehicle", [ODD, EVEN])
def test_what_was_heard_before_proves_nothing(agent: HomeAgent, vehicle: Vehicle) -> None:
    assert agent.standing(vehicle.update(1, UNIX))[0] is Standing.EXPECTED
    assert agent.standing(vehicle.update(2, UNIX - 1))[0] is Standing.KNOWN


def test_without_the_key_it_depends_on_the_source(agent: HomeAgent) -> None:
    for vehicle in (ODD, EVEN):
        assert agent.standing(forged(vehicle, 1)) == (Standing.EXPECTED, vehicle.home_address.packed)
        assert agent.standing(forged(vehicle, 2)) == (Standing.KNOWN, vehicle.home_address.packed)
    assert agent.standing(forged(ABSENT, 1))[0] is Standing.KNOWN


def test_nobody(agent: HomeAgent) -> None:
    stranger = encode_packet(ELSEWHERE, HOME_AGENT, bytes(16), home_address=ELSEWHERE)
    assert agent.standing(stranger) == (Standing.STRANGER, b"")
    assert agent.standing(encode_packet(ELSEWHERE, HOME_AGENT, bytes(16))) == (Standing.STRANGER, b"")


def test_at_home_the_source_is_the_home_address() -> None:
    assert claim_of(encode_packet(ELSEWHERE, HOME_AGENT, bytes(16))).home_address == ELSEWHERE.packed


@pytest.mark.parametrize("vehicle", [ODD, EVEN])
def test_no_prefix_of_a_packet_does_harm_or_proves_anything(agent: HomeAgent, vehicle: Vehicle) -> None:
    data = vehicle.update(1, UNIX + 1)
    for length in range(len(data)):
        assert agent.standing(data[:length])[0] is not Standing.PROVEN


def test_at_a_mobile_node_the_home_agent_comes_first() -> None:
    answer = encode_packet(HOME_AGENT, ELSEWHERE, bytes(16), routing_home_address=EVEN.home_address)
    assert standing_at_mobile_node(answer, HOME_AGENT, None) is Standing.EXPECTED
    assert (
        standing_at_mobile_node(encode_packet(ELSEWHERE, HOME_AGENT, b""), HOME_AGENT, None)
        is Standing.STRANGER
    )
    assert standing_at_mobile_node(ODD.update(1, UNIX), HOME_AGENT, ODD.nat_source(1)[0]) is Standing.EXPECTED
