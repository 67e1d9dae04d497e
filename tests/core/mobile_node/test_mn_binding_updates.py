"""What the Binding Updates look like, and when they are sent."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from mobile_node_bench import (
    CONFIG,
    HOME,
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_AGENT_IPV4,
    KEY,
    MOBILE_PREFIX,
    NAT4,
    OTHER6,
    SPI,
    UNIX,
    WIFI6,
    Bench,
    at,
    registered,
)

from dsmip.core.actions import SendDatagram, SendPacket
from dsmip.core.authentication import mn_ha_authenticator, timestamp_seconds
from dsmip.core.types import CareOfAddress, UdpEndpoint
from dsmip.wire.constants import BUFlag
from dsmip.wire.messages import covered_octets
from dsmip.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    IPv4CareOfAddress,
    IPv4HomeAddress,
    MessageIdentifier,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    find,
    find_all,
)

A, H, L, R = BUFlag.A, BUFlag.H, BUFlag.L, BUFlag.R


def test_rfc6275_11_7_1_update_from_an_ipv6_network() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    sent = bench.last
    assert isinstance(sent.action, SendPacket)
    assert sent.action.interface == "wlan0"
    assert (sent.packet.source, sent.packet.destination) == (WIFI6.address, HOME_AGENT)
    assert sent.packet.home_address == HOME_ADDRESS
    assert sent.packet.routing_home_address is None
    assert sent.update.flags == A | H
    assert sent.update.lifetime == 150
    assert find(sent.update.options, AlternateCareOfAddress) == AlternateCareOfAddress(
        IPv6Address("2001:db8:200::5678")
    )


def test_rfc6275_11_7_1_k_is_set_with_keys_that_survive_movements() -> None:
    bench = Bench(replace(CONFIG, key_mobility=True))
    bench.attach(0.0, WIFI6)
    assert bench.last.update.flags == A | H | BUFlag.K


def test_rfc5555_4_4_2_update_from_an_ipv4_network() -> None:
    bench = Bench(replace(CONFIG, ipv4_home_address=IPv4Address("10.1.0.9")))
    bench.attach(0.0, NAT4)
    sent = bench.last
    assert isinstance(sent.action, SendDatagram)
    assert sent.action.local == UdpEndpoint(NAT4.address, 4191)
    assert sent.action.remote == UdpEndpoint(HOME_AGENT_IPV4, 4191)
    assert sent.action.interface == "eth0"
    assert (sent.packet.source, sent.packet.destination) == (HOME_ADDRESS, HOME_AGENT)
    assert sent.packet.home_address is None  # no Home Address option here
    assert find(sent.update.options, AlternateCareOfAddress) is None
    assert find(sent.update.options, IPv4CareOfAddress) == IPv4CareOfAddress(IPv4Address("192.168.1.2"))
    assert find(sent.update.options, IPv4HomeAddress) == IPv4HomeAddress(IPv4Address("10.1.0.9"), 32)


def test_rfc5555_4_4_2_update_from_an_ipv6_network_asks_for_the_ipv4_home_address() -> None:
    bench = Bench(replace(CONFIG, ipv4_home_address="dynamic", ipv4_prefixes=(IPv4Network("10.9.0.0/24"),)))
    bench.attach(0.0, WIFI6)
    assert find_all(bench.last.update.options, IPv4HomeAddress) == (
        IPv4HomeAddress(IPv4Address(0), 32),
        IPv4HomeAddress(IPv4Address("10.9.0.0"), 24),
    )


def test_rfc6275_11_5_5_deregistration_from_the_home_link() -> None:
    bench = Bench(replace(CONFIG, mobile_router=True, prefixes=(MOBILE_PREFIX,), ipv4_home_address="dynamic"))
    bench.attach(0.0, home=HOME)
    sent = bench.last
    assert isinstance(sent.action, SendPacket)
    assert sent.action.interface == "eth1"
    assert (sent.packet.source, sent.packet.destination) == (HOME_ADDRESS, HOME_AGENT)
    assert sent.packet.home_address is None
    assert sent.update.flags == A | H | R
    assert sent.update.lifetime == 0
    assert sent.care_of == HOME_ADDRESS
    assert find_all(sent.update.options, MobileNetworkPrefix) == ()  # RFC 3963 section 5.8
    assert find_all(sent.update.options, IPv4HomeAddress) == ()


@pytest.mark.parametrize("care_of", [WIFI6, NAT4])
def test_rfc4285_5_1_update_is_authenticated_with_the_authenticator_last(care_of: CareOfAddress) -> None:
    bench = Bench()
    bench.attach(0.0, care_of)
    sent = bench.last
    option = sent.update.options[-1]
    assert isinstance(option, Authentication)
    assert option.spi == SPI
    covered = covered_octets(sent.packet.payload)
    assert covered is not None
    assert option.authenticator == mn_ha_authenticator(KEY, sent.care_of, HOME_ADDRESS, covered)
    identifier = find(sent.update.options, MobileNodeIdentifier)
    assert identifier is not None
    assert identifier.identifier == b"mn1@example.com"


def test_rfc4285_6_timestamp_is_the_time_of_day_and_always_grows() -> None:
    bench = Bench()
    bench.attach(5.0, WIFI6)
    assert timestamp_seconds(bench.last.timestamp) == pytest.approx(UNIX + 5.0, abs=1e-6)
    bench.run(100.0)
    stamps = [sent.timestamp for sent in bench.sent]
    assert len(stamps) > 5
    assert stamps == sorted(set(stamps))


def test_authentication_none_sends_no_rfc4285_options() -> None:
    bench = Bench(replace(CONFIG, authentication="none", key=b""))
    bench.attach(0.0, WIFI6)
    kinds = {type(option) for option in bench.last.update.options}
    assert not kinds & {Authentication, MessageIdentifier, MobileNodeIdentifier}


def test_link_local_flag_is_set_when_configured() -> None:
    bench = Bench(replace(CONFIG, link_local=True))
    bench.attach(0.0, WIFI6)
    assert bench.last.update.flags == A | H | L


# Retransmission ---------------------------------------------------------------------------------------------


def test_rfc6275_11_8_first_registration_is_repeated_after_one_and_a_half_seconds_and_on() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.run(120.0)
    assert [sent.time for sent in bench.sent] == [0.0, 1.5, 4.5, 10.5, 22.5, 46.5, 78.5, 110.5]


def test_rfc6275_11_8_reregistration_starts_with_one_second() -> None:
    bench = registered()
    bench.sent.clear()
    bench.attach(10.0, OTHER6)
    bench.run(80.0)
    assert [sent.time for sent in bench.sent] == [10.0, 11.0, 13.0, 17.0, 25.0, 41.0, 73.0]


def test_rfc6275_11_8_retransmissions_have_a_greater_sequence_number() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.run(50.0)
    first = bench.sent[0].update.sequence
    assert [sent.update.sequence for sent in bench.sent] == [
        (first + count) % 65536 for count in range(len(bench.sent))
    ]


def test_rfc6275_11_8_the_acknowledgement_ends_it() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.run(2.0)
    bench.answer(time=2.1)
    bench.run(100.0)
    assert len(bench.sent) == 2


def test_rfc6275_11_8_registration_that_ran_out_off_link_counts_as_the_first() -> None:
    bench = registered()
    bench.attach(5.0)
    bench.sent.clear()
    bench.attach(700.0, WIFI6)
    bench.run(702.0)
    assert [sent.time for sent in bench.sent] == [700.0, 701.5]


def test_sequence_numbers_start_at_random() -> None:
    starts = set()
    for seed in range(20):
        bench = Bench(seed=seed)
        bench.attach(0.0, WIFI6)
        starts.add(bench.last.update.sequence)
    assert len(starts) == 20


# Lifetimes --------------------------------------------------------------------------------------------------


def test_rfc6275_11_7_1_lifetime_stays_below_that_of_the_care_of_address() -> None:
    bench = Bench()
    bench.attach(10.0, replace(WIFI6, valid_until=110.0))
    assert bench.last.update.lifetime * 4 <= 100
    assert bench.last.update.lifetime == 25


def test_rfc6275_11_7_1_refresh_well_before_the_end() -> None:
    bench = registered()
    bench.run(600.0)
    assert bench.sent[1].time == 480.0
    assert bench.sent[1].update.sequence == (bench.sent[0].update.sequence + 1) % 65536
    assert bench.sent[1].care_of == WIFI6.address


def test_rfc6275_11_7_3_shorter_lifetime_granted_is_refreshed_earlier() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.5, lifetime=10)
    assert bench.node.lifetime_left(at(0.5)) == 39.5
    bench.run(39.0)
    assert bench.sent[1].time == 32.0


def test_a_cut_lifetime_of_the_care_of_address_is_registered_at_once() -> None:
    bench = registered()
    bench.attach(100.0, replace(WIFI6, valid_until=200.0))
    assert bench.last.time == 100.0
    assert bench.last.update.lifetime == 25
    bench.answer(time=100.1)
    count = len(bench.sent)
    bench.attach(101.0, replace(WIFI6, valid_until=5000.0))
    assert len(bench.sent) == count  # a longer one can wait for the refresh
