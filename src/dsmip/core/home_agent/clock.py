"""The time of day by which a home agent judges timestamps (RFC 4285 section 6): it is never set back.

A timestamp must be close to our time of day *and* greater than all accepted before. Were our clock set back,
by hand, by a time server or by a start without a battery, nothing could be both for as long as it is behind:
nobody would be served. So what timestamps are judged by goes on from where it was, a little slower than time
passes, until the clock has caught up. Mobile nodes follow: status 144 tells them this time. Where the clock
jumps ahead, it is followed at once.

Across a restart the timestamps in the store tell where it was. What was accepted once is refused in any case.
"""

from __future__ import annotations

from collections.abc import Iterable

from dsmip.core.authentication import is_later, timestamp_seconds
from dsmip.core.types import Instant

#: Seconds that pass here in a second, while the clock is behind. Slow enough that mobile nodes which follow
#: need no correction between two refreshes.
CATCHING_UP = 0.99


class TimestampClock:
    """Seconds since 1970 for every instant; `tolerance` is by how many a timestamp may be off."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self._shown = float("-inf")
        self._read_at = 0.0

    def restore(self, timestamps: Iterable[int], now: Instant) -> None:
        """Go on after an earlier process that accepted these; before anything else is asked.

        The latest may have been ahead of its clock by the tolerance: no mobile node moves the time by having
        its timestamps accepted.
        """
        latest = 0
        for timestamp in timestamps:
            if timestamp and (not latest or is_later(timestamp, latest)):
                latest = timestamp
        if latest:
            self._shown = timestamp_seconds(latest) - self.tolerance
            self._read_at = now.monotonic

    def read(self, now: Instant) -> float:
        """The time of day."""
        monotonic, unix = now
        passed = monotonic - self._read_at
        if passed > 0:
            self._shown += CATCHING_UP * passed
        self._read_at = monotonic
        if unix > self._shown:
            self._shown = unix
        return self._shown

    def ahead(self, now: Instant) -> float:
        """Seconds by which the machine's clock is behind what it has been."""
        return max(0.0, self.read(now) - now.unix)
