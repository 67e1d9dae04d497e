"""How often a home agent answers packets that it cannot attribute to anybody (RFC 4443 section 2.4 (f))."""

from __future__ import annotations


class TokenBucket:
    """Lets `rate` answers a second through on average, and `burst` of them at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled: float | None = None

    def take(self, now: float) -> bool:
        """True when one more answer may go out at `now` (CLOCK_MONOTONIC seconds)."""
        if self._filled is not None and now > self._filled:
            self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now if self._filled is None else max(now, self._filled)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
