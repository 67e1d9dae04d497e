"""Only in the guest, where the environment says so."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from dsmip.daemon import control
from dsmip.lab.namespaces import open_socket
from tests.system.conftest import PREFIX, Namespaces, namespaces

__all__ = ["namespaces"]

collect_ignore_glob = [] if os.environ.get("DSMIP_GUEST") else ["test_*.py"]


@pytest.fixture
def network(namespaces: Namespaces) -> Namespaces:
    """See `cable`."""
    cable(namespaces)
    return namespaces


def cable(namespaces: Namespaces) -> None:
    """A home agent, a router that may translate, a mobile node behind it, and a correspondent beside it."""
    namespaces.add("ha", "gw", "mn", "cn")
    namespaces.cable(("ha", "eth0"), ("gw", "outside"))
    namespaces.cable(("gw", "inside"), ("mn", "eth0"))
    namespaces.cable(("gw", "aside"), ("cn", "eth0"))
    for where, interface, *addresses in (
        ("ha", "eth0", "2001:db8:ffff::1/64", "192.0.2.1/24"),
        ("gw", "outside", "2001:db8:ffff::2/64", "192.0.2.2/24"),
        ("gw", "inside", "2001:db8:1::1/64", "10.0.0.1/24"),
        ("gw", "aside", "2001:db8:400::1/64", "203.0.113.1/24"),
        ("cn", "eth0", "2001:db8:400::cafe/64", "203.0.113.200/24"),
    ):
        for address in addresses:
            nodad = ("nodad",) if ":" in address else ()
            namespaces.run(where, "ip", "addr", "add", address, "dev", interface, *nodad)
    namespaces.run("gw", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    for where, destination, router in (
        ("ha", "10.0.0.0/24", "192.0.2.2"),
        ("ha", "203.0.113.0/24", "192.0.2.2"),
        ("ha", "2001:db8::/32", "2001:db8:ffff::2"),
        ("gw", "2001:db8:100::/64", "2001:db8:ffff::1"),
        ("gw", "198.51.100.0/24", "192.0.2.1"),
        ("cn", "2000::/3", "2001:db8:400::1"),
        ("cn", "0.0.0.0/0", "203.0.113.1"),
    ):
        namespaces.run(where, "ip", "route", "add", destination, "via", router)


def ask(name: str, command: str) -> Any:
    """From here, not from a command: starting Python takes seconds in the guest."""
    try:
        return control.ask(name, command)
    except control.ControlError:
        return {}


def address_in(network: Namespaces, address: str, router: str) -> None:
    """Give the mobile node this care-of address instead of all others of the family, and a default route."""
    family = "-6" if ":" in address else "-4"
    network.run("mn", "ip", family, "addr", "flush", "dev", "eth0", "scope", "global")
    nodad = ("nodad",) if ":" in address else ()
    network.run("mn", "ip", "addr", "add", address, "dev", "eth0", *nodad)
    network.run("mn", "ip", family, "route", "replace", "default", "via", router, "dev", "eth0")


def send_in_clear(node: str, interface: str, packet: bytes) -> None:
    """Send a whole IPv6 packet by this interface, not the tunnel; no policy of the kernel asks about it."""
    with open_socket(f"{PREFIX}{node}", socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        raw.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))


TRANSLATION = (
    'table ip nat { chain post { type nat hook postrouting priority 100; oifname "outside" masquerade; }; }'
)
