"""A home agent, two mobile nodes behind a router that translates UDP, and a correspondent, in namespaces.

Run as a program, this is the process that sets a node up and then is killed:
`python -m tests.dataplane.network NODE PIN_DIRECTORY FORMAT`, inside the node's namespace.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path as FilePath

from dsmip.core.types import FlowRule, IPAddress, Path, TunnelFormat
from dsmip.dataplane.api import Role
from dsmip.dataplane.bpf import BpfDataPlane
from dsmip.dataplane.tun import TunDevice
from tests.dataplane.namespaces import Namespace, run, veth

PORT = 4191
MTU = 1400
UDP_FORMATS = (TunnelFormat.UDP4, TunnelFormat.UDP6)
IPV4_FORMATS = (TunnelFormat.UDP4, TunnelFormat.IPV4)

HOME_AGENT6, HOME_AGENT4 = ip_address("2001:db8:1::2"), ip_address("192.0.2.1")
ROUTER4 = ip_address("192.0.2.254")
PEER6, PEER4 = ip_address("2001:db8:400::2"), ip_address("203.0.113.2")


@dataclass(frozen=True)
class Mobile:
    """Addresses of one mobile node; `number` is its binding index too."""

    number: int

    @property
    def name(self) -> str:
        return f"mn{self.number}"

    @property
    def home6(self) -> IPAddress:
        return ip_address(f"2001:db8:100::{self.number}")

    @property
    def home4(self) -> IPAddress:
        return ip_address(f"198.51.100.{self.number}")

    @property
    def care_of6(self) -> IPAddress:
        return ip_address(f"2001:db8:20{self.number}::2")

    @property
    def care_of4(self) -> IPAddress:
        return ip_address(f"10.1.{self.number}.2")

    def router(self, tunnel: TunnelFormat) -> IPAddress:
        """On the mobile node's link."""
        return ip_address(
            f"10.1.{self.number}.1" if tunnel in IPV4_FORMATS else f"2001:db8:20{self.number}::1"
        )

    @property
    def translated_port(self) -> int:
        return 40000 + self.number

    def seen_from(self, tunnel: TunnelFormat) -> tuple[IPAddress, int]:
        """Where the home agent sees tunnelled packets come from: address and port, 0 = no UDP."""
        if tunnel is TunnelFormat.UDP4:
            return ROUTER4, self.translated_port
        if tunnel is TunnelFormat.IPV4:
            return self.care_of4, 0
        return self.care_of6, PORT if tunnel is TunnelFormat.UDP6 else 0


MOBILES = (Mobile(1), Mobile(2))


def home_agent_address(tunnel: TunnelFormat) -> IPAddress:
    return HOME_AGENT4 if tunnel in IPV4_FORMATS else HOME_AGENT6


def bind(plane: BpfDataPlane, mobile: Mobile, tunnel: TunnelFormat, bid: int = 0) -> None:
    """What a home agent does for a registration: without a BID, only this format is accepted from now on."""
    for other in (t for t in TunnelFormat if not bid and t not in (tunnel, TunnelFormat.LINK)):
        plane.deny_source(mobile.number, *mobile.seen_from(other))
    remote, port = mobile.seen_from(tunnel)
    plane.allow_source(mobile.number, remote, port, None, bid)
    local_port = PORT if port else 0
    uplink = socket.if_nametoindex("u0")
    path = Path(tunnel, home_agent_address(tunnel), remote, local_port, port, interface=uplink)
    plane.set_path(mobile.number, path, bid)
    plane.set_networks(mobile.number, [ip_network(mobile.home6), ip_network(mobile.home4)])


def move(
    plane: BpfDataPlane, mobile: Mobile, tunnel: TunnelFormat, local: IPAddress | None = None, bid: int = 0
) -> None:
    """What a mobile node does; `local` other than the care-of address to send from a wrong one."""
    port = PORT if tunnel in UDP_FORMATS else 0
    local = local or (mobile.care_of4 if tunnel in IPV4_FORMATS else mobile.care_of6)
    remote = home_agent_address(tunnel)
    plane.allow_source(mobile.number, remote, port, None)
    plane.add_local(local, bid)
    uplink, router = socket.if_nametoindex("u0"), mobile.router(tunnel)
    plane.set_path(mobile.number, Path(tunnel, local, remote, port, port, uplink, router), bid)
    plane.set_networks(mobile.number, [ip_network(mobile.home6), ip_network(mobile.home4)])


