"""One of several uplinks: its registration, its supervision, and how fit for use it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Protocol

from dsmip.core.binding_update_list import Carried, SentUpdate
from dsmip.core.mobile_node.arrangement import Candidate, Condition
from dsmip.core.mobile_node.choice import same_place
from dsmip.core.mobile_node.common import Common
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.policy import Policy, UplinkChoice
from dsmip.core.mobile_node.registration import Registration
from dsmip.core.mobile_node.updates import Request
from dsmip.core.path_supervision import Health, PathSupervision
from dsmip.core.types import CareOfAddress, Instant, IPAddress, TunnelFormat
from dsmip.wire.extensions import Extensions
from dsmip.wire.messages import BindingAcknowledgement

#: Seconds after the last packet for which a path counts as in use.
IN_USE = 5.0

#: Seconds before the end of an address at which traffic leaves it: time for a Binding Update and another,
#: yet after the renewal of any lease that is worth having, at half its time (RFC 2131 section 4.4.5).
BEFORE_THE_END = 5.0


class Owner(Protocol):
    """Who looks at all uplinks together."""

    agreed: Extensions

    def carry(self, uplink: Uplink, request: Request, now: Instant) -> Carried:
        """What a Binding Update of this uplink carries."""

    def accepted(
        self, uplink: Uplink, update: SentUpdate, message: BindingAcknowledgement, now: Instant
    ) -> None:
        """The uplink's binding was made, moved or renewed."""

    def no_bulk(self) -> None:
        """The home agent takes no bulk registrations."""

    def home_refused(self, status: int) -> None:
        """The home agent does not want the home link beside others."""

    def not_supported(self, status: int) -> None:
        """The home agent does not know binding identifiers, or does not want ours."""


@dataclass(frozen=True, slots=True)
class UplinkReport:
    """An uplink as `dsmip attachments` shows it. Times are in seconds, `heard` as CLOCK_MONOTONIC."""

    bid: int
    interface: str
    address: IPAddress | None
    network: str
    format: TunnelFormat | None
    state: str
    in_use: bool
    metered: bool
    fallback_only: bool
    preference: int
    priority: int
    delay: float | None
    loss: float
    heard: float | None


