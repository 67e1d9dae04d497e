"""Somebody sets the home agent's time of day while it runs: bindings keep their lifetimes, and go on.

Timestamps are judged by a time that is never set back, so mobile nodes are served (RFC 4285 section 6).
"""

from __future__ import annotations

import pytest
from ha_scenario import START, Mobile, Scenario, scenario
from hypothesis import given
from hypothesis import strategies as st

from dsmip.core.actions import StoreBinding
from dsmip.core.authentication import TIMESTAMP_TOLERANCE, ntp_timestamp, timestamp_seconds
from dsmip.core.binding_record import encode_binding
from dsmip.core.home_agent.clock import CATCHING_UP, TimestampClock
from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.types import Instant, ReplayState
from dsmip.wire.constants import BAStatus
from dsmip.wire.options import MessageIdentifier, find

LIFETIME = 420.0
DAY = 86400.0


def step(agent: Scenario, seconds: float) -> None:
    """The time of day jumps, CLOCK_MONOTONIC does not."""
    agent.now = Instant(agent.now.monotonic, agent.now.unix + seconds)


@pytest.mark.parametrize("seconds", [-DAY, -3600.0, 3600.0, DAY])
def test_a_binding_ends_when_it_was_to_end(seconds: float) -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update())
    step(agent, seconds)
    agent.after(LIFETIME - 1)
    assert agent.bound
    agent.after(1)
    assert not agent.bound


# Timestamps -------------------------------------------------------------------------------------------------


class Follower:
    """A mobile node with a clock of its own, which takes over what status 144 tells, as RFC 4285 has it."""

    def __init__(self, agent: Scenario, mobile: Mobile, clock: float) -> None:
        self.agent, self.mobile = agent, mobile
        self._ahead = clock - agent.now.monotonic
        self._accepted = 0
        self.sequence = 100
        self.sent: list[bytes] = []
        self.corrections = 0

    def register(self) -> int:
        """Status of the last acknowledgement."""
        for _ in range(3):
            self.sequence += 1
            unix = self.agent.now.monotonic + self._ahead
            timestamp = ntp_timestamp(unix, after=self._accepted)
            data = self.mobile.update(now=self.agent.now, sequence=self.sequence, timestamp=timestamp)
            answer = self.agent.receive(data).ba
            if answer.status != BAStatus.MIPV6_ID_MISMATCH:
                self._accepted = timestamp
                self.sent.append(data)
                return answer.status
            told = find(answer.options, MessageIdentifier)
            assert told is not None
            self.corrections += 1
            self._ahead = timestamp_seconds(told.timestamp) - self.agent.now.monotonic
        return answer.status

    def replays_are_refused(self) -> None:
        """Nothing that was accepted once is accepted again."""
        before = self.agent.binding
        for data in self.sent:
            assert self.agent.receive(data).ba.status == BAStatus.MIPV6_ID_MISMATCH
            self.agent.after(0.5)  # answers are limited
        assert self.agent.binding == before


@pytest.mark.parametrize("seconds", [-10.0, -3600.0, -400 * DAY])
def test_the_clock_is_set_back_and_everybody_is_served(seconds: float) -> None:
    agent, mobile = scenario()
    node = Follower(agent, mobile, agent.now.unix)
    assert node.register() == BAStatus.ACCEPTED
    step(agent, seconds)
    for _ in range(20):
        agent.after(300)
        assert node.register() == BAStatus.ACCEPTED
    # Who follows is corrected now and then, while the clock catches up, not each time.
    assert node.corrections <= 10
    node.replays_are_refused()
    # And somebody with the right time, too.
    other = Follower(agent, mobile, agent.now.unix)
    other.sequence = node.sequence
    assert other.register() == BAStatus.ACCEPTED


def test_how_far_the_clock_is_behind() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update())
    assert agent.agent.clock_behind(agent.now) == 0
    step(agent, -3600.0)
    assert agent.agent.clock_behind(agent.now) == pytest.approx(3600.0)
    agent.after(1000.0)
    assert agent.agent.clock_behind(agent.now) == pytest.approx(3600.0 - 1000.0 * (1 - CATCHING_UP))
    step(agent, 3600.0)
    assert agent.agent.clock_behind(agent.now) == 0


