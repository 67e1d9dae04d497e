"""A registration from outside: how far it has come, and when it wants to go on."""

from __future__ import annotations

import math

from dsmip.core.binding_update_list import BindingUpdateListEntry, SentUpdate
from dsmip.core.mobile_node.choice import same_place
from dsmip.core.mobile_node.delivery import ATTEMPTS_BEFORE_FALLBACK, ATTEMPTS_BEFORE_SUCCESSOR, Delivery
from dsmip.core.mobile_node.hold import Hold
from dsmip.core.mobile_node.probing import Prober
from dsmip.core.mobile_node.tunnel import Tunnel
from dsmip.core.types import CareOfAddress, Instant


class RegistrationState:
    """What can be asked at any time and changes nothing. Base of `mobile_node_registration.Registration`."""

    _delivery: Delivery
    _prober: Prober
    _hold: Hold
    attached: tuple[CareOfAddress, ...]
    care_of: CareOfAddress | None
    entry: BindingUpdateListEntry | None
    tunnel: Tunnel

    @property
    def timeout(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the next thing to do."""
        times = (
            self._delivery.due,
            self._hold.ends_at,
            self._refresh_at,
            self._prober.due,
            self.tunnel.due,
        )
        return min((time for time in times if time is not None), default=None)

    def is_silent(self, now: Instant) -> bool:
        """True when the retransmission timer ran out and the home agent may be out of reach from here."""
        return self._delivery.is_unanswered(ATTEMPTS_BEFORE_FALLBACK, now)

    def has_given_up(self, now: Instant) -> bool:
        """True when the home agent has been silent for so long that another one may be tried."""
        enough = ATTEMPTS_BEFORE_SUCCESSOR if self.is_bound(now) else ATTEMPTS_BEFORE_FALLBACK
        return self._delivery.is_unanswered(enough, now)

    def is_bound(self, now: Instant) -> bool:
        """True while the home agent keeps a binding that it acknowledged."""
        return self.entry is not None and now.monotonic < self.entry.expires

    def spare(self, now: Instant) -> float:
        """Seconds for which the binding is there anyhow; without one there is nothing to lose."""
        return self.entry.expires - now.monotonic if self.entry and self.is_bound(now) else math.inf

    def works(self, now: Instant) -> bool:
        """True when the path in use was acknowledged and may still be used, be it over another address."""
        return self.is_bound(now) and self.tunnel.works(self.attached)

    def is_registered(self, now: Instant) -> bool:
        """True when the care-of address chosen is the one the home agent acknowledged."""
        if self.entry is None or self.care_of is None:
            return False
        acknowledged = same_place(self.entry.care_of, self.care_of) and self.tunnel.works(self.attached)
        return acknowledged and self.is_bound(now)

    @property
    def is_refused(self) -> bool:
        """True when the home agent's last answer was a refusal that hardly mends itself, and is heeded."""
        heeded = self._delivery.slow and self._delivery.unanswered < ATTEMPTS_BEFORE_FALLBACK
        return bool(self._hold) or heeded

    @property
    def is_stopped(self) -> bool:
        """The home address is not to be used any more: no Binding Updates until a new start (status 134), or
        until the home link says otherwise."""
        return self._hold.is_for_good

    @property
    def asks_again_at(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the next Binding Update after a refusal; None = never, or no refusal."""
        return self._hold.ends_at if self._hold else self._delivery.due

    @property
    def _refresh_at(self) -> float | None:
        """When to renew the registration: never while something else is under way."""
        if self.entry is None or self.care_of is None or self._delivery.request is not None:
            return None
        return None if self._hold else self.entry.refresh_at

    @property
    def outstanding(self) -> tuple[SentUpdate, ...]:
        """Binding Updates that may still be acknowledged, the latest last."""
        return self._delivery.outstanding
