"""How often a node answers what anyone can provoke (RFC 4443 section 2.4 (f), RFC 6275 section 9.3.3)."""

from __future__ import annotations


class RateLimit:
    """A token bucket: lets `rate` answers a second through on average, and `burst` of them at once."""

    def __init__(self, rate: float = 1.0, burst: int = 5) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled: float | None = None

    def allow(self, now: float) -> bool:
        """Take a token; False when there is none left. `now` is CLOCK_MONOTONIC seconds."""
        if self._filled is not None and now > self._filled:
            self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now if self._filled is None else max(now, self._filled)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
