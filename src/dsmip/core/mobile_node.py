"""The mobile node and mobile router engine (RFC 6275 section 11, RFC 3963 section 5, RFC 5555 section 4.4).

Time, attachments and packets go in; actions come out. This room decides *where* to be registered: at home, at
the best care-of address, nowhere. `mobile_node_registration` does it, with the help of the rooms beside it:
`_choice` ranks care-of addresses, `_delivery` numbers and repeats Binding Updates, `_updates` builds them,
`_receive` and `_acknowledgement` check what comes back, `_refusals` interprets refusals, `_encapsulation`
finds the tunnel format of IPv4 networks, `_ipv4` asks for IPv4 home addresses, `_tunnel` tells the data
plane, `_home` knows the home link.
"""

from __future__ import annotations

import enum
import random
from ipaddress import IPv6Address

from dsmip.core import mobile_node_events as events
from dsmip.core.actions import Action, Drop
from dsmip.core.binding_update_list import BindingUpdateListEntry
from dsmip.core.mobile_node_choice import Chooser, same_place
from dsmip.core.mobile_node_config import MobileNodeConfig
from dsmip.core.mobile_node_home import HomeLink, HomePhase
from dsmip.core.mobile_node_receive import Intake, Opened
from dsmip.core.mobile_node_registration import Registration
from dsmip.core.network_memory import NetworkMemory
from dsmip.core.types import Attachments, CareOfAddress, HomeAttachment, Instant, IPv4Grant, Nat, TunnelFormat
from dsmip.wire.constants import BEStatus
from dsmip.wire.messages import BindingAcknowledgement, BindingError, BindingRefreshRequest

__all__ = ["MobileNode", "MobileNodeConfig", "MobileNodeState"]


class MobileNodeState(enum.Enum):
    """Where a mobile node stands; the value is what `status` shows."""

    AT_HOME = "at home"
    REGISTERING = "registering"
    REGISTERED = "registered"
    RETURNING_HOME = "returning home"
    DETACHED = "detached"


