"""The home address's routes, rules, addresses and proxy neighbours, over rtnetlink.

Everything put in carries a routing protocol number of its own, so that it is recognised after a crash, and
everything is put in with "replace", so that putting it in twice changes nothing and interrupts nothing.
"""

from __future__ import annotations

import enum
import errno
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from dsmip.core.types import IPAddress, IPNetwork
from dsmip.host import rtnetlink as nl
from dsmip.host.rtnetlink import RequestSocket, attribute

#: Marks our routes and rules (rtnetlink(7) rtm_protocol): not in any distribution's rt_protos. Routes of the
#: networks visited have another number (`dsmip.host.addressing`).
ROUTE_PROTOCOL: Final = 191

_IFINFOMSG = struct.Struct("=BxHiII")

_CACHEINFO = struct.Struct("=IIII")
_FOR_EVER = 0xFFFF_FFFF

_IFA_CACHEINFO, _IFA_FLAGS = 6, 8
_IFA_F_NODAD, _IFA_F_NOPREFIXROUTE = 0x02, 0x200
_IFF_UP = 1
_IFLA_MTU, _IFLA_TXQLEN, _IFLA_AF_SPEC, _IFLA_INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE = 4, 13, 26, 8, 1
_FRA_DST, _FRA_SRC, _FRA_IFNAME, _FRA_GOTO, _FRA_PRIORITY, _FRA_TABLE, _FRA_PROTOCOL = 1, 2, 3, 4, 6, 15, 21
_NDA_DST, _NTF_PROXY, _NTF_ROUTER = 1, 0x08, 0x80

#: Next hop of IPv6 routes into a tunnel device: nobody has this address, and nobody is asked for it.
_TUNNEL_NEXT_HOP: Final = IPv6Address("fe80::1")

_CREATE_OR_REPLACE: Final = nl.NLM_F_CREATE | nl.NLM_F_REPLACE
_GONE: Final = (errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL, errno.ENETDOWN)


class HostError(RuntimeError):
    """The kernel refused a change; the message names what was tried."""


class InterfaceAddress(NamedTuple):
    """An address on an interface, which is given by its index; `prefix_length` in bits."""

    interface: int
    address: IPAddress
    prefix_length: int


@dataclass(frozen=True, slots=True)
class Route:
    """A route of ours. `gateway` None = on-link; `source` is the preferred source address."""

    network: IPNetwork
    interface: int
    table: int = nl.MAIN_TABLE
    metric: int = 10
    gateway: IPAddress | None = None
    source: IPAddress | None = None


def tunnel_route(
    network: IPNetwork, device: int, *, table: int = nl.MAIN_TABLE, source: IPAddress | None = None
) -> Route:
    """A route into a tunnel device.

    An IPv6 one has a next hop. Without, the kernel would enter every single destination as a neighbour, and
    there is one table for the neighbours of all interfaces, with room for 1,024. Of IPv4 it knows that a
    device of two ends has but one.
    """
    gateway = _TUNNEL_NEXT_HOP if network.version == 6 else None
    return Route(network, device, table=table, gateway=gateway, source=source)


