"""Puts addresses, default routes and neighbours of the networks visited into the kernel, and takes them out.

Everything put in carries LINK_PROTOCOL, so a later process finds what an earlier one left behind.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Collection
from ipaddress import IPv4Address, ip_address, ip_network

from dsmip.core.types import IPAddress
from dsmip.host import rtnetlink as nl
from dsmip.host.rtnetlink import RequestSocket, attribute

#: Protocol number of default routes (`ip route` shows `proto 190`) and of addresses (IFA_PROTO, Linux 5.18)
#: that come and go with the networks visited. It differs from that of the home address's own routes, so that
#: either can be cleaned up without the other. Not in any distribution's rt_protos.
LINK_PROTOCOL = 190

#: An address without an end gets this lifetime in seconds (about 3 years): what dsmip adds is never
#: permanent, which tells it from an administrator's addresses, also where IFA_PROTO is not reported.
LONGEST_LIFETIME = 100_000_000


_IFA_CACHEINFO, _IFA_FLAGS, _IFA_RT_PRIORITY, _IFA_PROTO = 6, 8, 9, 11
_IFA_F_NODAD, _IFA_F_OPTIMISTIC, _IFA_F_PERMANENT, _IFA_F_NOPREFIXROUTE = 0x02, 0x04, 0x80, 0x200
_RTPROT_RA = 9

#: The kernel receives for an IPv6 address some time after it said that it has it, when a worker has run:
#: microseconds, or as long as the CPU is busy. Seconds for which that is waited for, and between looks.
_RECEIVES_WITHIN = 0.05
_PAUSE = 0.0005

#: Errors that mean "it is not there" when something is removed.
_ABSENT = (errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENETDOWN)


class AddressingError(OSError):
    """The kernel refused an address or a route."""


class Addressing:
    """Each call is done when it returns and takes some 50 microseconds.

    Raises AddressingError when the kernel refuses; removing what is not there is no error.
    """

    def __init__(self) -> None:
        self._netlink = RequestSocket()
        #: Default routes of an earlier process: (interface index, gateway, metric).
        self._left: list[tuple[int, IPAddress, int]] = []

    def close(self) -> None:
        """Close the netlink socket."""
        self._netlink.close()

    @property
    def port(self) -> int:
        """The netlink port number the kernel notes as the author of these changes."""
        return self._netlink.port

    def add_address(
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
        What is usable at once receives when this returns, so that no answer comes too early.
        """
        flags = 0 if on_link else _IFA_F_NOPREFIXROUTE
        if address.version == 6:
            flags |= _IFA_F_NODAD if not dad else _IFA_F_OPTIMISTIC if optimistic else 0
        lifetimes = struct.pack("=IIII", _lifetime(preferred, at_least=0), _lifetime(valid, at_least=1), 0, 0)
        body = nl.address_body(ifindex, address, prefix_length) + b"".join(
            (
                attribute(_IFA_CACHEINFO, lifetimes),
                attribute(_IFA_FLAGS, nl.U32.pack(flags)),
                attribute(_IFA_RT_PRIORITY, nl.U32.pack(metric)),
                attribute(_IFA_PROTO, bytes((LINK_PROTOCOL,))),
            )
        )
        self._request(nl.RTM_NEWADDR, nl.NLM_F_CREATE | nl.NLM_F_REPLACE, body, f"address {address}")
        if flags & (_IFA_F_NODAD | _IFA_F_OPTIMISTIC):
            self._await_reception(address)

    def remove_address(self, ifindex: int, address: IPAddress, prefix_length: int) -> None:
        """Remove an address."""
        body = nl.address_body(ifindex, address, prefix_length)
        self._request(nl.RTM_DELADDR, 0, body, f"address {address}", tolerate=_ABSENT)

    def set_default_route(
        self, ifindex: int, gateway: IPAddress, metric: int, source: IPv4Address | None = None
    ) -> None:
        """Add the default route of the gateway's family in the main table, or change it."""
        on_link = nl.RTNH_F_ONLINK if gateway.version == 4 else 0
        body = _route_body(ifindex, gateway, metric, source=source, flags=on_link)
        flags = nl.NLM_F_CREATE | nl.NLM_F_REPLACE
        self._request(nl.RTM_NEWROUTE, flags, body, f"default route by {gateway}")
        for left in [left for left in self._left if (left[0], left[1].version) == (ifindex, gateway.version)]:
            self._left.remove(left)
            if left != (ifindex, gateway, metric):
                self.remove_default_route(*left)

    def remove_left(self) -> None:
        """Remove the default routes of an earlier process that nothing has taken the place of."""
        for left in self._left:
            self.remove_default_route(*left)
        self._left.clear()

    def remove_default_route(self, ifindex: int, gateway: IPAddress, metric: int) -> None:
        """Remove the default route."""
        self._remove_route(ifindex, gateway, metric, LINK_PROTOCOL)

    def _remove_route(self, ifindex: int, gateway: IPAddress, metric: int, protocol: int) -> None:
        body = _route_body(ifindex, gateway, metric, protocol=protocol)
        self._request(nl.RTM_DELROUTE, 0, body, f"default route by {gateway}", tolerate=_ABSENT)

    def set_neighbor(self, ifindex: int, address: IPAddress, mac: bytes) -> None:
        """Enter a neighbour's link-layer address as one heard from it (state STALE, RFC 4861 6.3.4)."""
        body = nl.neighbor_body(ifindex, address, mac)
        self._request(nl.RTM_NEWNEIGH, nl.NLM_F_CREATE | nl.NLM_F_REPLACE, body, f"neighbour {address}")

    async def clean(self, interfaces: Collection[str]) -> int:
        """Remove what an earlier process or the kernel left on these interfaces, which dsmip alone configures
        from now on; returns the number of things found.

        Default routes: ours, and the kernel's from router advertisements. Ours are used until there is
        another one, or `remove_left` is called: the node may be where it was, and at home packets take them.
        Addresses: every one that has a lifetime, which an administrator's has not.
        """
        from pyroute2 import AsyncIPRoute

        async with AsyncIPRoute() as dump:
            indices = {
                link["index"]
                async for link in await dump.link("dump")
                if link.get_attr("IFLA_IFNAME") in interfaces
            }
            routes = [
                route
                for family in (socket.AF_INET, socket.AF_INET6)
                async for route in await dump.route("dump", family=family)
                if route["proto"] in (LINK_PROTOCOL, _RTPROT_RA) and route.get_attr("RTA_OIF") in indices
            ]
            addresses = [
                address
                async for address in await dump.addr("dump")
                if address["index"] in indices and address["scope"] == nl.SCOPE_UNIVERSE
            ]
        found = 0
        for route in routes:
            gateway = route.get_attr("RTA_GATEWAY")
            if gateway and not route["dst_len"]:
                place = (
                    route.get_attr("RTA_OIF"),
                    ip_address(gateway),
                    route.get_attr("RTA_PRIORITY") or 0,
                )
                if route["proto"] == LINK_PROTOCOL:
                    self._left.append(place)
                else:
                    self._remove_route(*place, route["proto"])
                found += 1
        for entry in addresses:
            flags = entry.get_attr("IFA_FLAGS") or entry["flags"]
            if not flags & _IFA_F_PERMANENT:
                text = entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS")
                self.remove_address(entry["index"], ip_address(text), entry["prefixlen"])
                found += 1
        return found

    def _await_reception(self, address: IPAddress) -> None:
        """Until packets to this address are for this node; not for long, it may be gone again."""
        deadline = time.monotonic() + _RECEIVES_WITHIN
        while not self._receives(address) and time.monotonic() < deadline:
            time.sleep(_PAUSE)  # the worker has the same CPU as the process that added the address

    def _receives(self, address: IPAddress) -> bool:
        try:
            [route] = self._netlink.ask(nl.RTM_GETROUTE, nl.destination_body(address))
        except OSError:
            return False  # no route to it at all
        return bool(nl.RTMSG.unpack_from(route)[7] == nl.RTN_LOCAL)

    def _request(self, kind: int, flags: int, body: bytes, what: str, tolerate: Collection[int] = ()) -> None:
        try:
            self._netlink.request(kind, flags, body)
        except OSError as error:
            if error.errno is None or error.errno not in tolerate:
                raise AddressingError(error.errno, f"{what}: {error.strerror}") from error


def _lifetime(seconds: float | None, *, at_least: int) -> int:
    return LONGEST_LIFETIME if seconds is None else min(max(at_least, int(seconds)), LONGEST_LIFETIME)


def _route_body(
    ifindex: int,
    gateway: IPAddress,
    metric: int,
    *,
    source: IPv4Address | None = None,
    flags: int = 0,
    protocol: int = LINK_PROTOCOL,
) -> bytes:
    everything = ip_network("::/0" if gateway.version == 6 else "0.0.0.0/0")
    return nl.route_body(
        everything, ifindex, metric, gateway=gateway, source=source, protocol=protocol, flags=flags
    )
