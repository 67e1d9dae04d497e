"""From the plan to the kernel: namespaces, cables, bridges, addresses, routes and NAT."""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import socket
import struct
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor

from dsmip.lab import namespaces, plan
from dsmip.lab.errors import LabError
from dsmip.lab.relay import Cable
from dsmip.lab.uplinks import Shape, Uplink

#: No checks of a source's route: an address moves between links here (RFC 3704 section 2 explains them).
_COMMON = {"ipv4/conf/all/rp_filter": 0, "ipv4/conf/default/rp_filter": 0}
#: Routers and servers keep their addresses for ever: they need not ask whether somebody else has them.
_NO_DAD = {
    "ipv6/conf/all/accept_dad": 0,
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/default/dad_transmits": 0,
}
_FORWARD = {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1}
_NO_IPV6 = {"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1}
_NO_RA = {"ipv6/conf/all/accept_ra": 0, "ipv6/conf/default/accept_ra": 0}

#: Above what the kernel gives to the bridges.
_FIRST_INDEX = 101

EDGE = "edge"
RELAY_CORE = "relay-core"
RELAY_EDGE = "relay-edge"

# linux/sockios.h, linux/ethtool.h
_SIOCETHTOOL = 0x8946
_ETHTOOL_STSO = 0x1F
_ETHTOOL_SGSO = 0x24


def build(prefix: str, uplinks: Sequence[Uplink], *, delayed: bool) -> None:
    """Make every namespace named `prefix` + node and wire them. `delayed` leaves a gap in the cable between
    core and edge; the ends of such gaps (`relayed`) a relay process has to join.

    Raises LabError when the kernel refuses something; what was made by then stays for `remove`.
    """
    cables = [*plan.CABLES, *_edge_cables(delayed)]
    for uplink in uplinks:
        cables += uplink.cables
    namespaces.batch(f"netns add {prefix}{node}" for node in plan.NODES)
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda node: namespaces.set_sysctls(prefix + node, _sysctls(node)), plan.NODES))
        namespaces.batch(_cable_commands(prefix, cables))
        plugs = {uplink.plug for uplink in uplinks}
        list(pool.map(lambda node: _dress(prefix, node, cables, plugs), plan.NODES))
    for uplink in uplinks:
        for node, interface in uplink.segmenting:
            segment_packets(prefix + node, interface)


def relayed(uplinks: Sequence[Uplink], delay: float) -> list[Cable]:
    """The gaps in a lab's wiring. `delay` is that between core and edge, in seconds each way."""
    cables = [Cable(u.interface, (u.plug, u.air), u.shape) for u in uplinks if u.shape is not None]
    if delay > 0:
        cables.append(Cable(EDGE, (RELAY_CORE, RELAY_EDGE), Shape(delay=delay)))
    return cables


def remove(prefix: str) -> None:
    """Remove every namespace of the plan that exists. Its processes must have ended before."""
    present = [node for node in plan.NODES if namespaces.exists(prefix + node)]
    if present:
        namespaces.batch(f"netns del {prefix}{node}" for node in present)


def _edge_cables(delayed: bool) -> list[tuple[plan.Port, plan.Port]]:
    core, edge = plan.EDGE_CABLE
    if not delayed:
        return [(core, edge)]
    return [(core, plan.Port(plan.LINKS, RELAY_CORE)), (edge, plan.Port(plan.LINKS, RELAY_EDGE))]


def _sysctls(node: str) -> dict[str, int]:
    settings = dict(_COMMON)
    if node == plan.LINKS:
        settings |= _NO_IPV6
    elif node != "mr":  # the mobile router's uplink is left as a kernel makes it
        settings |= _NO_DAD
    if node in plan.ROUTERS:
        settings |= _FORWARD
    if node not in ("host", "mr"):
        settings |= _NO_RA
    return settings


def _cable_commands(prefix: str, cables: list[tuple[plan.Port, plan.Port]]) -> list[str]:
    """`ip` commands for the cables, each end with an interface index of its own.

    The kernel tells at once of the carrier of an interface whose index differs from its peer's, and of any
    other only once a second (net/core/link_watch.c); by chance, peers in different namespaces get the same.
    """
    indexes = itertools.count(_FIRST_INDEX)

    def end(port: plan.Port) -> str:
        address = f" address {port.mac}" if port.mac else ""
        return f"name {port.interface} index {next(indexes)}{address} netns {prefix}{port.node}"

    return [f"link add {end(a)} type veth peer {end(b)}" for a, b in cables]


def _dress(prefix: str, node: str, cables: list[tuple[plan.Port, plan.Port]], plugs: Set[str]) -> None:
    ports = [port for cable in cables for port in cable if port.node == node]
    lines = ["link set lo up"]
    if node == plan.LINKS:
        # Ageing never matters here; snooping and a forwarding delay would hold back what a move waits for.
        lines += [
            f"link add name {access.name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
            for access in plan.ACCESS
        ]
        lines += [f"link set {access.name} up" for access in plan.ACCESS]
    if node == "mr":
        namespaces.set_sysctls(prefix + node, {f"ipv6/conf/{plan.LAN}/accept_dad": 0})
    if node == "host":
        # The prefix comes from the mobile router's advertisements, the rest of the address is fixed.
        lines.append(f"token set ::{int(plan.HOST) & 0xFFFF:x} dev eth0")
    for port in ports:
        lines += [
            f"addr add {address} dev {port.interface}{' nodad' if address.version == 6 else ''}"
            for address in port.addresses
        ]
        if port.bridge:
            lines.append(f"link set {port.interface} master {port.bridge}")
        if port.interface not in plugs:
            lines.append(f"link set {port.interface} up")
    for destination, gateway in plan.ROUTES.get(node, ()):
        lines.append(f"route add {destination} via {gateway}")
    try:
        namespaces.batch(lines, prefix + node)
        if node in plan.RULES:
            namespaces.feed(namespaces.command(prefix + node, ["nft", "-f", "-"]), plan.RULES[node])
    except LabError as error:
        raise LabError(f"building node {node}: {error}") from error


def segment_packets(namespace: str, interface: str) -> None:
    """Turn segmentation offload off, so that every packet on the cable has the size of the link."""

    def ask(command: int) -> None:
        value = ctypes.create_string_buffer(struct.pack("=II", command, 0))
        request = struct.pack("@16sP16x", interface.encode(), ctypes.addressof(value))
        fcntl.ioctl(channel, _SIOCETHTOOL, request)

    with namespaces.open_socket(namespace, socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            ask(_ETHTOOL_STSO)
            ask(_ETHTOOL_SGSO)
        except OSError as error:
            raise LabError(
                f"segmentation offload of {interface} in {namespace} cannot be turned off: {error}"
            ) from error
