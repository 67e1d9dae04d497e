"""Numbers and times of Binding Updates: one series, whatever the number of care-of addresses.

RFC 6275 section 11.7.1, RFC 4285 section 6. With several care-of addresses the home agent keeps one sequence
number for all of them (RFC 5648 section 4.1), so a Binding Update overtaken by a later one is refused. They
take turns for that reason, as far as waiting is cheap.
"""

from __future__ import annotations

import random

from dsmip.core import sequence as sequences
from dsmip.core.authentication import clock_correction, is_later, ntp_timestamp, timestamp_seconds
from dsmip.core.binding_update_list import SentUpdate
from dsmip.core.types import Instant

#: Seconds for which a Binding Update without an answer keeps others waiting: most round trips are shorter.
TURN = 0.25

#: Seconds by which a corrected clock may be off the home agent's, which tells whole seconds only.
_CLOCK_PRECISION = 1.5


class Counters:
    """The sequence number, the timestamp, the home agent's clock, and whose turn it is to send."""

    def __init__(self, rng: random.Random) -> None:
        self._sequence = rng.randrange(sequences.SEQUENCE_MODULUS)
        self._timestamp = 0
        self._accepted_timestamp = 0
        #: Seconds by which the home agent's clock is ahead of ours, as far as it had to tell us.
        self.clock_offset = 0.0
        self._turn: tuple[object, float] | None = None
        #: CLOCK_MONOTONIC seconds of the last Binding Update; None = there was none.
        self.last_sent_at: float | None = None

    # Numbers ----------------------------------------------------------------------------------------------

    def next(self, now: Instant) -> tuple[int, int]:
        """Sequence number and timestamp of the next Binding Update, which leaves now."""
        self._sequence = sequences.successor(self._sequence)
        self._timestamp = ntp_timestamp(now.unix + self.clock_offset, after=self._timestamp)
        self.last_sent_at = now.monotonic
        return self._sequence, self._timestamp

    def accepted(self, update: SentUpdate) -> None:
        """The home agent accepted `update`."""
        if not self._accepted_timestamp or is_later(update.timestamp, self._accepted_timestamp):
            self._accepted_timestamp = update.timestamp

    def correct_sequence(self, last_accepted: int, refused: SentUpdate) -> None:
        """Continue after the number the home agent accepted last (status 135, RFC 6275 section 11.7.3).

        When that is one of ours, sent after the `refused` update, there is nothing to correct.
        """
        ours = last_accepted == self._sequence or sequences.is_newer(self._sequence, last_accepted)
        if not (ours and sequences.is_newer(last_accepted, refused.sequence)):
            self._sequence = last_accepted

    def correct_clock(self, timestamp: int, refused: SentUpdate, now: Instant) -> None:
        """Take over the home agent's time of day (status 144, RFC 4285 section 6).

        It read its clock between the departure of the `refused` update and now; half-way is the best guess,
        however late the answer. When its clock agrees with ours the update was overtaken by a later one.
        """
        agrees = abs(timestamp_seconds(refused.timestamp) - timestamp_seconds(timestamp)) <= _CLOCK_PRECISION
        if agrees and refused.timestamp != self._timestamp:
            return
        half_way = now.unix - (now.monotonic - refused.sent_at) / 2
        self.clock_offset = clock_correction(timestamp, half_way)
        # Timestamps must exceed those the home agent accepted, not those it refused.
        self._timestamp = self._accepted_timestamp

    # Turns ------------------------------------------------------------------------------------------------

    def taken_until(self, who: object, now: float) -> float | None:
        """Until when somebody else than `who` waits for an answer; None = go ahead."""
        if self._turn is None or self._turn[0] is who or self._turn[1] <= now:
            return None
        return self._turn[1]

    def take_turn(self, who: object, now: float) -> None:
        """`who` sends now."""
        self._turn = (who, now + TURN)

    def end_turn(self, who: object) -> None:
        """`who` has its answer, or does not want one any more."""
        if self._turn is not None and self._turn[0] is who:
            self._turn = None
