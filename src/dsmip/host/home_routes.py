"""A mobile node's routes: what belongs to the home address goes through the tunnel when away, natively at home.

The home address stays on the tunnel device all the time, so no session ever sees it vanish; at home it is on
the home link's interface as well, where neighbours can find it.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from dsmip.core.types import HomeAttachment, IPNetwork
from dsmip.host.routing import MAIN_TABLE, Route, Routing, Rule

#: Routing table of what comes from the home address and the mobile network.
HOME_TABLE: Final = 5191
#: Rules: first what goes to the mobile network itself, then what comes from home address and mobile network.
_TO_PRIORITY: Final = 5190
_FROM_PRIORITY: Final = 5191
_TUNNEL_METRIC: Final = 1
_HOME_METRIC: Final = 64

_DEFAULTS: Final = (IPv6Network("::/0"), IPv4Network("0.0.0.0/0"))


class HomeRoutes:
    """Keeps addresses, rules and routes of one mobile node in step with where it is."""

    def __init__(
        self, routing: Routing, device: int, home_address: IPv6Address, home_prefix: IPv6Network
    ) -> None:
        self._routing = routing
        self._device = device
        self._home_address = home_address
        self._home_prefix = home_prefix
        self.networks: tuple[IPNetwork, ...] = ()
        self._home: HomeAttachment | None = None
        self._home_ipv4: IPv4Interface | None = None
        self.tunnelled = False

    @property
    def ipv4_home_address(self) -> IPv4Address | None:
        """The IPv4 home address in use."""
        for network in self.networks:
            if isinstance(network, IPv4Network) and network.prefixlen == 32:
                return network.network_address
        return None

    async def set_networks(self, networks: Iterable[IPNetwork]) -> None:
        """Home address, mobile network prefixes and IPv4 grants: what may not leave natively when away."""
        wanted = tuple(dict.fromkeys(networks))
        for network in self.networks:
            if network not in wanted:
                for rule in self._rules(network):
                    await self._routing.remove_rule(rule)
                if network.prefixlen == network.max_prefixlen:
                    await self._routing.remove_address(
                        self._device, network.network_address, network.prefixlen
                    )
        for network in wanted:
            if network not in self.networks:
                if network.prefixlen == network.max_prefixlen:
                    await self._routing.add_address(self._device, network.network_address, network.prefixlen)
                for rule in self._rules(network):
                    await self._routing.add_rule(rule)
        self.networks = wanted
        if self.tunnelled:
            await self.use_tunnel()

    async def use_tunnel(self) -> None:
        """Away: everything of home address and mobile network, and new sessions of this node, by tunnel."""
        self.tunnelled = True
        for route in self._tunnel_routes():
            if self.tunnelled:
                await self._routing.add_route(route)

    async def use_home_link(self) -> None:
        """At home: nothing goes by tunnel any more."""
        self.tunnelled = False
        for route in self._tunnel_routes():
            await self._routing.remove_route(route)

    async def arrive(self, home: HomeAttachment, ipv4: IPv4Interface | None) -> None:
        """Put the home addresses on the home link's interface; no duplicate address detection, since the
        home agent still defends them (RFC 6275 11.5.5)."""
        if self._home is not None and self._home.ifindex != home.ifindex:
            await self.depart()
        self._home = home
        self._home_ipv4 = ipv4
        await self._routing.add_address(home.ifindex, self._home_address, self._home_prefix.prefixlen)
        for address in self._home_ipv4_addresses():
            await self._routing.add_address(home.ifindex, address.ip, address.network.prefixlen)
        for route in self._home_routes():
            await self._routing.add_route(route)

    async def depart(self) -> None:
        """Take the home addresses off the home link's interface."""
        home = self._home
        if home is None:
            return
        for route in reversed(self._home_routes()):
            await self._routing.remove_route(route)
        await self._routing.remove_address(home.ifindex, self._home_address, self._home_prefix.prefixlen)
        for address in self._home_ipv4_addresses():
            await self._routing.remove_address(home.ifindex, address.ip, address.network.prefixlen)
        self._home = None

    async def close(self) -> None:
        """Take everything out."""
        await self.use_home_link()
        await self.depart()
        await self.set_networks(())

    def _home_ipv4_addresses(self) -> list[IPv4Interface]:
        return [self._home_ipv4] if self._home_ipv4 is not None else []

    def _home_routes(self) -> list[Route]:
        """On-link home prefixes, and the IPv4 default route (the IPv6 one comes with the advertisement)."""
        home = self._home
        assert home is not None
        routes = [Route(self._home_prefix, home.ifindex, metric=_HOME_METRIC)]
        if self._home_ipv4 is not None:
            routes.append(Route(self._home_ipv4.network, home.ifindex, metric=_HOME_METRIC))
            if home.ipv4_router is not None:
                routes.append(
                    Route(
                        _DEFAULTS[1],
                        home.ifindex,
                        metric=_HOME_METRIC,
                        gateway=home.ipv4_router,
                        source=self._home_ipv4.ip,
                    )
                )
        return routes

    def _tunnel_routes(self) -> list[Route]:
        routes = [
            Route(_DEFAULTS[0], self._device, table=HOME_TABLE),
            Route(_DEFAULTS[0], self._device, metric=_TUNNEL_METRIC, source=self._home_address),
        ]
        if any(network.version == 4 for network in self.networks):
            routes.append(Route(_DEFAULTS[1], self._device, table=HOME_TABLE))
        if self.ipv4_home_address is not None:
            routes.append(
                Route(_DEFAULTS[1], self._device, metric=_TUNNEL_METRIC, source=self.ipv4_home_address)
            )
        return routes

    def _rules(self, network: IPNetwork) -> list[Rule]:
        rules = [Rule(_FROM_PRIORITY, HOME_TABLE, source=network)]
        if network.prefixlen < network.max_prefixlen:
            rules.append(Rule(_TO_PRIORITY, MAIN_TABLE, destination=network))
        return rules
