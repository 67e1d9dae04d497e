"""Routes, rules and addresses of our own, over rtnetlink.

Everything put in carries our routing protocol number, so that it is recognised after a crash, and everything
is put in with "replace", so that putting it in twice changes nothing and interrupts nothing.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dsmip.core.types import IPAddress, IPNetwork

#: Marks our routes and rules (rtnetlink(7) rtm_protocol); well-known daemons use 186 to 192 sparsely, not this.
ROUTE_PROTOCOL: Final = 191
MAIN_TABLE: Final = 254

_IFA_F_NODAD: Final = 0x02
_IFA_F_NOPREFIXROUTE: Final = 0x200
_NTF_PROXY: Final = 0x08
_NTF_ROUTER: Final = 0x80
_ALREADY: Final = (errno.EEXIST,)
_GONE: Final = (errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL)


class HostError(RuntimeError):
    """The kernel refused a change; the message names what was tried."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of ours. `gateway` None = on-link; `source` is the preferred source address."""

    network: IPNetwork
    interface: int
    table: int = MAIN_TABLE
    metric: int = 10
    gateway: IPAddress | None = None
    source: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule of ours: packets from `source` (or to `destination`) look into `table`."""

    priority: int
    table: int
    source: IPNetwork | None = None
    destination: IPNetwork | None = None

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        network = self.source or self.destination
        return _family(network) if network is not None else socket.AF_INET6


def _family(value: IPAddress | IPNetwork) -> int:
    return socket.AF_INET6 if value.version == 6 else socket.AF_INET


def halves(network: IPv4Network) -> tuple[IPv4Network, ...]:
    """The two halves of an IPv4 network: together more specific than the kernel's connected route to it,
    whose metric is 0 and cannot be undercut."""
    return tuple(network.subnets(prefixlen_diff=1)) if network.prefixlen < 32 else (network,)


class Routing:
    """One rtnetlink socket for commands. Calls raise HostError when the kernel refuses."""

    def __init__(self) -> None:
        self._netlink: Any = None

    async def open(self) -> None:
        """Open the socket in the namespace of the calling process."""
        self._netlink = AsyncIPRoute()
        await self._netlink.setup_endpoint()

    def close(self) -> None:
        """Close the socket."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    async def set_link(self, interface: int, *, mtu: int) -> None:
        """Bring a tunnel device up, without a link-local address of its own."""
        what = f"link {interface}"
        # addrgenmode none: the device has no link, and a link-local address would make the kernel send
        # router solicitations and redirects on it.
        no_address = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})]}
        await self._do(what, "link", "set", index=interface, mtu=mtu, IFLA_AF_SPEC=no_address)
        await self._do(what, "link", "set", index=interface, state="up")

    async def add_route(self, route: Route) -> None:
        """Put a route in, or replace the one with the same network, table and metric."""
        await self._do(f"route {route.network}", "route", "replace", **self._route(route))

    async def remove_route(self, route: Route) -> None:
        """Take a route out; it may be gone already."""
        await self._do(f"route {route.network}", "route", "del", tolerate=_GONE, **self._route(route))

    async def add_rule(self, rule: Rule) -> None:
        """Put a rule in; it may be there already."""
        await self._do(f"rule {rule.priority}", "rule", "add", tolerate=_ALREADY, **self._rule(rule))

    async def remove_rule(self, rule: Rule) -> None:
        """Take a rule out; it may be gone already."""
        await self._do(f"rule {rule.priority}", "rule", "del", tolerate=_GONE, **self._rule(rule))

    async def add_address(self, interface: int, address: IPAddress, prefix_length: int) -> None:
        """Put an address on an interface at once: no duplicate address detection, no prefix route."""
        arguments: dict[str, Any] = {
            "index": interface,
            "address": str(address),
            "prefixlen": prefix_length,
            "flags": _IFA_F_NODAD | _IFA_F_NOPREFIXROUTE,
        }
        if address.version == 4:
            arguments["flags"] = _IFA_F_NOPREFIXROUTE
            arguments["local"] = str(address)
        await self._do(f"address {address}", "addr", "replace", **arguments)

    async def remove_address(self, interface: int, address: IPAddress, prefix_length: int) -> None:
        """Take an address off an interface; it may be gone already."""
        await self._do(
            f"address {address}",
            "addr",
            "del",
            tolerate=_GONE,
            index=interface,
            address=str(address),
            prefixlen=prefix_length,
        )

    async def add_proxy(self, interface: int, address: IPAddress, *, router: bool = False) -> None:
        """Have the kernel answer neighbour solicitations or ARP for an address on this interface."""
        await self._do(
            f"proxy {address}",
            "neigh",
            "replace",
            dst=str(address),
            ifindex=interface,
            family=_family(address),
            flags=_NTF_PROXY | (_NTF_ROUTER if router and address.version == 6 else 0),
        )

    async def remove_proxy(self, interface: int, address: IPAddress) -> None:
        """Stop answering for an address."""
        await self._do(
            f"proxy {address}",
            "neigh",
            "del",
            tolerate=_GONE,
            dst=str(address),
            ifindex=interface,
            family=_family(address),
            flags=_NTF_PROXY,
        )

    async def proxies(self, interface: int) -> list[IPAddress]:
        """Addresses the kernel answers for on this interface."""
        found: list[IPAddress] = []
        for family, kind in ((socket.AF_INET6, IPv6Address), (socket.AF_INET, IPv4Address)):
            async for entry in await self._netlink.neigh("dump", family=family, flags=_NTF_PROXY):
                if entry["ifindex"] == interface:
                    found.append(kind(entry.get("dst")))
        return found

    async def flush(self, interface: int) -> None:
        """Remove every route and rule of ours that leads to this interface or to its tables."""
        for family in (socket.AF_INET6, socket.AF_INET):
            stale = [
                entry
                async for entry in await self._netlink.route("dump", family=family)
                if entry["proto"] == ROUTE_PROTOCOL and entry.get("oif") == interface
            ]
            for entry in stale:
                destination = entry.get("dst")
                await self._do(
                    "route",
                    "route",
                    "del",
                    tolerate=_GONE,
                    family=family,
                    dst=f"{destination}/{entry['dst_len']}" if destination else "default",
                    oif=interface,
                    table=entry.get("table"),
                    proto=ROUTE_PROTOCOL,
                    priority=entry.get("priority") or 0,
                )
            rules = [
                entry
                async for entry in await self._netlink.rule("dump", family=family)
                if entry.get("FRA_PROTOCOL") == ROUTE_PROTOCOL
            ]
            for entry in rules:
                arguments: dict[str, Any] = {
                    "family": family,
                    "priority": entry.get("FRA_PRIORITY"),
                    "table": entry.get("FRA_TABLE"),
                }
                if entry.get("FRA_SRC"):
                    arguments.update(src=entry.get("FRA_SRC"), src_len=entry["src_len"])
                if entry.get("FRA_DST"):
                    arguments.update(dst=entry.get("FRA_DST"), dst_len=entry["dst_len"])
                await self._do("rule", "rule", "del", tolerate=_GONE, **arguments)

    @staticmethod
    def _route(route: Route) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "family": _family(route.network),
            "dst": str(route.network) if route.network.prefixlen else "default",
            "oif": route.interface,
            "table": route.table,
            "proto": ROUTE_PROTOCOL,
            "priority": route.metric,
        }
        if route.gateway is not None:
            arguments["gateway"] = str(route.gateway)
        elif route.network.version == 4:
            arguments["scope"] = 253  # link: there is no gateway
        if route.source is not None:
            arguments["prefsrc"] = str(route.source)
        return arguments

    @staticmethod
    def _rule(rule: Rule) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "family": rule.family,
            "priority": rule.priority,
            "table": rule.table,
            "protocol": ROUTE_PROTOCOL,
        }
        for key, network in (("src", rule.source), ("dst", rule.destination)):
            if network is not None:
                arguments[key] = str(network.network_address)
                arguments[f"{key}_len"] = network.prefixlen
        return arguments

    async def _do(
        self, what: str, call: str, command: str, *, tolerate: tuple[int, ...] = (), **arguments: Any
    ) -> None:
        try:
            await getattr(self._netlink, call)(command, **arguments)
        except NetlinkError as error:
            if error.code in tolerate:
                return
            raise HostError(f"the kernel refused '{call} {command}' for {what}: {error}") from error


def host_network(address: IPAddress) -> IPNetwork:
    """The address as a network of one."""
    return IPv6Network(address) if isinstance(address, IPv6Address) else IPv4Network(address)
