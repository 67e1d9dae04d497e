"""Puts addresses, default routes and neighbours into the kernel, and takes them out (rtnetlink).

Each call takes about 0.2 ms. Everything put in carries LINK_PROTOCOL, so a later process finds what an
earlier one left behind.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Collection
from ipaddress import IPv4Address
from typing import Any

from dsmip.core.types import IPAddress
from dsmip.host.ownership import LINK_PROTOCOL

LOG = logging.getLogger(__name__)

_IFA_F_NODAD = 0x02
_IFA_F_OPTIMISTIC = 0x04
_IFA_F_PERMANENT = 0x80
_IFA_F_NOPREFIXROUTE = 0x200
_NUD_STALE = 0x04
_RTNH_F_ONLINK = 4
_RT_SCOPE_UNIVERSE = 0

#: An address without an end gets this lifetime in seconds (about 3 years): what dsmip adds is never permanent,
#: which tells it from an administrator's addresses on kernels that do not report IFA_PROTO.
LONGEST_LIFETIME = 100_000_000

#: Errors that mean "it is not there" when something is removed.
_ABSENT = (errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENETDOWN)


class AddressingError(OSError):
    """The kernel refused an address or a route."""


class Addressing:
    """The commands; use between `open` and `close`. Raises AddressingError when the kernel refuses."""

    def __init__(self) -> None:
        self._netlink: Any = None

    async def open(self) -> None:
        """Open the netlink socket."""
        from pyroute2 import AsyncIPRoute

        self._netlink = AsyncIPRoute()
        await self._netlink.setup_endpoint()
        await self._netlink.bind(0)

    def close(self) -> None:
        """Close the netlink socket."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    @property
    def port(self) -> int:
        """The netlink port number the kernel notes as the author of changes."""
        return int(self._netlink.socket.getsockname()[0])

    async def add_address(
        self,
        ifindex: int,
        address: IPAddress,
        prefix_length: int,
        *,
        valid: float | None,
        preferred: float | None,
        metric: int,
        on_link: bool = True,
        optimistic: bool = True,
        dad: bool = True,
    ) -> None:
        """Add an address or renew its lifetimes (seconds; None = no end).

        `metric` is that of the prefix's route. `optimistic`: usable during duplicate address detection.
        """
        flags = 0 if on_link else _IFA_F_NOPREFIXROUTE
        if address.version == 6:
            flags |= _IFA_F_NODAD if not dad else _IFA_F_OPTIMISTIC if optimistic else 0
        await self._command(
            "addr",
            "replace",
            index=ifindex,
            family=_family(address),
            address=str(address),
            prefixlen=prefix_length,
            flags=flags,
            valid=_lifetime(valid, at_least=1),
            preferred=_lifetime(preferred, at_least=0),
            rt_priority=metric,
            proto=LINK_PROTOCOL,
        )

    async def remove_address(self, ifindex: int, address: IPAddress, prefix_length: int) -> None:
        """Remove an address, if it is there."""
        await self._command(
            "addr",
            "del",
            index=ifindex,
            family=_family(address),
            address=str(address),
            prefixlen=prefix_length,
        )

    async def set_default_route(
        self, ifindex: int, gateway: IPAddress, metric: int, source: IPv4Address | None = None
    ) -> None:
        """Add the default route of the gateway's family in the main table, or change it."""
        arguments: dict[str, Any] = {} if source is None else {"prefsrc": str(source)}
        if gateway.version == 4:
            arguments["flags"] = _RTNH_F_ONLINK
        await self._command("route", "replace", **_route(ifindex, gateway, metric), **arguments)

    async def remove_default_route(self, ifindex: int, gateway: IPAddress, metric: int) -> None:
        """Remove the default route, if it is there."""
        await self._command("route", "del", **_route(ifindex, gateway, metric))

    async def set_neighbor(self, ifindex: int, address: IPAddress, mac: bytes) -> None:
        """Enter a neighbour's link-layer address as one heard from it (state STALE, RFC 4861 6.3.4)."""
        await self._command(
            "neigh",
            "replace",
            family=_family(address),
            ifindex=ifindex,
            dst=str(address),
            lladdr=mac.hex(":"),
            state=_NUD_STALE,
        )

    async def clean(self, interfaces: Collection[str]) -> int:
        """Remove what an earlier process left on these interfaces; returns the number of things removed.

        Routes are known by their protocol number. Addresses by theirs, or, on kernels that do not report it,
        by having a lifetime although nobody else configures the interface.
        """
        found = 0
        names = {}
        async for link in await self._netlink.link("dump"):
            if link.get_attr("IFLA_IFNAME") in interfaces:
                names[link["index"]] = link.get_attr("IFLA_IFNAME")
        routes = [
            route
            for family in (socket.AF_INET, socket.AF_INET6)
            async for route in await self._netlink.route("dump", family=family, proto=LINK_PROTOCOL)
        ]
        for route in routes:
            gateway, ifindex = route.get_attr("RTA_GATEWAY"), route.get_attr("RTA_OIF")
            if route["proto"] == LINK_PROTOCOL and gateway and ifindex in names and not route["dst_len"]:
                metric = route.get_attr("RTA_PRIORITY") or 0
                await self._command(
                    "route",
                    "del",
                    family=route["family"],
                    dst_len=0,
                    gateway=gateway,
                    oif=ifindex,
                    priority=metric,
                    proto=LINK_PROTOCOL,
                )
                found += 1
        addresses = [address async for address in await self._netlink.addr("dump")]
        for address in addresses:
            if address["index"] not in names or address["scope"] != _RT_SCOPE_UNIVERSE:
                continue
            protocol = address.get_attr("IFA_PROTO")
            flags = address.get_attr("IFA_FLAGS") or address["flags"]
            if protocol == LINK_PROTOCOL or (protocol is None and not flags & _IFA_F_PERMANENT):
                await self._command(
                    "addr",
                    "del",
                    index=address["index"],
                    family=address["family"],
                    address=address.get_attr("IFA_LOCAL") or address.get_attr("IFA_ADDRESS"),
                    prefixlen=address["prefixlen"],
                )
                found += 1
        return found

    async def _command(self, kind: str, command: str, **arguments: Any) -> None:
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            await getattr(self._netlink, kind)(command, **arguments)
        except NetlinkError as error:
            if command == "del" and error.code in _ABSENT:
                return
            target = arguments.get("address") or arguments.get("gateway") or arguments.get("dst")
            raise AddressingError(error.code, f"{kind} {command} {target}: {error}") from error


def _family(address: IPAddress) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _lifetime(seconds: float | None, *, at_least: int) -> int:
    return LONGEST_LIFETIME if seconds is None else min(max(at_least, int(seconds)), LONGEST_LIFETIME)


def _route(ifindex: int, gateway: IPAddress, metric: int) -> dict[str, Any]:
    return {
        "family": _family(gateway),
        "dst": "0.0.0.0/0" if gateway.version == 4 else "::/0",
        "gateway": str(gateway),
        "oif": ifindex,
        "priority": metric,
        "proto": LINK_PROTOCOL,
    }
