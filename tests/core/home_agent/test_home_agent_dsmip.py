"""Registrations from IPv4 networks: NAT detection and forced UDP (RFC 5555 sections 4.2 and 4.5)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from ha_scenario import (
    AH,
    COA1,
    COA4,
    HA,
    HA4,
    HOME,
    KEY,
    NAT4,
    PLAIN_ENTRY,
    Mobile,
    authentic,
    scenario,
)

from dsmip.core.actions import SendDatagram
from dsmip.core.types import Nat, TunnelFormat, UdpEndpoint
from dsmip.wire.constants import NAT_NO_KEEPALIVE, BAStatus, BUFlag
from dsmip.wire.options import (
    AlternateCareOfAddress,
    NatDetection,
    find,
)

# Way and format ---------------------------------------------------------------------------------------------


def test_rfc5555_4_2_ba_to_a_udp_bu_is_in_udp_from_the_same_addresses() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update_in_udp(outer=NAT4, port=40000, care_of=IPv4Address("10.0.0.2")))
    datagram = outcome.one(SendDatagram)
    assert datagram.local == UdpEndpoint(HA4, 4191)
    assert datagram.remote == UdpEndpoint(NAT4, 40000)
    packet = outcome.ba_packet
    assert (packet.source, packet.destination, packet.routing_home_address) == (HA, HOME, None)


def test_rfc5555_4_2_no_nat_is_ip_in_ip() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update_in_udp())
    assert find(outcome.ba.options, NatDetection) == NatDetection(False, NAT_NO_KEEPALIVE)
    binding = agent.binding
    assert (binding.care_of, binding.format, binding.nat) == (COA4, TunnelFormat.IPV4, Nat.NONE)
    assert binding.nat_source == UdpEndpoint(COA4, 4191)
    assert binding.home_agent_ipv4 == HA4
    assert authentic(outcome.ba_packet, COA4)


def test_rfc5555_4_2_nat_is_found_by_comparing_option_and_source() -> None:
    agent, mobile = scenario()
    inside = IPv4Address("192.168.1.7")
    outcome = agent.receive(mobile.update_in_udp(care_of=inside, outer=NAT4, port=61000))
    assert find(outcome.ba.options, NatDetection) == NatDetection(False, 110)
    binding = agent.binding
    assert (binding.care_of, binding.format, binding.nat) == (NAT4, TunnelFormat.UDP4, Nat.DETECTED)
    assert binding.nat_source == UdpEndpoint(NAT4, 61000)
    # The authenticator knows what the mobile node knows: its own address.
    assert authentic(outcome.ba_packet, inside)


def test_rfc5555_3_2_2_the_refresh_time_is_configured() -> None:
    agent, mobile = scenario(nat_keepalive=25)
    outcome = agent.receive(mobile.update_in_udp(outer=NAT4))
    assert find(outcome.ba.options, NatDetection) == NatDetection(False, 25)


@pytest.mark.parametrize(
    ("changes", "key", "status"),
    [
        ({"timestamp": 1}, KEY, BAStatus.MIPV6_ID_MISMATCH),
        ({"with_timestamp": False}, KEY, BAStatus.MIPV6_MESG_ID_REQD),
        ({}, KEY[::-1], BAStatus.MIPV6_AUTH_FAIL),
        ({"lifetime": 0}, KEY, BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE),
    ],
)
def test_rfc5555_4_2_ba_in_udp_carries_nat_detection_whatever_its_status(
    changes: dict[str, int], key: bytes, status: BAStatus
) -> None:
    agent, mobile = scenario()
    mobile.key = key
    outcome = agent.receive(mobile.update_in_udp(outer=NAT4, **changes))  # type: ignore[arg-type]
    assert outcome.ba.status == status
    assert find(outcome.ba.options, NatDetection) == NatDetection(False, 110)


def test_a_new_port_behind_the_nat_is_a_move() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update_in_udp(outer=NAT4, port=40000))
    before = agent.binding
    outcome = agent.receive(mobile.update_in_udp(sequence=16, outer=NAT4, port=40001))
    assert outcome.installed.previous == before
    assert agent.binding.nat_source == UdpEndpoint(NAT4, 40001)


def test_from_ipv4_to_ipv6_and_back() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update_in_udp(outer=NAT4))
    agent.receive(mobile.update(sequence=16))
    binding = agent.binding
    assert (binding.care_of, binding.format, binding.nat_source) == (COA1, TunnelFormat.IPV6, None)
    agent.receive(mobile.update_in_udp(sequence=17))
    assert agent.binding.format is TunnelFormat.IPV4


# The F flag -------------------------------------------------------------------------------------------------


def test_rfc5555_4_5_forced_udp_is_accepted() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update_in_udp(flags=AH | BUFlag.F))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert find(outcome.ba.options, NatDetection) == NatDetection(False, NAT_NO_KEEPALIVE)
    assert (agent.binding.format, agent.binding.nat) == (TunnelFormat.UDP4, Nat.NONE)


def test_rfc5555_4_5_the_home_agent_may_force_udp() -> None:
    agent, mobile = scenario(udp="force")
    outcome = agent.receive(mobile.update_in_udp())
    assert find(outcome.ba.options, NatDetection) == NatDetection(True, NAT_NO_KEEPALIVE)
    assert agent.binding.format is TunnelFormat.UDP4


def test_rfc5555_4_5_refused_udp_is_144() -> None:
    agent, mobile = scenario(PLAIN_ENTRY, udp="refuse")
    outcome = agent.receive(mobile.update_in_udp(flags=AH | BUFlag.F))
    assert outcome.ba.status == 144
    assert not agent.bound
    assert agent.receive(mobile.update_in_udp(sequence=16)).ba.status == BAStatus.ACCEPTED


def test_refused_udp_is_129_where_144_means_something_else() -> None:
    agent, mobile = scenario(udp="refuse")
    outcome = agent.receive(mobile.update_in_udp(flags=AH | BUFlag.F))
    assert outcome.ba.status == BAStatus.ADMINISTRATIVELY_PROHIBITED


def test_udp_is_not_refused_where_a_nat_needs_it() -> None:
    agent, mobile = scenario(udp="refuse")
    outcome = agent.receive(mobile.update_in_udp(flags=AH | BUFlag.F, outer=NAT4))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert agent.binding.format is TunnelFormat.UDP4


def test_rfc5555_3_1_3_f_means_nothing_with_an_ipv6_care_of_address() -> None:
    agent, mobile = scenario()
    assert agent.receive(mobile.update(flags=AH | BUFlag.F)).ba.status == BAStatus.ACCEPTED
    assert agent.binding.format is TunnelFormat.IPV6


# What does not fit ------------------------------------------------------------------------------------------


def test_a_home_address_option_in_udp_is_dropped() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update_in_udp(hao=HOME))
    assert outcome.silent
    assert outcome.drops == ["home-address-option-in-udp"]


@pytest.mark.parametrize(
    "care_of", [None, IPv4Address(0), IPv4Address("224.0.0.1"), IPv4Address("127.0.0.1")]
)
def test_rfc5555_4_4_2_a_udp_bu_without_a_usable_ipv4_care_of_address_is_refused(
    care_of: IPv4Address,
) -> None:
    """In particular it is not taken for a de-registration because its source is the home address."""
    agent, mobile = scenario()
    agent.receive(mobile.update_in_udp())
    outcome = agent.receive(mobile.update_in_udp(sequence=16, care_of=care_of))
    assert outcome.ba.status == BAStatus.INVALID_CARE_OF_ADDRESS
    assert agent.binding.sequence == 15


def test_an_ipv6_care_of_address_in_udp_is_refused() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update_in_udp(options=[AlternateCareOfAddress(COA1)]))
    assert outcome.ba.status == BAStatus.INVALID_CARE_OF_ADDRESS
    assert not agent.bound


@pytest.mark.parametrize("outer", ["0.0.0.0", "224.0.0.1", "127.0.0.1", "255.255.255.255", "169.254.3.4"])
def test_an_outer_source_that_is_nobody_is_dropped(outer: str) -> None:
    agent, mobile = scenario()
    assert agent.receive(mobile.update_in_udp(outer=IPv4Address(outer))).silent


def test_an_inner_destination_that_is_not_ours_is_dropped() -> None:
    agent, _ = scenario()
    mobile = Mobile(home_agent=IPv6Address("2001:db8:100::2"))
    assert agent.receive(mobile.update_in_udp()).drops == ["not-for-us"]


def test_de_registration_in_udp() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update_in_udp(outer=NAT4))
    outcome = agent.receive(mobile.update_in_udp(sequence=16, outer=NAT4, lifetime=0))
    assert (outcome.ba.status, outcome.ba.lifetime) == (BAStatus.ACCEPTED, 0)
    assert not outcome.removed.at_home
    assert not agent.bound