def open_plane(node: str, pins: FilePath) -> BpfDataPlane:
    """In the node's namespace, whose tunnel device exists."""
    role = Role.HOME_AGENT if node == "ha" else Role.MOBILE_NODE
    return BpfDataPlane.open(role, socket.if_nametoindex("dsmip0"), pins / node)


def set_up(node: str, pins: FilePath, tunnel: TunnelFormat) -> None:
    """Device, programs, state."""
    TunDevice.open("dsmip0")
    for command in (f"link set dsmip0 mtu {MTU} up",) + (
        ("-6 route add 2001:db8:100::/64 dev dsmip0", "route add 198.51.100.0/24 dev dsmip0")
        if node == "ha"
        else ()
    ):
        run(f"ip {command}")
    plane = open_plane(node, pins)
    plane.attach("u0")
    if node == "ha":
        plane.add_local(HOME_AGENT6)
        plane.add_local(HOME_AGENT4)
        for mobile in MOBILES:
            bind(plane, mobile, tunnel)
        return
    mobile = next(mobile for mobile in MOBILES if mobile.name == node)
    run(f"ip addr add {mobile.home6}/128 dev dsmip0 nodad")
    run(f"ip addr add {mobile.home4}/32 dev dsmip0")
    run(f"ip -6 route add default dev dsmip0 metric 1 src {mobile.home6}")
    run(f"ip route add default dev dsmip0 metric 1 src {mobile.home4}")
    move(plane, mobile, tunnel)


class Network:
    """All namespaces, set up by processes that were killed. Use as a context manager."""

    def __init__(self, pins: FilePath, tunnel: TunnelFormat) -> None:
        self.pins = pins
        self._stack = ExitStack()
        self.nodes: dict[str, Namespace] = {}
        # What both ends use by now; a mobile node that is not here has to be set up anew.
        self._used: dict[Mobile, TunnelFormat] = {}
        for name in ("router", "ha", "cn", *(mobile.name for mobile in MOBILES)):
            self.nodes[name] = namespace = Namespace(name)
            self._stack.callback(namespace.delete)
            namespace.sysctl(net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__default__rp_filter=0)
        self.router, self.home_agent, self.peer = (self.nodes[name] for name in ("router", "ha", "cn"))
        for forwarder in (self.router, self.home_agent):
            forwarder.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        self._link("ha", HOME_AGENT6, HOME_AGENT4, ROUTER4)
        self._link("cn", PEER6, PEER4, ip_address("203.0.113.1"))
        self.router.ip(f"-6 route add 2001:db8:100::/64 via {HOME_AGENT6}")
        self.router.ip(f"route add 198.51.100.0/24 via {HOME_AGENT4}")
        rules = ""
        for mobile in MOBILES:
            self._link(mobile.name, mobile.care_of6, mobile.care_of4, ip_address(f"10.1.{mobile.number}.1"))
            rules += f"ip saddr {mobile.care_of4} udp dport {PORT} masquerade to :{mobile.translated_port}; "
        table = f"table ip nat {{ chain out {{ type nat hook postrouting priority 100; {rules} }}; }}"
        subprocess.run(
            ["nsenter", f"--net={self.router.path}", "nft", "-f", "-"], input=table, text=True, check=True
        )
        for node in ("ha", *(mobile.name for mobile in MOBILES)):
            self._set_up_by_a_process_that_is_killed(node, tunnel)

    def _link(self, name: str, six: IPAddress, four: IPAddress, router4: IPAddress) -> None:
        """Connect a node to the router, which has ::1 of its IPv6 network."""
        node = self.nodes[name]
        veth(node, "u0", self.router, name)
        router6 = ip_network(f"{six}/64", strict=False)[1]
        node.ip(f"addr add {six}/64 dev u0")
        node.ip(f"addr add {four}/24 dev u0")
        self.router.ip(f"addr add {router6}/64 dev {name}")
        self.router.ip(f"addr add {router4}/24 dev {name}")
        # Worse than the routes into the tunnel, and good enough for packets that are in it.
        node.ip(f"-6 route add default via {router6} dev u0 metric 2000")
        node.ip(f"route add default via {router4} dev u0 metric 2000")

    def _set_up_by_a_process_that_is_killed(self, node: str, tunnel: TunnelFormat) -> None:
        module = [sys.executable, "-m", "tests.dataplane.network", node, str(self.pins), tunnel.value]
        done = subprocess.run(["nsenter", f"--net={self.nodes[node].path}", *module], check=False)
        assert done.returncode == -signal.SIGKILL

    def use(self, mobile: Mobile, tunnel: TunnelFormat) -> None:
        """The format at both ends; one that is in use already is left alone."""
        if self._used.get(mobile) is not tunnel:
            self.take_over(mobile, tunnel)

    def unsettle(self, mobile: Mobile) -> None:
        """A test has changed something by itself: the next use sets it up anew."""
        self._used.pop(mobile, None)

    def take_over(self, mobile: Mobile, tunnel: TunnelFormat) -> None:
        """Change the format at both ends, by processes that take over and let go again."""
        for node in ("ha", mobile.name):
            with self.nodes[node].inside():
                plane = open_plane(node, self.pins)
                assert plane.adopted
                if node == "ha":
                    bind(plane, mobile, tunnel)
                else:
                    move(plane, mobile, tunnel)
                plane.close(keep=True)
        self._used[mobile] = tunnel

    def use_both(
        self, mobile: Mobile, first: TunnelFormat, second: TunnelFormat, rules: Sequence[FlowRule]
    ) -> None:
        """BIDs 1 and 2 in these formats, with the same flow rules at both ends, which agree on copies."""
        self.unsettle(mobile)
        for node in ("ha", mobile.name):
            with self.nodes[node].inside():
                plane = open_plane(node, self.pins)
                for bid, tunnel in enumerate((first, second), 1):
                    if node == "ha":
                        bind(plane, mobile, tunnel, bid)
                    else:
                        move(plane, mobile, tunnel, bid=bid)
                plane.set_preference(mobile.number, (1, 2))
                plane.set_flows(mobile.number, rules)
                plane.set_duplication(mobile.number, True)
                plane.remove_path(mobile.number)
                plane.close(keep=True)

    def drops(self, mobile: Mobile, reason: str) -> list[int]:
        """Packets dropped for this reason, by the home agent and by the mobile node."""
        counts = []
        for node in ("ha", mobile.name):
            with self.nodes[node].inside():
                plane = open_plane(node, self.pins)
                counts.append(plane.drops()[reason])
                plane.close(keep=True)
        return counts

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        for node in ("ha", *(mobile.name for mobile in MOBILES)):
            with self.nodes[node].inside():
                device = TunDevice.open("dsmip0")
                open_plane(node, self.pins).close(keep=False)
                device.destroy()
        self._stack.close()


