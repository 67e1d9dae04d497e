"""A mobile node's routes: through the tunnel when away, natively at home.

The home address stays on the tunnel device all the time, so no session ever sees it vanish; at home it is on
the home link's interface as well, where neighbours can find it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Final

from dsmip.core.types import HomeAttachment, IPAddress, IPNetwork
from dsmip.host.routing import InterfaceAddress, Route, Routing, Rule, RuleAction, tunnel_route
from dsmip.host.rtnetlink import MAIN_TABLE

#: Routing table of what comes from the home address and the mobile network.
HOME_TABLE: Final = 5191
#: Rules: first what goes to the mobile network itself, then what comes from home address and mobile network.
_TO_PRIORITY: Final = 5190
_FROM_PRIORITY: Final = 5191
#: Rules before these: our own addresses are ours, nobody else's packets come from them (RFC 3963 section 9).
#: IPv4 has this built in.
_OWN_PRIORITY: Final = 5188
_BORROWED_PRIORITY: Final = 5189
_HOME_METRIC: Final = 64

_DEFAULT6: Final = IPv6Network("::/0")
_DEFAULT4: Final = IPv4Network("0.0.0.0/0")
#: Everything in two halves: more specific than any default route, whatever its metric.
_EVERYTHING6: Final = tuple(_DEFAULT6.subnets())
_EVERYTHING4: Final = tuple(_DEFAULT4.subnets())


class HomeRoutes:
    """Keeps addresses, rules and routes of one mobile node in step with where it is."""

    def __init__(
        self, routing: Routing, device: int, home_address: IPv6Address, home_prefix: IPv6Network
    ) -> None:
        self._routing = routing
        self._device = device
        self.home_address = home_address
        self._home_prefix = home_prefix
        self._former: IPv6Interface | None = None
        self._at_home: tuple[HomeAttachment, IPv4Interface | None] | None = None
        self._approached: Route | None = None
        self._tunnel_routes: tuple[Route, ...] = ()
        self._own: frozenset[IPv6Address] = frozenset()
        #: Of a stay at home that an earlier process did not end.
        self._left_routes: list[Route] = []
        self._left_addresses: list[InterfaceAddress] = []
        self.networks: tuple[IPNetwork, ...] = ()

    async def adopt(self) -> None:
        """Take over what an earlier process left, one that was killed or replaced; call this first.

        It may have been at home when this node is elsewhere now, and the other way round.
        """
        routes, addresses = await self._routing.routes(), await self._routing.addresses()
        # The home addresses are on the tunnel device all the time.
        ours = {found.address for found in addresses if found.interface == self._device}
        self._tunnel_routes = tuple(route for route in routes if route.interface == self._device)
        self._left_routes = [route for route in routes if route.interface != self._device]
        self._left_addresses = [
            found for found in addresses if found.interface != self._device and found.address in ours
        ]

    def found_elsewhere(self) -> None:
        """This node is not at home: what an earlier process left of its stay there would lead astray."""
        self._forget_left()

    @property
    def ipv4_home_address(self) -> IPv4Address | None:
        """The IPv4 home address in use."""
        for network in self.networks:
            if isinstance(network, IPv4Network) and network.prefixlen == 32:
                return network.network_address
        return None

    def set_networks(self, networks: Iterable[IPNetwork]) -> None:
        """Home address, mobile network prefixes and IPv4 grants: what may not leave natively when away."""
        wanted = tuple(dict.fromkeys(networks))
        tunnelled = bool(self._tunnel_routes)
        for network in self.networks:
            if network not in wanted:
                for rule in _rules(network):
                    self._routing.remove_rule(rule)
                if network.prefixlen == network.max_prefixlen:
                    self._remove_routes_from(network.network_address)
                    self._routing.remove_address(self._device, network.network_address, network.prefixlen)
        for network in wanted:
            if network not in self.networks:
                if network.prefixlen == network.max_prefixlen:
                    self._routing.add_address(self._device, network.network_address, network.prefixlen)
                for rule in _rules(network):
                    self._routing.add_rule(rule)
        self.networks = wanted
        if tunnelled:
            self.use_tunnel()

    def use(
        self, home_address: IPv6Address, home_prefix: IPv6Network, former: IPv6Interface | None = None
    ) -> None:
        """Another home address, one of the networks: new sessions have it from now on. `former` is still
        valid, for those that there are."""
        before = (self.home_address, self._home_prefix, self._former)
        if before == (home_address, home_prefix, former):
            return
        at_home = self._at_home
        self.depart()
        self.home_address, self._home_prefix, self._former = home_address, home_prefix, former
        if self._tunnel_routes:
            # Replaced, not removed first: meanwhile nothing leaves natively.
            self.use_tunnel()
        if at_home is not None:
            self.arrive(*at_home)

    def _remove_routes_from(self, address: IPAddress) -> None:
        """Those that prefer this source would go with it."""
        for route in self._tunnel_routes:
            if route.source == address:
                self._routing.remove_route(route)
        self._tunnel_routes = tuple(route for route in self._tunnel_routes if route.source != address)

    def set_own_addresses(self, addresses: Iterable[IPv6Address]) -> None:
        """Addresses of this node in the home and mobile networks: packets from elsewhere with such a source
        are not forwarded."""
        wanted = frozenset(addresses)
        for address in self._own - wanted:
            for rule in _ingress_filter(address):
                self._routing.remove_rule(rule)
        for address in wanted - self._own:
            for rule in _ingress_filter(address):
                self._routing.add_rule(rule)
        self._own = wanted

    def use_tunnel(self) -> None:
        """Away: everything of home address and mobile network, and new sessions of this node, by tunnel."""
        wanted = self._wanted_tunnel_routes()
        for route in wanted:
            if route not in self._tunnel_routes:
                self._routing.add_route(route)
        # An earlier process may have had an IPv4 home address that has not been granted to this one yet.
        replaced = {_place(route) for route in wanted}
        others = (route for route in self._tunnel_routes if _place(route) not in replaced)
        self._tunnel_routes = (*wanted, *others)

    def restore(self) -> None:
        """Put back what another program may have taken out; what is there stays as it is."""
        for network in self.networks:
            for rule in _rules(network):
                self._routing.add_rule(rule)
        for address in self._own:
            for rule in _ingress_filter(address):
                self._routing.add_rule(rule)
        for route in self._tunnel_routes:
            self._routing.add_route(route)
        if self._at_home is not None:
            for route in self._home_routes(*self._at_home):
                self._routing.add_route(route)

    def use_home_link(self) -> None:
        """At home: nothing goes by tunnel any more."""
        for route in self._tunnel_routes:
            self._routing.remove_route(route)
        self._tunnel_routes = ()

    def approach(self, home: HomeAttachment) -> None:
        """The home link is there, the home address must not be on it yet: reach its neighbours."""
        if self._at_home is not None:
            return
        self._approached = Route(self._home_prefix, home.ifindex, metric=_HOME_METRIC)
        self._routing.add_route(self._approached)
        self._forget_left([self._approached])

    def arrive(self, home: HomeAttachment, ipv4: IPv4Interface | None) -> None:
        """Put the home addresses on the home link's interface; no duplicate address detection, since the
        home agent still defends them (RFC 6275 11.5.5)."""
        if self._at_home == (home, ipv4):
            return
        self._approached = None  # it is one of the routes below
        if self._at_home is not None and self._at_home[0].ifindex != home.ifindex:
            self.depart()
        self._at_home = (home, ipv4)
        addresses = self._home_addresses(home, ipv4)
        for address in addresses:
            is_former = self._former is not None and address.address == self._former.ip
            self._routing.add_address(*address, deprecated=is_former)
        routes = self._home_routes(home, ipv4)
        for route in routes:
            self._routing.add_route(route)
        # The advertisement may come before the lease: until then the IPv4 router is who it was.
        awaited = () if home.ipv4_router else [one for one in self._left_routes if one.network == _DEFAULT4]
        self._forget_left(routes, addresses, awaited)

    def depart(self) -> None:
        """Take the home addresses off the home link's interface."""
        if self._approached is not None:
            self._routing.remove_route(self._approached)
            self._approached = None
        if self._at_home is None:
            return
        home, ipv4 = self._at_home
        for route in reversed(self._home_routes(home, ipv4)):
            self._routing.remove_route(route)
        for address in self._home_addresses(home, ipv4):
            self._routing.remove_address(*address)
        self._at_home = None

    def close(self) -> None:
        """Take everything out."""
        self.use_home_link()
        self.depart()
        self._forget_left()
        self.set_own_addresses(())
        self.set_networks(())

    def _forget_left(
        self,
        keep: Collection[Route] = (),
        keep_addresses: Collection[InterfaceAddress] = (),
        awaited: Collection[Route] = (),
    ) -> None:
        """Remove what an earlier process left of a stay at home, except for what is in use again or has yet
        to be heard of (`awaited`)."""
        for route in self._left_routes:
            if route not in keep and route not in awaited:
                self._routing.remove_route(route)
        for address in self._left_addresses:
            if address not in keep_addresses:
                self._routing.remove_address(*address)
        self._left_routes, self._left_addresses = list(awaited), []

    def _home_addresses(self, home: HomeAttachment, ipv4: IPv4Interface | None) -> list[InterfaceAddress]:
        addresses = [InterfaceAddress(home.ifindex, self.home_address, self._home_prefix.prefixlen)]
        if self._former is not None:
            addresses.append(InterfaceAddress(home.ifindex, self._former.ip, self._former.network.prefixlen))
        if ipv4 is not None:
            addresses.append(InterfaceAddress(home.ifindex, ipv4.ip, ipv4.network.prefixlen))
        return addresses

    def _home_routes(self, home: HomeAttachment, ipv4: IPv4Interface | None) -> list[Route]:
        """On-link home prefixes, and the IPv4 default route (the IPv6 one comes with the advertisement)."""
        routes = [Route(self._home_prefix, home.ifindex, metric=_HOME_METRIC)]
        if self._former is not None:
            routes.append(Route(self._former.network, home.ifindex, metric=_HOME_METRIC))
        if ipv4 is not None:
            routes.append(Route(ipv4.network, home.ifindex, metric=_HOME_METRIC))
            if home.ipv4_router is not None:
                gateway = home.ipv4_router
                routes.append(
                    Route(_DEFAULT4, home.ifindex, metric=_HOME_METRIC, gateway=gateway, source=ipv4.ip)
                )
        return routes

    def _wanted_tunnel_routes(self) -> tuple[Route, ...]:
        routes = [tunnel_route(_DEFAULT6, self._device, table=HOME_TABLE)]
        routes += [tunnel_route(half, self._device, source=self.home_address) for half in _EVERYTHING6]
        if any(network.version == 4 for network in self.networks):
            routes.append(tunnel_route(_DEFAULT4, self._device, table=HOME_TABLE))
        ipv4 = self.ipv4_home_address
        if ipv4 is not None:
            routes += [tunnel_route(half, self._device, source=ipv4) for half in _EVERYTHING4]
        return tuple(routes)


def _place(route: Route) -> tuple[IPNetwork, int, int]:
    """Two routes with the same one replace each other."""
    return route.network, route.table, route.metric


def _rules(network: IPNetwork) -> list[Rule]:
    rules = [Rule(_FROM_PRIORITY, HOME_TABLE, source=network)]
    if network.prefixlen < network.max_prefixlen:
        rules.append(Rule(_TO_PRIORITY, MAIN_TABLE, destination=network))
    return rules


def _ingress_filter(address: IPv6Address) -> list[Rule]:
    """What this node itself sends from `address` goes past the rule that drops everything from it."""
    source = IPv6Network(address)
    return [
        Rule(_TO_PRIORITY, MAIN_TABLE, destination=source),  # for the first one to go to
        Rule(_OWN_PRIORITY, source=source, action=RuleAction.GOTO, target=_TO_PRIORITY, local=True),
        Rule(_BORROWED_PRIORITY, source=source, action=RuleAction.BLACKHOLE),
    ]
