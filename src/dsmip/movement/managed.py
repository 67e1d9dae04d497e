"""A link that dsmip configures: both address families together."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from dsmip.core.types import CareOfAddress, HomeAttachment, Instant, IPAddress
from dsmip.movement.actions import AddressFlags, DhcpLease
from dsmip.movement.identifiers import StableIdentifiers
from dsmip.movement.ipv4 import IPv4Link
from dsmip.movement.ipv6 import IPv6Link
from dsmip.movement.link import LinkContext
from dsmip.wire import icmpv6


class ManagedLink:
    """Passes each observation to the family it concerns, and what one learns to the other."""

    def __init__(self, link: LinkContext, identifiers: StableIdentifiers, optimistic: bool) -> None:
        self._link = link
        self._ipv6 = IPv6Link(link, identifiers, optimistic)
        self._ipv4 = IPv4Link(link)
        self._suspicions = 0

    def link_up(self, now: Instant) -> None:
        """Solicit, ask and probe, all at once."""
        self._ipv6.link_up(now)
        self._ipv4.link_up(now)

    def link_down(self, now: Instant) -> None:
        """Nothing is usable."""
        self._ipv4.link_down(now)
        self._ipv6.link_down(now)
        self._settle(now)

    def router_advertisement(
        self, source: IPv6Address, mac: bytes, message: icmpv6.RouterAdvertisement, now: Instant
    ) -> None:
        """A valid Router Advertisement was heard."""
        self._ipv6.router_advertisement(source, mac, message, now)
        self._settle(now)

    def neighbor_advertisement(self, mac: bytes, message: icmpv6.NeighborAdvertisement, now: Instant) -> None:
        """A valid Neighbor Advertisement was received."""
        self._ipv6.neighbor_advertisement(mac, message, now)
        self._settle(now)

    def arp_reply(self, sender: IPv4Address, mac: bytes, now: Instant) -> None:
        """An ARP reply was received."""
        self._ipv4.arp_reply(sender, mac, now)
        self._ipv6.link_carries(now)

    def lease_granted(self, lease: DhcpLease, now: Instant) -> None:
        """DHCP has or has renewed a lease."""
        self._ipv4.lease_granted(lease, now)
        self._ipv6.link_carries(now)

    def lease_lost(self, address: IPv4Address, now: Instant) -> None:
        """DHCP no longer has the lease."""
        self._ipv4.lease_lost(address, now)

    def address_added(
        self,
        address: IPAddress,
        prefix_length: int,
        flags: AddressFlags,
        valid: float | None,
        now: Instant,
    ) -> None:
        """The kernel reports an address: only IPv6 ones have states to follow."""
        if isinstance(address, IPv6Address):
            self._ipv6.address_added(address, flags, now)

    def address_removed(self, address: IPAddress, flags: AddressFlags, now: Instant) -> None:
        """The kernel no longer has an address."""
        if isinstance(address, IPv6Address):
            self._ipv6.address_removed(address, flags, now)
        else:
            self._ipv4.address_removed(address, now)

    def default_route_added(self, gateway: IPAddress, metric: int, now: Instant) -> None:
        """Only dsmip's own default routes count on a link it manages."""

    def default_route_removed(self, gateway: IPAddress, metric: int, now: Instant) -> None:
        """A default route is gone."""
        if metric != self._link.metric:
            return
        if isinstance(gateway, IPv6Address):
            self._ipv6.default_route_removed(gateway, now)
        else:
            self._ipv4.default_route_removed(gateway, now)

    def deadline(self, now: Instant) -> float | None:
        """CLOCK_MONOTONIC seconds of the next thing to do."""
        times = (self._ipv6.deadline(now.monotonic), self._ipv4.deadline(), self._ipv4.lease_end(now))
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: Instant) -> None:
        """Time has passed."""
        self._ipv6.tick(now)
        self._ipv4.tick(now)
        self._settle(now)

    def care_of(self, now: Instant) -> list[CareOfAddress]:
        """IPv6 before IPv4; none on the home link."""
        if self._ipv6.home_router(now)[0]:
            return []
        return [*self._ipv6.care_of(now), *self._ipv4.care_of(now)]

    def home(self, now: Instant) -> HomeAttachment | None:
        """The attachment to the home link, if this is it."""
        here, router = self._ipv6.home_router(now)
        if not here:
            return None
        return HomeAttachment(
            interface=self._link.name,
            ifindex=self._link.ifindex,
            router=router,
            ipv4_router=self._ipv4.router,
            preference=self._link.preference,
            valid_until=self._ipv6.home_until(now),
            mtu=self._link.mtu,
            link_layer=self._link.mac,
            successor=self._ipv6.home_successor(now),
        )

    def describe(self, now: Instant) -> dict[str, object]:
        """For people."""
        return {**self._ipv6.describe(now), "lease": self._ipv4.describe(now)}

    def _settle(self, now: Instant) -> None:
        """What IPv6 found out tells IPv4 whether it is at home and whether to look after its gateway."""
        self._ipv4.set_home(self._ipv6.home_router(now)[0], now)
        if self._ipv6.suspicions != self._suspicions:
            self._suspicions = self._ipv6.suspicions
            self._ipv4.recheck(now)
