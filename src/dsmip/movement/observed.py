"""A link that something else configures (NetworkManager, systemd-networkd, dhcpcd, a person): only listen."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from dsmip.core.types import CareOfAddress, HomeAttachment, Instant, IPAddress
from dsmip.movement.actions import AddressFlags, DhcpLease
from dsmip.movement.link import LinkContext
from dsmip.movement.routers import Router, RouterId
from dsmip.wire import icmpv6


@dataclass(frozen=True, slots=True)
class _Address:
    address: IPAddress
    prefix_length: int
    flags: AddressFlags
    valid_until: float | None


class ObservedLink:
    """An address is usable when the kernel says so and a default route of its family leaves by this link.

    The home link is recognised by router advertisements, which whoever configures the link solicits. The
    network's name has the gateway's address in place of the DHCP server's link-layer address, which is not
    seen.
    """

    def __init__(self, link: LinkContext) -> None:
        self._link = link
        self._up = False
        self._addresses: dict[IPAddress, _Address] = {}
        self._gateways: dict[IPAddress, int] = {}
        self._home: Router | None = None
        self._portal: str | None = None

    def link_up(self, now: Instant) -> None:
        """Addresses the kernel kept are believed: removing them is the other program's part."""
        self._up = True

    def link_down(self, now: Instant) -> None:
        """Nothing is usable; the kernel reports what it takes away."""
        self._up = False
        self._home = self._portal = None

    def router_advertisement(
        self, source: IPv6Address, mac: bytes, message: icmpv6.RouterAdvertisement, now: Instant
    ) -> None:
        """For home link detection (RFC 6275 11.5.2), and for what it says of a captive portal (RFC 8910)."""
        identity = RouterId(source, mac)
        router = self._home if self._home is not None and self._home.id == identity else Router(identity)
        router.hear(message, now.monotonic)
        self._portal = router.portal or self._portal
        if router.advertises_home(self._link.home_prefix, now.monotonic):
            self._home = router
        elif router is self._home:
            self._home = None

    def neighbor_advertisement(self, mac: bytes, message: icmpv6.NeighborAdvertisement, now: Instant) -> None:
        """Nobody was probed."""

    def arp_reply(self, sender: IPv4Address, mac: bytes, now: Instant) -> None:
        """Nobody was probed."""

    def lease_granted(self, lease: DhcpLease, now: Instant) -> None:
        """dsmip does not speak DHCP here."""

    def lease_lost(self, address: IPv4Address, now: Instant) -> None:
        """dsmip does not speak DHCP here."""

    def address_added(
        self,
        address: IPAddress,
        prefix_length: int,
        flags: AddressFlags,
        valid: float | None,
        now: Instant,
    ) -> None:
        """An address and its state."""
        end = None if valid is None else now.monotonic + valid
        self._addresses[address] = _Address(address, prefix_length, flags, end)

    def address_removed(self, address: IPAddress, flags: AddressFlags, now: Instant) -> None:
        """The address is gone."""
        self._addresses.pop(address, None)

    def default_route_added(self, gateway: IPAddress, metric: int, now: Instant) -> None:
        """A default route leaves by this link."""
        self._gateways[gateway] = metric
        if isinstance(gateway, IPv6Address) and self._home is not None and self._home.id.address != gateway:
            self._home = None

    def default_route_removed(self, gateway: IPAddress, metric: int, now: Instant) -> None:
        """It is gone."""
        self._gateways.pop(gateway, None)

    def deadline(self, now: Instant) -> float | None:
        """CLOCK_MONOTONIC seconds at which the home prefix ends, if no advertisement renews it."""
        if self._home is None:
            return None
        return min((prefix.valid_until for prefix in self._home.prefixes.values()), default=None)

    def tick(self, now: Instant) -> None:
        """Time has passed."""
        if self._home is not None and not self._home.advertises_home(self._link.home_prefix, now.monotonic):
            self._home = None

    def care_of(self, now: Instant) -> list[CareOfAddress]:
        """IPv6 before IPv4, preferred before deprecated; none on the home link."""
        if not self._up or self._home is not None:
            return []
        found = []
        for entry in self._addresses.values():
            gateway = self._gateway(type(entry.address))
            if gateway is None or not entry.flags.usable or not self._routable(entry.address):
                continue
            version = entry.address.version
            network = ip_network((entry.address, entry.prefix_length), strict=False)
            care_of = CareOfAddress(
                address=entry.address,
                interface=self._link.name,
                ifindex=self._link.ifindex,
                gateway=gateway,
                network=f"v{version}:{gateway}%{network}",
                preference=self._link.preference,
                mtu=self._link.mtu,
                valid_until=entry.valid_until,
                portal=self._portal,
            )
            found.append((version != 6, AddressFlags.DEPRECATED in entry.flags, care_of))
        return [care_of for _, _, care_of in sorted(found, key=lambda item: item[:2])]

    def home(self, now: Instant) -> HomeAttachment | None:
        """The attachment to the home link, if this is it."""
        router, home = self._home, self._link.home_prefix
        if router is None or not self._up:
            return None
        return HomeAttachment(
            interface=self._link.name,
            ifindex=self._link.ifindex,
            router=router.id.address if router.is_default(now.monotonic) else None,
            ipv4_router=_ipv4(self._gateway(IPv4Address)),
            preference=self._link.preference,
            valid_until=None if home is None else router.valid_until(home, now.monotonic),
            mtu=self._link.mtu,
            link_layer=self._link.mac,
            successor=None if home is None else router.successor(home, now.monotonic),
        )

    def describe(self, now: Instant) -> dict[str, object]:
        """For people."""
        return {
            "routers": [{"address": str(gateway), "metric": m} for gateway, m in self._gateways.items()],
            "addresses": [
                {
                    "address": str(entry.address),
                    "prefix": str(ip_network((entry.address, entry.prefix_length), strict=False)),
                    "usable": entry.flags.usable,
                    "deprecated": AddressFlags.DEPRECATED in entry.flags,
                }
                for entry in self._addresses.values()
            ],
            "lease": None,
        }

    def _gateway(self, family: type[IPAddress]) -> IPAddress | None:
        gateways = [gateway for gateway in self._gateways if isinstance(gateway, family)]
        return min(gateways, key=lambda gateway: self._gateways[gateway], default=None)

    def _routable(self, address: IPAddress) -> bool:
        if address.is_link_local or address.is_loopback or address.is_multicast:
            return False
        home: IPv6Network | None = self._link.home_prefix
        return home is None or not isinstance(address, IPv6Address) or address not in home


def _ipv4(address: IPAddress | None) -> IPv4Address | None:
    return address if isinstance(address, IPv4Address) else None
