"""When which mobile node is told about the home prefixes without having asked (RFC 6275 section 10.6.2)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from random import Random

#: Retransmissions of an unsolicited advertisement, and seconds before the first (RFC 6275 section 12).
PREFIX_ADV_RETRIES = 3
PREFIX_ADV_TIMEOUT = 3.0

#: Seconds that have to lie between two advertisements to the same mobile node (RFC 6275 section 6.8).
MINIMUM_SPACING = 1.0


@dataclass(slots=True)
class _Delivery:
    """`due` None = sent as often as allowed and not acknowledged; the next Binding Update starts it again."""

    due: float | None
    sent: int = 0


class PrefixDeliveries:
    """Schedules unsolicited Mobile Prefix Advertisements; `send` is called with a home address.

    `minimum` and `maximum` are MinMobPfxAdvInterval and MaxMobPfxAdvInterval of RFC 6275 section 13. All
    times are seconds of CLOCK_MONOTONIC.
    """

    def __init__(
        self, send: Callable[[IPv6Address, float], None], minimum: float, maximum: float, randomness: Random
    ) -> None:
        self._send = send
        self._minimum = minimum
        self._maximum = maximum
        self._random = randomness
        self._scheduled: dict[IPv6Address, _Delivery] = {}
        self._last: dict[IPv6Address, float] = {}
        self._heap: list[tuple[float, IPv6Address]] = []

    def timeout(self) -> float | None:
        """When to call `tick`; that may turn out to be too early, never too late."""
        return self._heap[0][0] if self._heap else None

    def news(self, home_address: IPv6Address, preferred: float | None, now: float) -> None:
        """Something about the prefixes has changed; `preferred` is how long the home prefix stays preferred.

        What is scheduled already goes out at its time, with the news in it.
        """
        delivery = self._scheduled.get(home_address)
        if delivery is None or delivery.due is None or delivery.sent:
            self._schedule(home_address, now + self._delay(preferred))

    def registered(self, home_address: IPv6Address, preferred: float | None, now: float) -> None:
        """The mobile node has sent a Binding Update from away."""
        delivery = self._scheduled.get(home_address)
        if delivery is not None:
            if delivery.due is None:
                self._schedule(home_address, now + PREFIX_ADV_TIMEOUT)
        elif now - self._last.get(home_address, -self._maximum) >= self._maximum:
            self._schedule(home_address, now + self._delay(preferred))

    def ended(self, home_address: IPv6Address) -> None:
        """The mobile node has no binding any more: nothing is sent to it."""
        self._scheduled.pop(home_address, None)
        self._last.pop(home_address, None)

    def solicited(self, home_address: IPv6Address, now: float) -> bool:
        """The mobile node asks, which acknowledges whatever it was told; False when it asks too often."""
        self._scheduled.pop(home_address, None)
        if now - self._last.get(home_address, -MINIMUM_SPACING) < MINIMUM_SPACING:
            return False
        self._last[home_address] = now
        return True

    def tick(self, now: float) -> None:
        """Send what is due."""
        while self._heap and self._heap[0][0] <= now:
            due, home_address = heapq.heappop(self._heap)
            delivery = self._scheduled.get(home_address)
            if delivery is None or delivery.due != due:
                continue
            self._last[home_address] = now
            self._send(home_address, now)
            delivery.sent += 1
            if delivery.sent > PREFIX_ADV_RETRIES:
                delivery.due = None
            else:
                delivery.due = now + PREFIX_ADV_TIMEOUT * 2 ** (delivery.sent - 1)
                heapq.heappush(self._heap, (delivery.due, home_address))

    def _schedule(self, home_address: IPv6Address, due: float) -> None:
        self._scheduled[home_address] = _Delivery(due)
        heapq.heappush(self._heap, (due, home_address))

    def _delay(self, preferred: float | None) -> float:
        """RAND_ADV_DELAY: so that not everybody is told, and asks back, at once."""
        longest = self._maximum if preferred is None else min(self._maximum, preferred)
        return self._minimum + self._random.random() * abs(longest - self._minimum)
