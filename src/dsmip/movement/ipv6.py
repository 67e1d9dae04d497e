"""The IPv6 half of a link that dsmip configures: which router, which addresses, and has the node moved.

Router discovery (RFC 4861 6.3), address autoconfiguration (RFC 4862) with optimistic detection of duplicates
(RFC 4429), detection of attachment to known networks (RFC 6059) and of movement (RFC 6275 11.5.1). One router
is the current one; others that are heard are kept as candidates and used when the current one is gone.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from dsmip.core.types import CareOfAddress, Instant
from dsmip.movement.actions import (
    AddressFlags,
    NetworksChanged,
    ProbeRouter,
    RemoveDefaultRoute,
    SetDefaultRoute,
    SetMtu,
    SolicitRouters,
)
from dsmip.movement.autoconf import AddressSet
from dsmip.movement.identifiers import StableIdentifiers
from dsmip.movement.link import DNA_INTERVAL, LinkContext, Probes, format_mac
from dsmip.movement.routers import LINK_LOCAL, Router, RouterId
from dsmip.wire import icmpv6

#: Router Solicitations at an attachment, and the gap between them in seconds (RFC 4861 section 10).
MAX_RTR_SOLICITATIONS = 3
RTR_SOLICITATION_INTERVAL = 4.0

#: A solicitation unanswered for so long, s, may have been lost while the link was coming up.
LOST_SOLICITATION = 0.2

#: A router that answered a probe is not probed again because of somebody else's advertisement for so long, s.
SUSPICION_INTERVAL = 1.0

#: Routers kept per link; more are ignored.
MAX_ROUTERS = 16

#: The smallest MTU an IPv6 link may have (RFC 8200 section 5).
MINIMUM_MTU = 1280


class IPv6Link:
    """Sans-IO: observations in, actions out through the link's `emit`."""

    def __init__(self, link: LinkContext, identifiers: StableIdentifiers, optimistic: bool) -> None:
        self._link = link
        self._addresses = AddressSet(link, identifiers, optimistic)
        self._up = False
        self._routers: dict[RouterId, Router] = {}
        self._current: Router | None = None
        self._route: tuple[RouterId, int] | None = None
        self._mtu_set: int | None = None
        self._link_local: IPv6Address | None = None
        self._preferred_link_local: IPv6Address | None = None  # neither tentative nor optimistic
        self._solicitations = 0
        self._solicited = float("-inf")
        self._solicit_at: float | None = None
        self._dna: Probes[RouterId] = Probes()
        self._dna_started = float("-inf")
        self._suspected: Probes[RouterId] = Probes()
        self._trusted_until = float("-inf")
        #: Counts the times the current router was suspected to be gone: IPv4 then looks at its gateway too.
        self.suspicions = 0

    # Observations ------------------------------------------------------------------------------------------

    def link_up(self, now: Instant) -> None:
        """Everything is unconfirmed: solicit routers and probe known ones in parallel (RFC 6059 5.5)."""
        self._up = True
        self._solicitations = 0
        self._solicit(now.monotonic)
        self._start_dna(now)

    def link_down(self, now: Instant) -> None:
        """Nothing is usable any more."""
        self._remember(now)
        self._up = False
        self._leave()
        self._routers.clear()
        self._dna.clear()
        self._suspected.clear()
        self._solicit_at = None

    def router_advertisement(
        self, source: IPv6Address, mac: bytes, message: icmpv6.RouterAdvertisement, now: Instant
    ) -> None:
        """RFC 4861 6.3.4, RFC 6059 5.7.2 (an advertisement beats what was remembered), RFC 6275 11.5.1."""
        identity = RouterId(source, mac)
        if not self._up or (identity not in self._routers and len(self._routers) >= MAX_ROUTERS):
            return
        router = self._routers.setdefault(identity, Router(identity))
        first = router.heard == 0.0
        router.hear(message, now.monotonic)
        if first:
            prefixes = " ".join(str(prefix) for prefix in sorted(router.prefixes))
            self._link.event(
                "router-advertisement", router=str(source), mac=format_mac(mac), prefixes=prefixes
            )
        if router.is_default(now.monotonic):
            self._solicit_at = None
        if router is self._current:
            self._addresses.advertised(message, now.monotonic)
            if router.is_default(now.monotonic) or self._is_home(router, now):
                self._apply(now, dad=True)
            else:
                self._choose(now)
        elif self._current is None or self._is_better(router, self._current, now):
            self._choose(now)
        elif not router.shares_prefix(self._current) and now.monotonic >= self._trusted_until:
            self._suspect(now.monotonic)

    def neighbor_advertisement(self, mac: bytes, message: icmpv6.NeighborAdvertisement, now: Instant) -> None:
        """An answer to a probe counts when link-local and link-layer address match (RFC 6059 5.7.1)."""
        if not self._up or not message.solicited or not message.router:
            return
        identity = RouterId(message.target, mac)
        if self._suspected.cancel(identity):
            self._trusted_until = now.monotonic + SUSPICION_INTERVAL
            if self._current is not None:
                self._current.answered(now.monotonic)
        if self._dna.cancel(identity) and not self._has_default(now):
            known = self._link.memory.router(self._link.name, *identity)
            if known is not None:
                self._link.event("dna-confirmed", family="v6", router=str(identity.address))
                router = self._routers[identity] = Router.recalled(known, now)
                self._adopt(router, now, dad=False)

    def address_added(self, address: IPv6Address, flags: AddressFlags, now: Instant) -> None:
        """The kernel has the address, with these flags."""
        if address in LINK_LOCAL:
            if not flags.usable:
                return
            self._link_local = address
            if AddressFlags.OPTIMISTIC not in flags and self._preferred_link_local is None:
                self._preferred_link_local = address
                if self._up and self._current is None:
                    self._start_dna(now)
            return
        if self._addresses.added(address, flags, now.monotonic):
            self._apply(now, dad=True)

    def address_removed(self, address: IPv6Address, flags: AddressFlags, now: Instant) -> None:
        """The kernel no longer has the address: expired, a duplicate, or somebody deleted it."""
        if address == self._link_local:
            self._link_local = self._preferred_link_local = None
        elif self._addresses.removed(address, flags, now.monotonic):
            self._apply(now, dad=True)

    def link_carries(self, now: Instant) -> None:
        """Something was received on a link where no router has answered yet: solicit again at once, instead
        of after RTR_SOLICITATION_INTERVAL, if the first solicitation may have been lost."""
        waiting = self._up and self._current is None and self._solicitations == 1
        if waiting and now.monotonic - self._solicited >= LOST_SOLICITATION:
            self._solicit(now.monotonic)

    def default_route_removed(self, gateway: IPv6Address, now: Instant) -> None:
        """Somebody deleted a default route: put ours back."""
        if self._route is not None and self._route[0].address == gateway:
            self._route = None
            self._apply(now, dad=True)

    def deadline(self, now: float) -> float | None:
        """CLOCK_MONOTONIC seconds of the next thing to do."""
        times = [self._solicit_at, self._dna.deadline(), self._suspected.deadline()]
        times.append(self._addresses.deadline(now))
        if self._current is not None:
            if self._route is not None:
                times.append(self._current.lifetime_until)
            times.append(self._current.expected)
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: Instant) -> None:
        """Retransmit, give up, expire."""
        if not self._up:
            return
        time = now.monotonic
        if self._solicit_at is not None and self._solicit_at <= time:
            self._solicit(time)
        for identity, send in self._dna.due(time):
            if send:
                self._probe(identity)
        for identity, send in self._suspected.due(time):
            if send:
                self._probe(identity)
            else:
                self._lost(identity, now)
        current = self._current
        if current is not None:
            if current.expected is not None and current.expected <= time:
                current.expected = None
                self._suspect(time)
            if self._route is not None and not current.is_default(time):
                self._choose(now)
        if self._addresses.tick(time):
            self._apply(now, dad=True)

    def care_of(self, now: Instant) -> list[CareOfAddress]:
        """The addresses that can be registered this instant, the best first."""
        router = self._current
        if router is None or self._route is None or self._is_home(router, now):
            return []
        return [
            CareOfAddress(
                address=address.address,
                interface=self._link.name,
                ifindex=self._link.ifindex,
                gateway=router.id.address,
                network=router.network(),
                preference=self._link.preference,
                mtu=self._mtu(router),
                valid_until=address.end(now.monotonic),
                portal=router.portal,
            )
            for address in self._addresses.usable(now.monotonic)
        ]

    def home_router(self, now: Instant) -> tuple[bool, IPv6Address | None]:
        """Whether this is the home link, and its default router (RFC 6275 11.5.2)."""
        router = self._current
        if router is None or not self._is_home(router, now):
            return False, None
        return True, router.id.address if router.is_default(now.monotonic) else None

    def home_until(self, now: Instant) -> float | None:
        """When the home prefix ends, as the home link's router advertises it; None = never, or unknown."""
        router, home = self._current, self._link.home_prefix
        if router is None or home is None:
            return None
        return router.valid_until(home, now.monotonic)

    def home_successor(self, now: Instant) -> IPv6Network | None:
        """What the home link's router has instead of a home prefix that it deprecates."""
        router, home = self._current, self._link.home_prefix
        return None if router is None or home is None else router.successor(home, now.monotonic)

    def describe(self, now: Instant) -> dict[str, object]:
        """For people: routers and addresses."""
        return {
            "routers": [
                {
                    "address": str(router.id.address),
                    "mac": format_mac(router.id.mac),
                    "network": router.network(),
                    "current": router is self._current,
                    "lifetime": round(max(0.0, router.lifetime_until - now.monotonic), 1),
                    "prefixes": [str(prefix) for prefix in sorted(router.prefixes)],
                }
                for router in self._routers.values()
            ],
            "addresses": self._addresses.describe(now.monotonic),
        }

    # Router discovery and attachment -----------------------------------------------------------------------

    def _solicit(self, now: float) -> None:
        self._link.emit(SolicitRouters(self._link.name, self._link_local))
        self._solicitations += 1
        self._solicited = now
        more = self._solicitations < MAX_RTR_SOLICITATIONS
        self._solicit_at = now + RTR_SOLICITATION_INTERVAL if more else None

    def _start_dna(self, now: Instant) -> None:
        """Probes need a link-local source that is not optimistic (RFC 4429 section 3.1)."""
        if self._preferred_link_local is None or self._dna:
            return
        at = max(now.monotonic, self._dna_started + DNA_INTERVAL)
        for known in self._link.memory.routers(self._link.name, now.unix):
            self._dna_started = at
            self._dna.start(RouterId(known.router, known.mac), at)
        for identity, _ in self._dna.due(now.monotonic):
            self._probe(identity)

    def _probe(self, identity: RouterId) -> None:
        if self._preferred_link_local is not None:
            self._link.emit(ProbeRouter(self._link.name, self._preferred_link_local, *identity))

    def _suspect(self, now: float) -> None:
        """A hint of movement: is the current router still there? (RFC 6275 11.5.1)

        So that a router that is gone as well does not take its place, all but those just heard are asked, the
        current one last.
        """
        router = self._current
        if router is None or router.id in self._suspected or self._preferred_link_local is None:
            return
        for identity, other in self._routers.items():
            if other is not router and other.heard < now:
                self._suspected.start(identity, now)
        self._suspected.start(router.id, now)
        self.suspicions += 1
        for identity, _ in self._suspected.due(now):
            self._probe(identity)

    def _lost(self, identity: RouterId, now: Instant) -> None:
        """A router is gone: use another one that is heard here, or look for one."""
        self._link.event("router-lost", router=str(identity.address), mac=format_mac(identity.mac))
        if self._current is not None and self._current.id == identity:
            self._remember(now)
            del self._routers[identity]
            self._choose(now)
        else:
            self._routers.pop(identity, None)

    def _choose(self, now: Instant) -> None:
        """Adopt the best router heard on this link (RFC 4861 6.3.6, RFC 4191 3.2), or solicit."""
        candidates = [
            router
            for router in self._routers.values()
            if router.is_default(now.monotonic) or self._is_home(router, now)
        ]
        if not candidates:
            if self._current is not None:
                self._leave()
                self._solicitations = 0
                self._solicit(now.monotonic)
            return
        current = self._current
        candidates.sort(
            key=lambda router: (
                current is not None and router.shares_prefix(current),
                router.is_default(now.monotonic),
                router.preference,
                router.heard,
            ),
            reverse=True,
        )
        self._adopt(candidates[0], now, dad=True)

    def _adopt(self, router: Router, now: Instant, *, dad: bool) -> None:
        """Make `router` the current one: what belongs to another network goes away first."""
        if self._current is not router:
            self._addresses.keep_only(router)
            self._link.event(
                "router-chosen", router=str(router.id.address), network=router.network(), known=not dad
            )
        self._current = router
        if self._has_default(now):
            self._dna.clear()
        self._suspected.clear()
        self._apply(now, dad=dad)

    def _has_default(self, now: Instant) -> bool:
        return self._current is not None and self._current.is_default(now.monotonic)

    def _is_better(self, router: Router, current: Router, now: Instant) -> bool:
        """A home agent advertises the home prefix without being a default router: where another router of
        the same link is one, it takes over (RFC 4861 6.3.6)."""
        time = now.monotonic
        return router.is_default(time) and not current.is_default(time) and router.shares_prefix(current)

    def _leave(self) -> None:
        self._current = None
        self._suspected.clear()
        self._drop_route()
        self._addresses.clear()

    def _apply(self, now: Instant, *, dad: bool) -> None:
        """Bring the kernel into line with the current router."""
        router = self._current
        if router is None:
            return
        home = self._is_home(router, now)
        self._set_mtu(self._mtu(router))
        known = self._link.memory.router(self._link.name, *router.id)
        recalled = {} if known is None else {p.prefix: p.address for p in known.prefixes if p.address}
        self._addresses.follow(router, now.monotonic, recalled, dad=dad, allowed=not home)
        if self._route is not None and self._route[0] != router.id:
            self._drop_route()
        if router.is_default(now.monotonic):
            if self._route is None:
                self._route = (router.id, self._link.ifindex)
                address, mac = router.id
                self._link.emit(
                    SetDefaultRoute(
                        self._link.name, self._link.ifindex, address, mac, None, self._link.metric
                    )
                )
        else:
            self._drop_route()
        self._remember(now)

    def _drop_route(self) -> None:
        if self._route is not None:
            identity, ifindex = self._route
            self._route = None
            self._link.emit(RemoveDefaultRoute(self._link.name, ifindex, identity.address, self._link.metric))

    def _set_mtu(self, mtu: int) -> None:
        if mtu != (self._mtu_set or self._link.mtu):
            self._mtu_set = mtu
            self._link.emit(SetMtu(self._link.name, mtu))

    def _remember(self, now: Instant) -> None:
        router = self._current
        if router is None or not router.prefixes:
            return
        known = router.known(self._link.name, self._addresses.by_prefix(), now)
        before = self._link.memory.router(self._link.name, *router.id)
        self._link.memory.remember_router(known)
        if before is None or {p.prefix for p in before.prefixes} != {p.prefix for p in known.prefixes}:
            self._link.emit(NetworksChanged())

    def _is_home(self, router: Router, now: Instant) -> bool:
        return router.advertises_home(self._link.home_prefix, now.monotonic)

    def _mtu(self, router: Router) -> int:
        if router.mtu is None or not MINIMUM_MTU <= router.mtu <= self._link.mtu:
            return self._link.mtu
        return router.mtu
