"""What rtnetlink says about the links watched: state, addresses, default routes.

Events are compared with what is already known, so a consumer sees each change once, and after lost events
(ENOBUFS) or a restart of the listening socket it sees exactly the differences.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from dsmip.core.types import IPAddress
from dsmip.host import rtnetlink as nl
from dsmip.movement.actions import AddressFlags

if TYPE_CHECKING:
    from pyroute2 import AsyncIPRoute

LOG = logging.getLogger(__name__)

_IFF_UP = 0x1
_IFF_RUNNING = 0x40
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # RTMGRP: LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE
_NLM_F_REPLACE = 0x100
_INFINITY = 0xFFFFFFFF
_FLAGS = (
    (0x40, AddressFlags.TENTATIVE),
    (0x04, AddressFlags.OPTIMISTIC),
    (0x20, AddressFlags.DEPRECATED),
    (0x08, AddressFlags.DAD_FAILED),
)

#: First size of the event socket's buffer in octets; doubled at each overflow up to the limit.
RECEIVE_BUFFER = 1 << 20
RECEIVE_BUFFER_LIMIT = 1 << 25


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """A link as it is now. `carrier_changes` counts every loss and return of carrier."""

    name: str
    ifindex: int
    mac: bytes
    mtu: int
    running: bool
    carrier_changes: int


@dataclass(frozen=True, slots=True)
class LinkGone:
    """The interface does not exist any more, or has another name."""

    name: str


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """An address as it is now; `valid` seconds left, None = no end."""

    name: str
    address: IPAddress
    prefix_length: int
    flags: AddressFlags
    valid: float | None


@dataclass(frozen=True, slots=True)
class AddressGone:
    """The address was removed; `flags` as they were last."""

    name: str
    address: IPAddress
    flags: AddressFlags


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """A default route by a gateway in the main table."""

    name: str
    gateway: IPAddress
    metric: int


@dataclass(frozen=True, slots=True)
class RouteGone:
    """The default route was removed."""

    name: str
    gateway: IPAddress
    metric: int


LinkEvent = LinkSeen | LinkGone | AddressSeen | AddressGone | RouteSeen | RouteGone


class LinkMonitor:
    """Watches the interfaces named, whether they exist yet or not. `on_event` is called from the event loop.

    Removals made through the netlink socket with the port number `own_port` are not reported.
    """

    def __init__(
        self, names: Collection[str], on_event: Callable[[LinkEvent], None], own_port: int = 0
    ) -> None:
        self._names = frozenset(names)
        self._own_port = own_port
        self._on_event = on_event
        self._links: dict[int, LinkSeen] = {}
        self._addresses: dict[tuple[int, IPAddress], AddressSeen] = {}
        self._routes: dict[tuple[int, IPAddress, int], RouteSeen] = {}
        self._task: asyncio.Task[None] | None = None
        self._buffer = RECEIVE_BUFFER

    async def start(self) -> None:
        """Report what is there, then every change, until `stop`."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(ready), name="rtnetlink events")
        await asyncio.wait((ready, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            self._task.result()

    async def use(self, names: Collection[str], anew: Collection[str] = ()) -> None:
        """Watch these instead. Those that are new, or in `anew`, are reported from the beginning; nothing is
        said any more of the others."""
        running = self._task is not None
        await self.stop()
        self._names = frozenset(names)
        for ifindex, link in [*self._links.items()]:
            if link.name not in self._names or link.name in anew:
                del self._links[ifindex]
                self._addresses = {key: seen for key, seen in self._addresses.items() if key[0] != ifindex}
                self._routes = {key: seen for key, seen in self._routes.items() if key[0] != ifindex}
        if running:
            await self.start()

    async def stop(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self, ready: asyncio.Future[None]) -> None:
        from pyroute2 import AsyncIPRoute

        while True:
            async with AsyncIPRoute(rcvbuf=self._buffer) as events:
                await events.bind(_GROUPS)
                async with AsyncIPRoute() as dump:
                    await self._synchronise(dump)
                if not ready.done():
                    ready.set_result(None)
                try:
                    while True:
                        async for message in events.get():
                            self._receive(message)
                except OSError as error:
                    self._buffer = min(2 * self._buffer, RECEIVE_BUFFER_LIMIT)
                    LOG.warning("rtnetlink events lost (%s): reading everything again", error)

    async def _synchronise(self, dump: AsyncIPRoute) -> None:
        """Take in the present state; what is not in it any more is gone."""
        links, addresses, routes = set(), set(), set()
        async for message in await dump.link("dump"):
            links.add(message["index"])
            self._link(message)
        for ifindex in [*self._links]:
            if ifindex not in links:
                self._link_gone(ifindex)
        async for message in await dump.addr("dump"):
            addresses.add((message["index"], _address(message)))
            self._address(message)
        for key in [*self._addresses]:
            if key not in addresses:
                self._address_gone(key, None)
        for family in (socket.AF_INET, socket.AF_INET6):
            async for message in await dump.route("dump", family=family):
                routes.update(_default_routes(message))
                self._route(message)
        for route in [*self._routes]:
            if route not in routes:
                self._route_gone(route)

    def _receive(self, message: Any) -> None:
        match message.get("event"):
            case "RTM_NEWLINK":
                self._link(message)
            case "RTM_DELLINK":
                if message["index"] in self._links and message.get("family", 0) == socket.AF_UNSPEC:
                    self._link_gone(message["index"])
            case "RTM_NEWADDR":
                self._address(message)
            case "RTM_DELADDR":
                key = (message["index"], _address(message))
                if key in self._addresses:
                    self._address_gone(key, _flags(message), told=not self._is_own(message))
            case "RTM_NEWROUTE":
                self._route(message)
            case "RTM_DELROUTE":
                for route in _default_routes(message):
                    if route in self._routes:
                        self._route_gone(route, told=not self._is_own(message))

    def _is_own(self, message: Any) -> bool:
        """Whether the change was made by the socket whose removals need no report."""
        return self._own_port != 0 and bool(message["header"]["pid"] == self._own_port)

    def _link(self, message: Any) -> None:
        name, ifindex = message.get_attr("IFLA_IFNAME"), message["index"]
        known = self._links.get(ifindex)
        if message.get("family", 0) != socket.AF_UNSPEC:
            return
        if known is not None and known.name != name:
            self._link_gone(ifindex)
        if name not in self._names:
            return
        mac = message.get_attr("IFLA_ADDRESS") or ""
        seen = LinkSeen(
            name=name,
            ifindex=ifindex,
            mac=bytes.fromhex(mac.replace(":", "")),
            mtu=message.get_attr("IFLA_MTU") or 1500,
            running=message["flags"] & (_IFF_UP | _IFF_RUNNING) == _IFF_UP | _IFF_RUNNING,
            carrier_changes=message.get_attr("IFLA_CARRIER_CHANGES") or 0,
        )
        if seen != known:
            self._links[ifindex] = seen
            self._on_event(seen)

        if not message["flags"] & _IFF_UP:
            self._forget_routes(ifindex, socket.AF_INET)

    def _link_gone(self, ifindex: int) -> None:
        for key in [*self._addresses]:
            if key[0] == ifindex:
                self._address_gone(key, None)
        for route in [*self._routes]:
            if route[0] == ifindex:
                self._route_gone(route)
        self._on_event(LinkGone(self._links.pop(ifindex).name))

    def _forget_routes(self, ifindex: int, family: int) -> None:
        """The kernel drops IPv4 routes of an interface without saying so when it is switched off or loses its
        last address."""
        version = 4 if family == socket.AF_INET else 6
        for route in [*self._routes]:
            if route[0] == ifindex and route[1].version == version:
                self._route_gone(route)

    def _address(self, message: Any) -> None:
        link = self._links.get(message["index"])
        if link is None:
            return
        address = _address(message)
        cache = message.get_attr("IFA_CACHEINFO") or {}
        valid = cache.get("ifa_valid", _INFINITY)
        seen = AddressSeen(
            name=link.name,
            address=address,
            prefix_length=message["prefixlen"],
            flags=_flags(message),
            valid=None if valid == _INFINITY else float(valid),
        )
        if seen != self._addresses.get((link.ifindex, address)):
            self._addresses[link.ifindex, address] = seen
            self._on_event(seen)

    def _address_gone(
        self, key: tuple[int, IPAddress], flags: AddressFlags | None, *, told: bool = True
    ) -> None:
        known = self._addresses.pop(key)
        if told:
            self._on_event(AddressGone(known.name, known.address, known.flags if flags is None else flags))
        if known.address.version == 4 and not any(
            ifindex == key[0] and address.version == 4 for ifindex, address in self._addresses
        ):
            self._forget_routes(key[0], socket.AF_INET)

    def _route(self, message: Any) -> None:
        for key in _default_routes(message):
            ifindex, gateway, metric = key
            link = self._links.get(ifindex)
            if link is None:
                continue
            if message["header"]["flags"] & _NLM_F_REPLACE:
                for other in [*self._routes]:
                    if other != key and other[1].version == gateway.version and other[2] == metric:
                        self._route_gone(other)
            if key not in self._routes:
                seen = RouteSeen(link.name, gateway, metric)
                self._routes[key] = seen
                self._on_event(seen)

    def _route_gone(self, key: tuple[int, IPAddress, int], *, told: bool = True) -> None:
        known = self._routes.pop(key)
        if told:
            self._on_event(RouteGone(known.name, known.gateway, known.metric))


def _address(message: Any) -> IPAddress:
    """IPv4 point-to-point links have the peer in IFA_ADDRESS and the own address in IFA_LOCAL."""
    return ip_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


def _flags(message: Any) -> AddressFlags:
    number = message.get_attr("IFA_FLAGS")
    number = message["flags"] if number is None else number
    flags = AddressFlags.NONE
    for bit, flag in _FLAGS:
        if number & bit:
            flags |= flag
    return flags


def _default_routes(message: Any) -> list[tuple[int, IPAddress, int]]:
    """(ifindex, gateway, metric) of each next hop of a default route in the main table; else nothing."""
    table = message.get_attr("RTA_TABLE") or message["table"]
    if message["dst_len"] or message["type"] != nl.RTN_UNICAST or table != nl.MAIN_TABLE:
        return []
    metric = message.get_attr("RTA_PRIORITY") or 0
    hops = [(message.get_attr("RTA_OIF"), message.get_attr("RTA_GATEWAY"))]
    for hop in message.get_attr("RTA_MULTIPATH") or ():
        hops.append((hop["oif"], hop.get_attr("RTA_GATEWAY")))
    return [(ifindex, ip_address(gateway), metric) for ifindex, gateway in hops if ifindex and gateway]
