"""radvd and dnsmasq for the lab: their configuration files, and when they are ready.

Router advertisements leave a second or more apart, but a solicitation is answered at once: the shortest time
between two multicast advertisements is the 30 ms that RFC 6275 section 7.5 allows where mobile nodes visit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dsmip.lab import plan
from dsmip.lab.errors import LabError
from dsmip.lab.processes import Processes

_READY_WITHIN = 90.0
_POLL = 0.01

#: /proc/net/udp: port 67 bound; /proc/net/raw6: a raw ICMPv6 socket.
_DHCP_SERVER_PORT = ":0043"
_RAW_ICMPV6 = ":003A"
_INODE_COLUMN = 9

_INTERFACE = """interface {interface} {{
  AdvSendAdvert on;
  AdvIntervalOpt on;
  MinRtrAdvInterval 1;
  MaxRtrAdvInterval 3;
  MinDelayBetweenRAs 0.03;
{more}
  prefix {prefix} {{ AdvOnLink on; AdvAutonomous on; {router_address} }};
}};
"""

#: The home agent answers for the home link (RFC 6275 sections 7.1 to 7.4) but is nobody's default router.
_HOME_AGENT = """  AdvDefaultLifetime 0;
  AdvHomeAgentFlag on;
  AdvHomeAgentInfo on;
  HomeAgentLifetime 1800;"""
_ROUTER = "  AdvDefaultLifetime 1800;"


@dataclass(frozen=True, slots=True)
class Service:
    """One server process: where it runs, how it is started, and what in /proc/net shows that it listens."""

    label: str
    node: str
    argv: tuple[str, ...]
    listens: tuple[str, str]


def write(directory: Path) -> list[Service]:
    """Write every configuration file into the run directory and return the services to start."""
    return [*_radvd(directory), *_dnsmasq(directory)]


def start(services: list[Service], processes: Processes) -> None:
    """Start all services and wait until each listens. Raises LabError naming one that does not."""
    for service in services:
        processes.start(service.label, service.node, service.argv)
    deadline = time.monotonic() + _READY_WITHIN
    for service in services:
        wait_until(
            lambda service=service: _listens(service, processes),  # type: ignore[misc]
            deadline,
            lambda service=service: (  # type: ignore[misc]
                f"{service.label} does not serve; see what it says:\n"
                + processes.log(service.label).read_text(encoding="utf-8", errors="replace")
            ),
        )


def wait_until(condition: Callable[[], bool], deadline: float, complaint: Callable[[], str]) -> None:
    """Poll until a condition holds; LabError with the complaint at the deadline (CLOCK_MONOTONIC seconds)."""
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(complaint())
        time.sleep(_POLL)


def _listens(service: Service, processes: Processes) -> bool:
    pid = processes.pid(service.label)
    if pid is None:
        return False
    table, pattern = service.listens
    try:
        lines = Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()
        own = {os.readlink(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return False  # it has ended, or closes a file this moment
    return any(pattern in line and f"socket:[{line.split()[_INODE_COLUMN]}]" in own for line in lines)


def _radvd(directory: Path) -> list[Service]:
    stanzas: dict[str, list[str]] = {}
    for access in plan.ACCESS:
        if access.address6 is not None:
            stanzas.setdefault(access.router, []).append(
                _INTERFACE.format(
                    interface=access.port, more=_ROUTER, prefix=access.address6.network, router_address=""
                )
            )
    stanzas["ha"] = [
        _INTERFACE.format(
            interface="eth0",
            more=_HOME_AGENT,
            prefix=f"{plan.HOME_AGENT}/{plan.HOME_PREFIX.prefixlen}",
            router_address="AdvRouterAddr on;",
        )
    ]
    stanzas["mr"] = [
        _INTERFACE.format(interface=plan.LAN, more=_ROUTER, prefix=plan.MOBILE_PREFIX, router_address="")
    ]
    services = []
    for node, parts in stanzas.items():
        label = f"radvd-{node}"
        config = directory / f"{label}.conf"
        config.write_text("".join(parts), encoding="ascii")
        # radvd insists on a pid file; ours is LABEL.pid, so it gets a name that nobody reads.
        own = directory / f"{label}.own-pid"
        argv = ("radvd", "-n", "-C", str(config), "-p", str(own), "-m", "stderr")
        services.append(Service(label, node, argv, ("raw6", _RAW_ICMPV6)))
    return services


def _dnsmasq(directory: Path) -> list[Service]:
    """One server a network: as everywhere, none knows what the others have leased."""
    services = []
    for access in plan.ACCESS:
        if access.address4 is None:
            continue
        hosts = list(access.address4.network.hosts())
        first, last = hosts[len(hosts) // 3], hosts[2 * len(hosts) // 3]
        lines = [
            f"interface={access.port}",
            f"dhcp-range=set:{access.name},{first},{last},{access.address4.netmask},1h",
            f"dhcp-option=tag:{access.name},option:router,{access.address4.ip}",
        ]
        if access.name == plan.HOME:  # at home the mobile router is given its home address
            lines.append(f"dhcp-host={plan.UPLINK_MAC},set:mobile-router,{plan.IPV4_HOME_ADDRESS}")
        label = f"dnsmasq-{access.name}"
        config = directory / f"{label}.conf"
        common = [
            "keep-in-foreground",
            "user=root",
            "port=0",
            "no-ping",
            "no-hosts",
            "no-resolv",
            "dhcp-authoritative",
            "bind-interfaces",
            "except-interface=lo",
            "log-dhcp",
            "log-facility=-",
            f"dhcp-leasefile={directory / f'{label}.leases'}",
            f"pid-file={directory / f'{label}.own-pid'}",
        ]
        config.write_text("\n".join([*common, *lines, ""]), encoding="ascii")
        argv = ("dnsmasq", f"--conf-file={config}")
        services.append(Service(label, access.router, argv, ("udp", _DHCP_SERVER_PORT)))
    return services