class MobileNode:
    """One mobile node or mobile router.

    After each call the caller drains `actions()` and re-arms one timer from `timeout()`. `memory` may be kept
    by the caller. Whatever arrives, no method raises.
    """

    def __init__(
        self,
        config: MobileNodeConfig,
        now: Instant,
        rng: random.Random,
        memory: NetworkMemory | None = None,
    ) -> None:
        self.config = config
        self.started_at = now
        self._actions: list[Action] = []
        self._attachments = Attachments()
        self._memory = memory if memory is not None else NetworkMemory()
        self._chooser = Chooser(self._memory, ipv4=config.home_agent_ipv4 is not None)
        self._choose_again_at: float | None = None
        self._intake = Intake(config)
        self._registration = Registration(config, self._memory, rng, self._emit)
        self._home = HomeLink(self._emit)

    # What goes in -----------------------------------------------------------------------------------------

    def attachments_changed(self, attachments: Attachments, now: Instant) -> None:
        """The movement layer sees other attachments, or the same with other lifetimes or routers."""
        self._attachments = attachments
        self._registration.attached = attachments.care_of
        self._reconsider(now)

    def receive(self, data: bytes, now: Instant) -> None:
        """A signalling packet arrived, with all its outer headers."""
        addresses = [care_of.address for care_of in self._attachments.care_of]
        care_of = [address for address in addresses if isinstance(address, IPv6Address)]
        opened = self._intake.open(data, care_of, now)
        if not isinstance(opened, Opened):
            self._actions += opened
            return
        message = opened.message
        if isinstance(message, BindingAcknowledgement):
            if self._registration.acknowledgement(opened.packet, message, now):
                self._settle(acknowledged=True)
        elif isinstance(message, BindingError):
            self._binding_error(message, now)
        elif isinstance(message, BindingRefreshRequest):
            self._registration.register_on_request("binding-refresh-request", now)
        else:
            self._emit(Drop("unexpected-message", f"{type(message).__name__} from {opened.packet.source}"))

    def echo_reply(self, identifier: int, sequence: int, now: Instant) -> None:
        """The home agent answered an ICMPv6 Echo Request from the home address."""
        self._registration.echo_reply(identifier, sequence, now)

    def tick(self, now: Instant) -> None:
        """Do what is due. May be called at any time."""
        silent = self._registration.care_of
        if silent is not None and self._registration.is_silent(now):
            candidates = self._attachments.care_of
            if self._chooser.has_alternative(candidates, silent, now.monotonic):
                self._registration.give_up(silent, now)
                self._reconsider(now)
        self._registration.tick(now)
        if self._home.settle_at is not None and self._home.settle_at <= now.monotonic:
            self._settle(acknowledged=False)
        if self._choose_again_at is not None and self._choose_again_at <= now.monotonic:
            self._reconsider(now)

    # What comes out ---------------------------------------------------------------------------------------

    def timeout(self) -> float | None:
        """When `tick` wants to be called, in CLOCK_MONOTONIC seconds; None = not until something happens."""
        times = (self._registration.timeout, self._home.settle_at, self._choose_again_at)
        return min((time for time in times if time is not None), default=None)

    def actions(self) -> list[Action]:
        """What to do, in order; the queue is empty afterwards."""
        actions, self._actions = self._actions, []
        return actions

    # What can be seen -------------------------------------------------------------------------------------

    def state(self, now: Instant) -> MobileNodeState:
        """Where the mobile node stands."""
        if self._home.phase is HomePhase.SETTLED:
            return MobileNodeState.AT_HOME
        if self._home.phase is HomePhase.RETURNING:
            return MobileNodeState.RETURNING_HOME
        if self.care_of is None:
            return MobileNodeState.DETACHED
        registered = self._registration.is_registered(now)
        return MobileNodeState.REGISTERED if registered else MobileNodeState.REGISTERING

    @property
    def care_of(self) -> CareOfAddress | None:
        """The care-of address registered or being registered; None at home and when detached."""
        return self._registration.care_of

    @property
    def entry(self) -> BindingUpdateListEntry | None:
        """The last registration acknowledged, with its round-trip time, as far as it may still exist."""
        return self._registration.entry

    @property
    def format(self) -> TunnelFormat | None:
        """How traffic is tunnelled now; LINK on the home link, None when it goes nowhere."""
        if self._home.phase is HomePhase.SETTLED:
            return TunnelFormat.LINK
        path = self._registration.tunnel.path
        return path.format if path is not None else None

    @property
    def nat(self) -> Nat:
        """What the last acknowledgement said about a NAT."""
        return self.entry.nat if self.entry is not None else Nat.UNKNOWN

    @property
    def round_trip(self) -> float | None:
        """Seconds from the last acknowledged Binding Update to its acknowledgement."""
        return self.entry.round_trip if self.entry is not None else None

    @property
    def last_status(self) -> int | None:
        """Status of the last Binding Acknowledgement believed."""
        return self._registration.last_status

    @property
    def ipv4_grants(self) -> tuple[IPv4Grant, ...]:
        """The IPv4 home address and prefixes the home agent granted."""
        return self._registration.wishes.grants

    @property
    def ipv4_refusals(self) -> tuple[int, ...]:
        """Statuses of IPv4 home addresses and prefixes refused last (RFC 5555 section 3.2.1)."""
        return self._registration.wishes.refusals

    def lifetime_left(self, now: Instant) -> float:
        """Seconds the home agent goes on keeping the binding; 0 without one."""
        return self.entry.remaining(now.monotonic) if self.entry is not None else 0.0

    # Where to be registered -------------------------------------------------------------------------------

    def _reconsider(self, now: Instant) -> None:
        """Home first, otherwise the best care-of address there is."""
        self._choose_again_at = None
        if self._attachments.home is not None:
            self._at_home_link(self._attachments.home, now)
            return
        if self._home.phase is not HomePhase.AWAY:
            self._leave_home()
        candidates, current = self._attachments.care_of, self._registration.care_of
        choice = self._chooser.choose(candidates, current, now.monotonic)
        if choice is None:
            self._registration.detach()
        elif current is not None and same_place(current, choice):
            self._registration.stay(choice, now)
        else:
            self._registration.move(choice, now)
        self._choose_again_at = self._chooser.next_change(candidates, choice, now.monotonic)

    def _at_home_link(self, home: HomeAttachment, now: Instant) -> None:
        """The home link is there: return home (RFC 6275 section 11.5.5), or stay."""
        if self._home.is_elsewhere(home):
            self._leave_home()
        if self._home.phase is HomePhase.AWAY:
            bound_until = self.entry.expires if self.entry and self._registration.is_bound(now) else None
            self._home.come(home, bound_until, now.monotonic)
            self._registration.return_home(home, now)
            self._emit(events.home(home, "returning"))
        else:
            self._home.update(home)
        tunnel = self._registration.tunnel
        if self._home.phase is HomePhase.RETURNING and not tunnel.works(self._attachments.care_of):
            tunnel.remove("returning home")

    def _settle(self, *, acknowledged: bool) -> None:
        """No binding stands in the way any more: be an ordinary host or router on the home link.

        Without an acknowledgement the home agent goes on being told: it may hear it one day.
        """
        attachment = self._home.settle()
        self._registration.settle()
        if attachment is not None:
            self._emit(events.home(attachment, "settled" if acknowledged else "settled unacknowledged"))

    def _leave_home(self) -> None:
        self._registration.leave_home()
        attachment = self._home.leave()
        if attachment is not None:
            self._emit(events.home(attachment, "left"))

    # Other messages ---------------------------------------------------------------------------------------

    def _binding_error(self, message: BindingError, now: Instant) -> None:
        """RFC 6275 section 11.3.6: status 1 from the home agent calls for a Binding Update."""
        if message.status == BEStatus.UNKNOWN_BINDING:
            self._registration.register_on_request("binding-error", now)
        else:
            self._emit(Drop("binding-error", f"status {message.status}"))

    def _emit(self, action: Action) -> None:
        self._actions.append(action)
