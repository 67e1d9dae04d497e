"""A mobile node or mobile router from outside: where it stands, over what, with which result."""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv6Address

from dsmip.core.binding_update_list import BindingUpdateListEntry
from dsmip.core.mobile_node.common import Common
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.home import HomeLink, HomePhase
from dsmip.core.mobile_node.multihoming import Multihoming
from dsmip.core.mobile_node.registration import Registration
from dsmip.core.mobile_node.renumbering import Renumbering
from dsmip.core.mobile_node.tunnel import Tunnel
from dsmip.core.standing import Standing, standing_at_mobile_node
from dsmip.core.types import Attachments, CareOfAddress, Instant, IPv4Grant, Nat, TunnelFormat


class MobileNodeState(enum.Enum):
    """Where a mobile node stands; the value is what `status` shows."""

    AT_HOME = "at home"
    REGISTERING = "registering"
    REFUSED = "refused"  #: and asked for no more than now and then
    STOPPED = "stopped"  #: the home address is not to be used any more: nothing is asked for
    REGISTERED = "registered"
    RETURNING_HOME = "returning home"
    DETACHED = "detached"


class MobileNodeView:
    """What can be asked at any time and changes nothing. Base of `mobile_node.MobileNode`."""

    config: MobileNodeConfig
    _attachments: Attachments
    _common: Common
    _home: HomeLink
    _registration: Registration
    _renumbering: Renumbering
    _several: Multihoming | None

    def standing(self, packet: bytes) -> tuple[Standing, bytes]:
        """Whose signalling this seems to be, at a glance: see `standing`."""
        return standing_at_mobile_node(packet, self.config.home_agent, self.config.home_agent_ipv4), b""

    def state(self, now: Instant) -> MobileNodeState:
        """Where the mobile node stands."""
        if self._home.phase is HomePhase.SETTLED:
            return MobileNodeState.AT_HOME
        if self._home.phase is HomePhase.RETURNING:
            return MobileNodeState.RETURNING_HOME
        if self.care_of is None:
            return MobileNodeState.DETACHED
        if self._current.is_registered(now):
            return MobileNodeState.REGISTERED
        if self.is_stopped:
            return MobileNodeState.STOPPED
        return MobileNodeState.REFUSED if self._current.is_refused else MobileNodeState.REGISTERING

    @property
    def is_stopped(self) -> bool:
        """Whether all Binding Updates have ended, until a new start or the home link: after status 134, or at
        the end of the home prefix."""
        registrations = self._active.registrations if self._active is not None else [self._registration]
        return any(registration.is_stopped for registration in registrations)

    def asks_again_in(self, now: Instant) -> float | None:
        """Seconds until a home agent that refused is asked again; None = never, or it has not refused."""
        at = self._current.asks_again_at if self._current.is_refused else None
        return max(at - now.monotonic, 0.0) if at is not None else None

    @property
    def care_of(self) -> CareOfAddress | None:
        """The care-of address registered or being registered; None at home and when detached."""
        return self._current.care_of

    @property
    def entry(self) -> BindingUpdateListEntry | None:
        """The last registration acknowledged, with its round-trip time, as far as it may still exist."""
        return self._current.entry

    @property
    def format(self) -> TunnelFormat | None:
        """How traffic is tunnelled now; LINK on the home link, None when it goes nowhere."""
        if self._home.phase is HomePhase.SETTLED:
            return TunnelFormat.LINK
        path = self._current.tunnel.path
        return path.format if path is not None else None

    @property
    def mtu(self) -> int | None:
        """Octets of the largest inner packet that the path in use takes; None without a path, or unknown."""
        path = self._current.tunnel.path
        return path.mtu or None if path is not None else None

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
        return self._current.last_status

    @property
    def clock_offset(self) -> float:
        """Seconds by which the home agent's clock is ahead of ours, as far as it told us."""
        return self._common.counters.clock_offset

    @property
    def ipv4_grants(self) -> tuple[IPv4Grant, ...]:
        """The IPv4 home address and prefixes the home agent granted."""
        return self._common.wishes.grants

    @property
    def ipv4_refusals(self) -> tuple[int, ...]:
        """Statuses of IPv4 home addresses and prefixes refused last (RFC 5555 section 3.2.1)."""
        return self._common.wishes.refusals

    @property
    def former_home_address(self) -> IPv6Address | None:
        """The home address before a renumbering, as long as it is valid."""
        former = self._renumbering.former
        return former.address if former is not None else None

    @property
    def former_valid_until(self) -> float | None:
        """When that one ends, in CLOCK_MONOTONIC seconds; None = never, or there is none."""
        former = self._renumbering.former
        return former.valid_until if former is not None else None

    def lifetime_left(self, now: Instant) -> float:
        """Seconds the home agent goes on keeping the binding; 0 without one."""
        return self.entry.remaining(now.monotonic) if self.entry is not None else 0.0

    def is_cut_off(self, care_of: CareOfAddress, now: Instant) -> bool:
        """Whether the home agent works, but not from there: see `network_silence`."""
        return self._common.memory.is_cut_off(care_of, now.monotonic)

    @property
    def multihoming(self) -> Multihoming | None:
        """Several uplinks, None when only one is to be registered. Look whether it is `supported`."""
        return self._several

    def _interfaces(self) -> dict[IPv6Address, str]:
        """Our IPv6 care-of addresses and the interfaces they are on."""
        return {
            care_of.address: care_of.interface
            for care_of in self._attachments.care_of
            if isinstance(care_of.address, IPv6Address)
        }

    def _tunnels(self) -> list[Tunnel]:
        """Those in use."""
        return [self._registration.tunnel] if self._active is None else self._active.tunnels

    def _bound_until(self, now: Instant) -> float | None:
        """When the last binding ends that the home agent may keep; None = none is known."""
        if self._active is not None:
            return self._active.bound_until(now)
        return self.entry.expires if self.entry and self._registration.is_bound(now) else None

    def _may_ask_about_prefix(self) -> bool:
        return self._home.abroad and self.entry is not None

    def _expects_in_tunnel(self, source: IPv6Address, destination: IPv6Address, now: Instant) -> bool:
        """Whether an advertisement between these addresses is what comes to IPv4 networks."""
        expected = (self.config.home_agent, self.config.home_address)
        care_of = self._care_of_for_questions(now)
        in_ipv4 = care_of is not None and isinstance(care_of.address, IPv4Address)
        return (source, destination) == expected and in_ipv4 and self.config.authentication != "ipsec"

    def _care_of_for_questions(self, now: Instant) -> CareOfAddress | None:
        return self.care_of if self._active is None else self._active.care_of_for_questions(now)

    @property
    def _active(self) -> Multihoming | None:
        """Several uplinks, as long as the home agent has not shown that it knows one binding only."""
        return self._several if self._several is not None and self._several.supported else None

    @property
    def _current(self) -> Registration:
        """The registration that traffic uses, or the only one."""
        primary = self._active.primary if self._active is not None else None
        return primary if primary is not None else self._registration
