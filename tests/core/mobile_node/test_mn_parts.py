"""The small rooms of the mobile node by themselves."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mobile_node_bench import CAFE4, CONFIG, HOME_ADDRESS, HOME_AGENT, HOME_AGENT_IPV4, OTHER6, WIFI6

from dsmip.core.binding_update_list import (
    SentUpdate,
    lifetime_units,
    refresh_delay,
    remaining_lifetime,
)
from dsmip.core.mobile_node.choice import TRIAL, Chooser
from dsmip.core.mobile_node.encapsulation import read_nat_detection
from dsmip.core.mobile_node.ipv4 import IPv4Wishes
from dsmip.core.network_memory import Encapsulation, NetworkMemory
from dsmip.core.network_silence import LONGEST_PAUSE
from dsmip.core.path_probe import PathProbe, probe_packet
from dsmip.core.retransmission import Backoff
from dsmip.core.types import IPv4Grant, Nat, TunnelFormat
from dsmip.wire.constants import BUFlag, NextHeader
from dsmip.wire.icmpv6 import EchoRequest, decode_icmpv6
from dsmip.wire.ip import IPv4Header
from dsmip.wire.options import IPv4AddressAcknowledgement, IPv4HomeAddress, NatDetection
from dsmip.wire.packet import decode_packet

UNSPECIFIED = IPv4Address(0)

# Retransmission ---------------------------------------------------------------------------------------------


def test_rfc6275_11_8_interval_doubles_up_to_32_seconds() -> None:
    backoff = Backoff(first_registration=False)
    now, intervals = 100.0, []
    for _ in range(9):
        backoff.sent(now)
        assert backoff.due is not None
        intervals.append(backoff.due - now)
        now = backoff.due
    assert intervals == [1, 2, 4, 8, 16, 32, 32, 32, 32]


def test_rfc6275_11_8_first_registration_starts_with_one_and_a_half_seconds() -> None:
    backoff = Backoff(first_registration=True)
    backoff.sent(10.0)
    assert backoff.due == 11.5


def test_postponed_update_goes_on_at_the_slowest_rate() -> None:
    backoff = Backoff(first_registration=False)
    backoff.sent(0.0)
    backoff.postpone(0.5, 32.0)
    assert backoff.due == 32.5
    backoff.sent(32.5)
    assert backoff.due == 64.5


# Lifetimes --------------------------------------------------------------------------------------------------


def test_rfc6275_11_7_3_lifetime_counts_from_the_moment_the_update_was_sent() -> None:
    update = SentUpdate(1, BUFlag.A, lifetime=150, sent_at=10.0, care_of=WIFI6.address)
    assert remaining_lifetime(update, granted=150, now=10.5) == 599.5
    assert remaining_lifetime(update, granted=100, now=10.5) == 399.5
    assert remaining_lifetime(update, granted=0, now=10.5) == 0.0
    assert remaining_lifetime(update, granted=1, now=20.0) == 0.0  # max(.., 0)


def test_a_home_agent_cannot_grant_more_than_was_asked_for() -> None:
    update = SentUpdate(1, BUFlag.A, lifetime=10, sent_at=0.0, care_of=WIFI6.address)
    assert remaining_lifetime(update, granted=1000, now=0.0) == 40.0


def test_rfc6275_11_7_1_lifetime_is_never_zero() -> None:
    assert [lifetime_units(seconds) for seconds in (0.0, 3.9, 7.9, 600.0, 1e9)] == [1, 1, 1, 150, 0xFFFF]


@given(st.floats(0.0, 300_000.0))
def test_refresh_comes_in_the_second_half_and_leaves_time_to_retransmit(lifetime: float) -> None:
    delay = refresh_delay(lifetime)
    assert lifetime / 2 <= delay <= lifetime * 0.8
    if lifetime >= 14:
        assert lifetime - delay >= 7 - 1e-9


# Choosing ---------------------------------------------------------------------------------------------------


def test_rfc5555_4_4_1_ipv6_is_preferred() -> None:
    chooser = Chooser(NetworkMemory(), ipv4=True)
    cheap_ipv4 = replace(CAFE4, preference=1)
    assert chooser.choose((cheap_ipv4, WIFI6), cheap_ipv4, 0.0) == WIFI6


def test_lower_preference_wins_and_equals_do_not_move() -> None:
    chooser = Chooser(NetworkMemory(), ipv4=True)
    assert chooser.choose((WIFI6, OTHER6), OTHER6, 0.0) == OTHER6
    assert chooser.choose((WIFI6, OTHER6), None, 0.0) == WIFI6
    better = replace(WIFI6, preference=10)
    assert chooser.choose((better, OTHER6), OTHER6, 0.0) == better


def test_no_ipv4_care_of_address_without_an_ipv4_home_agent() -> None:
    assert Chooser(NetworkMemory(), ipv4=False).choose((CAFE4,), None, 0.0) is None


def test_an_address_about_to_become_invalid_is_not_chosen() -> None:
    chooser = Chooser(NetworkMemory(), ipv4=True)
    dying = replace(WIFI6, valid_until=103.0)
    assert chooser.choose((dying,), None, 99.0) == dying
    assert chooser.choose((dying,), None, 99.5) is None


def test_a_silent_network_comes_last_and_is_tried_again_later() -> None:
    memory = NetworkMemory()
    chooser = Chooser(memory, ipv4=True)
    memory.remember_silence(WIFI6, (-6.0, -3.0), 0.0)
    assert chooser.choose((WIFI6, CAFE4), WIFI6, 1.0) == CAFE4
    assert chooser.choose((WIFI6,), None, 1.0) == WIFI6  # better than nothing
    assert chooser.next_change((WIFI6, CAFE4), CAFE4, 1.0) == LONGEST_PAUSE
    assert chooser.choose((WIFI6, CAFE4), CAFE4, LONGEST_PAUSE) == WIFI6


def test_a_binding_that_would_end_meanwhile_is_renewed_before_a_silent_network_is_tried_again() -> None:
    memory = NetworkMemory()
    chooser = Chooser(memory, ipv4=True)
    memory.remember_silence(WIFI6, (-6.0, -3.0), 0.0)
    both, now = (WIFI6, CAFE4), LONGEST_PAUSE
    assert chooser.choose(both, CAFE4, now, spare=TRIAL - 1) == CAFE4
    assert chooser.next_try(both, CAFE4, now, spare=TRIAL - 1) is None
    assert chooser.next_try(both, CAFE4, now, spare=TRIAL) == now
    assert chooser.choose(both, CAFE4, now, spare=TRIAL) == WIFI6
    assert chooser.choose(both, WIFI6, now + 1, spare=TRIAL - 1) == WIFI6
    assert chooser.next_try(both, WIFI6, now + 1, spare=TRIAL - 1) is None
    memory.remember_silence(CAFE4, (now - 2.0,), now)  # neither is known to work: they take turns
    assert chooser.choose(both, CAFE4, now, spare=1.0) == WIFI6


# Memory -----------------------------------------------------------------------------------------------------


def test_memory_is_bounded_and_forgets_the_network_not_visited_for_longest() -> None:
    memory = NetworkMemory(limit=2)
    for network in ("a", "b"):
        memory.remember_encapsulation(network, Encapsulation.IP_IN_IP, 0.0)
    memory.remember_encapsulation("a", Encapsulation.NATED, 1.0)
    memory.remember_encapsulation("c", Encapsulation.NATED, 2.0)
    assert len(memory) == 2
    assert memory.encapsulation("a", 3.0) is Encapsulation.NATED
    assert memory.encapsulation("b", 3.0) is Encapsulation.UNKNOWN


def test_a_filter_is_remembered_for_an_hour() -> None:
    memory = NetworkMemory()
    memory.remember_encapsulation("fw4", Encapsulation.FILTERED, 0.0)
    assert memory.encapsulation("fw4", 3599.0) is Encapsulation.FILTERED
    assert memory.encapsulation("fw4", 3600.0) is Encapsulation.UNKNOWN


# NAT Detection option ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "forced", "tunnel_format", "nat", "keepalive"),
    [
        (NatDetection(False, 0xFFFFFFFF), False, TunnelFormat.IPV4, Nat.NONE, None),
        (NatDetection(False, 0xFFFFFFFF), True, TunnelFormat.UDP4, Nat.NONE, None),
        (NatDetection(True, 0xFFFFFFFF), False, TunnelFormat.UDP4, Nat.NONE, None),
        (NatDetection(False, 40), False, TunnelFormat.UDP4, Nat.DETECTED, 40.0),
        (NatDetection(True, 40), True, TunnelFormat.UDP4, Nat.DETECTED, 40.0),
        (NatDetection(False, 0), False, TunnelFormat.UDP4, Nat.DETECTED, 110.0),
        (None, False, TunnelFormat.IPV4, Nat.UNKNOWN, None),
        (None, True, TunnelFormat.UDP4, Nat.UNKNOWN, 110.0),
    ],
)
def test_rfc5555_3_2_2_nat_detection_option(
    option: NatDetection | None, forced: bool, tunnel_format: TunnelFormat, nat: Nat, keepalive: float | None
) -> None:
    verdict = read_nat_detection(option, forced_udp=forced, default_keepalive=110)
    assert (verdict.format, verdict.nat, verdict.keepalive) == (tunnel_format, nat, keepalive)


# Path probe -------------------------------------------------------------------------------------------------


def test_probe_is_an_echo_request_in_protocol_41() -> None:
    data = probe_packet(IPv4Address("198.51.100.7"), HOME_AGENT_IPV4, HOME_ADDRESS, HOME_AGENT, 0x77, 2)
    outer = IPv4Header.decode(data)
    assert (outer.source, outer.destination) == (IPv4Address("198.51.100.7"), HOME_AGENT_IPV4)
    assert outer.protocol == NextHeader.IPV6
    inner = decode_packet(data[20:])
    assert (inner.source, inner.destination) == (HOME_ADDRESS, HOME_AGENT)
    echo = decode_icmpv6(inner.payload, inner.source, inner.destination)
    assert isinstance(echo, EchoRequest)
    assert (echo.identifier, echo.sequence) == (0x77, 2)


def test_probe_tries_three_times_at_twice_the_round_trip_time() -> None:
    probe = PathProbe(7)
    probe.start(10.0, round_trip=0.2)
    assert probe.due == 10.0
    assert probe.next_try(10.0) == (7, 0)
    assert probe.due == 10.4
    assert probe.next_try(10.4) == (7, 1)
    assert probe.next_try(10.8) == (7, 2)
    assert probe.active
    assert probe.next_try(11.2) is None
    assert not probe.active


def test_probe_waits_at_least_a_tenth_of_a_second() -> None:
    probe = PathProbe(7)
    probe.start(10.0, round_trip=0.001)
    probe.next_try(10.0)
    assert probe.due == 10.1


def test_answer_to_an_earlier_question_does_not_count() -> None:
    probe = PathProbe(7)
    probe.start(0.0, 0.0)
    probe.next_try(0.0)
    probe.start(1.0, 0.0)
    probe.next_try(1.0)
    assert not probe.answered(7, 0)
    assert not probe.answered(8, 1)
    assert not probe.answered(7, 2)
    assert probe.answered(7, 1)
    assert not probe.answered(7, 1)


# IPv4 home addresses ----------------------------------------------------------------------------------------


def acknowledgement(status: int, network: str) -> IPv4AddressAcknowledgement:
    parsed = IPv4Network(network)
    return IPv4AddressAcknowledgement(status, parsed.network_address, parsed.prefixlen if status < 128 else 0)


def test_rfc5555_4_4_2_static_addresses_and_prefixes_are_asked_for_by_name() -> None:
    config = replace(
        CONFIG,
        ipv4_home_address=IPv4Address("10.1.0.9"),
        ipv4_prefixes=(IPv4Network("10.9.0.0/24"),),
        ipv4_prefix_request=28,
    )
    assert IPv4Wishes(config).options() == (
        IPv4HomeAddress(IPv4Address("10.1.0.9"), 32),
        IPv4HomeAddress(IPv4Address("10.9.0.0"), 24),
        IPv4HomeAddress(UNSPECIFIED, 28, prefix_requested=True),
    )


def test_rfc5555_3_1_1_granted_dynamic_addresses_are_asked_for_by_name_afterwards() -> None:
    wishes = IPv4Wishes(replace(CONFIG, ipv4_home_address="dynamic", ipv4_prefix_request=28))
    asked = wishes.options()
    assert not wishes.answered(asked, (acknowledgement(0, "10.2.0.16/29"), acknowledgement(0, "10.1.0.5/32")))
    assert wishes.grants == (
        IPv4Grant.of(IPv4Network("10.1.0.5/32"), dynamic=True),
        IPv4Grant.of(IPv4Network("10.2.0.16/29"), dynamic=True),  # the length granted overrides ours
    )
    assert wishes.options() == (
        IPv4HomeAddress(IPv4Address("10.1.0.5"), 32),
        IPv4HomeAddress(IPv4Address("10.2.0.16"), 29),
    )


def test_one_of_two_dynamic_wishes_is_refused() -> None:
    wishes = IPv4Wishes(replace(CONFIG, ipv4_home_address="dynamic", ipv4_prefix_request=28))
    refused = IPv4AddressAcknowledgement(132, UNSPECIFIED, 0)
    wishes.answered(wishes.options(), (refused, acknowledgement(0, "10.2.0.16/28")))
    assert [grant.network for grant in wishes.grants] == [IPv4Network("10.2.0.16/28")]
    assert wishes.refusals == (132,)


def test_rfc5555_2_3_1_no_acknowledgement_option_means_do_not_ask_again() -> None:
    wishes = IPv4Wishes(replace(CONFIG, ipv4_home_address=IPv4Address("10.1.0.9")))
    wishes.answered(wishes.options(), ())
    assert wishes.options() == ()
    wishes.start_over()
    assert len(wishes.options()) == 1


def test_a_lost_dynamic_address_is_worth_asking_for_another_one() -> None:
    wishes = IPv4Wishes(replace(CONFIG, ipv4_home_address="dynamic"))
    wishes.answered(wishes.options(), (acknowledgement(0, "10.1.0.5/32"),))
    assert wishes.answered(wishes.options(), (acknowledgement(130, "10.1.0.5/32"),))
    assert wishes.grants == ()
    assert not wishes.answered(wishes.options(), (IPv4AddressAcknowledgement(132, UNSPECIFIED, 0),))
