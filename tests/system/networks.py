"""What visited networks have: somebody who advertises a prefix, somebody who leases addresses."""

from __future__ import annotations

from pathlib import Path

from tests.system.conftest import Namespaces

_RADVD = (
    "interface {interface} {{ AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;"
    " prefix {prefix} {{}}; }};"
)


def advertise(namespaces: Namespaces, directory: Path, node: str, prefixes: dict[str, str]) -> None:
    """Router advertisements of a prefix on each of these interfaces; the node forwards from now on."""
    configuration = directory / f"radvd-{node}.conf"
    configuration.write_text(
        "".join(_RADVD.format(interface=interface, prefix=prefix) for interface, prefix in prefixes.items())
    )
    namespaces.run(node, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    namespaces.start(
        *(node, "radvd", "-n", "-C", str(configuration), "-p", str(directory / f"radvd-{node}.pid"))
    )


def lease(namespaces: Namespaces, directory: Path, node: str, interface: str, *options: str) -> None:
    """DHCP on an interface that has an IPv4 address; `options` say at least which addresses are leased."""
    namespaces.start(
        *(node, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0"),
        *("--no-ping", f"--interface={interface}", "--bind-interfaces", *options),
        *(f"--dhcp-leasefile={directory / f'leases-{node}'}", f"--pid-file={directory / f'dnsmasq-{node}'}"),
    )
