"""Where am I attached: the engine over all interfaces.

Observations in, typed actions out, time as an argument (the convention of `dsmip.core`). After each call
drain `actions()` and arm one timer from `timeout()`. `AttachmentsChanged` comes after the actions that make
the new addresses usable, whenever the usable set has changed, and waits for nothing: whichever family or
interface is confirmed first is published first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from dsmip.core.actions import Event
from dsmip.core.types import Attachments, CareOfAddress, Instant, IPAddress
from dsmip.movement.actions import AddressFlags, AttachmentsChanged, DhcpLease, MovementAction
from dsmip.movement.identifiers import StableIdentifiers
from dsmip.movement.link import LinkContext, format_mac
from dsmip.movement.managed import ManagedLink
from dsmip.movement.networks import KnownNetworks
from dsmip.movement.observed import ObservedLink
from dsmip.wire import icmpv6

#: Route metric of the interface with preference 0 that is configured first.
METRIC_BASE = 1024

#: Interfaces of equal preference get metrics of their own below this distance: two IPv6 routes of the same
#: metric are one multipath route to the kernel.
METRIC_STEP = 64


@dataclass(frozen=True, slots=True)
class InterfaceConfig:
    """One interface to watch. `manage`: dsmip configures it; otherwise it only looks. Lower preference is
    better."""

    name: str
    manage: bool = True
    preference: int = 100


class _Interface:
    def __init__(
        self, link: LinkContext, half: ManagedLink | ObservedLink, *, managed: bool, position: int
    ) -> None:
        self.link = link
        self.half = half
        self.managed = managed
        self.position = position
        self.up = False
        self.since = 0.0


class MovementEngine:
    """Sans-IO. Observations of interfaces that are not configured are ignored.

    `identifiers` form addresses, `memory` holds the networks known from before. `optimistic`: the kernel does
    optimistic duplicate address detection, so an address is usable while it is checked (RFC 4429).
    """

    def __init__(
        self,
        interfaces: Sequence[InterfaceConfig],
        home_prefix: IPv6Network | None,
        identifiers: StableIdentifiers,
        memory: KnownNetworks | None = None,
        *,
        optimistic: bool = True,
    ) -> None:
        self._actions: list[MovementAction] = []
        self._published = Attachments()
        self._deadline: float | None = None
        self._interfaces: dict[str, _Interface] = {}
        self._home_prefix = home_prefix
        self._identifiers = identifiers
        self._memory = KnownNetworks() if memory is None else memory
        self._optimistic = optimistic
        for config in interfaces:
            self._add(config)

    def _add(self, config: InterfaceConfig) -> None:
        taken = {entry.position for entry in self._interfaces.values()}
        position = next(number for number in range(len(taken) + 1) if number not in taken)
        link = LinkContext(
            name=config.name,
            metric=_metric(config.preference, position),
            preference=config.preference,
            home_prefix=self._home_prefix,
            memory=self._memory,
            emit=self._actions.append,
        )
        half = ManagedLink(link, self._identifiers, self._optimistic) if config.manage else ObservedLink(link)
        self._interfaces[config.name] = _Interface(link, half, managed=config.manage, position=position)

    def use_interfaces(self, interfaces: Sequence[InterfaceConfig], now: Instant) -> None:
        """Watch these instead. Those that stay go on as they are; a new preference is for what is chosen from
        now on, and for the metric of routes from the next attachment."""
        wanted = {config.name: config for config in interfaces}
        for name, entry in [*self._interfaces.items()]:
            config = wanted.get(name)
            if config is None or config.manage != entry.managed:
                self.link_down(name, now)
                del self._interfaces[name]
            else:
                entry.link.preference = config.preference
        for name, config in wanted.items():
            if name not in self._interfaces:
                self._add(config)
        self._publish(now)

    def use_home_prefix(self, home_prefix: IPv6Network) -> None:
        """The home link is told by this prefix from the next observation on."""
        self._home_prefix = home_prefix
        for entry in self._interfaces.values():
            entry.link.home_prefix = home_prefix

    # Observations ------------------------------------------------------------------------------------------

    def link_up(self, interface: str, ifindex: int, mac: bytes, now: Instant, mtu: int = 1500) -> None:
        """The interface can carry packets now. Already up: it was down for a moment that nobody saw."""
        entry = self._interfaces.get(interface)
        if entry is None:
            return
        if entry.up:
            self.link_down(interface, now)
        entry.up, entry.since = True, now.unix
        entry.link.ifindex, entry.link.mac, entry.link.mtu = ifindex, mac, mtu
        entry.link.metric = _metric(entry.link.preference, entry.position)
        entry.link.event("link-up", ifindex=ifindex, mac=format_mac(mac))
        entry.half.link_up(now)
        self._publish(now)

    def link_mtu(self, interface: str, mtu: int, now: Instant) -> None:
        """The MTU of the interface is another one now, octets."""
        entry = self._live(interface)
        if entry is not None:
            entry.link.mtu = mtu
            self._publish(now)

    def link_down(self, interface: str, now: Instant) -> None:
        """The interface carries no packets any more, or is gone."""
        entry = self._interfaces.get(interface)
        if entry is None or not entry.up:
            return
        entry.up, entry.since = False, now.unix
        entry.link.event("link-down")
        entry.half.link_down(now)
        self._publish(now)

    def router_advertisement(
        self,
        interface: str,
        source: IPv6Address,
        mac: bytes,
        message: icmpv6.RouterAdvertisement,
        now: Instant,
    ) -> None:
        """A Router Advertisement that passed RFC 4861 6.1.2; `mac` is the frame's link-layer source."""
        entry = self._live(interface)
        if entry is not None:
            entry.half.router_advertisement(source, mac, message, now)
            self._publish(now)

    def neighbor_advertisement(
        self, interface: str, mac: bytes, message: icmpv6.NeighborAdvertisement, now: Instant
    ) -> None:
        """A Neighbor Advertisement that passed RFC 4861 7.1.2; `mac` is the frame's link-layer source."""
        entry = self._live(interface)
        if entry is not None:
            entry.half.neighbor_advertisement(mac, message, now)
            self._publish(now)

    def arp_reply(self, interface: str, sender: IPv4Address, mac: bytes, now: Instant) -> None:
        """An ARP reply: sender protocol address and sender hardware address."""
        entry = self._live(interface)
        if entry is not None:
            entry.half.arp_reply(sender, mac, now)
            self._publish(now)

    def lease_granted(self, interface: str, lease: DhcpLease, now: Instant) -> None:
        """A DHCP server granted or renewed a lease."""
        entry = self._live(interface)
        if entry is not None:
            entry.link.event(
                "lease",
                address=f"{lease.address}/{lease.prefix_length}",
                gateway=str(lease.gateway or ""),
                server=str(lease.server or ""),
                lifetime=-1.0 if lease.lifetime is None else lease.lifetime,
            )
            entry.half.lease_granted(lease, now)
            self._publish(now)

    def lease_lost(self, interface: str, address: IPv4Address, now: Instant) -> None:
        """A DHCP server refused the lease, or it ended."""
        entry = self._interfaces.get(interface)
        if entry is not None:
            entry.link.event("lease-lost", address=str(address))
            entry.half.lease_lost(address, now)
            self._publish(now)

    def address_added(
        self,
        interface: str,
        address: IPAddress,
        prefix_length: int,
        flags: AddressFlags,
        now: Instant,
        valid: float | None = None,
    ) -> None:
        """The kernel has this address, in this state. `valid`: seconds left, None = no end."""
        entry = self._interfaces.get(interface)
        if entry is not None:
            entry.half.address_added(address, prefix_length, flags, valid, now)
            self._publish(now)

    def address_removed(self, interface: str, address: IPAddress, flags: AddressFlags, now: Instant) -> None:
        """The kernel has this address no longer; `flags` as it had it last."""
        entry = self._interfaces.get(interface)
        if entry is not None:
            entry.half.address_removed(address, flags, now)
            self._publish(now)

    def default_route_added(self, interface: str, gateway: IPAddress, metric: int, now: Instant) -> None:
        """The kernel has a default route by this gateway."""
        entry = self._interfaces.get(interface)
        if entry is not None:
            entry.half.default_route_added(gateway, metric, now)
            self._publish(now)

    def default_route_removed(self, interface: str, gateway: IPAddress, metric: int, now: Instant) -> None:
        """The kernel has the default route no longer."""
        entry = self._interfaces.get(interface)
        if entry is not None:
            entry.half.default_route_removed(gateway, metric, now)
            self._publish(now)

    # Time and results --------------------------------------------------------------------------------------

    def tick(self, now: Instant) -> None:
        """Time has passed."""
        for entry in self._interfaces.values():
            if entry.up:
                entry.half.tick(now)
        self._publish(now)

    def timeout(self) -> float | None:
        """CLOCK_MONOTONIC seconds at which `tick` is due; None = nothing to wait for."""
        return self._deadline

    def actions(self) -> list[MovementAction]:
        """What has to be done, in order; the queue is empty afterwards."""
        actions = self._actions.copy()
        self._actions.clear()
        return actions

    @property
    def attachments(self) -> Attachments:
        """What was published last."""
        return self._published

    def snapshot(self, now: Instant) -> dict[str, object]:
        """Everything known, for people and for JSON."""
        return {
            "home": None if self._published.home is None else self._published.home.interface,
            "care_of": [describe(care_of, now) for care_of in self._published.care_of],
            "interfaces": {
                name: {
                    "state": "up" if entry.up else "down",
                    "since": entry.since,
                    "managed": entry.managed,
                    "preference": entry.link.preference,
                    "ifindex": entry.link.ifindex,
                    **entry.half.describe(now),
                }
                for name, entry in self._interfaces.items()
            },
        }

    # -------------------------------------------------------------------------------------------------------

    def _live(self, interface: str) -> _Interface | None:
        entry = self._interfaces.get(interface)
        return entry if entry is not None and entry.up else None

    def _publish(self, now: Instant) -> None:
        """Tell what is usable, if that has changed, and note when to look again."""
        care_of: list[CareOfAddress] = []
        homes = []
        deadlines = []
        for entry in self._interfaces.values():
            if not entry.up:
                continue
            care_of += entry.half.care_of(now)
            homes.append(entry.half.home(now))
            deadlines.append(entry.half.deadline(now))
        self._deadline = min((deadline for deadline in deadlines if deadline is not None), default=None)
        care_of.sort(key=lambda address: address.preference)
        home = min((h for h in homes if h is not None), key=lambda h: h.preference, default=None)
        attachments = Attachments(home, tuple(care_of))
        if _differ(attachments, self._published, now):
            self._announce(attachments)
            self._published = attachments
            self._actions.append(AttachmentsChanged(attachments))

    def _announce(self, attachments: Attachments) -> None:
        before = {address.address for address in self._published.care_of}
        for address in attachments.care_of:
            if address.address not in before:
                self._actions.append(
                    Event(
                        "address-usable",
                        {
                            "interface": address.interface,
                            "address": str(address.address),
                            "network": address.network,
                        },
                    )
                )
        after = {address.address for address in attachments.care_of}
        for address in self._published.care_of:
            if address.address not in after:
                fields = {"interface": address.interface, "address": str(address.address)}
                self._actions.append(Event("address-gone", {**fields}))
        home = attachments.home
        if home is not None and self._published.home is None:
            self._actions.append(
                Event("home-link", {"interface": home.interface, "router": str(home.router)})
            )