class Uplink:
    """The care-of address of one interface. `bid` stays the same whatever address that is.

    `priority` is the BID-PRI that the home agent has, 0 = none known. `leaving`: its end was announced.
    `weak`: its signal announces it. `gone_until`: it has no care-of address any more, but the home agent may
    keep a binding until then. `at_home`: it is, or was at last, on the home link.
    """

    def __init__(
        self, name: str, bid: int, config: MobileNodeConfig, common: Common, policy: Policy, owner: Owner
    ) -> None:
        self.name = name
        self.bid = bid
        self._owner = owner
        self.registration = Registration(config, common, self)
        self.path = PathSupervision(policy.probing)
        self.choice = UplinkChoice()
        self.priority = 0
        self.leaving = False
        self.weak = False
        self.gone_until: float | None = None
        self.overwrites = False
        self.alone_once = False  #: the next update is about this one only
        self.at_home = False
        self.given_up = False  #: the home agent has been silent over it for so long that it may be down
        self.choose_again_at: float | None = None
        self.health = Health.UP  #: as last looked at
        self.repair_at: float | None = None
        self._repaired_at: float | None = None
        self._sent = 0
        self._received = 0
        self._answers = 0
        self._used_at: float | None = None
        self._place: CareOfAddress | None = None

    # As its registration sees it (OneOfSeveral) -----------------------------------------------------------

    @property
    def is_reflected(self) -> bool:
        """See `OneOfSeveral`."""
        return bool(self._owner.agreed & Extensions.PROBES)

    def carry(self, request: Request, now: Instant) -> Carried:
        """See `OneOfSeveral`."""
        carried = self._owner.carry(self, request, now)
        self.overwrites = self.alone_once = False
        return carried

    def accepted(self, update: SentUpdate, message: BindingAcknowledgement, now: Instant) -> None:
        """See `OneOfSeveral`."""
        self._owner.accepted(self, update, message, now)

    def overwrite(self) -> None:
        """See `OneOfSeveral`."""
        self.overwrites = True

    def alone(self, *, always: bool) -> None:
        """See `OneOfSeveral`."""
        self.alone_once = True
        if always:
            self._owner.no_bulk()

    def home_refused(self, status: int) -> None:
        """See `OneOfSeveral`."""
        self._owner.home_refused(status)

    def not_supported(self, status: int) -> None:
        """See `OneOfSeveral`."""
        self._owner.not_supported(status)

    # Fit for use ------------------------------------------------------------------------------------------

    def condition(self, now: Instant) -> Condition:
        """How fit for use the path is, provided that it is registered."""
        if self.path.health is Health.SILENT:
            return Condition.SILENT
        if self.leaving or self.weak or self._ends_soon(now.monotonic):
            return Condition.LEAVING
        return Condition.PROBATION if self.path.health is Health.PROBATION else Condition.GOOD

    def candidate(self, now: Instant) -> Candidate:
        """For the order of paths."""
        return Candidate(self.bid, self.name, self.condition(now), self.choice, self.at_home)

    def _ends_soon(self, now: float) -> bool:
        end = self.leaves_at
        return end is not None and end <= now

    @property
    def leaves_at(self) -> float | None:
        """When traffic leaves the address because it comes to its end; None = not foreseeable."""
        care_of = self.registration.care_of
        if care_of is None or care_of.valid_until is None:
            return None
        return care_of.valid_until - BEFORE_THE_END

    @property
    def timeout(self) -> float | None:
        """When something is to be done, in CLOCK_MONOTONIC seconds."""
        times = [self.registration.timeout, self.path.timeout, self.repair_at, self.choose_again_at]
        times.append(self.gone_until)
        return min((time for time in times if time is not None), default=None)

    def bound(self, priority: Sequence[int], now: Instant) -> None:
        """The home agent acknowledged the binding, with this BID-PRI."""
        self.priority = priority[0] if priority else 0
        self.gone_until = None
        self.given_up = False
        entry = self.registration.entry
        if entry is None:
            return
        if self._place is None or not same_place(self._place, entry.care_of):
            self._place = entry.care_of
            self.path.restart(entry.round_trip, now.monotonic)
            if entry.care_of.at_home:
                self.path.stop()  # nothing reflects probes there
        elif not entry.care_of.at_home:
            self.path.start(entry.round_trip, now.monotonic)
            self.path.alive(now.monotonic)

    def detach(self, lifetime: float, now: float) -> None:
        """The interface has no care-of address any more.

        An update without an answer may have been heard: then there is a binding of `lifetime` seconds.
        """
        registration = self.registration
        pending = bool(registration.outstanding)
        self.leaving = False  # what was announced has come
        registration.detach()
        self.path.stop()
        self.repair_at = None
        if registration.entry is not None:
            self.gone_until = registration.entry.expires
        elif pending:
            self.gone_until = now + lifetime

    @property
    def is_over_ipv6(self) -> bool:
        """True when it has an IPv6 care-of address."""
        care_of = self.registration.care_of
        return care_of is not None and isinstance(care_of.address, IPv6Address)

    @property
    def is_bound(self) -> bool:
        """True when the home agent acknowledged the binding and has not been told otherwise."""
        return self.registration.entry is not None

    @property
    def is_forgotten(self) -> bool:
        """True when there is no care-of address and the home agent has no binding."""
        return self.registration.care_of is None and not self.is_bound and self.gone_until is None

    def forget(self) -> None:
        """The home agent has no such binding (any more)."""
        self.registration.entry = None
        self.priority = 0
        self.gone_until = None
        self._place = None

    # Use --------------------------------------------------------------------------------------------------

    def count(self, sent: int, received: int, now: float) -> None:
        """Packets so far over this path. Probes that came back are no traffic."""
        answers = self.path.answers
        if sent > self._sent or received - self._received > answers - self._answers:
            self._used_at = now
        self._sent, self._received, self._answers = sent, received, answers
        self.refresh_use(now)

    def expect_use(self, now: float) -> None:
        """Traffic is about to come here."""
        self._used_at = now
        self.refresh_use(now)

    @property
    def in_use(self) -> bool:
        """True when traffic was seen not long ago."""
        return self.path.in_use

    def refresh_use(self, now: float) -> None:
        """Probe as often as the traffic wants it."""
        in_use = self._used_at is not None and now - self._used_at < IN_USE
        self.path.use(in_use=in_use, metered=self.choice.metered, now=now)

    # Repair -----------------------------------------------------------------------------------------------

    def plan_repair(self, now: float) -> None:
        """The path fell silent. Registering it anew may mend it: a NAT may have forgotten us, or the home
        agent the binding. As often as the hold-down allows."""
        earliest = now if self._repaired_at is None else self._repaired_at + self.path.hold_down
        self.repair_at = max(now, earliest)

    def repair(self, now: Instant) -> None:
        """Register anew if that is due."""
        if self.repair_at is None or self.repair_at > now.monotonic:
            return
        self.repair_at = None
        if self.path.health is Health.SILENT:
            self._repaired_at = now.monotonic
            self.registration.doubt_ip_in_ip(now)
            self.registration.register(now)

    def report(self, now: Instant) -> UplinkReport:
        """For whoever wants to look."""
        registration, path = self.registration, self.path
        care_of, tunnel = registration.care_of, registration.tunnel.path
        if care_of is None:
            state = "gone"
        elif not registration.works(now):
            state = "refused" if registration.is_refused else "registering"
        elif self.condition(now) is Condition.LEAVING:
            state = "leaving"
        else:
            state = path.health.value
        return UplinkReport(
            bid=self.bid,
            interface=self.name,
            address=care_of.address if care_of is not None else None,
            network=care_of.network if care_of is not None else "",
            format=tunnel.format if tunnel is not None else None,
            state=state,
            in_use=self.in_use,
            metered=self.choice.metered,
            fallback_only=self.choice.fallback_only,
            preference=self.choice.preference,
            priority=self.priority,
            delay=path.delay if path.heard_at is not None else None,
            loss=path.loss,
            heard=path.heard_at,
        )
