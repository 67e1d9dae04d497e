"""The mobile node's home link: coming back to it, being there, leaving it (RFC 6275 section 11.5.5)."""

from __future__ import annotations

import enum
from collections.abc import Callable

from dsmip.core.actions import Action, ComeHome, LeaveHome, SettleHome
from dsmip.core.types import HomeAttachment

#: Seconds after which a node without a known binding settles even if the home agent does not answer: three
#: transmissions of the de-registration (1.5 + 3 + 6) stayed without an objection.
UNKNOWN_BINDING_PATIENCE = 10.5


class HomePhase(enum.Enum):
    """How far the return home has come."""

    AWAY = "away"
    RETURNING = "returning"  #: the home agent may still defend the home address
    SETTLED = "settled"


class HomeLink:
    """The phases of being at home. Times are CLOCK_MONOTONIC seconds.

    `settle_at`: when to settle even without an acknowledgement, because no binding can exist any more.
    """

    def __init__(self, emit: Callable[[Action], None]) -> None:
        self._emit = emit
        self._attachment: HomeAttachment | None = None
        self.phase = HomePhase.AWAY
        self.settle_at: float | None = None
        self._acknowledged = False

    def is_elsewhere(self, home: HomeAttachment) -> bool:
        """True when the home link is now reached through another interface than before."""
        return self._attachment is not None and self._attachment.ifindex != home.ifindex

    def come(self, home: HomeAttachment, bound_until: float | None, now: float) -> None:
        """The home link appeared. `bound_until`: when the last known binding ends, None = none is known."""
        self.phase = HomePhase.RETURNING
        self.settle_at = bound_until if bound_until is not None else now + UNKNOWN_BINDING_PATIENCE
        self._attachment = home
        self._acknowledged = False
        self._emit(ComeHome(home))

    def update(self, home: HomeAttachment) -> None:
        """The same link; its routers may have changed."""
        if home == self._attachment:
            return
        self._attachment = home
        settled = self.phase is HomePhase.SETTLED
        self._emit(SettleHome(home, self._acknowledged) if settled else ComeHome(home))

    def settle(self, *, acknowledged: bool) -> HomeAttachment | None:
        """The home agent does not intercept our packets any more, as far as we know, or by its own word
        (`acknowledged`); returns where, None if that is no news."""
        self.settle_at = None
        known = self.phase is HomePhase.SETTLED and (self._acknowledged or not acknowledged)
        if self.phase is HomePhase.AWAY or known or self._attachment is None:
            return None
        self.phase = HomePhase.SETTLED
        self._acknowledged = acknowledged
        self._emit(SettleHome(self._attachment, acknowledged))
        return self._attachment

    def leave(self) -> HomeAttachment | None:
        """The home link is gone; returns where it was."""
        attachment, self._attachment = self._attachment, None
        self.phase = HomePhase.AWAY
        self.settle_at = None
        self._emit(LeaveHome())
        return attachment