def _metric(preference: int, position: int) -> int:
    return METRIC_BASE + METRIC_STEP * preference + position


def _differ(new: Attachments, old: Attachments, now: Instant) -> bool:
    """Whether the change is worth telling: a lifetime alone is when it got shorter, or is half over."""
    if new.home != old.home or len(new.care_of) != len(old.care_of):
        return True
    if new.home is not None and old.home is not None:
        homes = (new.home.valid_until, old.home.valid_until)
        if _lifetime_differs(*homes, now.monotonic):
            return True
    for fresh, known in zip(new.care_of, old.care_of, strict=True):
        if replace(fresh, valid_until=None) != replace(known, valid_until=None):
            return True
        if _lifetime_differs(fresh.valid_until, known.valid_until, now.monotonic):
            return True
    return False


def _lifetime_differs(fresh: float | None, known: float | None, now: float) -> bool:
    if fresh is None or known is None:
        return fresh != known
    left, told = fresh - now, known - now
    return left < told - 1.0 or told < left / 2


def describe(care_of: CareOfAddress, now: Instant) -> dict[str, object]:
    """A care-of address for people and for JSON."""
    end = care_of.valid_until
    return {
        "address": str(care_of.address),
        "interface": care_of.interface,
        "gateway": None if care_of.gateway is None else str(care_of.gateway),
        "network": care_of.network,
        "preference": care_of.preference,
        "mtu": care_of.mtu,
        "portal": care_of.portal,
        "valid": None if end is None else round(end - now.monotonic, 1),
    }
