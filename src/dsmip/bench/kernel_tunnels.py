"""The kernel's own tunnels beside ours, over the same cables: ip6tnl, sit, and both in UDP (FOU).

They know nothing of mobility, and each mobile node would need a device of its own; but they are what a packet
in a tunnel costs in C. Many kernels lack them: `python -m tests.guest` boots one that has them.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from dsmip.bench import frames, network, throughput
from dsmip.bench.figures import Collect, Say, compared
from dsmip.bench.network import Network
from dsmip.bench.throughput import Flood, Format
from dsmip.core.types import IPAddress, TunnelFormat
from dsmip.lab import namespaces
from dsmip.lab.errors import LabError

DEVICE = "kernel0"
#: Outer addresses of the home agent that the eBPF program does not take for its own, and hosts behind it.
OUTER = IPv6Address("2001:db8:1::9")
OUTER_IPV4 = IPv4Address("192.0.2.9")
HOST = IPv6Address("2001:db8:351::2")
HOST_IPV4 = IPv4Address("198.19.0.2")
_BEHIND = ("2001:db8:351::/64", "198.19.0.0/24")
_FOU_PORT = 5555
_PROTOCOLS = {4: 4, 6: 41}


def name_of(form: Format) -> str:
    """What the kernel calls its tunnel of this format."""
    if form.tunnel is TunnelFormat.IPV6:
        return "ip6tnl"
    kind = "sit" if form.ipv6 else "ipip"
    return f"{kind} in FOU" if form.tunnel is TunnelFormat.UDP4 else kind


def measure(
    collect: Collect,
    say: Say,
    *,
    repeat: int,
    seconds: float,
    formats: Sequence[Format] = throughput.FORMATS,
) -> None:
    """Floods of 64-octet packets into and out of our tunnels and the kernel's.

    Raises LabError when this kernel has no such tunnels.
    """
    with Network() as net:
        gateways = (throughput.network_gateway(ipv6=True), throughput.network_gateway(ipv6=False))
        net.sink("ha", network.UPLINK, gateways)
        net.sink("ha", "c0", (network.CORRESPONDENT, network.CORRESPONDENT_IPV4))
        lines = [
            f"addr add {OUTER}/64 dev {network.UPLINK} nodad",
            f"addr add {OUTER_IPV4}/24 dev {network.UPLINK}",
        ]
        namespaces.batch(lines, net.namespace("ha"))
        for form in formats:
            net.use(form.tunnel)
            with tunnel(net, form):
                for direction in ("down", "up"):
                    title = f"{form.name} {direction} beside {name_of(form)}"
                    pairs = []
                    with (
                        contextlib.closing(_ours(net, form, direction)) as ours,
                        contextlib.closing(_kernels(net, form, direction)) as kernels,
                    ):
                        for number in range(repeat):
                            say(f"{title}, {number + 1} of {repeat}")
                            pairs.append((ours.rate(seconds) / 1000, kernels.rate(seconds) / 1000))
                    name = f"throughput/64 B packets {form.name} {direction}, beside the kernel's own"
                    against = f"the kernel's {name_of(form)}"
                    collect(compared(name, "1000 packets/s", pairs, against))


@contextlib.contextmanager
def tunnel(net: Network, form: Format) -> Iterator[None]:
    """The home agent's end of a tunnel of this format to the mobile router. Raises LabError."""
    name = net.namespace("ha")
    ipv6_outside = form.tunnel is TunnelFormat.IPV6
    ends = (
        f"local {OUTER} remote {network.CARE_OF}"
        if ipv6_outside
        else f"local {OUTER_IPV4} remote {network.IPV4_CARE_OF}"
    )
    kind = "ip6tnl mode any" if ipv6_outside else "sit mode ip6ip" if form.ipv6 else "ipip mode ipip"
    in_udp = form.tunnel is TunnelFormat.UDP4
    fou = f"port {_FOU_PORT} ipproto {_PROTOCOLS[6 if form.ipv6 else 4]}"
    options = f"encap fou encap-sport {_FOU_PORT} encap-dport {_FOU_PORT}" if in_udp else ""
    if ipv6_outside:
        options = "encaplimit none"
    with contextlib.ExitStack() as stack:
        if in_udp:
            # Loaded by nothing but its name.
            subprocess.run(["modprobe", "-q", "fou"], check=False)
            _ip(name, f"fou add {fou}")
            stack.callback(_ip, name, f"fou del port {_FOU_PORT}")
        _ip(name, f"link add {DEVICE} type {kind} {ends} {options}")
        stack.callback(_ip, name, f"link del {DEVICE}")
        _ip(name, f"link set {DEVICE} mtu {network.MTU} up")
        for behind in _BEHIND:
            if (":" in behind) == form.ipv6:
                _ip(name, f"route add {behind} dev {DEVICE}")
        yield


def _ip(namespace: str, command: str) -> None:
    done = subprocess.run(
        ["ip", "-n", namespace, *command.split()], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(
            f"ip {command}: {done.stderr.strip()}: does this kernel have such tunnels?"
            " `python -m tests.guest` boots one that has"
        )


def _ours(net: Network, form: Format, direction: str) -> Flood:
    through, plain, unforwarded = throughput.floods(net, form, direction)
    plain.close()
    unforwarded.close()
    return through


def _kernels(net: Network, form: Format, direction: str) -> Flood:
    host: IPAddress = HOST if form.ipv6 else HOST_IPV4
    if direction == "down":
        source, entry, exit_ = ("cn", "c0"), ("ha", "c0"), ("net", "h0")
        octets = frames.packet(form.correspondent, host)
    else:
        source, entry, exit_ = ("net", "h0"), ("ha", network.UPLINK), ("cn", "c0")
        ipv6_outside = form.tunnel is TunnelFormat.IPV6
        care_of: IPAddress = network.CARE_OF if ipv6_outside else network.IPV4_CARE_OF
        outer: IPAddress = OUTER if ipv6_outside else OUTER_IPV4
        inner = frames.packet(host, form.correspondent)
        octets = frames.tunnelled(inner, form.tunnel, care_of, outer, _FOU_PORT)
    frame = frames.frame(network.mac(*entry), network.mac(*source), octets)
    return Flood(net, source, [frame] * 64, exit_)
