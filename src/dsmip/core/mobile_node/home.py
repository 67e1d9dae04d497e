"""The mobile node's home link: coming back to it, being there, leaving it (RFC 6275 section 11.5.5).

With several uplinks it may be one of them: registered beside care-of addresses (RFC 5648 section 5.6).
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from dsmip.core.actions import Action, ComeHome, LeaveHome, MeetHome, SettleHome, ShareHome
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.types import CareOfAddress, HomeAttachment

#: Seconds after which a node without a known binding settles even if the home agent does not answer: three
#: transmissions of the de-registration (1.5 + 3 + 6) stayed without an objection.
UNKNOWN_BINDING_PATIENCE = 10.5


class HomePhase(enum.Enum):
    """How far the return home has come."""

    AWAY = "away"
    RETURNING = "returning"  #: the home agent may still defend the home address
    SETTLED = "settled"
    SHARED = "shared"  #: at home and abroad: the home link is one of several uplinks


class HomeLink:
    """The phases of being at home. Times are CLOCK_MONOTONIC seconds.

    `settle_at`: when to settle even without an acknowledgement, because no binding can exist any more.
    `on_link`: the home address is answered for on the home link. `registered`: the home agent has once
    acknowledged that we are at home and abroad, since we came here.
    """

    def __init__(self, emit: Callable[[Action], None]) -> None:
        self._emit = emit
        self._attachment: HomeAttachment | None = None
        self.phase = HomePhase.AWAY
        self.settle_at: float | None = None
        self._acknowledged = False
        self.on_link = False
        self.registered = False

    @property
    def abroad(self) -> bool:
        """True when there is a registration from outside, be it beside the home link."""
        return self.phase in (HomePhase.AWAY, HomePhase.SHARED)

    @property
    def is_quiet(self) -> bool:
        """True when we are on the home link, and the home agent has said that it has no binding."""
        return self.phase is HomePhase.SETTLED and self._acknowledged

    def is_elsewhere(self, home: HomeAttachment) -> bool:
        """True when the home link is now reached through another interface than before."""
        return self._attachment is not None and self._attachment.ifindex != home.ifindex

    def come(self, home: HomeAttachment, bound_until: float | None, now: float) -> None:
        """The home link appeared. `bound_until`: when the last known binding ends, None = none is known."""
        self.phase = HomePhase.RETURNING
        self.on_link = True
        self.settle_at = bound_until if bound_until is not None else now + UNKNOWN_BINDING_PATIENCE
        self._attachment = home
        self._acknowledged = False
        self._emit(ComeHome(home))

    def update(self, home: HomeAttachment) -> None:
        """The same link; its routers may have changed."""
        if home == self._attachment:
            return
        self._attachment = home
        match self.phase:
            case HomePhase.SETTLED:
                self._emit(SettleHome(home, self._acknowledged))
            case HomePhase.SHARED:
                self._emit(ShareHome(home) if self.on_link else MeetHome(home))
            case _:
                self._emit(ComeHome(home))

    def settle(self, *, acknowledged: bool) -> HomeAttachment | None:
        """The home agent does not intercept our packets any more, as far as we know, or by its own word
        (`acknowledged`); returns where, None if that is no news."""
        self.settle_at = None
        known = self.phase is HomePhase.SETTLED and (self._acknowledged or not acknowledged)
        if self.abroad or known or self._attachment is None:
            return None
        self.phase = HomePhase.SETTLED
        self._acknowledged = acknowledged
        self._emit(SettleHome(self._attachment, acknowledged))
        return self._attachment

    def share(self, home: HomeAttachment) -> None:
        """Use the home link beside others. Who was at home already goes on answering for the home address."""
        self.phase = HomePhase.SHARED
        self.settle_at = None
        self.registered = False
        self._attachment = home
        if not self.on_link:
            self._emit(MeetHome(home))

    def shared(self, *, answer: bool) -> HomeAttachment | None:
        """The home agent has acknowledged that; `answer`: we may answer solicitations for the home address
        (RFC 5648 section 5.6.4). Returns where, None if that is no news."""
        news, self.registered = not self.registered, True
        if self._attachment is None:
            return None
        if answer and not self.on_link:
            self._emit(ShareHome(self._attachment))
        elif self.on_link and not answer:
            self._emit(LeaveHome())
        self.on_link = answer
        return self._attachment if news else None

    def leave(self) -> HomeAttachment | None:
        """The home link is gone; returns where it was."""
        attachment, self._attachment = self._attachment, None
        self.phase = HomePhase.AWAY
        self.settle_at = None
        self.on_link = self.registered = False
        self._emit(LeaveHome())
        return attachment


def as_care_of_address(home: HomeAttachment, config: MobileNodeConfig) -> CareOfAddress:
    """The home link as one of several uplinks. What has no other way goes by the home agent."""
    return CareOfAddress(
        address=config.home_address,
        interface=home.interface,
        ifindex=home.ifindex,
        gateway=home.router or config.home_agent,
        network="home",
        preference=home.preference,
        mtu=home.mtu,
        valid_until=home.valid_until,
        at_home=True,
        link_layer=home.link_layer,
    )
