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
    """Times are in seconds. `when` tells what time a number has now, None = none any more.

    A number turns up at the time it has then, so one that has become later need not be entered again.
    """

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
        """A number is new, or its time is earlier than it was."""
        second = int(time)
        self._entered += 1
        if second <= self._begun:
            heapq.heappush(self._now, (time, number))
        elif second in self._pages:
            self._pages[second].append(number)
        else:
            self._pages[second] = [number]
            heapq.heappush(self._seconds, second)

    def due(self, now: float) -> Iterator[int]:
        """Take out the numbers whose time has come by `now`, in order. One that was entered several times
        may come several times, unless it has no time any more."""
        while self._seconds and self._seconds[0] <= now:
            self._begin(heapq.heappop(self._seconds))
        while self._now and self._now[0][0] <= now:
            self._entered -= 1
            _, number = heapq.heappop(self._now)
            time = self._when(number)
            if time is not None and time <= now:
                yield number
            elif time is not None:
                self.enter(time, number)

    def _begin(self, second: int) -> None:
        """Put in order what stands on the page, as far as its time is not a later one."""
        self._begun = second
        page = self._pages.pop(second)
        self._entered -= len(page)
        begun = []
        for number in page:
            time = self._when(number)
            if time is not None and time < second + 1:
                begun.append((time, number))
            elif time is not None:
                self.enter(time, number)
        self._entered += len(begun)
        self._now += begun
        heapq.heapify(self._now)

    def next_time(self) -> float | None:
        """When to ask for what is due next. That may turn out to be too early, never too late."""
        times = [self._now[0][0]] if self._now else []
        if self._seconds:
            times.append(float(self._seconds[0]))
        return min(times, default=None)

    def is_untidy(self, numbers: int) -> bool:
        """Whether most of what is entered counts no more, with so many numbers in use."""
        return self._entered > 2 * numbers + _SLACK
