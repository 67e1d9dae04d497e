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


@dataclass(frozen=True, slots=True)
class _Answer:
    """A solicitation that came too soon after the last advertisement."""

    due: float
    send: Callable[[float], None]


class PrefixDeliveries:
    """Schedules Mobile Prefix Advertisements; `send` is called with a home address for an unsolicited one.

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
        self._answers: dict[IPv6Address, _Answer] = {}
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
        self._answers.pop(home_address, None)
        self._last.pop(home_address, None)

    def solicited(self, home_address: IPv6Address, answer: Callable[[float], None], now: float) -> bool:
        """The mobile node asks, which acknowledges whatever it was told. `answer` is called with the time:
        now, or when it may be told again, for who was told unasked asks at once (RFC 6275 section 11.4.3).

        False when that takes the place of an earlier question.
        """
        self._scheduled.pop(home_address, None)
        due = self._may_be_told(home_address, now)
        if due <= now:
            self._last[home_address] = now
            answer(now)
            return True
        superseded = home_address in self._answers
        self._answers[home_address] = _Answer(due, answer)
        if not superseded:
            heapq.heappush(self._heap, (due, home_address))
        return not superseded

    def tick(self, now: float) -> None:
        """Send what is due."""
        while self._heap and self._heap[0][0] <= now:
            due, home_address = heapq.heappop(self._heap)
            answer, delivery = self._answers.get(home_address), self._scheduled.get(home_address)
            if answer is not None and answer.due == due:
                del self._answers[home_address]
                self._last[home_address] = now
                answer.send(now)
            elif delivery is not None and delivery.due == due:
                self._deliver(home_address, delivery, now)

    def _deliver(self, home_address: IPv6Address, delivery: _Delivery, now: float) -> None:
        self._last[home_address] = now
        self._send(home_address, now)
        delivery.sent += 1
        if delivery.sent > PREFIX_ADV_RETRIES:
            delivery.due = None
        else:
            delivery.due = now + PREFIX_ADV_TIMEOUT * 2 ** (delivery.sent - 1)
            heapq.heappush(self._heap, (delivery.due, home_address))

    def _may_be_told(self, home_address: IPv6Address, now: float) -> float:
        """From when on."""
        last = self._last.get(home_address)
        return now if last is None else last + MINIMUM_SPACING

    def _schedule(self, home_address: IPv6Address, due: float) -> None:
        due = max(due, self._may_be_told(home_address, due))
        self._scheduled[home_address] = _Delivery(due)
        heapq.heappush(self._heap, (due, home_address))

    def _delay(self, preferred: float | None) -> float:
        """RAND_ADV_DELAY: so that not everybody is told, and asks back, at once."""
        longest = self._maximum if preferred is None else min(self._maximum, preferred)
        return self._minimum + self._random.random() * abs(longest - self._minimum)
