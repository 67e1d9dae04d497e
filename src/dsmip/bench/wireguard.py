"""A userspace WireGuard over the same cables, for a sense of scale: another network behind the mobile router.

It encrypts, which the tunnels of RFC 5555 leave to others; it is what a fleet might use instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path

from dsmip.bench import fleet, network
from dsmip.bench.network import Network
from dsmip.lab import namespaces
from dsmip.lab.errors import LabError

HOST = IPv6Address("2001:db8:350::2")
_ROUTER = "2001:db8:350::1/64"
_NETWORK = "2001:db8:350::/64"
PORT = 51820
_TABLE = 101
_WITHIN = 10.0
_SOCKETS = Path("/var/run/wireguard")


def missing() -> str:
    """What is not installed, "" = nothing."""
    return ", ".join(name for name in ("wireguard-go", "wg") if shutil.which(name) is None)


@contextmanager
def interfaces(names: Mapping[str, str]) -> Iterator[None]:
    """An interface of this name in each of these namespaces, as long as the block lasts.

    Raises LabError when one does not come up.
    """
    children: list[subprocess.Popen[bytes]] = []
    try:
        children += [_start(namespace, name) for namespace, name in names.items()]
        yield
    finally:
        for child in children:
            child.terminate()
            child.wait()


def keys() -> tuple[str, str]:
    """A new private key and its public one."""
    private = _run(["wg", "genkey"])
    return private, _run(["wg", "pubkey"], private)


def configure(namespace: str, name: str, settings: str, private: str = "") -> None:
    """Change settings of an interface, in the words of `wg set`, and give it its private key if there is one
    here. Raises LabError when that is refused."""
    key = ["private-key", "/dev/stdin"] if private else []
    _run(namespaces.command(namespace, ["wg", "set", name, *key, *settings.split()]), private)


@contextmanager
def tunnel(net: Network) -> Iterator[IPv6Address]:
    """Two ends of a tunnel between home agent and mobile router; gives an address of the host behind it.

    Raises LabError when it does not come up.
    """
    ends = {"ha": f"wgh{os.getpid()}", "mr": f"wgm{os.getpid()}"}
    with interfaces({net.namespace(node): name for node, name in ends.items()}):
        pairs = {node: keys() for node in ends}
        peers = {"ha": ("mr", network.IPV4_CARE_OF), "mr": ("ha", fleet.HOME_AGENT_IPV4)}
        for node, (other, endpoint) in peers.items():
            settings = (
                f"listen-port {PORT} peer {pairs[other][1]} allowed-ips ::/0 endpoint {endpoint}:{PORT}"
            )
            configure(net.namespace(node), ends[node], settings, pairs[node][0])
            lines = [f"link set {ends[node]} mtu {network.MTU} up"]
            if node == "ha":
                lines.append(f"route add {_NETWORK} dev {ends[node]}")
            else:
                lines.append(f"addr add {_ROUTER} dev l0 nodad")
            namespaces.batch(lines, net.namespace(node))
        policy = (
            f"route add default dev {ends['mr']} table {_TABLE}\nrule add from {_NETWORK} lookup {_TABLE}\n"
        )
        namespaces.feed(["ip", "-n", net.namespace("mr"), "-6", "-batch", "-"], policy)
        namespaces.batch([f"addr add {HOST}/64 dev e0 nodad"], net.namespace("host"))
        yield HOST


def _start(namespace: str, name: str) -> subprocess.Popen[bytes]:
    # It warns that the kernel's own WireGuard is the better choice where there is one.
    environment = {**os.environ, "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1"}
    child = subprocess.Popen(
        namespaces.command(namespace, ["wireguard-go", "-f", name]),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + _WITHIN
    while not (_SOCKETS / f"{name}.sock").exists():
        if child.poll() is not None or time.monotonic() > deadline:
            child.kill()
            child.wait()
            raise LabError("wireguard-go does not come up")
        time.sleep(0.05)
    return child


def _run(argv: list[str], given: str = "") -> str:
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout.strip()