@pytest.mark.parametrize("seconds", [3600.0, 400 * DAY])
def test_the_clock_jumps_ahead_and_back(seconds: float) -> None:
    agent, mobile = scenario()
    node = Follower(agent, mobile, agent.now.unix)
    assert node.register() == BAStatus.ACCEPTED
    for there in (seconds, -seconds):
        step(agent, there)
        agent.after(100)
        assert node.register() == BAStatus.ACCEPTED
    node.replays_are_refused()


@pytest.mark.parametrize("seconds", [0.0, -3600.0, -400 * DAY, 3600.0])
@pytest.mark.parametrize("store_lost", [False, True])
def test_a_restart_with_another_time_of_day(seconds: float, store_lost: bool) -> None:
    agent, mobile = scenario()
    node = Follower(agent, mobile, agent.now.unix)
    for _ in range(5):
        agent.after(60)
        assert node.register() == BAStatus.ACCEPTED
    stored = [] if store_lost else list(agent.agent.stored())
    bindings = [action.binding for action in stored if isinstance(action, StoreBinding)]
    replays = [action.replay for action in stored]
    agent.agent = HomeAgent(agent.config)
    agent.now = Instant(17.0, agent.now.unix + 30 + seconds)
    agent.agent.resume(map(encode_binding, bindings), replays, agent.now)
    agent.agent.actions()
    if not store_lost:
        for data in node.sent:
            assert agent.receive(data).ba.status == BAStatus.MIPV6_ID_MISMATCH
            agent.after(0.5)
    again = Follower(agent, mobile, START.unix + 340)
    again.sequence = node.sequence
    again._accepted = node._accepted
    if store_lost and seconds < 0:
        return  # nothing tells that the time has been later: the mobile node waits until the clock is set
    assert again.register() == BAStatus.ACCEPTED
    assert agent.binding.sequence == again.sequence


def test_restarts_with_a_time_of_day_behind_grant_no_lifetime_anew() -> None:
    """The first one cannot know how much is left, and grants what there was at most; the others know."""
    agent, mobile = scenario()
    agent.receive(mobile.update())
    binding, replay = agent.binding, ReplayState(agent.binding.home_address, agent.binding.index, 0)
    step(agent, -DAY)
    for seconds in (0.0, LIFETIME / 2, LIFETIME / 2 - 1):
        agent.now = Instant(agent.now.monotonic + seconds, agent.now.unix + seconds)
        agent.agent = HomeAgent(agent.config)
        agent.agent.resume([encode_binding(binding)], [replay], agent.now)
        stored = [action.binding for action in agent.agent.actions() if isinstance(action, StoreBinding)]
        binding = stored[-1] if stored else binding
    assert agent.bound
    agent.after(1.1)
    assert not agent.bound


def test_no_mobile_node_moves_the_time_over_restarts() -> None:
    """One whose clock is as far ahead as may be is no reason to go there."""
    now = START
    clock = TimestampClock(TIMESTAMP_TOLERANCE)
    for _ in range(50):
        clock = TimestampClock(TIMESTAMP_TOLERANCE)
        clock.restore([ntp_timestamp(now.unix + TIMESTAMP_TOLERANCE)], now)
        assert clock.read(now) <= now.unix + 0.001
        now = Instant(now.monotonic + 1, now.unix + 1)


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(-1e6, 1e6)), max_size=30))
def test_the_time_by_which_timestamps_are_judged_is_never_set_back(
    steps: list[tuple[float, float]],
) -> None:
    clock, now, shown = TimestampClock(7.0), START, 0.0
    for passed, jump in steps:
        now = Instant(now.monotonic + passed, now.unix + passed + jump)
        before, shown = shown, clock.read(now)
        assert shown >= now.unix
        assert shown >= before


def test_the_latest_timestamp_counts_also_after_2036() -> None:
    clock = TimestampClock(7.0)
    late = 2_085_978_500.0  # four seconds into the next era of NTP
    clock.restore([ntp_timestamp(late), 0, ntp_timestamp(late - 60)], START)
    assert clock.read(START) == pytest.approx(late - 7, abs=0.001)


def test_without_a_timestamp_in_the_store_the_clock_is_believed() -> None:
    clock = TimestampClock(7.0)
    clock.restore([0], START)
    assert clock.read(START) == START.unix
