"""What a mobile node does when its home agent corrects or refuses it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mobile_node_bench import (
    CAFE4,
    CONFIG,
    NAT4,
    NO_NAT,
    OTHER6,
    UNIX,
    WIFI6,
    Bench,
    Sent,
    at,
    drops,
    event,
    only,
)

from dsmip.core.actions import RemovePath
from dsmip.core.authentication import ntp_timestamp, timestamp_seconds
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.types import TunnelFormat
from dsmip.wire.constants import BAStatus, BUFlag

REGISTERING, REGISTERED = MobileNodeState.REGISTERING, MobileNodeState.REGISTERED
REFUSED, STOPPED = MobileNodeState.REFUSED, MobileNodeState.STOPPED

# Corrections ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "following"), [(15, 16), (65535, 0)])
@pytest.mark.parametrize("authentication", ["mn-ha", "none"])
def test_rfc6275_11_7_3_status_135_goes_on_after_the_number_given(
    last: int, following: int, authentication: str
) -> None:
    config = replace(CONFIG, authentication="none") if authentication == "none" else CONFIG
    bench = Bench(config)
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.02, status=135, sequence=last)
    assert bench.last.time == 0.02
    assert bench.last.update.sequence == following
    bench.answer(time=0.04)
    assert bench.node.state(at(0.04)) is REGISTERED


def test_endless_corrections_are_left_to_the_retransmission_timer() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    for _ in range(5):
        bench.answer(status=135, sequence=15, time=bench.time)
    assert len(bench.sent) == 3


def test_rfc4285_6_status_144_takes_over_the_home_agents_clock() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    home_agent_time = UNIX - 5000.0
    corrected = (ntp_timestamp(home_agent_time) >> 32 << 32) | (bench.last.timestamp & 0xFFFFFFFF)
    actions = bench.answer(time=0.02, status=144, timestamp=corrected)
    assert event(actions, "clock-corrected").fields["offset"] == pytest.approx(-5000.0, abs=1.0)
    assert bench.node.clock_offset == pytest.approx(-5000.0, abs=1.0)
    assert len(bench.sent) == 2
    assert timestamp_seconds(bench.last.timestamp) == pytest.approx(home_agent_time, abs=1.0)
    bench.answer(time=0.04)
    assert bench.node.state(at(0.04)) is REGISTERED
    bench.run(480.02)
    assert timestamp_seconds(bench.last.timestamp) == pytest.approx(home_agent_time + 480.0, abs=1.0)


def _mismatch(bench: Bench, sent: Sent, home_agent_time: float) -> bytes:
    """Status 144 from a home agent whose clock shows that."""
    corrected = (ntp_timestamp(home_agent_time) >> 32 << 32) | (sent.timestamp & 0xFFFFFFFF)
    return bench.acknowledgement(sent, status=144, timestamp=corrected)


def test_rfc4285_6_a_replayed_status_144_does_not_set_the_clock_back() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.run(1.5)
    recorded = [_mismatch(bench, sent, UNIX + 5000.0) for sent in bench.sent]
    assert drops(bench.receive(recorded[1], 1.52)) == []
    assert len(bench.sent) == 3
    assert drops(bench.receive(recorded[1], 20.0)) == ["not-outstanding"]
    bench.receive(recorded[0])  # about an update that left with the clock uncorrected
    bench.run(60.0)
    for sent in bench.sent[2:]:
        assert timestamp_seconds(sent.timestamp) == pytest.approx(UNIX + 5000.0 + sent.time - 1.5, abs=1.0)


def test_rfc4285_6_a_late_status_144_is_taken_for_half_as_old_as_it_can_be() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.receive(_mismatch(bench, bench.last, UNIX + 5000.0), 10.0)
    assert bench.last.time == 10.0
    assert timestamp_seconds(bench.last.timestamp) == pytest.approx(UNIX + 5005.0, abs=1.0)


def test_a_refusal_counts_once() -> None:
    """Whoever repeats it must not make a network look alive that is silent."""
    bench = Bench()
    bench.attach(0.0, WIFI6, CAFE4)
    recorded = bench.acknowledgement(bench.last, status=130)
    bench.receive(recorded, 0.02)
    for time in (1.0, 2.0, 5.0, 10.0, 20.0):
        assert drops(bench.receive(recorded, time)) == ["not-outstanding"]
    bench.run(23.0)
    assert bench.last.care_of == CAFE4.address


def test_rfc4285_6_status_144_must_repeat_our_half_of_the_timestamp() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    forged = (ntp_timestamp(UNIX - 5000.0) >> 32 << 32) | (bench.last.timestamp + 1 & 0xFFFFFFFF)
    assert drops(bench.answer(time=0.02, status=144, timestamp=forged)) == ["timestamp"]
    assert len(bench.sent) == 1


# Refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [128, 130])
def test_rfc6275_11_7_3_passing_trouble_is_met_with_back_off(status: int) -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.02, status=status)
    bench.run(5.0)
    assert [sent.time for sent in bench.sent] == [0.0, 1.5, 4.5]


@pytest.mark.parametrize("status", [129, 131, 132, 133, 145, 146, 174, 200])
def test_rfc4285_5_3_lasting_trouble_is_not_hammered(status: int) -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    actions = bench.answer(time=0.02, status=status)
    assert event(actions, "binding-refused").fields["status"] == status
    assert bench.node.state(at(2.02)) is REFUSED
    assert bench.node.asks_again_in(at(2.02)) == pytest.approx(30.0)
    bench.run(70.0)
    assert [sent.time for sent in bench.sent] == pytest.approx([0.0, 32.02, 64.02])
    bench.attach(71.0, OTHER6)
    assert bench.node.state(at(71.0)) is REGISTERING
    assert bench.node.asks_again_in(at(71.0)) is None


def test_who_refused_and_falls_silent_is_no_longer_said_to_refuse() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.02, status=132)
    bench.run(100.0)
    assert bench.node.state(at(100.0)) is REGISTERING


def test_a_refusal_that_holds_for_minutes_says_for_how_long() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.02, status=141)
    assert bench.node.state(at(60.02)) is REFUSED
    assert bench.node.asks_again_in(at(60.02)) == pytest.approx(540.0)
    bench.run(601.0)
    assert bench.node.state(at(601.0)) is REGISTERING
    bench.answer(time=601.02)
    assert bench.node.state(at(601.02)) is REGISTERED


def test_rfc6275_11_7_1_duplicate_home_address_is_never_used_again() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    actions = bench.answer(time=0.02, status=BAStatus.DUPLICATE_ADDRESS_DETECTION_FAILED)
    assert len(only(actions, RemovePath)) == 1
    bench.attach(1.0, OTHER6)
    bench.run(100_000.0)
    assert len(bench.sent) == 1
    assert bench.node.timeout() is None
    assert bench.node.state(at(100_000.0)) is STOPPED


def test_status_139_clears_the_binding_in_the_way_and_registers_again() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.02, status=139)
    assert bench.last.update.lifetime == 0
    assert bench.last.packet.source == WIFI6.address
    bench.answer(time=0.04)
    assert bench.last.update.lifetime == 150
    bench.answer(time=0.06, status=139)
    assert len(bench.sent) == 3  # once is enough
    bench.run(33.0)
    assert len(bench.sent) == 4


def test_a_registration_that_worked_allows_clearing_again() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    for time in (0.0, 500.0):
        bench.run(time)
        bench.answer(status=139)
        assert bench.last.update.lifetime == 0
        bench.answer()
        bench.answer()
        assert bench.node.state(at(time)) is REGISTERED
        bench.attach(time + 1.0, OTHER6)


def test_accepted_for_no_time_at_all_is_a_refusal() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.02, lifetime=0)
    assert bench.node.state(at(0.02)) is REFUSED
    bench.run(40.0)
    assert [sent.time for sent in bench.sent] == pytest.approx([0.0, 32.02])


def test_clearing_is_given_up_when_it_is_not_answered() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.0, status=139)
    bench.run(7.0)
    assert [(sent.time, sent.update.lifetime) for sent in bench.sent[1:]] == [
        (0.0, 0),
        (1.0, 0),
        (3.0, 0),
        (7.0, 150),
    ]


@pytest.mark.parametrize(("status", "authentication"), [(129, "mn-ha"), (144, "none"), (129, "none")])
def test_rfc5555_4_4_2_refused_forced_udp_is_asked_for_without(status: int, authentication: str) -> None:
    config = replace(CONFIG, authentication="none") if authentication == "none" else CONFIG
    bench = Bench(config)
    bench.attach(0.0, CAFE4)
    assert bench.last.update.flags & BUFlag.F
    bench.answer(time=0.02, status=status)
    assert bench.last.time == 0.02
    assert not bench.last.update.flags & BUFlag.F
    bench.answer(time=0.04, options=(NO_NAT,))
    assert bench.node.format is TunnelFormat.IPV4
    bench.attach(1.0, NAT4)
    assert not bench.last.update.flags & BUFlag.F  # it will refuse that everywhere


def test_refusal_that_was_not_about_forced_udp_does_not_forbid_it() -> None:
    bench = Bench()
    bench.attach(0.0, CAFE4)
    bench.answer(time=0.02, status=129)
    bench.answer(time=0.04, status=129)
    bench.attach(1.0, NAT4)
    assert bench.last.update.flags & BUFlag.F
