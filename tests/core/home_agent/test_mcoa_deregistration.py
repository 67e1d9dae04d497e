"""Several care-of addresses of one mobile node: how they end (RFC 5648 section 5.4), and packets."""

from __future__ import annotations

from ipaddress import IPv6Address

from ha_multihomed import AHO, LTE, LTE4, SATELLITE, WIFI, Multihomed, bid, events, statuses
from ha_scenario import (
    AHR,
    COA1,
    CORRESPONDENT,
    ENTRY,
    HA,
    HOME,
    MNP1,
)

from dsmip.core.actions import ForgetBinding, RemoveBinding, SendPacket, StoreBinding
from dsmip.core.types import Instant
from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from dsmip.wire.icmpv6 import EchoRequest, encode_icmpv6
from dsmip.wire.messages import BindingError, decode_message
from dsmip.wire.options import IPv4HomeAddress, MobileNetworkPrefix
from dsmip.wire.packet import decode_packet, encode_packet

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
    now = node.agent.now
    node.agent.now = Instant(now.monotonic + 50, now.unix + 50)
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
