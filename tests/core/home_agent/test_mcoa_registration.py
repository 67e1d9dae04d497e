"""Several care-of addresses of one mobile node (RFC 5648 sections 4 to 6)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from ha_multihomed import AHO, LTE, LTE4, SATELLITE, WIFI, Multihomed, bid, events, kinds, statuses
from ha_scenario import (
    AHR,
    COA1,
    CORRESPONDENT,
    ENTRY,
    HA,
    HOME,
    KEY,
    MNP1,
    Mobile,
    Scenario,
    authentic,
)

from dsmip.core.actions import ForgetBinding, RemoveBinding, SendPacket, StoreBinding
from dsmip.core.types import Nat, TunnelFormat
from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from dsmip.wire.icmpv6 import EchoRequest, encode_icmpv6
from dsmip.wire.messages import BindingError, decode_message
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.option import MalformedOption, find_all
from dsmip.wire.options import AlternateCareOfAddress, IPv4HomeAddress, MobileNetworkPrefix
from dsmip.wire.packet import decode_packet, encode_packet

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


# De-registration --------------------------------------------------------------------------------------------


def three(**changes: object) -> Multihomed:
    node = Multihomed(**changes)
    node.send(bid(1, WIFI), bid(2, LTE), bid(3, SATELLITE), flags=AHO)
    return node


def test_rfc5648_5_4_bids_are_deregistered() -> None:
    node = three()
    outcome = node.send(bid(1), bid(3), source=LTE, lifetime=0)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0, 3: 0})
    assert outcome.ba.lifetime == 0
    assert node.bound == {2: LTE}
    assert outcome.installed.grace == node.agent.config.grace
    assert outcome.one(StoreBinding).binding == node.agent.binding
    assert [(event.kind, event.fields["bid"]) for event in events(outcome)] == [
        ("care-of-removed", 1),
        ("care-of-removed", 3),
    ]


def test_rfc5648_6_2_deregistration_of_an_unknown_bid_is_133() -> None:
    node = three()
    outcome = node.send(bid(4), source=LTE, lifetime=0)
    assert statuses(outcome) == (BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE, {4: 0})
    outcome = node.send(bid(4), bid(1), source=LTE, lifetime=0)
    refused = {4: BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE, 1: 0}
    assert statuses(outcome) == (BAStatus.MCOA_NOTCOMPLETE, refused)
    assert node.bound == {2: LTE, 3: SATELLITE}


def test_rfc5648_6_2_the_o_flag_is_ignored_in_a_deregistration() -> None:
    node = three()
    node.send(bid(1), source=LTE, lifetime=0, flags=AHO)
    assert node.bound == {2: LTE, 3: SATELLITE}


def test_rfc5648_6_2_the_last_bid_ends_the_binding() -> None:
    node = three()
    outcome = node.send(bid(1), bid(2), bid(3), lifetime=0)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0, 2: 0, 3: 0})
    assert outcome.one(RemoveBinding).reason == "deregistered"
    assert outcome.one(ForgetBinding).home_address == HOME
    assert not node.agent.bound
    outcome = node.send(bid(1), lifetime=0)
    assert statuses(outcome) == (BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE, {1: 0})


def test_rfc5648_6_2_the_last_bid_among_unknown_ones() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), flags=AHO)
    outcome = node.send(bid(1), bid(2), lifetime=0)
    refused = {1: 0, 2: BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE}
    assert statuses(outcome) == (BAStatus.MCOA_NOTCOMPLETE, refused)
    assert not node.agent.bound


def test_rfc5648_5_4_without_bids_all_are_deregistered() -> None:
    node = three()
    outcome = node.send(lifetime=0)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {})
    assert not node.agent.bound


def test_rfc5648_5_5_1_returning_home_deregisters_all() -> None:
    node = three()
    outcome = node.send(source=HOME, hao=False, lifetime=0)
    assert outcome.removed.at_home
    assert not node.agent.bound


def test_rfc5648_6_2_a_plain_binding_has_no_bids_to_deregister() -> None:
    node = Multihomed()
    node.send(source=COA1)
    outcome = node.send(bid(1), lifetime=0)
    assert statuses(outcome) == (BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE, {1: 0})
    assert node.bound == {0: COA1}


def test_rfc3963_prefixes_stay_while_one_care_of_address_is_left() -> None:
    node = Multihomed()
    options = (MobileNetworkPrefix.of(MNP1), IPv4HomeAddress(ENTRY.ipv4_home_address or LTE4))
    node.send(bid(1, WIFI), bid(2, LTE), *options, flags=AHR | BUFlag.O)
    before = node.agent.binding
    outcome = node.send(bid(1), source=LTE, lifetime=0)
    assert (node.agent.binding.prefixes, node.agent.binding.ipv4) == (before.prefixes, before.ipv4)
    assert node.agent.binding.mobile_router
    assert outcome.ba.flags == BAFlag(0)
    # A registration says anew what is wanted, whichever care-of address it is about.
    node.send(bid(2, LTE), source=LTE, flags=AHR)
    assert node.agent.binding.ipv4 == ()


# Time -------------------------------------------------------------------------------------------------------


def test_rfc5648_4_1_every_bid_ends_by_itself() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), lifetime=100, flags=AHO)
    node.send(bid(2, LTE), source=LTE, lifetime=50)
    assert node.agent.agent.timeout() == node.agent.now.monotonic + 200
    assert not node.agent.after(199.9).changed
    outcome = node.agent.after(0.1)
    assert node.bound == {1: WIFI}
    assert (outcome.installed.grace, outcome.installed.binding) == (0.0, node.agent.binding)
    assert outcome.one(StoreBinding).binding == node.agent.binding
    (event,) = events(outcome)
    assert (event.kind, event.fields["bid"], event.fields["reason"]) == ("care-of-removed", 2, "expired")
    outcome = node.agent.after(200)
    assert outcome.one(RemoveBinding).reason == "expired"
    assert node.bound == {}


def test_a_renewed_bid_outlives_the_others() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), bid(2, LTE), flags=AHO)
    node.agent.after(300)
    node.send(bid(2), source=LTE)
    node.agent.after(100)
    assert node.bound == {2: LTE}
    node.agent.after(300)
    assert node.bound == {}


def test_an_expired_bid_is_unknown_before_the_timer_says_so() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), lifetime=10, flags=AHO)
    node.send(bid(2, LTE), source=LTE, lifetime=100)
    node.agent.now = node.agent.now._replace(monotonic=node.agent.now.monotonic + 50)
    assert statuses(node.send(bid(1), source=LTE)) == (BAStatus.MCOA_UNKNOWN_COA, {1: 0})


def test_rfc6275_10_3_1_no_bid_outlasts_the_home_prefix() -> None:
    node = Multihomed(home_link=True, dad=False)
    node.send(bid(1, WIFI), bid(2, LTE), lifetime=200, flags=AHO)
    node.agent.advertise(node.agent.config.home_prefixes[0], 300)
    assert {entry.expires for entry in node.agent.binding.care_ofs} == {node.agent.now.unix + 300}
    node.agent.after(300)
    assert node.bound == {}


# Packets ----------------------------------------------------------------------------------------------------


def probe(source: IPv6Address) -> bytes:
    message = encode_icmpv6(EchoRequest(7, 1), HOME, HA)
    return encode_packet(source, HA, message, 58, home_address=HOME)


def test_rfc5648_6_5_a_home_address_option_is_good_with_every_care_of_address() -> None:
    node = three()
    for care_of in (WIFI, LTE, SATELLITE):
        answer = decode_packet(node.agent.receive(probe(care_of)).one(SendPacket).packet)
        assert (answer.destination, answer.routing_home_address) == (care_of, HOME)
    node.send(bid(2), lifetime=0)
    for care_of in (LTE, CORRESPONDENT):
        packet = decode_packet(node.agent.receive(probe(care_of)).one(SendPacket).packet)
        assert isinstance(decode_message(packet.payload, HA, care_of), BindingError)


# The home link ----------------------------------------------------------------------------------------------


def with_home_link(**changes: object) -> Multihomed:
    return Multihomed(home_link=True, **changes)


def test_rfc5648_5_6_3_home_and_foreign_at_the_same_time() -> None:
    node = with_home_link(dad=False)
    node.send(bid(1, WIFI), flags=AHO)
    outcome = node.send(bid(2, HOME, home=True), hao=False, source=HOME)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {2: 0})
    (copy,) = find_all(outcome.ba.options, BindingIdentifier)
    assert copy.home
    assert outcome.ba_packet.destination == HOME
    assert node.bound == {1: WIFI, 2: HOME}
    entry = node.agent.binding.care_ofs[1]
    assert (entry.at_home, entry.format) == (True, TunnelFormat.LINK)
    assert node.agent.binding.at_home


def test_rfc5648_5_6_3_the_home_binding_in_bulk() -> None:
    node = with_home_link(dad=False)
    node.send(bid(1, WIFI, priority=2), bid(2, HOME, home=True, priority=1), flags=AHO)
    assert node.bound == {2: HOME, 1: WIFI}
    node.agent.after(100)
    outcome = node.send(bid(1), bid(2, home=True))
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0, 2: 0})
    assert {entry.lifetime for entry in node.agent.binding.care_ofs} == {400.0}


def test_rfc5648_5_6_3_there_is_one_home_binding() -> None:
    node = with_home_link(dad=False)
    node.send(bid(1, WIFI), bid(2, HOME, home=True), flags=AHO)
    node.send(bid(3, HOME, home=True))
    assert node.bound == {1: WIFI, 3: HOME}
    outcome = node.send(bid(3, HOME, home=True), bid(4, HOME, home=True))
    assert statuses(outcome) == (BAStatus.MCOA_NOTCOMPLETE, {3: 0, 4: BAStatus.MCOA_MALFORMED})


def test_rfc5648_5_6_5_an_update_without_the_h_flag_ends_the_home_binding() -> None:
    node = with_home_link(dad=False)
    node.send(bid(1, WIFI), bid(2, HOME, home=True), flags=AHO)
    outcome = node.send(bid(1, WIFI))
    assert node.bound == {1: WIFI}
    assert "care-of-removed" in kinds(outcome)
    # De-registering a foreign one does not.
    node.send(bid(1, WIFI), bid(2, HOME, home=True), bid(3, LTE))
    node.send(bid(3), lifetime=0)
    assert node.bound == {1: WIFI, 2: HOME}


def test_rfc5648_5_6_3_the_home_binding_is_for_the_home_address() -> None:
    node = with_home_link(dad=False)
    outcome = node.send(bid(1, WIFI), bid(2, LTE, home=True), flags=AHO)
    assert statuses(outcome) == (BAStatus.MCOA_NOTCOMPLETE, {1: 0, 2: BAStatus.MCOA_MALFORMED})


def test_rfc5648_5_6_3_leaving_out_the_flag_leaves_out_the_address() -> None:
    node = with_home_link(dad=False)
    node.send(bid(1, WIFI), bid(2, HOME, home=True), flags=AHO)
    outcome = node.send(bid(2))
    assert statuses(outcome) == (BAStatus.MCOA_UNKNOWN_COA, {2: 0})


@pytest.mark.parametrize("changes", [{"home_link": False}, {"home_link": True, "simultaneous_home": False}])
def test_rfc5648_4_4_home_and_foreign_prohibited(changes: dict[str, object]) -> None:
    node = Multihomed(dad=False, **changes)
    outcome = node.send(bid(2, HOME, home=True), hao=False, source=HOME)
    assert statuses(outcome) == (BAStatus.MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED, {2: 0})
    assert not outcome.changed


def test_rfc5648_5_6_3_a_mobile_node_at_home_is_not_its_own_duplicate() -> None:
    node = with_home_link(dad=True)
    outcome = node.send(bid(1, WIFI), bid(2, HOME, home=True), flags=AHO)
    assert "StartDad" not in outcome.kinds()
    assert node.bound == {1: WIFI, 2: HOME}


def test_rfc6275_10_3_1_duplicates_are_looked_for_before_the_first_bid_only() -> None:
    node = with_home_link(dad=True)
    outcome = node.send(bid(1, WIFI), flags=AHO)
    assert outcome.kinds() == ["StoreReplay", "StartDad"]
    assert statuses(node.agent.dad(HOME, duplicate=False)) == (BAStatus.ACCEPTED, {1: 0})
    assert statuses(node.send(bid(2, LTE), source=LTE)) == (BAStatus.ACCEPTED, {2: 0})


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
