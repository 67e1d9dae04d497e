"""Several care-of addresses of one mobile node (RFC 5648 sections 4 to 6): registration and refusals."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from ha_multihomed import AHO, LTE, LTE4, SATELLITE, WIFI, Multihomed, bid, events, kinds, statuses
from ha_scenario import (
    COA1,
    ENTRY,
    HA,
    HOME,
    KEY,
    MNP1,
    Mobile,
    Scenario,
    authentic,
)

from dsmip.core.actions import StoreBinding
from dsmip.core.types import Nat, TunnelFormat
from dsmip.wire.constants import BAStatus
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.option import MalformedOption, find_all
from dsmip.wire.options import AlternateCareOfAddress, IPv4HomeAddress

# Registration -----------------------------------------------------------------------------------------------


def test_rfc5648_6_2_a_bid_is_registered() -> None:
    node = Multihomed()
    outcome = node.send(bid(7, WIFI, priority=10), flags=AHO)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {7: 0})
    (entry,) = node.agent.binding.care_ofs
    assert (entry.bid, entry.care_of, entry.format, entry.priority) == (7, WIFI, TunnelFormat.IPV6, 10)
    assert (entry.nat, entry.lifetime, entry.expires) == (Nat.UNKNOWN, 400.0, node.agent.now.unix + 400)
    assert node.agent.binding.multiple
    assert outcome.installed.previous is None
    assert outcome.one(StoreBinding).binding == node.agent.binding
    assert kinds(outcome) == ["registered"]
    assert authentic(outcome.ba_packet, WIFI)
    assert outcome.ba_packet.destination == WIFI


def test_rfc5648_6_2_bids_are_added_to_those_bound() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), flags=AHO)
    outcome = node.send(bid(2, LTE), source=LTE)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {2: 0})
    assert node.bound == {1: WIFI, 2: LTE}
    assert outcome.ba_packet.destination == LTE
    assert outcome.installed.previous is not None
    assert outcome.installed.grace == node.agent.config.grace
    assert kinds(outcome) == ["care-of-added"]
    # Each has a lifetime of its own.
    node.agent.after(100)
    node.send(bid(2, LTE), source=LTE)
    first, second = node.agent.binding.care_ofs
    assert (first.expires + 100, first.ends + 100) == (second.expires, second.ends)


def test_rfc5648_5_3_bulk_registration() -> None:
    node = Multihomed()
    outcome = node.send(bid(1, WIFI), bid(2, LTE), bid(3, SATELLITE), flags=AHO)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0, 2: 0, 3: 0})
    assert node.bound == {1: WIFI, 2: LTE, 3: SATELLITE}


def test_rfc5648_6_2_the_same_bid_with_another_address_moves() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), bid(2, LTE), flags=AHO)
    outcome = node.send(bid(1, SATELLITE), source=SATELLITE)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0})
    assert node.bound == {1: SATELLITE, 2: LTE}
    (event,) = events(outcome)
    assert (event.kind, event.fields["bid"], event.fields["previous"]) == ("moved", 1, WIFI)
    previous = outcome.installed.previous
    assert previous is not None
    assert previous.is_at(WIFI)


def test_rfc5648_6_2_without_an_address_a_known_bid_is_renewed() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI, priority=5), bid(2, LTE, priority=6), flags=AHO)
    node.agent.after(100)
    outcome = node.send(bid(2, priority=1), source=LTE)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {2: 0})
    # The new priority makes it the preferred one.
    assert node.bound == {2: LTE, 1: WIFI}
    entry = node.agent.binding.care_ofs[0]
    assert (entry.priority, entry.expires) == (1, node.agent.now.unix + 400)
    (event,) = events(outcome)
    assert (event.kind, event.fields["bids"]) == ("refreshed", "2")


def test_rfc5648_6_2_without_an_address_an_unknown_bid_is_167() -> None:
    node = Multihomed()
    outcome = node.send(bid(1))
    assert statuses(outcome) == (BAStatus.MCOA_UNKNOWN_COA, {1: 0})
    assert not outcome.changed
    node.send(bid(1, WIFI))
    outcome = node.send(bid(1), bid(2))
    assert statuses(outcome) == (BAStatus.MCOA_NOTCOMPLETE, {1: 0, 2: BAStatus.MCOA_UNKNOWN_COA})
    assert node.bound == {1: WIFI}


def test_rfc5648_6_2_the_o_flag_replaces_what_is_bound() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), bid(2, LTE), flags=AHO)
    outcome = node.send(bid(3, SATELLITE), source=SATELLITE, flags=AHO)
    assert node.bound == {3: SATELLITE}
    assert kinds(outcome) == ["care-of-added", "care-of-removed", "care-of-removed"]


def test_rfc5648_6_2_the_o_flag_spares_a_known_bid_named_without_an_address() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), bid(2, LTE), flags=AHO)
    node.send(bid(2), source=LTE, flags=AHO)
    assert node.bound == {2: LTE}


def test_rfc5648_6_2_an_update_in_which_nothing_is_done_overwrites_nothing() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), bid(2, LTE), flags=AHO)
    outcome = node.send(bid(3), source=LTE, flags=AHO)
    assert statuses(outcome) == (BAStatus.MCOA_UNKNOWN_COA, {3: 0})
    assert node.bound == {1: WIFI, 2: LTE}


def test_rfc5648_6_2_a_plain_binding_is_not_added_to() -> None:
    node = Multihomed()
    node.send(source=COA1)
    outcome = node.send(bid(1, WIFI))
    assert statuses(outcome) == (BAStatus.MCOA_NON_MCOA_BINDING_EXISTS, {1: 0})
    assert node.bound == {0: COA1}
    outcome = node.send(bid(1, WIFI), flags=AHO)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0})
    assert node.bound == {1: WIFI}
    assert kinds(outcome) == ["care-of-added", "care-of-removed"]


def test_rfc5648_6_2_a_plain_update_replaces_all() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), bid(2, LTE), flags=AHO)
    outcome = node.send(source=SATELLITE)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {})
    assert node.bound == {0: SATELLITE}
    assert not node.agent.binding.multiple


def test_rfc5648_4_1_sequence_numbers_are_shared_by_all_bids() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), flags=AHO)
    node.sequence -= 1
    outcome = node.send(bid(2, LTE), source=LTE)
    assert statuses(outcome) == (BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, {2: 0})
    assert outcome.ba.sequence == 101
    assert node.bound == {1: WIFI}


def test_rfc5648_5_2_an_alternate_care_of_address_beside_bids_is_passed_over() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), AlternateCareOfAddress(SATELLITE), flags=AHO)
    assert node.bound == {1: WIFI}


def test_rfc5648_5_2_any_bid_may_be_registered_over_any_way() -> None:
    node = Multihomed()
    outcome = node.send(bid(1, WIFI), source=LTE, flags=AHO)
    assert node.bound == {1: WIFI}
    assert outcome.ba_packet.destination == LTE
    assert authentic(outcome.ba_packet, LTE)


def test_rfc6089_4_1_priorities_order_care_of_addresses_and_are_copied() -> None:
    node = Multihomed()
    options = (bid(1, WIFI, priority=30), bid(2, LTE, priority=20), bid(3, SATELLITE))
    outcome = node.send(*options, flags=AHO)
    assert list(node.bound) == [2, 1, 3]
    assert node.agent.binding.care_of == LTE
    copied = find_all(outcome.ba.options, BindingIdentifier)
    assert copied == (bid(1, priority=30), bid(2, priority=20), bid(3))


def test_the_extensions_agreed_are_those_of_both_ends() -> None:
    from dsmip.wire.extensions import Extensions, extensions_option, read_extensions

    both = Extensions.DUPLICATION | Extensions.PROBES
    node = Multihomed(extensions=Extensions.PROBES)
    outcome = node.send(bid(1, WIFI), extensions_option(both), flags=AHO)
    assert read_extensions(outcome.ba.options) == Extensions.PROBES
    assert node.agent.binding.extensions == Extensions.PROBES
    outcome = node.send(bid(1, WIFI))
    assert read_extensions(outcome.ba.options) is None
    assert node.agent.binding.extensions == Extensions.NONE


# Refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lifetime", [100, 0])
def test_rfc5648_6_2_a_wrong_length_refuses_the_whole_update(lifetime: int) -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), flags=AHO)
    outcome = node.send(bid(1, LTE), MalformedOption(35, b"\0\x09\0\0\0"), source=LTE, lifetime=lifetime)
    assert outcome.ba.status == BAStatus.MCOA_MALFORMED
    assert {option.bid for option in find_all(outcome.ba.options, BindingIdentifier)} == {1, 9}
    assert node.bound == {1: WIFI}


def test_rfc5648_6_2_a_wrong_length_alone_is_answered_too() -> None:
    outcome = Multihomed().send(MalformedOption(35, b""))
    assert statuses(outcome) == (BAStatus.MCOA_MALFORMED, {0: 0})


@pytest.mark.parametrize(
    ("option", "status"),
    [
        (bid(2, IPv6Address("ff02::1")), BAStatus.MCOA_MALFORMED),
        (bid(2, IPv6Address("fe80::1")), BAStatus.MCOA_MALFORMED),
        (bid(2, IPv6Address("::")), BAStatus.MCOA_MALFORMED),
        (bid(0, LTE), BAStatus.MCOA_MALFORMED),
        (bid(1, LTE), BAStatus.MCOA_MALFORMED),  # once more
        (bid(2, HA), BAStatus.INVALID_CARE_OF_ADDRESS),
        (bid(2, HOME), BAStatus.INVALID_CARE_OF_ADDRESS),
        (bid(2, MNP1[1]), BAStatus.INVALID_CARE_OF_ADDRESS),
        (bid(2, HOME, home=True), BAStatus.MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED),
        (bid(2), BAStatus.MCOA_UNKNOWN_COA),
        (bid(2, LTE4), BAStatus.MCOA_BULK_REGISTRATION_PROHIBITED),
    ],
)
def test_rfc5648_6_2_one_option_refused_among_others(option: BindingIdentifier, status: BAStatus) -> None:
    node = Multihomed()
    outcome = node.send(bid(1, WIFI), option, bid(3, SATELLITE), flags=AHO)
    assert outcome.ba.status == BAStatus.MCOA_NOTCOMPLETE
    found = [(copy.bid, copy.status) for copy in find_all(outcome.ba.options, BindingIdentifier)]
    assert found == [(1, 0), (option.bid, status), (3, 0)]
    assert outcome.ba.lifetime == 100
    assert node.bound == {1: WIFI, 3: SATELLITE}


def test_rfc5648_6_2_what_refuses_all_alike_is_said_once() -> None:
    outcome = Multihomed().send(bid(1), bid(2))
    assert statuses(outcome) == (BAStatus.MCOA_UNKNOWN_COA, {1: 0, 2: 0})
    assert not outcome.changed


def test_rfc5648_6_2_refused_for_different_reasons() -> None:
    outcome = Multihomed().send(bid(1), bid(0, WIFI))
    refused = {1: BAStatus.MCOA_UNKNOWN_COA, 0: BAStatus.MCOA_MALFORMED}
    assert statuses(outcome) == (BAStatus.MCOA_NOTCOMPLETE, refused)
    assert outcome.ba.lifetime == 0
    assert not outcome.changed


def test_rfc5648_4_4_prohibited_by_configuration() -> None:
    node = Multihomed(multiple_care_of_addresses=False)
    for lifetime in (100, 0):
        outcome = node.send(bid(1, WIFI), bid(2, LTE), flags=AHO, lifetime=lifetime)
        assert statuses(outcome) == (BAStatus.MCOA_PROHIBITED, {1: 0, 2: 0})
        assert not outcome.changed
    assert node.send(source=COA1).ba.status == BAStatus.ACCEPTED


def test_rfc5648_4_4_bulk_prohibited_by_configuration() -> None:
    node = Multihomed(bulk_registration=False)
    outcome = node.send(bid(1, WIFI), bid(2, LTE), flags=AHO)
    assert statuses(outcome) == (BAStatus.MCOA_BULK_REGISTRATION_PROHIBITED, {1: 0, 2: 0})
    assert not outcome.changed
    assert node.send(bid(1, WIFI), flags=AHO).ba.status == BAStatus.ACCEPTED


def test_there_is_a_limit_to_care_of_addresses() -> None:
    node = Multihomed()
    options = [bid(number, WIFI + number) for number in range(1, 11)]
    outcome = node.send(*options, flags=AHO)
    status, per_bid = statuses(outcome)
    assert status == BAStatus.MCOA_NOTCOMPLETE
    assert [number for number, found in per_bid.items() if found] == [9, 10]
    assert per_bid[9] == BAStatus.INSUFFICIENT_RESOURCES
    assert len(node.bound) == 8
    # Those bound may move and be replaced all the same.
    assert node.send(bid(8, LTE)).ba.status == BAStatus.ACCEPTED
    assert node.send(bid(9, LTE)).ba.status == BAStatus.INSUFFICIENT_RESOURCES
    assert node.send(bid(9, LTE), flags=AHO).ba.status == BAStatus.ACCEPTED


def test_a_flood_of_options_is_dropped() -> None:
    node = Multihomed()
    outcome = node.send(*[bid(number) for number in range(33)])
    assert outcome.drops == ["too-many-binding-identifiers"]
    assert outcome.silent
    outcome = node.send(*[IPv4HomeAddress(LTE4)] * 65)
    assert outcome.drops == ["too-many-ipv4-home-addresses"]


def test_rfc6275_9_5_1_bids_do_not_replace_the_home_address_option() -> None:
    outcome = Multihomed().send(bid(1, WIFI), hao=False, source=HOME)
    assert outcome.drops == ["home-address-option-missing"]


def test_rfc4285_5_1_the_authenticator_covers_the_source() -> None:
    agent, mobile = Scenario(), Mobile()
    outcome = agent.receive(mobile.update(options=(bid(1, LTE),), mac_care_of=LTE))
    assert statuses(outcome) == (BAStatus.MIPV6_AUTH_FAIL, {1: 0})
    assert not outcome.changed
    mobile.key = KEY[::-1]
    outcome = agent.receive(mobile.update(options=(bid(1, LTE),)))
    assert statuses(outcome) == (BAStatus.MIPV6_AUTH_FAIL, {1: 0})
    assert not agent.bound


# Others -----------------------------------------------------------------------------------------------------


def test_a_bid_belongs_to_its_home_address() -> None:
    """The BIDs of one mobile node say nothing about those of another."""
    other = replace(
        ENTRY, home_address=HOME + 1, identifier="mr2@example.com", prefixes=(), ipv4_home_address=None
    )
    node = Multihomed(mobile_nodes=(ENTRY, other))
    node.send(bid(1, WIFI), flags=AHO)
    stranger = Mobile(other)
    update = stranger.update(options=(bid(1),), identifier=other.identifier, source=LTE)
    assert statuses(node.agent.receive(update)) == (BAStatus.MCOA_UNKNOWN_COA, {1: 0})
    removal = stranger.update(
        options=(bid(1),), identifier=other.identifier, source=LTE, lifetime=0, sequence=16
    )
    assert statuses(node.agent.receive(removal)) == (BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE, {1: 0})
    assert node.bound == {1: WIFI}
