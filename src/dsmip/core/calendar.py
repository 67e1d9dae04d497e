"""Numbers by the time at which they are due, for a hundred thousand of them.

Each second has a page with nothing but the numbers on it; only those of seconds that have begun are put in
order. A heap of times takes ten times as much room.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

#: Entries that are tolerated, beyond two for each number, before the calendar should be made anew.
_SLACK = 64


class Calendar:
    """Times are in seconds. `when` tells what a number is entered for, None = for nothing any more."""

    def __init__(self, when: Callable[[int], float | None]) -> None:
        self._when = when
        self._pages: dict[int, list[int]] = {}
        self._seconds: list[int] = []
        self._begun = -1
        self._now: list[tuple[float, int]] = []
        self._entered = 0

    def __len__(self) -> int:
        return self._entered

    def enter(self, time: float, number: int) -> None:
        """Have the number turn up at that time. Another time it was entered for does not count any more."""
        second = int(time)
        self._entered += 1
        if second <= self._begun:
            heapq.heappush(self._now, (time, number))
        elif second in self._pages:
            self._pages[second].append(number)
        else:
            self._pages[second] = [number]
            heapq.heappush(self._seconds, second)

    def due(self, now: float) -> Iterator[tuple[float, int]]:
        """Take out what is due by `now`: times and numbers, in order."""
        while self._seconds and self._seconds[0] <= now:
            second = self._begun = heapq.heappop(self._seconds)
            page = self._pages.pop(second)
            self._entered -= len(page)
            times = ((self._when(number), number) for number in page)
            begun = [(time, number) for time, number in times if time is not None and int(time) == second]
            self._entered += len(begun)
            self._now += begun
            heapq.heapify(self._now)
        while self._now and self._now[0][0] <= now:
            self._entered -= 1
            yield heapq.heappop(self._now)

    def next_time(self) -> float | None:
        """When to ask for what is due next. That may turn out to be too early, never too late."""
        times = [self._now[0][0]] if self._now else []
        if self._seconds:
            times.append(float(self._seconds[0]))
        return min(times, default=None)

    def is_untidy(self, numbers: int) -> bool:
        """Whether most of what is entered counts no more, with so many numbers in use."""
        return self._entered > 2 * numbers + _SLACK