class RuleAction(enum.IntEnum):
    """What becomes of a packet that matches (linux/fib_rules.h)."""

    TO_TABLE = 1
    GOTO = 2
    BLACKHOLE = 6


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule of ours: packets from `source` (or to `destination`) look into `table`.

    With action GOTO the rules from priority `target` on decide, with BLACKHOLE the packet is dropped: `table`
    is 0 then. `local`: only packets that this node itself sends.
    """

    priority: int
    table: int = 0
    source: IPNetwork | None = None
    destination: IPNetwork | None = None
    action: RuleAction = RuleAction.TO_TABLE
    target: int = 0
    local: bool = False


def halves(network: IPv4Network) -> tuple[IPv4Network, ...]:
    """The two halves of an IPv4 network: together more specific than the kernel's connected route to it,
    whose metric is 0 and cannot be undercut."""
    return tuple(network.subnets(prefixlen_diff=1)) if network.prefixlen < 32 else (network,)


def host_network(address: IPAddress) -> IPNetwork:
    """The address as a network of one."""
    return IPv6Network(address) if isinstance(address, IPv6Address) else IPv4Network(address)


class Routing:
    """One rtnetlink socket for commands. Calls raise HostError when the kernel refuses; removing what is not
    there is no error."""

    def __init__(self) -> None:
        self._netlink = RequestSocket()

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    @property
    def port(self) -> int:
        """The netlink port number the kernel notes as the author of these changes."""
        return self._netlink.port

    def set_link(self, interface: int, *, mtu: int, queue: int) -> None:
        """Bring a tunnel device up, without a link-local address of its own.

        The device has no link, and a link-local address would make the kernel send router solicitations and
        redirects on it. `queue` is how many packets may wait for whoever reads the device.
        """
        mode = attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes((_ADDR_GEN_NONE,)))
        settings = attribute(_IFLA_MTU, nl.U32.pack(mtu))
        settings += attribute(_IFLA_TXQLEN, nl.U32.pack(queue))
        settings += attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET6, mode))
        what = f"device {interface}"
        self._do(nl.RTM_SETLINK, 0, _IFINFOMSG.pack(0, 0, interface, 0, 0) + settings, what)
        self._do(nl.RTM_SETLINK, 0, _IFINFOMSG.pack(0, 0, interface, _IFF_UP, _IFF_UP), what)

    def set_mtu(self, interface: int, mtu: int) -> None:
        """Change the MTU of a device, octets."""
        body = _IFINFOMSG.pack(0, 0, interface, 0, 0) + attribute(_IFLA_MTU, nl.U32.pack(mtu))
        self._do(nl.RTM_SETLINK, 0, body, f"MTU of device {interface}")

    def add_route(self, route: Route) -> None:
        """Put a route in, or replace the one with the same network, table and metric."""
        self._do(nl.RTM_NEWROUTE, _CREATE_OR_REPLACE, _route_body(route), f"route to {route.network}")

    def remove_route(self, route: Route) -> None:
        """Take a route out."""
        self._do(nl.RTM_DELROUTE, 0, _route_body(route), f"route to {route.network}", _GONE)

    def add_rule(self, rule: Rule) -> None:
        """Put a rule in; it may be there already."""
        flags = nl.NLM_F_CREATE | nl.NLM_F_EXCL
        self._do(nl.RTM_NEWRULE, flags, _rule_body(rule), f"rule {rule.priority}", (errno.EEXIST,))

    def remove_rule(self, rule: Rule) -> None:
        """Take a rule out."""
        self._do(nl.RTM_DELRULE, 0, _rule_body(rule), f"rule {rule.priority}", _GONE)

    def add_address(
        self, interface: int, address: IPAddress, prefix_length: int, *, deprecated: bool = False
    ) -> None:
        """Put an address on an interface at once: no duplicate address detection, no prefix route. A
        `deprecated` one is for sessions that have it (RFC 4862 section 5.5.4)."""
        flags = _IFA_F_NOPREFIXROUTE | (_IFA_F_NODAD if address.version == 6 else 0)
        body = nl.address_body(interface, address, prefix_length) + attribute(_IFA_FLAGS, nl.U32.pack(flags))
        lifetimes = _CACHEINFO.pack(0 if deprecated else _FOR_EVER, _FOR_EVER, 0, 0)
        body += attribute(_IFA_CACHEINFO, lifetimes)
        self._do(nl.RTM_NEWADDR, _CREATE_OR_REPLACE, body, f"address {address}")

    def remove_address(self, interface: int, address: IPAddress, prefix_length: int) -> None:
        """Take an address off an interface."""
        body = nl.address_body(interface, address, prefix_length)
        self._do(nl.RTM_DELADDR, 0, body, f"address {address}", _GONE)

    def add_proxy(self, interface: int, address: IPAddress, *, router: bool = False) -> None:
        """Have the kernel answer neighbour solicitations or ARP for an address on this interface."""
        flags = _NTF_PROXY | (_NTF_ROUTER if router and address.version == 6 else 0)
        body = _proxy_body(interface, address, flags)
        self._do(nl.RTM_NEWNEIGH, _CREATE_OR_REPLACE, body, f"proxy entry for {address}")

    def remove_proxy(self, interface: int, address: IPAddress) -> None:
        """Stop answering for an address."""
        body = _proxy_body(interface, address, _NTF_PROXY)
        self._do(nl.RTM_DELNEIGH, 0, body, f"proxy entry for {address}", _GONE)

    def set_neighbor(self, interface: int, address: IPAddress, link_layer: bytes) -> None:
        """Enter a neighbour's link-layer address as one heard from it (state STALE, RFC 4861 6.3.4)."""
        body = nl.neighbor_body(interface, address, link_layer)
        self._do(nl.RTM_NEWNEIGH, _CREATE_OR_REPLACE, body, f"neighbour {address}")

    async def proxies(self, interface: int) -> list[IPAddress]:
        """Addresses the kernel answers for on this interface."""
        from pyroute2 import AsyncIPRoute

        found: list[IPAddress] = []
        async with AsyncIPRoute() as dump:
            for family, kind in ((socket.AF_INET6, IPv6Address), (socket.AF_INET, IPv4Address)):
                async for entry in await dump.neigh("dump", family=family, flags=_NTF_PROXY):
                    if entry["ifindex"] == interface:
                        found.append(kind(entry.get("dst")))
        return found

    async def routes(self) -> list[Route]:
        """Every route of ours, whichever process put it in."""
        from pyroute2 import AsyncIPRoute

        found: list[Route] = []
        async with AsyncIPRoute() as dump:
            for family, everything in ((socket.AF_INET6, "::/0"), (socket.AF_INET, "0.0.0.0/0")):
                async for entry in await dump.route("dump", family=family):
                    if entry["proto"] != ROUTE_PROTOCOL or entry.get("oif") is None:
                        continue
                    network = f"{entry.get('dst')}/{entry['dst_len']}" if entry["dst_len"] else everything
                    gateway, source = (
                        ip_address(entry.get(name)) if entry.get(name) else None
                        for name in ("gateway", "prefsrc")
                    )
                    table, metric = entry.get("table"), entry.get("priority") or 0
                    found.append(Route(ip_network(network), entry.get("oif"), table, metric, gateway, source))
        return found

    async def addresses(self) -> list[InterfaceAddress]:
        """Every address of this node."""
        from pyroute2 import AsyncIPRoute

        async with AsyncIPRoute() as dump:
            return [
                InterfaceAddress(
                    entry["index"], ip_address(entry.get("local") or entry.get("address")), entry["prefixlen"]
                )
                async for entry in await dump.addr("dump")
            ]

    async def flush(self, interface: int) -> None:
        """Remove every route of ours that leads to this interface, and every rule of ours."""
        from pyroute2 import AsyncIPRoute

        routes = [route for route in await self.routes() if route.interface == interface]
        rules: list[Rule] = []
        async with AsyncIPRoute() as dump:
            for family in (socket.AF_INET6, socket.AF_INET):
                async for entry in await dump.rule("dump", family=family):
                    if entry.get("FRA_PROTOCOL") == ROUTE_PROTOCOL:
                        ends = [
                            ip_network(f"{entry.get(name)}/{entry[length]}") if entry.get(name) else None
                            for name, length in (("FRA_SRC", "src_len"), ("FRA_DST", "dst_len"))
                        ]
                        source, destination = ends
                        action = RuleAction(entry["action"])
                        rules.append(
                            Rule(
                                entry.get("FRA_PRIORITY"), entry.get("FRA_TABLE"), source, destination, action
                            )
                        )
        for route in routes:
            self.remove_route(route)
        for rule in rules:
            self.remove_rule(rule)

    def _do(self, kind: int, flags: int, body: bytes, what: str, tolerate: Collection[int] = ()) -> None:
        try:
            self._netlink.request(kind, flags, body)
        except OSError as error:
            if error.errno not in tolerate:
                raise HostError(f"the kernel refused a change of {what}: {error.strerror}") from error


