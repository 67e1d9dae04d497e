"""The IPv4 half of a link that dsmip configures: DHCPv4 and the confirmation of known networks (RFC 4436).

At an attachment DHCP starts in the INIT state while every known gateway is probed; a gateway that answers
makes its lease usable at once, and DHCP starts again with INIT-REBOOT to have the lease confirmed by its
server. RFC 4436 section 2.2 suggests INIT-REBOOT from the beginning, but a node that moves has many networks
to come from, and a server that does not know the lease may keep silent: INIT-REBOOT then costs its timeout.

Conflict detection is left to the server (RFC 2131 section 2.2: a SHOULD for both): a second of waiting for an
ARP answer that should not come is more than the handover takes.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import NamedTuple

from dsmip.core.types import CareOfAddress, Instant
from dsmip.movement.actions import (
    AddAddress,
    DhcpLease,
    NetworksChanged,
    ProbeGateway,
    RemoveAddress,
    RemoveDefaultRoute,
    SetDefaultRoute,
    StartDhcp,
    StopDhcp,
)
from dsmip.movement.link import DNA_INTERVAL, LinkContext, Probes, format_mac
from dsmip.movement.networks import KnownGateway

#: A lease known to come from the home link is not offered as a care-of address for so long after link-up, s:
#: the home router's advertisement, which decides, is on its way.
HOME_WAIT = 1.0


class _Target(NamedTuple):
    """A gateway being probed: `mac` None = to be learnt."""

    source: IPv4Address
    gateway: IPv4Address
    mac: bytes | None


class IPv4Link:
    """Sans-IO: observations in, actions out through the link's `emit`."""

    def __init__(self, link: LinkContext) -> None:
        self._link = link
        self._up = False
        self._home = False
        self._lease: DhcpLease | None = None
        self._mac: bytes | None = None
        self._from_server = False
        self._address: DhcpLease | None = None
        self._gateway: IPv4Address | None = None
        self._probes: Probes[_Target] = Probes()
        self._dna_started = float("-inf")
        self._withheld_until: float | None = None

    # Observations ------------------------------------------------------------------------------------------

    def link_up(self, now: Instant) -> None:
        """Ask for a lease and probe every known gateway in parallel (RFC 4436 section 2)."""
        self._up = True
        self._link.emit(StartDhcp(self._link.name, None))
        at = max(now.monotonic, self._dna_started + DNA_INTERVAL)
        for known in self._link.memory.gateways(self._link.name, self._link.mac, now.unix):
            self._dna_started = at
            self._probes.start(_Target(known.lease.address, known.gateway, known.mac), at)
        self._send_probes(now)

    def link_down(self, now: Instant) -> None:
        """Nothing is usable any more; the lease is kept in memory, not released."""
        if self._up:
            self._link.emit(StopDhcp(self._link.name))
        self._up = False
        self._probes.clear()
        self._forget()

    def recheck(self, now: Instant) -> None:
        """A hint that the node has moved while the link stayed up: is the gateway still there?"""
        if self._lease is not None and self._lease.gateway is not None and self._mac is not None:
            self._probes.start(_Target(self._lease.address, self._lease.gateway, self._mac), now.monotonic)
            self._send_probes(now)

    def arp_reply(self, sender: IPv4Address, mac: bytes, now: Instant) -> None:
        """A probe is answered when both addresses are the expected ones (RFC 4436 section 2.1.1)."""
        answered = [t for t in self._probes.pending() if t.gateway == sender and t.mac in (None, mac)]
        sent = [self._probes.cancel(target) for target in answered]
        if True not in sent:
            return
        if self._lease is None:
            self._confirm(sender, mac, now)
        elif self._lease.gateway == sender:
            self._mac = mac
            self._remember(now)

    def lease_granted(self, lease: DhcpLease, now: Instant) -> None:
        """The server gave or renewed a lease. It beats what was remembered (RFC 4436 section 2.1)."""
        if not self._up:
            return
        self._from_server = True
        current = self._lease
        same = (
            current is not None
            and current.address == lease.address
            and current.prefix_length == lease.prefix_length
            and current.gateway == lease.gateway
        )
        if not same:
            self._forget()
            self._probes.clear()
        self._lease = lease
        known = self._link.memory.gateway_for(self._link.name, lease)
        if known is not None and known.home and not same:
            self._withheld_until = now.monotonic + HOME_WAIT
        self._install(now, renew=True)
        if self._mac is not None:
            self._remember(now)
        elif lease.gateway is not None:
            self._probes.start(_Target(lease.address, lease.gateway, None), now.monotonic)
            self._send_probes(now)

    def lease_lost(self, address: IPv4Address, now: Instant) -> None:
        """The server refused the lease, or it ended (RFC 2131 section 4.4.5)."""
        self._link.memory.forget_lease(self._link.name, address)
        self._link.emit(NetworksChanged())
        if self._lease is not None and self._lease.address == address:
            self._forget()

    def address_removed(self, address: IPv4Address, now: Instant) -> None:
        """Somebody deleted an address: put ours back."""
        if self._address is not None and self._address.address == address:
            self._link.event("address-restored", address=str(address))
            self._address = None
            self._gateway = None
            self._install(now, renew=True)

    def default_route_removed(self, gateway: IPv4Address, now: Instant) -> None:
        """Somebody deleted a default route: put ours back."""
        if self._gateway == gateway:
            self._gateway = None
            self._install(now, renew=False)

    def set_home(self, home: bool, now: Instant) -> None:
        """On the home link the lease only tells the router: the home address is not dsmip.movement's."""
        if home == self._home:
            return
        self._home = home
        self._withheld_until = None
        self._install(now, renew=False)
        if self._lease is not None and self._mac is not None:
            self._remember(now)

    # Time --------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the next thing to do."""
        times = (self._probes.deadline(), self._withheld_until)
        return min((time for time in times if time is not None), default=None)

    def lease_end(self, now: Instant) -> float | None:
        """CLOCK_MONOTONIC seconds at which the lease ends; None = never, or no lease."""
        if self._lease is None or self._lease.expires is None:
            return None
        return self._lease.expires - now.unix + now.monotonic

    def tick(self, now: Instant) -> None:
        """Retransmit, give up, expire."""
        self._send_probes(now)
        if self._withheld_until is not None and self._withheld_until <= now.monotonic:
            self._withheld_until = None
            self._install(now, renew=False)
        end = self.lease_end(now)
        if self._lease is not None and end is not None and end <= now.monotonic:
            self._link.event("lease-expired", address=str(self._lease.address))
            self._forget()

    # What is known now -------------------------------------------------------------------------------------

    def care_of(self, now: Instant) -> list[CareOfAddress]:
        """The leased address, if it can be registered this instant."""
        lease = self._lease
        if lease is None or self._address is None:
            return []
        return [
            CareOfAddress(
                address=lease.address,
                interface=self._link.name,
                ifindex=self._link.ifindex,
                gateway=lease.gateway,
                network=network_name(lease),
                preference=self._link.preference,
                mtu=min(self._link.mtu, lease.mtu or self._link.mtu),
                valid_until=self.lease_end(now),
                portal=lease.portal,
            )
        ]

    @property
    def router(self) -> IPv4Address | None:
        """The router the lease names."""
        return None if self._lease is None else self._lease.gateway

    def describe(self, now: Instant) -> dict[str, object] | None:
        """For people: the lease."""
        if self._lease is None:
            return None
        end = self.lease_end(now)
        return {
            "address": f"{self._lease.address}/{self._lease.prefix_length}",
            "gateway": None if self._lease.gateway is None else str(self._lease.gateway),
            "gateway_mac": format_mac(self._mac or b""),
            "server": None if self._lease.server is None else str(self._lease.server),
            "network": network_name(self._lease),
            "confirmed_by": "dhcp" if self._from_server else "arp",
            "usable": self._address is not None,
            "valid": None if end is None else round(end - now.monotonic, 1),
        }

    # -------------------------------------------------------------------------------------------------------

    def _send_probes(self, now: Instant) -> None:
        for target, send in self._probes.due(now.monotonic):
            if send:
                self._link.emit(ProbeGateway(self._link.name, *target))
            elif target.mac is not None and self._lease is not None and target.mac == self._mac:
                self._link.event("gateway-lost", gateway=str(target.gateway), mac=format_mac(target.mac))
                self.link_down(now)
                self.link_up(now)
                return

    def _confirm(self, gateway: IPv4Address, mac: bytes, now: Instant) -> None:
        """The network is known: use its lease, and have the server confirm it."""
        known = self._link.memory.gateway(self._link.name, gateway, mac)
        if known is None or not known.operable(now.unix):
            return
        self._link.event("dna-confirmed", family="v4", router=str(gateway))
        self._probes.clear()
        self._from_server = False
        self._lease = known.lease
        self._mac = mac
        if known.home and not self._home:
            self._withheld_until = now.monotonic + HOME_WAIT
        self._install(now, renew=False)
        self._remember(now)
        self._link.emit(StartDhcp(self._link.name, known.lease))

    def _install(self, now: Instant, *, renew: bool) -> None:
        """Bring the kernel into line with the lease."""
        lease = self._lease
        if lease is None or self._home or self._withheld_until is not None:
            self._withdraw()
            return
        if self._address is None or renew:
            end = self.lease_end(now)
            self._address = lease
            self._link.emit(
                AddAddress(
                    interface=self._link.name,
                    ifindex=self._link.ifindex,
                    address=lease.address,
                    prefix_length=lease.prefix_length,
                    valid=None if end is None else max(1.0, end - now.monotonic),
                    preferred=None if end is None else max(1.0, end - now.monotonic),
                    metric=self._link.metric,
                )
            )
        if lease.gateway is not None and self._gateway is None:
            self._gateway = lease.gateway
            self._link.emit(
                SetDefaultRoute(
                    self._link.name,
                    self._link.ifindex,
                    lease.gateway,
                    self._mac,
                    lease.address,
                    self._link.metric,
                )
            )

    def _withdraw(self) -> None:
        """Take address and route out of the kernel."""
        name, ifindex, metric = self._link.name, self._link.ifindex, self._link.metric
        if self._gateway is not None:
            self._link.emit(RemoveDefaultRoute(name, ifindex, self._gateway, metric))
            self._gateway = None
        if self._address is not None:
            self._link.emit(RemoveAddress(name, ifindex, self._address.address, self._address.prefix_length))
            self._address = None

    def _forget(self) -> None:
        self._withdraw()
        self._lease = None
        self._mac = None
        self._from_server = False
        self._withheld_until = None

    def _remember(self, now: Instant) -> None:
        lease = self._lease
        if lease is None or lease.gateway is None or self._mac is None:
            return
        before = self._link.memory.gateway(self._link.name, lease.gateway, self._mac)
        known = KnownGateway(
            interface=self._link.name,
            own_mac=self._link.mac,
            gateway=lease.gateway,
            mac=self._mac,
            lease=lease,
            seen=now.unix,
            home=self._home or (before is not None and before.home and self._withheld_until is not None),
        )
        self._link.memory.remember_gateway(known)
        if before is None or replace(before, seen=known.seen) != known:
            self._link.emit(NetworksChanged())


def network_name(lease: DhcpLease) -> str:
    """The stable name of the network a lease belongs to: who gave it, and the subnet."""
    return f"v4:{format_mac(lease.server_mac)}%{lease.network}"