def udp_exchange(
    one: Namespace, one_address: IPAddress, other: Namespace, other_address: IPAddress, packets: int
) -> tuple[int, int]:
    """Send datagrams one by one and have each answered. Returns how many arrived there and back."""
    there = back = 0
    with udp_socket(one, one_address) as asking, udp_socket(other, other_address) as answering:
        for number in range(packets):
            asking.sendto(number.to_bytes(4, "big"), answering.getsockname()[:2])
            if select.select([answering], [], [], 0.5)[0]:
                data, source = answering.recvfrom(100)
                there += data == number.to_bytes(4, "big") and source[:2] == asking.getsockname()[:2]
                answering.sendto(data, source)
                back += bool(select.select([asking], [], [], 0.5)[0]) and asking.recv(100) == data
    return there, back


def udp_socket(namespace: Namespace, address: IPAddress) -> socket.socket:
    """Bound to the address and a port of the kernel's choice."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with namespace.inside():
        opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.bind((str(address), 0))
    return opened


def tcp_transfer(
    sender: Namespace, source: IPAddress, receiver: Namespace, destination: IPAddress, size: int
) -> bytes:
    """Send `size` octets of a pattern over one connection; returns what arrived."""
    family = socket.AF_INET6 if source.version == 6 else socket.AF_INET
    with receiver.inside():
        listening = socket.create_server((str(destination), 0), family=family)
    with sender.inside():
        sending = socket.socket(family, socket.SOCK_STREAM)
    with listening, sending:
        sending.settimeout(5)
        sending.bind((str(source), 0))
        sending.connect(listening.getsockname()[:2])
        accepted, _ = listening.accept()
        with accepted:
            accepted.settimeout(5)
            thread = threading.Thread(target=_send_all, args=(sending, size))
            thread.start()
            received = bytearray()
            while chunk := accepted.recv(1 << 20):
                received += chunk
            thread.join()
            return bytes(received)


def _send_all(connection: socket.socket, size: int) -> None:
    connection.sendall(pattern(size))
    connection.shutdown(socket.SHUT_WR)


def pattern(size: int) -> bytes:
    """Not the same in any two places of a megabyte."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4))


if __name__ == "__main__":
    set_up(sys.argv[1], FilePath(sys.argv[2]), TunnelFormat(sys.argv[3]))
    os.kill(os.getpid(), signal.SIGKILL)
