"""How long the home address is good for: mobile prefix discovery (RFC 6275 sections 11.4.2 and 11.4.3)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network

import pytest
from mobile_node_bench import (
    CAFE4,
    CONFIG,
    HOME,
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_PREFIX,
    NO_NAT_FORCED,
    OTHER6,
    WIFI6,
    Bench,
    asked,
    at,
    drops,
    event,
    only,
    registered,
)

from dsmip.core.actions import RemovePath
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import (
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    NeighborAdvertisement,
    PrefixInformation,
    encode_icmpv6,
)
from dsmip.wire.option import MobilityOption
from dsmip.wire.packet import encode_packet

INFINITE = 0xFFFFFFFF


def prefix(valid: int, preferred: int | None = None, network: IPv6Network = HOME_PREFIX) -> PrefixInformation:
    return PrefixInformation(network, True, True, False, valid, valid if preferred is None else preferred)


def provoke(bench: Bench, time: float) -> int:
    """Have the mobile node solicit; the identifier it uses."""
    actions = bench.prefix_advertisement(MobilePrefixAdvertisement(0xFFFF), time=time)
    [(_, solicitation)] = asked(actions, MobilePrefixSolicitation)
    return solicitation.identifier


def test_a_longer_lifetime_changes_nothing_now() -> None:
    bench = registered()
    identifier = provoke(bench, 10.0)
    message = MobilePrefixAdvertisement(identifier, options=(prefix(7200),))
    told = event(bench.prefix_advertisement(message, time=10.1), "home-prefix").fields
    assert told == {"valid": 7200.0, "others": ""}
    assert len(bench.sent) == 1


def test_infinity_has_no_end() -> None:
    bench = registered()
    identifier = provoke(bench, 10.0)
    message = MobilePrefixAdvertisement(identifier, options=(prefix(INFINITE),))
    assert event(bench.prefix_advertisement(message), "home-prefix").fields["valid"] == -1.0


def test_malformed_lifetimes_are_ignored() -> None:
    bench = registered()
    identifier = provoke(bench, 10.0)
    bench.prefix_advertisement(MobilePrefixAdvertisement(identifier, options=(prefix(100, preferred=200),)))
    assert len(bench.sent) == 1


def test_new_prefixes_of_the_home_link_are_told() -> None:
    bench = registered()
    identifier = provoke(bench, 10.0)
    new = IPv6Network("2001:db8:200::/64")
    message = MobilePrefixAdvertisement(identifier, options=(prefix(7200), prefix(86400, network=new)))
    assert event(bench.prefix_advertisement(message), "home-prefix").fields["others"] == str(new)


def test_unsolicited_ones_provoke_a_limited_number_of_solicitations() -> None:
    bench = registered()
    sent = 0
    for number in range(100):
        actions = bench.prefix_advertisement(MobilePrefixAdvertisement(number), time=10.0 + number / 100)
        sent += len(asked(actions, MobilePrefixSolicitation))
    assert sent == 2


@pytest.mark.parametrize("wrong", ["source", "routing header", "destination", "checksum", "type"])
def test_rfc6275_11_4_3_what_does_not_pass_the_tests_is_discarded(wrong: str) -> None:
    bench = registered()
    identifier = provoke(bench, 10.0)
    message: MobilePrefixAdvertisement | NeighborAdvertisement
    message = MobilePrefixAdvertisement(identifier, options=(prefix(100),))
    if wrong == "type":
        message = NeighborAdvertisement(HOME_ADDRESS, True, True, True)
    source = HOME_AGENT + 1 if wrong == "source" else HOME_AGENT
    octets = bytearray(encode_icmpv6(message, source, HOME_ADDRESS))
    if wrong == "checksum":
        octets[2] ^= 1
    packet = encode_packet(
        source,
        OTHER6.address if wrong == "destination" else WIFI6.address,
        bytes(octets),
        NextHeader.ICMPV6,
        routing_home_address=None if wrong == "routing header" else HOME_ADDRESS,
    )
    assert drops(bench.receive(packet, 10.1))
    assert len(bench.sent) == 1


def test_rfc6275_11_4_2_an_ended_home_address_is_not_used() -> None:
    bench = registered()
    identifier = provoke(bench, 10.0)
    bench.prefix_advertisement(MobilePrefixAdvertisement(identifier, options=(prefix(40),)))
    bench.answer()
    actions = bench.run(60.0)
    assert len(only(actions, RemovePath)) == 1
    count = len(bench.sent)
    bench.attach(70.0, OTHER6)
    bench.run(1000.0)
    assert len(bench.sent) == count
    # The home link has the last word.
    bench.attach(1001.0, home=HOME)
    bench.answer(time=1001.1)
    bench.attach(1010.0, WIFI6)
    assert bench.last.update.lifetime == 150


def test_in_an_ipv4_network_question_and_answer_go_through_the_tunnel() -> None:
    bench = Bench(CONFIG)
    bench.attach(0.0, home=replace(HOME, valid_until=200.0))
    bench.answer(time=0.1)
    bench.attach(10.0, CAFE4)
    bench.answer(time=10.1, options=(NO_NAT_FORCED,))
    [(packet, solicitation)] = asked(bench.run(141.0), MobilePrefixSolicitation)
    assert (packet.source, packet.destination, packet.home_address) == (HOME_ADDRESS, HOME_AGENT, None)
    message = MobilePrefixAdvertisement(solicitation.identifier, options=(prefix(7200),))
    data = encode_icmpv6(message, HOME_AGENT, HOME_ADDRESS)
    for source, destination in ((HOME_AGENT + 1, HOME_ADDRESS), (HOME_AGENT, HOME_ADDRESS + 1)):
        bench.node.icmpv6(data, source, destination, at(141.1))
        assert not bench.node.actions()
    bench.node.icmpv6(data, HOME_AGENT, HOME_ADDRESS, at(141.1))
    assert event(bench.node.actions(), "home-prefix").fields["valid"] == 7200.0
    assert not asked(bench.run(300.0), MobilePrefixSolicitation)


def test_in_an_ipv6_network_nothing_is_believed_that_comes_through_the_tunnel() -> None:
    bench = registered()
    identifier = provoke(bench, 10.0)
    data = encode_icmpv6(
        MobilePrefixAdvertisement(identifier, options=(prefix(60),)), HOME_AGENT, HOME_ADDRESS
    )
    bench.node.icmpv6(data, HOME_AGENT, HOME_ADDRESS, at(10.1))
    assert not bench.node.actions()


def test_in_an_ipv4_network_the_question_waits_if_it_has_to_be_under_ipsec() -> None:
    bench = Bench(replace(CONFIG, authentication="ipsec"))

    def answer(time: float, *options: MobilityOption) -> None:
        bench.run(time)
        bench.receive(bench.acknowledgement(bench.last, options), protected=True)

    bench.attach(0.0, home=replace(HOME, valid_until=200.0))
    answer(0.1)
    bench.attach(10.0, CAFE4)
    answer(10.1, NO_NAT_FORCED)
    assert not asked(bench.run(150.0), MobilePrefixSolicitation)
    bench.attach(150.0, WIFI6)
    answer(150.1)
    assert asked(bench.run(185.0), MobilePrefixSolicitation)
    assert bench.node.state(at(185.0)) is MobileNodeState.REGISTERED
