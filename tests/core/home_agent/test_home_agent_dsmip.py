"""Registrations from IPv4 networks, NAT detection, IPv4 home addresses, prefixes (RFC 5555 section 4.5)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from ha_scenario import (
    AH,
    AHR,
    COA1,
    COA4,
    ENTRY,
    HA,
    HA4,
    HOME,
    HOME4,
    KEY,
    NAT4,
    PLAIN_ENTRY,
    Mobile,
    Scenario,
    authentic,
    scenario,
)

from dsmip.core.actions import SendDatagram
from dsmip.core.types import IPv4Grant, Nat, TunnelFormat, UdpEndpoint
from dsmip.wire.constants import NAT_NO_KEEPALIVE, BAStatus, BUFlag, IPv4AckStatus
from dsmip.wire.options import (
    AlternateCareOfAddress,
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
    NatDetection,
    find,
    find_all,
)

ANY = IPv4Address(0)
POOL = IPv4Network("192.0.2.128/29")
PREFIX_POOL = IPv4Network("203.0.113.0/24")
DYNAMIC = replace(ENTRY, ipv4_home_address=None, ipv4_prefixes=())


# Way and format ---------------------------------------------------------------------------------------------


def test_rfc5555_4_2_ba_to_a_udp_bu_is_in_udp_from_the_same_addresses() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update_in_udp(outer=NAT4, port=40000, care_of=IPv4Address("10.0.0.2")))
    datagram = outcome.one(SendDatagram)
    assert isinstance(datagram, SendDatagram)
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


# IPv4 home address ------------------------------------------------------------------------------------------


def acknowledged(agent: Scenario, update: bytes) -> list[tuple[int, str, int]]:
    """Status, address and prefix length of every acknowledgement option of an accepted update."""
    outcome = agent.receive(update)
    assert outcome.ba.status == BAStatus.ACCEPTED
    return [
        (o.status, str(o.address), o.prefix_length)
        for o in find_all(outcome.ba.options, IPv4AddressAcknowledgement)
    ]


def test_rfc5555_4_5_static_ipv4_home_address() -> None:
    agent, mobile = scenario()
    assert acknowledged(agent, mobile.update(options=[IPv4HomeAddress(HOME4)])) == [(0, "192.0.2.44", 32)]
    assert agent.binding.ipv4 == (IPv4Grant(IPv4Network("192.0.2.44/32")),)
    assert agent.binding.ipv4_home_address == HOME4


def test_rfc5555_4_5_no_option_no_acknowledgement() -> None:
    agent, mobile = scenario()
    assert acknowledged(agent, mobile.update_in_udp()) == []
    assert agent.binding.ipv4 == ()


def test_rfc5555_4_5_somebody_elses_ipv4_home_address_is_130_and_ipv6_is_accepted() -> None:
    theirs = IPv4Address("192.0.2.130")
    home = IPv6Address("2001:db8:100::2")
    other = replace(ENTRY, home_address=home, identifier="x", ipv4_home_address=theirs)
    agent, mobile = scenario(ipv4_pool=POOL)
    agent = Scenario(replace(agent.config, mobile_nodes=(ENTRY, other)))
    options = [IPv4HomeAddress(theirs)]
    assert acknowledged(agent, mobile.update(options=options)) == [(130, "192.0.2.130", 0)]
    assert agent.binding.ipv4 == ()


@pytest.mark.parametrize("address", ["224.0.0.1", "127.0.0.1", "255.255.255.255", "0.1.2.3"])
def test_rfc5555_3_2_1_an_ipv4_home_address_that_is_not_unicast_is_131(address: str) -> None:
    agent, mobile = scenario()
    options = [IPv4HomeAddress(IPv4Address(address))]
    assert acknowledged(agent, mobile.update(options=options)) == [(131, address, 0)]


@pytest.mark.parametrize("length", [0, 33, 63])
def test_rfc5555_3_1_1_an_impossible_prefix_length_is_an_error(length: int) -> None:
    agent, mobile = scenario()
    options = [IPv4HomeAddress(HOME4, length)]
    assert acknowledged(agent, mobile.update(options=options)) == [
        (IPv4AckStatus.UNSPECIFIED, "192.0.2.44", 0)
    ]


def test_asking_for_any_address_gives_the_static_one() -> None:
    agent, mobile = scenario(ipv4_pool=POOL)
    assert acknowledged(agent, mobile.update(options=[IPv4HomeAddress(ANY)])) == [(0, "192.0.2.44", 32)]


def test_rfc5555_4_5_dynamic_ipv4_home_address() -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_pool=POOL)
    assert acknowledged(agent, mobile.update(options=[IPv4HomeAddress(ANY)])) == [(0, "192.0.2.129", 32)]
    assert agent.binding.ipv4 == (IPv4Grant(IPv4Network("192.0.2.129/32"), dynamic=True),)


def test_rfc5555_4_5_a_refresh_keeps_the_dynamic_address_however_it_asks() -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_pool=POOL)
    agent.receive(mobile.update(options=[IPv4HomeAddress(ANY)]))
    again = [(0, "192.0.2.129", 32)]
    assert acknowledged(agent, mobile.update(sequence=16, options=[IPv4HomeAddress(ANY)])) == again
    named = IPv4HomeAddress(IPv4Address("192.0.2.129"))
    assert acknowledged(agent, mobile.update_in_udp(sequence=17, options=[named])) == again


def test_rfc5555_4_5_no_address_left_is_132() -> None:
    """Five of the eight addresses of the pool can be had: network, broadcast and home agent are taken."""
    nodes = [
        replace(DYNAMIC, home_address=IPv6Address(int(HOME) + number), identifier=f"mn{number}@example.com")
        for number in range(6)
    ]
    agent, _ = scenario(ipv4_pool=POOL, ipv4_address=IPv4Address("192.0.2.130"))
    agent = Scenario(replace(agent.config, mobile_nodes=tuple(nodes)))
    answers = [
        acknowledged(agent, Mobile(node).update(options=[IPv4HomeAddress(ANY)], identifier=node.identifier))
        for node in nodes
    ]
    got = [address for [(status, address, _)] in answers if status == 0]
    assert sorted(got) == ["192.0.2.129", "192.0.2.131", "192.0.2.132", "192.0.2.133", "192.0.2.134"]
    assert answers[-1] == [(132, "0.0.0.0", 0)]


@pytest.mark.parametrize("pool", [None, POOL])
def test_rfc5555_4_5_without_a_pool_or_the_permission_it_is_132(pool: IPv4Network | None) -> None:
    agent, mobile = scenario(replace(DYNAMIC, allow_dynamic_ipv4=pool is None), ipv4_pool=pool)
    assert acknowledged(agent, mobile.update(options=[IPv4HomeAddress(ANY)])) == [(132, "0.0.0.0", 0)]


def test_rfc5555_an_update_without_the_option_removes_only_the_ipv4_binding() -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_pool=POOL)
    agent.receive(mobile.update(options=[IPv4HomeAddress(ANY)]))
    assert acknowledged(agent, mobile.update(sequence=16)) == []
    assert agent.bound
    assert agent.binding.ipv4 == ()
    # The address is free again.
    assert acknowledged(agent, mobile.update(sequence=17, options=[IPv4HomeAddress(ANY)])) == [
        (0, "192.0.2.129", 32)
    ]


@pytest.mark.parametrize("end", ["de-registration", "expiry"])
def test_a_dynamic_address_goes_back_when_the_binding_ends_and_can_be_had_again(end: str) -> None:
    other = replace(DYNAMIC, home_address=IPv6Address("2001:db8:100::2"), identifier="x@example.com")
    agent, mobile = scenario(DYNAMIC, ipv4_pool=POOL)
    agent = Scenario(replace(agent.config, mobile_nodes=(DYNAMIC, other)))
    agent.receive(mobile.update(options=[IPv4HomeAddress(ANY)]))
    if end == "expiry":
        agent.after(420.0)
    else:
        agent.receive(mobile.update(sequence=16, lifetime=0))
    named = IPv4HomeAddress(IPv4Address("192.0.2.129"))
    assert acknowledged(agent, mobile.update(now=agent.now, sequence=17, options=[named])) == [
        (0, "192.0.2.129", 32)
    ]
    theirs = Mobile(other).update(now=agent.now, identifier="x@example.com", options=[named])
    assert acknowledged(agent, theirs) == [(130, "192.0.2.129", 0)]


def test_a_refused_update_allots_nothing() -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_pool=POOL, max_bindings=0)
    outcome = agent.receive(mobile.update(options=[IPv4HomeAddress(ANY)]))
    assert find(outcome.ba.options, IPv4AddressAcknowledgement) is None


# IPv4 prefixes ----------------------------------------------------------------------------------------------


def test_rfc5555_4_5_configured_prefix_by_name_and_by_request() -> None:
    agent, mobile = scenario()
    named = IPv4HomeAddress(IPv4Address("192.0.2.64"), 28)
    expected = [(0, "192.0.2.64", 28)]
    assert acknowledged(agent, mobile.update(flags=AHR, options=[named])) == expected
    asked = IPv4HomeAddress(ANY, 24, prefix_requested=True)
    assert acknowledged(agent, mobile.update(sequence=16, flags=AHR, options=[asked])) == expected
    assert agent.binding.ipv4 == (IPv4Grant(IPv4Network("192.0.2.64/28")),)


def test_rfc5555_3_1_1_address_and_prefix_in_two_options() -> None:
    agent, mobile = scenario()
    options = [IPv4HomeAddress(HOME4), IPv4HomeAddress(ANY, 28, prefix_requested=True)]
    assert acknowledged(agent, mobile.update(flags=AHR, options=options)) == [
        (0, "192.0.2.44", 32),
        (0, "192.0.2.64", 28),
    ]
    assert agent.binding.ipv4_home_address == HOME4


def test_rfc5555_4_5_prefix_from_the_pool_has_the_requested_length() -> None:
    """P is for new requests only: a refresh, by request or by name, gets the same prefix."""
    agent, mobile = scenario(DYNAMIC, ipv4_prefix_pool=PREFIX_POOL)
    asked = IPv4HomeAddress(ANY, 28, prefix_requested=True)
    named = IPv4HomeAddress(IPv4Address("203.0.113.0"), 28, prefix_requested=True)
    for sequence, option in ((15, asked), (16, asked), (17, named)):
        update = mobile.update(sequence=sequence, flags=AHR, options=[option])
        assert acknowledged(agent, update) == [(0, "203.0.113.0", 28)]
    assert agent.binding.ipv4 == (IPv4Grant(IPv4Network("203.0.113.0/28"), dynamic=True),)


@pytest.mark.parametrize(("length", "pool"), [(28, None), (23, PREFIX_POOL), (32, PREFIX_POOL)])
def test_rfc5555_4_5_no_prefix_to_be_had_is_133(length: int, pool: IPv4Network | None) -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_prefix_pool=pool)
    asked = IPv4HomeAddress(ANY, length, prefix_requested=True)
    assert acknowledged(agent, mobile.update(flags=AHR, options=[asked])) == [(133, "0.0.0.0", 0)]


def test_rfc5555_4_5_somebody_elses_prefix_is_133() -> None:
    agent, mobile = scenario()
    named = IPv4HomeAddress(IPv4Address("192.0.2.80"), 28)
    assert acknowledged(agent, mobile.update(flags=AHR, options=[named])) == [(133, "192.0.2.80", 0)]


def test_more_options_than_anybody_needs_are_prohibited() -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_prefix_pool=PREFIX_POOL)
    options = [IPv4HomeAddress(ANY, 32 - 2, prefix_requested=True)] * 9
    answers = acknowledged(agent, mobile.update(flags=AHR, options=options))
    assert [status for status, _, _ in answers] == [0] * 8 + [129]
    assert len(agent.binding.ipv4) == 8
