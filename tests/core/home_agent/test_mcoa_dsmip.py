"""IPv4 care-of addresses among several ones, some of them behind NATs (RFC 5648 section 8)."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from ha_multihomed import AHO, INSIDE4, LTE, LTE4, OUTSIDE4, WIFI, Multihomed, bid, statuses
from ha_scenario import AH, HA4, HOME, HOME4, authentic

from dsmip.core.actions import SendDatagram
from dsmip.core.types import Nat, TunnelFormat, UdpEndpoint
from dsmip.wire.constants import NAT_NO_KEEPALIVE, BAStatus, BUFlag, IPv4AckStatus
from dsmip.wire.experimental import ExperimentalOption
from dsmip.wire.extensions import Extensions, extensions_option
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import (
    IPv4AddressAcknowledgement,
    IPv4CareOfAddress,
    IPv4HomeAddress,
    NatDetection,
    find,
)

NO_NAT = NatDetection(False, NAT_NO_KEEPALIVE)
BEHIND_NAT = NatDetection(False, 110)


def test_rfc5648_8_1_an_ipv4_care_of_address_comes_in_the_bid_option() -> None:
    node = Multihomed()
    outcome = node.send_in_udp(bid(2, LTE4), flags=AHO)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {2: 0})
    (entry,) = node.agent.binding.care_ofs
    assert (entry.care_of, entry.format, entry.nat) == (LTE4, TunnelFormat.IPV4, Nat.NONE)
    assert (entry.nat_source, entry.home_agent_ipv4) == (UdpEndpoint(LTE4, 4191), HA4)
    assert find(outcome.ba.options, NatDetection) == NO_NAT
    assert authentic(outcome.ba_packet, LTE4)


def test_rfc5648_8_1_a_nat_is_found_by_comparing_option_and_source() -> None:
    node = Multihomed()
    outcome = node.send_in_udp(bid(2, INSIDE4), outer=OUTSIDE4, port=61000, flags=AHO)
    (entry,) = node.agent.binding.care_ofs
    assert (entry.care_of, entry.format, entry.nat) == (OUTSIDE4, TunnelFormat.UDP4, Nat.DETECTED)
    assert entry.nat_source == UdpEndpoint(OUTSIDE4, 61000)
    assert find(outcome.ba.options, NatDetection) == BEHIND_NAT
    assert outcome.one(SendDatagram).remote == UdpEndpoint(OUTSIDE4, 61000)
    assert authentic(outcome.ba_packet, INSIDE4)


def test_ipv6_ipv4_and_natted_care_of_addresses_in_one_binding() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), flags=AHO)
    node.send_in_udp(bid(2, LTE4))
    node.send_in_udp(bid(3, INSIDE4), outer=OUTSIDE4, port=61000)
    formats = {entry.bid: entry.format for entry in node.agent.binding.care_ofs}
    assert formats == {1: TunnelFormat.IPV6, 2: TunnelFormat.IPV4, 3: TunnelFormat.UDP4}
    assert node.bound == {1: WIFI, 2: LTE4, 3: OUTSIDE4}


def test_rfc5555_4_5_forced_udp_is_for_the_care_of_address_it_comes_from() -> None:
    node = Multihomed()
    node.send_in_udp(bid(2, LTE4), flags=AHO)
    node.send_in_udp(bid(2, LTE4), bid(3), flags=AH | BUFlag.F)
    assert node.agent.binding.format is TunnelFormat.UDP4
    node = Multihomed(udp="force")
    outcome = node.send_in_udp(bid(2, LTE4), flags=AHO)
    assert node.agent.binding.format is TunnelFormat.UDP4
    assert find(outcome.ba.options, NatDetection) == NatDetection(True, NAT_NO_KEEPALIVE)


def test_rfc5648_8_1_the_ipv4_care_of_address_option_is_passed_over() -> None:
    node = Multihomed()
    node.send_in_udp(bid(2, LTE4), IPv4CareOfAddress(INSIDE4), flags=AHO)
    assert node.bound == {2: LTE4}


def test_rfc5648_8_1_a_known_address_without_nat_in_bulk_from_elsewhere() -> None:
    node = Multihomed()
    node.send_in_udp(bid(2, LTE4), flags=AHO)
    node.agent.after(100)
    outcome = node.send(bid(1, WIFI), bid(2, LTE4, priority=3))
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0, 2: 0})
    entry = node.agent.binding.care_of_binding(2)
    assert entry is not None
    assert (entry.nat, entry.nat_source, entry.priority) == (Nat.NONE, UdpEndpoint(LTE4, 4191), 3)
    assert entry.expires == node.agent.now.unix + 400


@pytest.mark.parametrize("known", [False, True])
def test_rfc5648_8_1_a_new_address_in_bulk_from_elsewhere(known: bool) -> None:
    node = Multihomed()
    if known:
        node.send_in_udp(bid(2, LTE4), flags=AHO)
    outcome = node.send(bid(1, WIFI), bid(2, LTE4 + 1))
    refused = {1: 0, 2: BAStatus.MCOA_BULK_REGISTRATION_PROHIBITED}
    assert statuses(outcome) == (BAStatus.MCOA_NOTCOMPLETE, refused)
    assert node.bound == ({1: WIFI, 2: LTE4} if known else {1: WIFI})
    # Alone it is no bulk, but the NAT cannot be seen from there either.
    outcome = node.send(bid(2, LTE4 + 1))
    assert statuses(outcome) == (BAStatus.INVALID_CARE_OF_ADDRESS, {2: 0})


def test_rfc5648_8_1_a_natted_address_in_bulk_from_elsewhere_is_refused() -> None:
    node = Multihomed()
    node.send_in_udp(bid(3, INSIDE4), outer=OUTSIDE4, port=61000, flags=AHO)
    for address in (INSIDE4, OUTSIDE4):
        outcome = node.send(bid(1, WIFI), bid(3, address))
        refused = {1: 0, 3: BAStatus.MCOA_BULK_REGISTRATION_PROHIBITED}
        assert statuses(outcome) == (BAStatus.MCOA_NOTCOMPLETE, refused)
    # Without its address it is renewed as it is.
    assert node.send(bid(1, WIFI), bid(3)).ba.status == BAStatus.ACCEPTED
    assert node.agent.binding.care_of_binding(3).nat_source == UdpEndpoint(OUTSIDE4, 61000)  # type: ignore[union-attr]


def test_rfc5648_8_1_bulk_from_an_ipv4_address() -> None:
    """The option about the way the update came is the one with that address, or the first IPv4 one."""
    node = Multihomed()
    node.send_in_udp(bid(2, LTE4), flags=AHO)
    node.send_in_udp(bid(3, INSIDE4), outer=OUTSIDE4, port=61000)
    # Over BID 2, which has no NAT: named second, found by its address.
    outcome = node.send_in_udp(bid(1, WIFI), bid(2, LTE4), bid(3), port=4192)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0, 2: 0, 3: 0})
    assert find(outcome.ba.options, NatDetection) == NO_NAT
    assert node.agent.binding.care_of_binding(2).nat_source == UdpEndpoint(LTE4, 4192)  # type: ignore[union-attr]
    # Over BID 3, which is behind a NAT that has just chosen another port.
    outcome = node.send_in_udp(bid(3, INSIDE4), bid(2, LTE4), bid(1), outer=OUTSIDE4, port=61001)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {3: 0, 2: 0, 1: 0})
    assert find(outcome.ba.options, NatDetection) == BEHIND_NAT
    assert node.agent.binding.care_of_binding(3).nat_source == UdpEndpoint(OUTSIDE4, 61001)  # type: ignore[union-attr]
    assert node.bound == {1: WIFI, 2: LTE4, 3: OUTSIDE4}


def test_rfc5648_8_1_a_first_registration_behind_a_nat_is_not_in_bulk() -> None:
    node = Multihomed()
    outcome = node.send_in_udp(bid(3, INSIDE4), bid(1, WIFI), outer=OUTSIDE4, port=61000, flags=AHO)
    refused = {3: BAStatus.MCOA_BULK_REGISTRATION_PROHIBITED, 1: 0}
    assert statuses(outcome) == (BAStatus.MCOA_NOTCOMPLETE, refused)
    assert node.bound == {1: WIFI}


@pytest.mark.parametrize(
    ("option", "status"),
    [
        (bid(2, IPv4Address("224.0.0.1")), BAStatus.MCOA_MALFORMED),
        (bid(2, IPv4Address("0.0.0.0")), BAStatus.MCOA_MALFORMED),
        (bid(2, IPv4Address("127.0.0.1")), BAStatus.MCOA_MALFORMED),
        (bid(2, HA4), BAStatus.INVALID_CARE_OF_ADDRESS),
    ],
)
def test_rfc5648_4_4_ipv4_addresses_that_no_care_of_address_can_be(
    option: BindingIdentifier, status: BAStatus
) -> None:
    outcome = Multihomed().send_in_udp(option, flags=AHO)
    assert statuses(outcome) == (status, {2: 0})
    assert not outcome.changed


def test_bids_are_deregistered_over_another_one() -> None:
    """The update names no address of the way it comes, which says what is known about that."""
    node = Multihomed()
    node.send_in_udp(bid(2, LTE4), flags=AHO)
    node.send_in_udp(bid(3, INSIDE4), outer=OUTSIDE4, port=61000)
    node.send(bid(1, WIFI))
    outcome = node.send_in_udp(bid(1), outer=OUTSIDE4, port=61000, lifetime=0)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0})
    assert find(outcome.ba.options, NatDetection) == BEHIND_NAT
    assert authentic(outcome.ba_packet, HOME)
    outcome = node.send_in_udp(bid(3), outer=LTE4, lifetime=0)
    assert find(outcome.ba.options, NatDetection) == NO_NAT
    outcome = node.send_in_udp(bid(2), outer=LTE4, port=5000, lifetime=0)
    assert find(outcome.ba.options, NatDetection) == BEHIND_NAT
    assert not node.agent.bound


def test_rfc5648_8_2_ipv4_acknowledgements_come_before_bids() -> None:
    node = Multihomed(extensions=Extensions.PROBES)
    outcome = node.send_in_udp(
        bid(2, LTE4), IPv4HomeAddress(HOME4), extensions_option(Extensions.PROBES), flags=AHO
    )
    order = [type(option) for option in outcome.ba.options[:4]]
    assert order == [IPv4AddressAcknowledgement, NatDetection, ExperimentalOption, BindingIdentifier]
    acknowledged = find(outcome.ba.options, IPv4AddressAcknowledgement)
    assert acknowledged == IPv4AddressAcknowledgement(IPv4AckStatus.SUCCESS, HOME4, 32)


def test_rfc5648_8_2_all_care_of_addresses_are_for_the_ipv4_home_address_too() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), IPv4HomeAddress(HOME4), flags=AHO)
    node.send_in_udp(bid(2, LTE4), IPv4HomeAddress(HOME4))
    assert node.agent.binding.ipv4_home_address == HOME4
    assert node.bound == {1: WIFI, 2: LTE4}


def test_rfc5555_4_5_refused_udp_refuses_all() -> None:
    node = Multihomed(udp="refuse")
    outcome = node.send_in_udp(bid(2, LTE4), flags=AHO | BUFlag.F)
    assert statuses(outcome) == (BAStatus.ADMINISTRATIVELY_PROHIBITED, {2: 0})
    assert node.send_in_udp(bid(2, LTE4), flags=AHO).ba.status == BAStatus.ACCEPTED


def test_a_home_address_option_in_udp_is_dropped() -> None:
    node = Multihomed()
    update = node.mobile.update_in_udp(care_of=None, options=(bid(2, LTE4),), hao=HOME, mac_care_of=LTE4)
    assert node.agent.receive(update).drops == ["home-address-option-in-udp"]
    update = node.mobile.update_in_udp(
        care_of=None, options=(bid(2, LTE4),), outer=IPv4Address("224.1.1.1"), mac_care_of=LTE4
    )
    assert node.agent.receive(update).drops == ["outer-source-not-routable"]


def test_ipv6_care_of_addresses_may_be_named_in_udp() -> None:
    node = Multihomed()
    outcome = node.send_in_udp(bid(1, LTE), flags=AHO)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0})
    (entry,) = node.agent.binding.care_ofs
    assert (entry.care_of, entry.format, entry.nat_source) == (LTE, TunnelFormat.IPV6, None)
    assert authentic(outcome.ba_packet, HOME)
