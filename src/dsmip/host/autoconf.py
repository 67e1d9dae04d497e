"""Takes IPv6 configuration of a link away from the kernel, and gives it back.

On a link that dsmip manages, the kernel must not act on router advertisements of its own accord: an address
of the old network would outlive the move. Optimistic duplicate address detection (RFC 4429) makes an address
usable while it is being checked.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from dsmip.host import rtnetlink as nl
from dsmip.host import sysctl

LOG = logging.getLogger(__name__)

_ADDRESSES = Path("/proc/net/if_inet6")
_ROUTES = Path("/proc/net/ipv6_route")
_IFA_F_PERMANENT = 0x80
#: RTF_ADDRCONF, RTF_PREFIX_RT (linux/ipv6_route.h).
_RTF_OF_ADVERTISEMENTS = 0x40000 | 0x80000

#: What is set on a managed link: name and value.
_SETTINGS = (
    ("accept_ra", 0),
    ("autoconf", 0),
    ("optimistic_dad", 1),
    ("use_optimistic", 1),
    # A host on the networks visited, even where packets are forwarded: no Router flag in neighbour
    # advertisements, not in the all-routers group (RFC 3963 5.6 and 5.7). What decides on forwarding is the
    # setting for all interfaces.
    ("forwarding", 0),
)


def optimistic_dad_available() -> bool:
    """Whether this kernel was built with optimistic duplicate address detection."""
    return sysctl.read("net/ipv6/conf/all/optimistic_dad") is not None


def take_over(interface: str, settings: sysctl.Settings) -> None:
    """Set what dsmip needs; nothing happens where the kernel has no IPv6."""
    before = sysctl.read(f"net/ipv6/conf/{interface}/accept_ra")
    for name, value in _SETTINGS:
        settings.set(f"net/ipv6/conf/{interface}/{name}", value)
    if before not in (None, "0"):
        _forget_advertisements(interface)


def _forget_advertisements(interface: str) -> None:
    """Take out what the kernel made of router advertisements before it was told not to.

    An on-link prefix of the network left, the home prefix for one, would lead nowhere from the next.
    Addresses and routes of an earlier process of ours are never among it: the kernel has not been asking
    since.
    """
    requests = nl.RequestSocket()
    try:
        for line in _ADDRESSES.read_text().splitlines():
            address, _, length, scope, flags, name = line.split()
            if name == interface and int(scope, 16) == 0 and not int(flags, 16) & _IFA_F_PERMANENT:
                index = socket.if_nametoindex(interface)
                body = nl.address_body(index, IPv6Address(bytes.fromhex(address)), int(length, 16))
                with contextlib.suppress(OSError):  # it is gone already
                    requests.request(nl.RTM_DELADDR, 0, body)
        for line in _ROUTES.read_text().splitlines():
            destination, length, _, _, gateway, metric, _, _, flags, name = line.split()
            if name == interface and int(flags, 16) & _RTF_OF_ADVERTISEMENTS:
                network = IPv6Network((bytes.fromhex(destination), int(length, 16)))
                hop = IPv6Address(bytes.fromhex(gateway))
                body = nl.route_body(
                    *(network, socket.if_nametoindex(interface), int(metric, 16)),
                    gateway=None if hop.is_unspecified else hop,
                    kind=0,
                )
                with contextlib.suppress(OSError):
                    requests.request(nl.RTM_DELROUTE, 0, body)
    finally:
        requests.close()


def set_mtu(interface: str, mtu: int, settings: sysctl.Settings) -> None:
    """Limit IPv6 packets (RFC 4861 section 6.3.4); the kernel refuses more than the link's own MTU."""
    if not settings.set(f"net/ipv6/conf/{interface}/mtu", mtu):
        LOG.warning("%s: the IPv6 MTU cannot be set to %d", interface, mtu)
