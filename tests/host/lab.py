"""Two visited networks with real servers and a switch, for a mobile node that can be plugged into either."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "dsmip-mv-"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def run(command: str) -> str:
    """A command without a shell; its output."""
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread is in the namespace for the time of the block; sockets made there stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{PREFIX}{name}", os.O_RDONLY)
    try:
        assert _libc.setns(there, _CLONE_NEWNET) == 0
        yield
    finally:
        assert _libc.setns(home, _CLONE_NEWNET) == 0
        os.close(there)
        os.close(home)


class Lab:
    """Namespaces `mobile`, `switch`, `a` and `b`; the mobile node's interface is u0, its other end p0."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._daemons: list[subprocess.Popen[bytes]] = []
        for name in ("mobile", "switch", "a", "b"):
            subprocess.run(["ip", "netns", "del", PREFIX + name], capture_output=True, check=False)
            run(f"ip netns add {PREFIX}{name}")
        self.ip("mobile", "link set lo up")
        with inside("switch"):
            Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        self.cable()
        for name, number in (("a", 1), ("b", 2)):
            self._network(name, number)
        self.ip("mobile", "link set u0 up")

    def cable(self) -> None:
        """Make u0 and p0. Their numbers differ: the kernel reports carrier changes of a veth whose number is
        that of its peer up to a second late."""
        self.ip("switch", f"link add p0 index 100 type veth peer name u0 netns {PREFIX}mobile")

    def _network(self, name: str, number: int) -> None:
        self.ip("switch", f"link add br-{name} type bridge mcast_snooping 0")
        self.ip("switch", f"link set br-{name} up")
        self.ip("switch", f"link add t-{name} type veth peer name d0 netns {PREFIX}{name}")
        self.ip("switch", f"link set t-{name} master br-{name} up")
        with inside(name):
            for setting in ("all/forwarding=1", "d0/accept_dad=0", "d0/accept_ra=0"):
                key, value = setting.split("=")
                Path(f"/proc/sys/net/ipv6/conf/{key}").write_text(value)
        self.ip(name, f"addr add 10.{number}.0.1/24 dev d0")
        self.ip(name, f"addr add 2001:db8:{name}::1/64 dev d0")
        self.ip(name, "link set d0 up")

    def serve(
        self, name: str, *, radvd: bool = True, dnsmasq: bool = True, authoritative: bool = False
    ) -> None:
        """Start the router advertisement daemon and the DHCP server of a network.

        An authoritative server refuses leases it does not know, others keep silent.
        """
        number = {"a": 1, "b": 2}[name]
        if radvd:
            config = self._directory / f"radvd-{name}.conf"
            config.write_text(
                "interface d0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;"
                " MinDelayBetweenRAs 0.03; AdvHomeAgentFlag on;"
                f" prefix 2001:db8:{name}::/64 {{ }}; }};\n"
            )
            pid = self._directory / f"radvd-{name}.pid"
            self._start(name, f"radvd -n -C {config} -p {pid} -m stderr")
        if dnsmasq:
            self._start(
                name,
                "dnsmasq --keep-in-foreground --port=0 --interface=d0 --bind-interfaces --no-ping"
                f" --dhcp-range=10.{number}.0.10,10.{number}.0.200,1h --conf-file=/dev/null --pid-file="
                f" --dhcp-leasefile={self._directory}/leases-{name} --user=root"
                + " --dhcp-authoritative"
                * authoritative,
            )
        time.sleep(0.3)

    def _start(self, name: str, command: str) -> None:
        self._daemons.append(
            subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{PREFIX}{name}", *command.split()],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def ip(self, name: str, arguments: str) -> str:
        """`ip` in a namespace."""
        return run(f"ip -n {PREFIX}{name} {arguments}")

    def plug(self, name: str) -> None:
        """Plug the mobile node into a network: carrier comes up."""
        self.ip("switch", f"link set p0 master br-{name} up")

    def unplug(self) -> None:
        """Pull the plug: carrier goes."""
        self.ip("switch", "link set p0 down")

    def close(self) -> None:
        """Remove everything."""
        for daemon in self._daemons:
            daemon.terminate()
        for daemon in self._daemons:
            daemon.wait()
        for name in ("mobile", "switch", "a", "b"):
            run(f"ip netns del {PREFIX}{name}")
