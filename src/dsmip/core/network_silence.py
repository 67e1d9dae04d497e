"""Networks in which Binding Updates are not answered: when to try them again, and whose fault it is.

A home agent that answers over one network while another one is tried in vain is not down: the other network
does not let our packets through, as with a captive portal before somebody has logged in, or with a firewall.
If all are silent nothing of the kind is concluded, as it may well be the home agent.
"""

from __future__ import annotations

from dataclasses import dataclass

from dsmip.core.types import CareOfAddress

#: Seconds for which a silent network comes last in the choice of a care-of address, at most (RFC 5555 section
#: 4.4.1 leaves the time to us).
LONGEST_PAUSE = 300.0

#: Seconds to the next attempt from an answer elsewhere. Doubled with each attempt in vain.
FIRST_PAUSE = 30.0

#: Seconds from a Binding Update in vain to an answer elsewhere that tell whose fault it is: the third of them
#: waits for 6 s.
_PROOF = 8.0

#: Seconds that a new attempt takes before it is known to be in vain, too: the longest retransmission timer.
_ATTEMPT = 32.0


@dataclass(slots=True)
class Silence:
    """No answer to Binding Updates from this care-of address. Times are CLOCK_MONOTONIC seconds.

    `sent` are when those of the latest attempt left, the last one last, `until` is when to try again.
    `cut_off`: the home agent worked meanwhile.
    """

    care_of: CareOfAddress
    sent: tuple[float, ...]
    until: float
    pause: float = FIRST_PAUSE
    cut_off: bool = False

    def again(self, care_of: CareOfAddress, sent: tuple[float, ...], now: float) -> None:
        """Another attempt was in vain, or the same one goes on."""
        if now > self.until + LONGEST_PAUSE:
            self.pause, self.cut_off = FIRST_PAUSE, False  # that was another visit
        elif now >= self.until and self.cut_off:
            self.pause = min(2 * self.pause, LONGEST_PAUSE)
        self.care_of, self.sent, self.until = care_of, sent, now + LONGEST_PAUSE

    def answered_elsewhere(self, where: CareOfAddress, at: float) -> bool:
        """The home agent answered another Binding Update. True if that shows something new.

        An answer over the other address family of the same network says nothing about who is to blame.
        """
        self.until = min(self.until, max(at, self.sent[-1]) + self.pause)
        in_time = any(sent <= at <= sent + _PROOF for sent in self.sent)
        shows = in_time and where.network != self.care_of.network
        news = shows and not self.cut_off
        self.cut_off = self.cut_off or shows
        return news

    def is_cut_off(self, now: float) -> bool:
        """Whether the network is known not to let our packets through."""
        return self.cut_off and now < self.until + _ATTEMPT
