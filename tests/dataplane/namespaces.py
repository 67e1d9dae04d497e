"""Network namespaces for the tests of the data plane: made by `ip`, entered by setns, removed afterwards."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator

PREFIX = "dsmip-dp-"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def run(command: str) -> str:
    """Run a command, without a shell; its output."""
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


class Namespace:
    """One network namespace."""

    def __init__(self, name: str) -> None:
        self.name = PREFIX + name
        self.path = f"/run/netns/{self.name}"
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)
        run(f"ip netns add {self.name}")
        self.ip("link set lo up")

    def ip(self, arguments: str) -> str:
        """`ip` inside."""
        return run(f"ip -n {self.name} {arguments}")

    def sysctl(self, **values: int) -> None:
        """net__ipv4__ip_forward=1."""
        with self.inside():
            for name, value in values.items():
                with open(f"/proc/sys/{name.replace('__', '/')}", "w") as file:
                    file.write(str(value))

    def run(self, command: str) -> str:
        """A command inside; unlike `ip netns exec` this leaves /sys alone."""
        return run(f"nsenter --net={self.path} {command}")

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is inside for the time of the block; sockets made there stay there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(self.path, os.O_RDONLY)
        try:
            assert _libc.setns(there, _CLONE_NEWNET) == 0
            yield
        finally:
            assert _libc.setns(home, _CLONE_NEWNET) == 0
            os.close(there)
            os.close(home)

    def delete(self) -> None:
        run(f"ip netns del {self.name}")


def veth(one: Namespace, name: str, other: Namespace, other_name: str) -> None:
    """Connect two namespaces; addresses are usable at once (no duplicate address detection)."""
    one.ip(f"link add {name} type veth peer name {other_name} netns {other.name}")
    for namespace, interface in ((one, name), (other, other_name)):
        namespace.sysctl(**{f"net__ipv6__conf__{interface}__accept_dad": 0})
        namespace.ip(f"link set {interface} up")
