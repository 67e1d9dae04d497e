"""Which interface leads to the Internet, and the addresses this machine has there."""

from __future__ import annotations

import fcntl
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

_PROC = Path("/proc/net")

# linux/ipv6_route.h, linux/route.h: RTF_UP.
_ROUTE_UP = 0x0001
# linux/if_addr.h: temporary, deprecated, tentative: nothing to be found by.
_UNFIT = 0x01 | 0x20 | 0x40
_GLOBAL = 0x00
_LOOPBACK = "lo"

_SIOCGIFADDR = 0x8915
_IFREQ = struct.Struct("16s2xH4s16x")


@dataclass(frozen=True, slots=True)
class Uplink:
    """An interface and the addresses others reach this machine by; None = there is none."""

    interface: str
    address: IPv6Address | None
    ipv4_address: IPv4Address | None


def default_uplink() -> Uplink | None:
    """The interface of the default route, the IPv6 one if the two differ; None = there is none."""
    routes = _default_routes6() or _default_routes4()
    if not routes:
        return None
    return uplink(min(routes)[1])


def uplink(interface: str) -> Uplink:
    """The addresses of an interface; it need not exist."""
    return Uplink(interface, _address(interface), _ipv4_address(interface))


def _default_routes6() -> list[tuple[int, str]]:
    """Metric and interface of each."""
    found = []
    for line in _lines("ipv6_route"):
        destination, length, _, _, _, metric, _, _, flags, interface = line.split()
        default = int(length, 16) == 0 and int(destination, 16) == 0
        if default and int(flags, 16) & _ROUTE_UP and interface != _LOOPBACK:
            found.append((int(metric, 16), interface))
    return found


def _default_routes4() -> list[tuple[int, str]]:
    found = []
    for line in _lines("route")[1:]:
        interface, destination, _, flags, _, _, metric, mask, *_ = line.split()
        if int(destination, 16) == int(mask, 16) == 0 and int(flags, 16) & _ROUTE_UP:
            found.append((int(metric), interface))
    return found


def _address(interface: str) -> IPv6Address | None:
    found = []
    for line in _lines("if_inet6"):
        address, _, _, scope, flags, name = line.split()
        if name == interface and int(scope, 16) == _GLOBAL and not int(flags, 16) & _UNFIT:
            found.append(IPv6Address(bytes.fromhex(address)))
    # The kernel lists the latest one first; public ones are better.
    found.reverse()
    return min(found, key=lambda address: not address.is_global, default=None)


def _ipv4_address(interface: str) -> IPv4Address | None:
    request = _IFREQ.pack(interface.encode()[:15], 0, bytes(4))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFADDR, request)
        except OSError:
            return None
    return IPv4Address(answer[20:24])


def _lines(table: str) -> list[str]:
    try:
        return (_PROC / table).read_text().splitlines()
    except OSError:  # a kernel without this family
        return []