def _route_body(route: Route) -> bytes:
    ipv4 = route.network.version == 4
    return nl.route_body(
        *(route.network, route.interface, route.metric),
        table=route.table,
        gateway=route.gateway,
        source=route.source,
        protocol=ROUTE_PROTOCOL,
        scope=nl.SCOPE_LINK if route.gateway is None and ipv4 else nl.SCOPE_UNIVERSE,
        # A home router outside the home address's own prefix is on the link all the same.
        flags=nl.RTNH_F_ONLINK if route.gateway is not None and ipv4 else 0,
    )


def _rule_body(rule: Rule) -> bytes:
    source, destination = rule.source, rule.destination
    network = source or destination
    body = nl.RTMSG.pack(
        nl.family(network) if network is not None else socket.AF_INET6,
        destination.prefixlen if destination is not None else 0,
        source.prefixlen if source is not None else 0,
        *(0, 0, 0, 0, rule.action, 0),
    )
    if destination is not None:
        body += attribute(_FRA_DST, destination.network_address.packed)
    if source is not None:
        body += attribute(_FRA_SRC, source.network_address.packed)
    if rule.local:
        body += attribute(_FRA_IFNAME, b"lo\0")
    if rule.target:
        body += attribute(_FRA_GOTO, nl.U32.pack(rule.target))
    body += attribute(_FRA_PRIORITY, nl.U32.pack(rule.priority)) + attribute(
        _FRA_TABLE, nl.U32.pack(rule.table)
    )
    return body + attribute(_FRA_PROTOCOL, bytes((ROUTE_PROTOCOL,)))


def _proxy_body(interface: int, address: IPAddress, flags: int) -> bytes:
    return nl.NDMSG.pack(nl.family(address), interface, 0, flags, 0) + attribute(_NDA_DST, address.packed)
