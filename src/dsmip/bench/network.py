"""Five nodes in a line: correspondent, home agent, the network between, mobile router, host.

The host has two addresses of each family: a mobile one, whose packets go through the tunnel, and a plain one,
whose packets are forwarded over the very same nodes and cables without. The tunnel is set up in the data
plane's maps directly, so each format can be had without a network that would lead to it.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path as FilePath
from types import TracebackType
from typing import Self

from dsmip.bench import fleet
from dsmip.core.types import DSMIP_PORT, IPAddress, Path, TunnelFormat
from dsmip.dataplane.api import Role
from dsmip.dataplane.bpf import BpfDataPlane
from dsmip.dataplane.tun import TunDevice
from dsmip.lab import daemons, namespaces

NODES = ("cn", "ha", "net", "mr", "host")
DEVICE = "dsmip0"
#: Of the tunnel device, and of every route to the host: both ways use packets of the same size.
MTU = 1400

CORRESPONDENT = IPv6Address("2001:db8:400::2")
CORRESPONDENT_IPV4 = IPv4Address("203.0.113.2")
CARE_OF = IPv6Address("2001:db8:200::2")
IPV4_CARE_OF = IPv4Address("100.64.0.2")
PLAIN_HOST = IPv6Address("2001:db8:300::2")
IPV4_PLAIN_HOST = IPv4Address("198.18.0.2")
MOBILE_HOST = IPv6Address("2001:db8:a000::2")
IPV4_MOBILE_HOST = IPv4Address("10.80.0.2")
MOBILE_NETWORKS = (IPv6Network("2001:db8:a000::/64"), IPv4Network("10.80.0.0/24"))
#: Everything tunnelled: the fleet's addresses and those of the host.
_ROUTED = (fleet.HOME_PREFIX, fleet.MOBILE_PREFIX, fleet.IPV4_HOME_PREFIX, MOBILE_NETWORKS[1])

BINDING = 1
UPLINK = "u0"
_TABLE = 100
#: What IPv6 routes into the tunnel have behind them, as those of the daemon have (host/routing.py).
_NEXT_HOP = "via fe80::1"
#: The process that made a namespace or pins, or whose home agent did: `daemon.HomeAgentProcess`.
_OWNER = re.compile(r"(?:dsmip-)?bench(\d+)(?:[a-z]*-.*)?")

#: node, interface, addresses; the other end likewise.
_CABLES = (
    (
        ("cn", "c0", "2001:db8:400::2/64", "203.0.113.2/24"),
        ("ha", "c0", "2001:db8:400::1/64", "203.0.113.1/24"),
    ),
    (("ha", UPLINK, "2001:db8:1::2/64", "192.0.2.2/24"), ("net", "h0", "2001:db8:1::1/64", "192.0.2.1/24")),
    (
        ("net", "m0", "2001:db8:200::1/64", "100.64.0.1/24"),
        ("mr", UPLINK, "2001:db8:200::2/64", "100.64.0.2/24"),
    ),
    (
        ("mr", "l0", "2001:db8:300::1/64", "198.18.0.1/24", "2001:db8:a000::1/64", "10.80.0.1/24"),
        ("host", "e0", "2001:db8:300::2/64", "198.18.0.2/24", "2001:db8:a000::2/64", "10.80.0.2/24"),
    ),
)
_ROUTES = {
    "cn": (f"default via 2001:db8:400::1 mtu {MTU}", f"default via 203.0.113.1 mtu {MTU}"),
    "ha": ("default via 2001:db8:1::1", "default via 192.0.2.1"),
    "net": (
        *("2001:db8:400::/64 via 2001:db8:1::2", "203.0.113.0/24 via 192.0.2.2"),
        *("2001:db8:300::/64 via 2001:db8:200::2", "198.18.0.0/24 via 100.64.0.2"),
    ),
    "mr": ("default via 2001:db8:200::1", "default via 100.64.0.1"),
    "host": (f"default via 2001:db8:300::1 mtu {MTU}", f"default via 198.18.0.1 mtu {MTU}"),
}
_SETTINGS = {
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
    "ipv6/conf/all/accept_dad": 0,
    "ipv6/conf/default/accept_dad": 0,
    "ipv4/ip_forward": 1,
    "ipv6/conf/all/forwarding": 1,
}


def _into_tunnel(destination: str, version: int) -> str:
    return f"{destination} {_NEXT_HOP if version == 6 else ''} dev {DEVICE}"


def mac(node: str, interface: str) -> bytes:
    """The link-layer address of an end of a cable."""
    ends = [end[:2] for cable in _CABLES for end in cable]
    return bytes((2, 0, 0x5E, 0x20, 0, 1 + ends.index((node, interface))))


def remove_leftovers() -> None:
    """Take away what runs that were killed could not."""
    for path in namespaces.NETNS.glob("dsmip-bench*-*"):
        if _is_orphan(path.name):
            namespaces.batch([f"netns del {path.name}"])
    names = {path.name for root in (daemons.PIN_ROOT, daemons.RUN_ROOT) for path in root.glob("bench*")}
    for name in filter(_is_orphan, names):
        daemons.forget(name)


def _is_orphan(name: str) -> bool:
    """Whether this is something of ours, of a process that is gone."""
    owner = _OWNER.fullmatch(name)
    return owner is not None and not FilePath("/proc", owner[1]).exists()


class Network:
    """The namespaces, removed at the end of the `with` block, and the data planes in two of them."""

    def __init__(self, name: str = "") -> None:
        self._prefix = f"dsmip-bench{os.getpid()}{name}-"
        self._pins = f"bench{os.getpid()}{name}-"
        self._planes: dict[str, BpfDataPlane] = {}
        self._devices: list[TunDevice] = []

    def __enter__(self) -> Self:
        remove_leftovers()
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def namespace(self, node: str) -> str:
        """The name of a node's namespace."""
        return self._prefix + node

    def _build(self) -> None:
        namespaces.batch(f"netns add {self.namespace(node)}" for node in NODES)
        for node in NODES:
            namespaces.set_sysctls(self.namespace(node), _SETTINGS)
            namespaces.batch(["link set lo up"], self.namespace(node))
        for (one, one_end, *_), (other, other_end, *_) in _CABLES:
            first = f"name {one_end} address {mac(one, one_end).hex(':')} netns {self.namespace(one)}"
            second = (
                f"name {other_end} address {mac(other, other_end).hex(':')} netns {self.namespace(other)}"
            )
            namespaces.batch([f"link add {first} type veth peer {second}"])
        for node, interface, *addresses in (end for cable in _CABLES for end in cable):
            lines = [f"addr add {a} dev {interface}{' nodad' if ':' in a else ''}" for a in addresses]
            namespaces.batch([*lines, f"link set {interface} up"], self.namespace(node))
        for node, routes in _ROUTES.items():
            namespaces.batch((f"route add {route}" for route in routes), self.namespace(node))

    def _remove(self) -> None:
        for node in list(self._planes):
            plane = self._planes.pop(node)
            namespaces.call(self.namespace(node), functools.partial(plane.close, keep=False))
        for device in self._devices:
            device.destroy()
        self._devices.clear()
        present = [node for node in NODES if namespaces.exists(self.namespace(node))]
        namespaces.batch(f"netns del {self.namespace(node)}" for node in present)
        for node in NODES:
            shutil.rmtree(daemons.PIN_ROOT / f"{self._pins}{node}", ignore_errors=True)

    # Data planes -------------------------------------------------------------------------------------------

    def plane(self, node: str, capacity: int = 1024) -> BpfDataPlane:
        """The data plane of "ha" or "mr", set up when it is first asked for."""
        if node not in self._planes:
            role = Role.HOME_AGENT if node == "ha" else Role.MOBILE_NODE

            def start() -> BpfDataPlane:
                self._devices.append(TunDevice.open(DEVICE))
                namespaces.batch([f"link set {DEVICE} mtu {MTU} up"], self.namespace(node))
                index = socket.if_nametoindex(DEVICE)
                pins = daemons.PIN_ROOT / f"{self._pins}{node}"
                plane = BpfDataPlane.open(role, index, pins, capacity=capacity)
                plane.attach(UPLINK)
                return plane

            self._planes[node] = namespaces.call(self.namespace(node), start)
            self._route_into_tunnel(node)
        return self._planes[node]

    def _route_into_tunnel(self, node: str) -> None:
        name = self.namespace(node)
        if node == "ha":
            namespaces.batch((f"route add {_into_tunnel(str(n), n.version)}" for n in _ROUTED), name)
            return
        for network in MOBILE_NETWORKS:
            route = _into_tunnel("default", network.version)
            lines = f"rule add from {network} lookup {_TABLE}\nroute add {route} table {_TABLE}\n"
            namespaces.feed(["ip", "-n", name, "-6" if network.version == 6 else "-4", "-batch", "-"], lines)

    def use(self, tunnel: TunnelFormat, bid: int = 0) -> None:
        """Tunnel the mobile networks in this format, at both ends, over a path with this BID."""
        ipv6 = tunnel in (TunnelFormat.IPV6, TunnelFormat.UDP6)
        home_agent: IPAddress = fleet.HOME_AGENT if ipv6 else fleet.HOME_AGENT_IPV4
        care_of: IPAddress = CARE_OF if ipv6 else IPV4_CARE_OF
        port = DSMIP_PORT if tunnel in (TunnelFormat.UDP4, TunnelFormat.UDP6) else 0
        for node, local, remote in (("ha", home_agent, care_of), ("mr", care_of, home_agent)):
            plane = self.plane(node)
            index = namespaces.call(self.namespace(node), lambda: socket.if_nametoindex(UPLINK))
            next_hop: IPAddress | None = None
            if node == "mr":
                next_hop = IPv6Address("2001:db8:200::1") if ipv6 else IPv4Address("100.64.0.1")
            plane.add_local(local, bid if node == "mr" else 0, index if node == "mr" else 0)
            plane.allow_source(BINDING, remote, port, None, bid if node == "ha" else 0)
            interface = index if node == "mr" else 0
            path = Path(tunnel, local, remote, port, port, interface, next_hop)
            namespaces.call(self.namespace(node), functools.partial(plane.set_path, BINDING, path, bid))
            if bid:
                plane.set_preference(BINDING, (bid,))
                plane.remove_path(BINDING)
            plane.set_networks(BINDING, MOBILE_NETWORKS)

    # Counting ----------------------------------------------------------------------------------------------

    def received(self, node: str, interface: str) -> int:
        """Packets that have arrived on an interface so far."""

        def read() -> int:
            text = FilePath("/proc/thread-self/net/dev").read_text(encoding="ascii")
            fields = next(line for line in text.splitlines() if line.strip().startswith(f"{interface}:"))
            return int(fields.partition(":")[2].split()[1])

        return namespaces.call(self.namespace(node), read)

    def leave_headroom(self, node: str, interface: str) -> None:
        """Have packets sent out of this end arrive with the room in front of them that drivers of network
        cards leave (NET_SKB_PAD, 64 octets); a cable between namespaces leaves 16.

        The kernel gives it to a cable that is in a bridge with a device that needs room, such as a VXLAN. No
        packet has to pass through that. Raises LabError when the kernel has neither.
        """
        lines = [
            "link add b0 type bridge",
            f"link add v0 type vxlan id 1 remote {CORRESPONDENT_IPV4} dstport 4789 dev {interface}",
            "link set v0 master b0",
            f"link set {interface} master b0",
        ]
        namespaces.batch(lines, self.namespace(node))

    def sink(self, node: str, interface: str, addresses: Iterable[IPAddress]) -> None:
        """Make the neighbours of this interface send to a link-layer address nobody has: what is sent there
        is counted as received at the far end, and goes no further."""
        lines = [
            f"neigh replace {a} lladdr 02:00:5e:20:ff:ff dev {interface} nud permanent" for a in addresses
        ]
        namespaces.batch(lines, self.namespace(node))
