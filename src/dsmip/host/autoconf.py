"""Takes IPv6 configuration of a link away from the kernel, and gives it back.

On a link that dsmip manages, the kernel must not act on router advertisements of its own accord: an address
of the old network would outlive the move. Optimistic duplicate address detection (RFC 4429) makes an address
usable while it is being checked.
"""

from __future__ import annotations

import logging

from dsmip.host import sysctl

LOG = logging.getLogger(__name__)

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
    for name, value in _SETTINGS:
        settings.set(f"net/ipv6/conf/{interface}/{name}", value)


def set_mtu(interface: str, mtu: int, settings: sysctl.Settings) -> None:
    """Limit IPv6 packets (RFC 4861 section 6.3.4); the kernel refuses more than the link's own MTU."""
    if not settings.set(f"net/ipv6/conf/{interface}/mtu", mtu):
        LOG.warning("%s: the IPv6 MTU cannot be set to %d", interface, mtu)
