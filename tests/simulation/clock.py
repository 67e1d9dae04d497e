"""Virtual time: one queue of things to happen, and the clocks of the machines."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from dsmip.core.types import Instant

#: The time of day at which every simulation begins, as seconds since 1970.
EPOCH = 1_900_000_000.0

#: Timers fire this much late, so that no rounding between two clocks makes them fire early.
TIMER_SLACK = 1e-6


class World:
    """The queue. `time` is what a clock on the wall of the world shows, in seconds from 0.

    `events` counts what happened so far. Things due at the same time happen in the order of their request.
    """

    def __init__(self) -> None:
        self.time = 0.0
        self.events = 0
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> None:
        """Do this at `time`, or now if that is over."""
        self._order += 1
        heapq.heappush(self._queue, (max(time, self.time), self._order, call, arguments))

    def after(self, delay: float, call: Callable[..., None], *arguments: Any) -> None:
        """Do this `delay` seconds from now."""
        self.at(self.time + delay, call, *arguments)

    def run(self, end: float) -> None:
        """Let everything happen that is due up to `end`."""
        queue = self._queue
        while queue and queue[0][0] <= end:
            self.time, _, call, arguments = heapq.heappop(queue)
            self.events += 1
            call(*arguments)
        self.time = end


class Machine:
    """Something with two clocks and one engine timer.

    `booted` is the world's time at which its monotonic clock began, `skew` by how much its time of day is
    wrong.
    """

    def __init__(self, world: World, *, uptime: float, skew: float = 0.0) -> None:
        self.world = world
        self.booted = world.time - uptime
        self.skew = skew
        self._armed: float | None = None

    def now(self) -> Instant:
        """Both clocks."""
        return Instant(self.world.time - self.booted, self.world.time + EPOCH + self.skew)

    def world_time(self, monotonic: float) -> float:
        """When this machine's monotonic clock shows that."""
        return monotonic + self.booted

    def arm(self, due: float | None) -> None:
        """Ask for `timer` at `due` on the monotonic clock, instead of whatever was asked for before."""
        if due is None:
            self._armed = None
            return
        time = self.world_time(due) + TIMER_SLACK
        if self._armed is None or self._armed != time:
            self._armed = time
            self.world.at(time, self._fire, time)

    def disarm(self) -> None:
        """No timer any more."""
        self._armed = None

    def timer(self) -> None:
        """The time asked for has come."""
        raise NotImplementedError

    def _fire(self, time: float) -> None:
        if self._armed == time:
            self._armed = None
            self.timer()
