"""A lab whose home link is renumbered: radvd on it is told other prefixes, and sessions go on meanwhile."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from types import TracebackType
from typing import Any

from dsmip.daemon.control import ask
from dsmip.lab import namespaces, plan
from dsmip.lab.lab import Lab

NEW_PREFIX = IPv6Network("2001:db8:101::/64")
NEW_ADDRESS = IPv6Address(int(NEW_PREFIX[0]) | int(plan.HOME_ADDRESS) & int(NEW_PREFIX.hostmask))
NEW_HOME_AGENT = NEW_PREFIX[1]
NEW_ROUTER = NEW_PREFIX[0xFF]
HOME_PORT = plan.NETWORKS[plan.HOME].port

_PREFIX = """  prefix {address}/64 {{ AdvOnLink on; AdvAutonomous on; {router_address}
    AdvValidLifetime {valid}; AdvPreferredLifetime {preferred}; }};
"""
_HOME = """interface {interface} {{
  AdvSendAdvert on;
  AdvIntervalOpt on;
  MinRtrAdvInterval 1;
  MaxRtrAdvInterval 3;
  MinDelayBetweenRAs 0.03;
{more}
{prefixes}}};
"""
_HOME_AGENT = """  AdvDefaultLifetime 0;
  AdvHomeAgentFlag on;
  AdvHomeAgentInfo on;
  HomeAgentLifetime 1800;"""

_ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], 7))
s.listen()
print("listening", flush=True)
c = s.accept()[0]
while data := c.recv(100):
    c.sendall(data)
"""
_TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], 7), 10)
for line in sys.stdin:
    s.sendall(line.encode())
    print(s.recv(100).decode().strip(), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Advertised:
    """A prefix on the home link and its lifetimes in seconds, counted from each advertisement."""

    prefix: IPv6Network
    valid: int = 86400
    preferred: int = 86400


def advertise(lab: Lab, *prefixes: Advertised) -> None:
    """The routers of the home link, its home agent among them, have these prefixes from now on."""
    ha, core = lab.directory / "radvd-ha.conf", lab.directory / "radvd-core.conf"
    ha.write_text(_interface("eth0", _HOME_AGENT, prefixes, 1, "AdvRouterAddr on;"))
    core.write_text(_interface(HOME_PORT, "  AdvDefaultLifetime 1800;", prefixes, 0, ""))
    for label in ("radvd-core", "radvd-ha"):
        lab.processes.signal(label, signal.SIGHUP)


def _interface(name: str, more: str, prefixes: tuple[Advertised, ...], host: int, router_address: str) -> str:
    stanzas = "".join(
        _PREFIX.format(
            address=one.prefix[host],
            router_address=router_address,
            valid=one.valid,
            preferred=one.preferred,
        )
        for one in prefixes
    )
    return _HOME.format(interface=name, more=more, prefixes=stanzas)


def status(lab: Lab) -> dict[str, Any]:
    """What the mobile router says of itself."""
    found: dict[str, Any] = ask(lab.instance("mr"), "status")
    return found


def reaches(lab: Lab, address: object, node: str = "cn") -> bool:
    done = lab.exec(node, ["ping", "-c", "1", "-W", "1", str(address)], capture_output=True)
    return bool(done.returncode == 0)


class Session:
    """A TCP connection from the correspondent to an address of the mobile router."""

    def __init__(self, lab: Lab, address: IPv6Address) -> None:
        self._server = _start(lab, "mr", _ECHO, address)
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "listening\n"
        self._client = _start(lab, "cn", _TALK, address)
        self._said = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (self._client, self._server):
            process.kill()
            process.communicate()

    def lives(self) -> bool:
        """Whether what is said comes back; waits for as long as TCP does."""
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        self._said += 1
        self._client.stdin.write(f"{self._said}\n")
        self._client.stdin.flush()
        return self._client.stdout.readline() == f"{self._said}\n"


def _start(lab: Lab, node: str, program: str, address: IPv6Address) -> subprocess.Popen[str]:
    return subprocess.Popen(
        namespaces.command(lab.namespace(node), ["python3", "-c", program, str(address)]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
