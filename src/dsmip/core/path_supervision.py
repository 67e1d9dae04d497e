"""Is a path alive? Probes over it find out: how often, when one is missing, when it counts as dead.

A probe is an echo over one path, reflected by the home agent (`dsmip.wire.pathprobe`). While a path carries
traffic one leaves every 100 ms. One that is overdue by round trip and a margin is followed by others in quick
succession: when so many are missing that the losses of the path do not explain it, and they span one and a
half intervals, the path is silent, a quarter of a second after it died. Both data planes know without being
told: each probe says for how long it vouches (`hold`).

The way back is slower than the way out. A path that was silent is on probation until ten probes in a row came
back and its hold-down has passed, which doubles each time it falls silent again soon.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass

from dsmip.core.mobile_node.policy import Probing

#: So unlikely must it be that all missing probes were lost by chance ...
_CHANCE = 1e-6

#: ... where this share of round trips fails, at least (5 % each way), though no loss was seen so far, and at
#: most.
_LEAST_LOSS, _MOST_LOSS = 0.1, 0.4

#: Intervals that have to pass from the departure of the first of them until the path is silent.
_SPAN = 1.5

#: Seconds between the probes that follow an overdue one, at least.
_SUCCESSION = 0.01

#: Intervals that a probe vouches for. Several probes after it are late by then.
_HOLD = 2.5

#: Good probes in a row that end a probation.
PROBATION = 10

#: Seconds of hold-down after the first silence, and at most; it is forgotten after so long without one.
HOLD_DOWN = 2.0
MAX_HOLD_DOWN = 60.0
HOLD_DOWN_MEMORY = 300.0

#: A probe is overdue after the smoothed round trip, four times its deviation, and at least this much more.
_MARGIN = 0.01
#: ... or after this many seconds as long as no round trip was measured at all.
_FIRST_PATIENCE = 0.3

#: Probes waiting for their answer; older ones are lost.
_PENDING = 128
#: How many of them may follow an overdue one within _SPAN, when there are enough to judge by: were they more,
#: they would crowd out the evidence.
_SAVIOURS = 32
#: Seconds after which an unanswered probe counts as lost for the statistics.
_LOST_AFTER = 2.0
_LOSS_WEIGHT = 1 / 32

#: Probes without any answer after which the home agent is taken for one that does not answer them.
_UNEXPECTED = 20

#: With more loss than this, probes leave twice as often: else single losses would look like silence to the
#: data planes, which know of no round trip.
_LOSSY = 0.03


class Health(enum.Enum):
    """What is known of a path; the value is what `dsmip attachments` shows."""

    UP = "up"
    SUSPECT = "suspect"  #: a probe is overdue
    SILENT = "silent"
    PROBATION = "probation"  #: answers again, but not for long enough


@dataclass(slots=True)
class _Pending:
    sequence: int
    sent_at: float
    overdue_at: float
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class ProbeMark:
    """What to write into the next probe; `hold` in milliseconds."""

    sequence: int
    hold: int


class PathSupervision:
    """The probes of one path. Times are CLOCK_MONOTONIC seconds.

    After each call look at `health` and `due`. `in_use` and `metered` decide how often to probe. Until the
    first probe was answered, or unless `expected`, nothing is concluded from silence: the home agent may not
    answer at all. Unless probes are `reflected` an answer may have come over another path: it shows that the
    probe got there, and ends no silence.
    """

    def __init__(self, probing: Probing) -> None:
        self.probing = probing
        self.health = Health.UP
        self.in_use = False
        self.metered = False
        self.expected = False
        self.reflected = False
        self.delay: float | None = None
        self.loss = 0.0
        self.heard_at: float | None = None
        self.answers = 0  #: probes that came back so far
        self.due: float | None = None
        self._variation = 0.0
        self._sequence = 0
        self._pending: deque[_Pending] = deque()
        self._good = 0
        self.hold_down = HOLD_DOWN  #: seconds from a silence to the end of the probation, at least
        self._silenced_at: float | None = None
        self._silent_interval = 0.0
        self._regular_at = 0.0

    # When -------------------------------------------------------------------------------------------------

    @property
    def interval(self) -> float:
        """Seconds between probes while nothing is wrong."""
        if not self.expected and self._sequence > _UNEXPECTED:
            return self.probing.metered_idle
        pace = self._pace
        return pace / 2 if self.loss > _LOSSY and pace == self.probing.interval else pace

    @property
    def active(self) -> bool:
        """True while probes are sent."""
        return self.due is not None

    @property
    def timeout(self) -> float | None:
        """When `tick` and `next_probe` want to be called."""
        times = [probe.overdue_at for probe in self._pending if not probe.overdue]
        if self.due is not None:
            times.append(self.due)
            times += self._verdict_at()
        return min(times, default=None)

    def start(self, round_trip: float, now: float) -> None:
        """The path was registered, which took `round_trip` seconds: probe it from now on."""
        if self.delay is None:
            self.delay, self._variation = round_trip, round_trip / 2
        if self.due is None:
            self.due = now

    def stop(self) -> None:
        """The path is gone."""
        self.due = None
        self._pending.clear()

    def restart(self, round_trip: float, now: float) -> None:
        """Another care-of address, another network: nothing is known, but it has just been registered."""
        self.stop()
        self.health = Health.UP
        self.delay = self.heard_at = None
        self.loss = 0.0
        self.start(round_trip, now)

    def use(self, *, in_use: bool, metered: bool, now: float) -> None:
        """Traffic or no traffic; what is in use is probed at once."""
        begins = in_use and not self.in_use
        self.in_use, self.metered = in_use, metered
        if self.due is None:
            return
        if begins and self.health is not Health.SILENT:
            self.due = now
        elif self.health is not Health.SILENT:
            self.due = min(self.due, now + self.interval)

    def probe_now(self, now: float) -> None:
        """There is a sign of life, or a reason for doubt."""
        if self.due is not None:
            self.due = now

    # What -------------------------------------------------------------------------------------------------

    def next_probe(self, now: float) -> ProbeMark | None:
        """The probe to send now, None when none is due."""
        if self.due is None or self.due > now:
            return None
        self._sequence += 1
        self._pending.append(_Pending(self._sequence, now, now + self._patience))
        if len(self._pending) > _PENDING:
            self._lost(self._pending.popleft())
        self._plan(now)
        return ProbeMark(self._sequence, int(1000 * self.hold))

    @property
    def hold(self) -> float:
        """Seconds for which the next probe vouches. A path whose delay varies is given as much longer."""
        return _HOLD * self._pace + self._excess

    @property
    def _pace(self) -> float:
        """Seconds between probes that are expected to come, be they sent more often."""
        probing = self.probing
        if self.in_use or self.health in (Health.SILENT, Health.PROBATION):
            return probing.interval
        return probing.metered_idle if self.metered else probing.idle

    @property
    def needed(self) -> int:
        """Missing probes that make the path silent. More where many are lost anyway."""
        loss = min(max(self.loss, _LEAST_LOSS), _MOST_LOSS)
        return round(math.log(_CHANCE) / math.log(loss))

    @property
    def _patience(self) -> float:
        """Seconds after which a probe is overdue."""
        if self.delay is None:
            return _FIRST_PATIENCE
        return self.delay + max(4 * self._variation, _MARGIN)

    @property
    def _excess(self) -> float:
        """By how much four times the delay's variation exceeds half an interval; five intervals at most."""
        interval = self.probing.interval
        return min(max(4 * self._variation - interval / 2, 0.0), 5 * interval)

    def _plan(self, now: float) -> None:
        """When the next probe leaves, after one has left now."""
        if self.health is Health.SILENT:
            limit = self.probing.metered_idle if self.metered else self.probing.idle
            self.due = now + self._silent_interval
            self._silent_interval = min(2 * self._silent_interval, limit)
        else:
            pause = self.interval
            if self._wants_more(now):
                pause = min(self._succession, pause)
            self.due = now + pause

    def _wants_more(self, now: float) -> bool:
        """Whether a probe is overdue and others should follow: until there are enough of them to judge by,
        and as long as an answer to one can save the path."""
        if not self.expected or not any(probe.overdue for probe in self._pending):
            return False
        return len(self._pending) < self.needed or now < self._pending[0].sent_at + self._span

    @property
    def _succession(self) -> float:
        """Seconds between the probes that follow an overdue one: all are to be overdue after _SPAN."""
        pause = max((self._span - 2 * self._patience) / self.needed, _SUCCESSION)
        return pause if len(self._pending) < self.needed else max(pause, self._span / _SAVIOURS)

    @property
    def _span(self) -> float:
        """Seconds from the departure of a probe without answer, at which the path may be silent."""
        return _SPAN * min(self._pace, self.probing.idle)

    # Answers ----------------------------------------------------------------------------------------------

    def answered(self, sequence: int, now: float) -> bool:
        """A reflected probe came back. False when it is none of ours, or a repetition."""
        probe = next((probe for probe in self._pending if probe.sequence == sequence), None)
        if probe is None:
            return False
        self._pending.remove(probe)
        self._measure(now - probe.sent_at)
        self.loss -= self.loss * _LOSS_WEIGHT
        self.expected = True
        self.answers += 1
        self.heard_at = now
        # What left before this one says nothing about the path now: it is lost, and did not make it silent.
        while self._pending and self._pending[0].sent_at <= probe.sent_at:
            self._lost(self._pending.popleft())
        self._alive(now)
        return True

    def alive(self, now: float) -> None:
        """Something else than a probe came over the path: a Binding Acknowledgement."""
        if self.health is Health.SILENT:
            self._on_probation(now)

    def _alive(self, now: float) -> None:
        if self.health is Health.SUSPECT:
            self.health = Health.UP
        elif self.health is Health.SILENT:
            if self.reflected:
                self._on_probation(now)
        elif self.health is Health.PROBATION:
            self._good += 1
            self._end_probation(now)

    def _on_probation(self, now: float) -> None:
        self.health = Health.PROBATION
        self._good = 0
        self._pending.clear()
        self.probe_now(now)

    def _end_probation(self, now: float) -> None:
        held_down = self._silenced_at is not None and now < self._silenced_at + self.hold_down
        if self._good >= PROBATION and not held_down:
            self.health = Health.UP

    def _measure(self, delay: float) -> None:
        """As TCP does (RFC 6298 section 2)."""
        if self.delay is None or self.heard_at is None:
            self.delay, self._variation = delay, delay / 2
            return
        self._variation += (abs(self.delay - delay) - self._variation) / 4
        self.delay += (delay - self.delay) / 8

    def _lost(self, _: _Pending) -> None:
        self.loss += (1 - self.loss) * _LOSS_WEIGHT

    # Silence ----------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Draw conclusions from what has not come."""
        in_doubt = any(probe.overdue for probe in self._pending)
        for probe in self._pending:
            probe.overdue = probe.overdue_at <= now
        if not in_doubt and self.expected and self.health is not Health.SILENT:
            self._doubt(now)
        # The verdict before its evidence is forgotten: both may be due at the same time.
        if any(at <= now for at in self._verdict_at()):
            self._fall_silent(now)
        self._forget(now)

    def _forget(self, now: float) -> None:
        """What has not come in all this time is lost. What is rare is kept for longer: it is evidence."""
        kept = max(_LOST_AFTER + self._patience, self._span + self._excess)
        while self._pending and now - self._pending[0].sent_at > kept:
            if self.health is not Health.SILENT and len(self._pending) <= self.needed:
                break
            self._lost(self._pending.popleft())

    def _doubt(self, now: float) -> None:
        """If a probe is overdue now, the next one leaves at once."""
        if any(probe.overdue for probe in self._pending):
            self._good = 0
            if self.health is Health.UP:
                self.health = Health.SUSPECT
            if self._wants_more(now):
                self.probe_now(now)

    def _verdict_at(self) -> list[float]:
        """When the path is silent if nothing comes: one time, or none as long as too few are missing."""
        if self.health is Health.SILENT or not self.expected:
            return []
        missing = [probe for probe in self._pending if probe.overdue]
        if len(missing) < self.needed:
            return []
        return [missing[0].sent_at + self._span + self._excess]

    def _fall_silent(self, now: float) -> None:
        before, self._silenced_at = self._silenced_at, now
        again = before is not None and now - before < HOLD_DOWN_MEMORY
        self.hold_down = min(2 * self.hold_down, MAX_HOLD_DOWN) if again else HOLD_DOWN
        self.health = Health.SILENT
        self._good = 0
        for probe in self._pending:
            self._lost(probe)
        self._pending.clear()
        self._silent_interval = self.probing.interval
        self._plan(now)
