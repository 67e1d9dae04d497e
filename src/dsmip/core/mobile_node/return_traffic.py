"""Packets leave through the only tunnel and none comes back: does the binding still lead here?

A NAT that was restarted has forgotten its mapping; a network may carry nothing any more though its link is
up. Neither tells anybody. Movement detection may take traffic for a hint of reachability, or the lack of it
(RFC 6275 section 11.5.1). With several uplinks probes find out sooner (`dsmip.core.path_supervision`).
"""

from __future__ import annotations

#: Seconds for which packets leave and none comes back until the home agent is asked.
PATIENCE = 2.0

#: Who only ever sends asks more and more rarely, in the end as often as NAT keepalives leave (RFC 5555
#: section 6, NATKATIMEOUT).
LONGEST_PATIENCE = 110.0


class ReturnTraffic:
    """Looks at the packets of one path. Times are CLOCK_MONOTONIC seconds."""

    def __init__(self) -> None:
        self._sent = self._received = 0
        self._since: float | None = None
        self._patience = PATIENCE

    def start_over(self) -> None:
        """Another path, another network."""
        self._since, self._patience = None, PATIENCE

    def count(self, sent: int, received: int, now: float) -> bool:
        """So many packets so far; True when a Binding Update should ask."""
        sends, answered = sent > self._sent, received != self._received
        self._sent, self._received = sent, received
        if answered:
            self.start_over()
        elif sends and self._since is None:
            self._since = now
        elif sends and self._since is not None and now - self._since >= self._patience:
            self._since, self._patience = None, min(2 * self._patience, LONGEST_PATIENCE)
            return True
        return False
