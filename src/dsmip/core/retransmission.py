"""When a Binding Update is sent again (RFC 6275 section 11.8)."""

from __future__ import annotations

#: Seconds to the first retransmission when the home agent holds no binding yet: it may have to finish
#: duplicate address detection first (RFC 6275 section 13, InitialBindackTimeoutFirstReg).
INITIAL_BINDACK_TIMEOUT_FIRST_REG = 1.5

#: Seconds to the first retransmission otherwise (RFC 6275 section 12).
INITIAL_BINDACK_TIMEOUT = 1.0

#: The interval stops doubling here; updates go on at this rate for ever (RFC 6275 section 12).
MAX_BINDACK_TIMEOUT = 32.0


class Backoff:
    """The exponential back-off of one Binding Update and its retransmissions.

    Times are CLOCK_MONOTONIC seconds.
    """

    def __init__(self, *, first_registration: bool) -> None:
        self.transmissions = 0
        self.due: float | None = None
        self._interval = INITIAL_BINDACK_TIMEOUT_FIRST_REG if first_registration else INITIAL_BINDACK_TIMEOUT

    def sent(self, now: float) -> None:
        """Note a transmission: each waits twice as long for its answer as the one before."""
        if self.transmissions:
            self._interval = min(self._interval * 2, MAX_BINDACK_TIMEOUT)
        self.transmissions += 1
        self.due = now + self._interval

    def wait(self, until: float) -> None:
        """The next transmission is due then; the intervals after it are as they would have been."""
        self.due = until

    def postpone(self, now: float, seconds: float) -> None:
        """Send the next one `seconds` from now, whatever was planned, and at the slowest rate after that."""
        self._interval = MAX_BINDACK_TIMEOUT
        self.due = now + seconds
