"""How fast data passes: bulk TCP through every tunnel format, and small packets through the home agent."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dsmip.bench import cost, fleet, frames, network, profile, wireguard
from dsmip.bench.figures import Collect, Figure, Say, Spread, compared
from dsmip.bench.network import Network
from dsmip.core.types import IPAddress, TunnelFormat
from dsmip.lab import namespaces
from dsmip.lab.errors import LabError

BULK_BAR = 0.95
SMALL_BAR = 0.80
_PORT = 5201
_PLAIN = "plain forwarding over the same nodes"
_WITHIN = 10.0
#: Seconds of a flood that is looked into.
_PROFILED = 1.0


@dataclass(frozen=True, slots=True)
class Format:
    """A tunnel format with what it carries."""

    name: str
    tunnel: TunnelFormat
    ipv6: bool

    @property
    def host(self) -> IPAddress:
        """The host's mobile address of the carried family."""
        return network.MOBILE_HOST if self.ipv6 else network.IPV4_MOBILE_HOST

    @property
    def plain_host(self) -> IPAddress:
        """Its plain address."""
        return network.PLAIN_HOST if self.ipv6 else network.IPV4_PLAIN_HOST

    @property
    def correspondent(self) -> IPAddress:
        """The correspondent's address of that family."""
        return network.CORRESPONDENT if self.ipv6 else network.CORRESPONDENT_IPV4


FORMATS = (
    Format("IPv6-in-IPv6", TunnelFormat.IPV6, ipv6=True),
    Format("IPv4-in-IPv6", TunnelFormat.IPV6, ipv6=False),
    Format("IPv6-in-IPv4", TunnelFormat.IPV4, ipv6=True),
    Format("IPv4-in-IPv4", TunnelFormat.IPV4, ipv6=False),
    Format("IPv6-in-UDP", TunnelFormat.UDP4, ipv6=True),
    Format("IPv4-in-UDP", TunnelFormat.UDP4, ipv6=False),
)


def measure(
    collect: Collect, say: Say, *, repeat: int, seconds: float, formats: Sequence[Format] = FORMATS
) -> None:
    """All of it. `seconds` is the length of one transfer. Raises LabError when something is missing."""
    with Network() as net:
        _bulk(net, collect, say, repeat, seconds, formats)
    with Network() as net:
        small_packets(net, collect, say, repeat=repeat, seconds=seconds / 2, formats=formats)


# Bulk ------------------------------------------------------------------------------------------------------


def _bulk(
    net: Network, collect: Collect, say: Say, repeat: int, seconds: float, formats: Sequence[Format]
) -> None:
    with bulk_server(net):
        for form in formats:
            net.use(form.tunnel)
            await_answer(net, form.host)
            await_answer(net, form.plain_host)
            for direction in ("down", "up"):
                pairs = []
                for number in range(repeat):
                    say(f"bulk TCP, {form.name} {direction}, {number + 1} of {repeat}")
                    through = transfer(net, form.host, direction, seconds)
                    pairs.append((through, transfer(net, form.plain_host, direction, seconds)))
                name = f"throughput/bulk TCP {form.name} {direction}"
                figure = compared(name, "Gbit/s", pairs, _PLAIN, bar=BULK_BAR)
                if figure.ok is False and profile.available():
                    figure = replace(figure, why=_explained_bulk(net, form, direction, seconds))
                collect(figure)
        _beside_wireguard(net, collect, say, repeat, seconds)


def _explained_bulk(net: Network, form: Format, direction: str, seconds: float) -> str:
    """What both cores do during a transfer, through the tunnel and plain."""
    told = []
    for words, host in (("Through the tunnel", form.host), ("plain", form.plain_host)):
        found = profile.stacks(
            functools.partial(transfer, net, host, direction, max(_PROFILED, seconds)), everywhere=True
        )
        told.append(f"{words}: {profile.busiest(found)}")
    return "The busiest functions of both cores. " + "; ".join(told) + "."


@contextlib.contextmanager
def bulk_server(net: Network) -> Iterator[None]:
    """What `transfer` connects to runs on the host. Raises LabError when iperf3 is missing."""
    if shutil.which("iperf3") is None:
        raise LabError("iperf3 is not installed: install its package (apt-get install iperf3)")
    argv = ["iperf3", "-s", "-p", str(_PORT)]
    server = subprocess.Popen(
        namespaces.command(net.namespace("host"), argv), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def _beside_wireguard(net: Network, collect: Collect, say: Say, repeat: int, seconds: float) -> None:
    """IPv6 in UDP, as behind a NAT, and a userspace WireGuard, which is in UDP too."""
    if absent := wireguard.missing():
        raise LabError(f"not installed: {absent} (apt-get install wireguard-go wireguard-tools)")
    form = next(form for form in FORMATS if form.tunnel is TunnelFormat.UDP4 and form.ipv6)
    net.use(form.tunnel)
    with wireguard.tunnel(net) as host:
        await_answer(net, form.host)
        await_answer(net, host)
        for direction in ("down", "up"):
            pairs = []
            for number in range(repeat):
                say(f"bulk TCP, WireGuard {direction}, {number + 1} of {repeat}")
                through = transfer(net, form.host, direction, seconds)
                pairs.append((through, transfer(net, host, direction, seconds)))
            name = f"throughput/bulk TCP {form.name} {direction}, beside WireGuard"
            collect(compared(name, "Gbit/s", pairs, "wireguard-go over the same nodes, which encrypts"))


def transfer(net: Network, host: IPAddress, direction: str, seconds: float) -> float:
    """Gbit/s received over one connection; "down" is towards the host."""
    argv = ["iperf3", "-c", str(host), "-p", str(_PORT), "-t", f"{max(1, round(seconds))}", "-J"]
    if direction == "up":
        argv.append("-R")
    deadline = time.monotonic() + _WITHIN
    while True:
        done = subprocess.run(
            namespaces.command(net.namespace("cn"), argv), capture_output=True, text=True, check=False
        )
        report: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        with contextlib.suppress(KeyError):
            return float(report["end"]["sum_received"]["bits_per_second"]) / 1e9
        # The server may not be there yet, or not have finished with the transfer before.
        if time.monotonic() > deadline:
            problem = report.get("error") or done.stderr.strip() or "no report"
            raise LabError(f"iperf3 to {host}: {problem}")
        time.sleep(0.1)


def await_answer(net: Network, host: IPAddress) -> None:
    """Until the host answers the correspondent. Raises LabError when it does not."""
    deadline = time.monotonic() + _WITHIN
    argv = ["ping", "-q", "-c", "1", "-W", "1", str(host)]
    while subprocess.run(
        namespaces.command(net.namespace("cn"), argv), capture_output=True, check=False
    ).returncode:
        if time.monotonic() > deadline:
            raise LabError(f"the measuring network is broken: no answer from {host}")


# Small packets ---------------------------------------------------------------------------------------------


def small_packets(
    net: Network, collect: Collect, say: Say, *, repeat: int, seconds: float, formats: Sequence[Format]
) -> None:
    """Floods of 64-octet packets through the home agent, into the tunnel and out of it.

    What it sends is counted where it arrives and goes no further, so the home agent is all that differs; the
    generator takes part in the work of one core, and what it costs alone is measured too. What it sends
    has room for outer headers in front, as packets from a network card have.
    """
    net.leave_headroom("cn", "c0")
    net.sink("ha", network.UPLINK, (network_gateway(ipv6=True), network_gateway(ipv6=False)))
    net.sink("ha", "c0", (network.CORRESPONDENT, network.CORRESPONDENT_IPV4))
    for form in formats:
        net.use(form.tunnel)
        for direction in ("down", "up"):
            through, plain, unforwarded = floods(net, form, direction)
            pairs, own, runs = [], [], []
            with contextlib.ExitStack() as stack:
                for flood in (through, plain, unforwarded):
                    stack.callback(flood.close)
                name = "tunnel_egress" if direction == "down" else "uplink_ethernet"
                program = net.plane("ha").program(name)
                for number in range(repeat):
                    say(f"small packets, {form.name} {direction}, {number + 1} of {repeat}")
                    pairs.append((through.rate(seconds), plain.rate(seconds)))
                    own.append(unforwarded.rate(seconds))
                    runs.append(cost.nanoseconds(program, functools.partial(through.rate, seconds / 2)))
                figure = _of_floods(f"throughput/64 B packets {form.name} {direction}", pairs, own)
                if figure.ok is False:
                    say(f"small packets, {form.name} {direction}: where the time goes")
                    figure = replace(figure, why=_explained(through, plain, seconds, name))
            collect(figure)
            title = f"throughput/eBPF program {form.name} {direction}"
            collect(Figure(title, Spread.of(runs), "ns/packet", at_least=False))


def _of_floods(name: str, pairs: Sequence[tuple[float, float]], own: Sequence[float]) -> Figure:
    """Packets a second through the tunnel and plain, and of the generator alone."""
    # Seconds a packet, without what the generator itself takes.
    bare = [
        (1 / rate - 1 / alone, 1 / base - 1 / alone) for (rate, base), alone in zip(pairs, own, strict=True)
    ]
    detail = {
        "generator_alone_pps": Spread.of(own).median,
        "ns_per_packet": 1e9 * Spread.of(cost for cost, _ in bare).median,
        "plain_ns_per_packet": 1e9 * Spread.of(cost for _, cost in bare).median,
    }
    in_kpps = [(rate / 1000, base / 1000) for rate, base in pairs]
    return compared(name, "1000 packets/s", in_kpps, _PLAIN, bar=SMALL_BAR, detail=detail)


def _explained(through: Flood, plain: Flood, seconds: float, program: str) -> str:
    """Where a packet spends more time than one that is plainly forwarded, from samples; "" without perf."""
    if not profile.available():
        return ""
    rates: list[float] = []
    shares = [
        profile.phases(
            profile.stacks(functools.partial(_note_rate, rates, flood, max(_PROFILED, seconds))), program
        )
        for flood in (through, plain)
    ]
    return profile.beyond(shares[0], shares[1], 1e9 / rates[0], 1e9 / rates[1])


def _note_rate(rates: list[float], flood: Flood, seconds: float) -> None:
    rates.append(flood.rate(seconds))


class Flood:
    """One kind of packet, from a generator to the interface where what arrives is counted."""

    def __init__(
        self, net: Network, source: tuple[str, str], octets: Sequence[bytes], counted: tuple[str, str]
    ) -> None:
        self._net = net
        self._counted = counted
        self._sender = frames.Sender(net.namespace(source[0]), source[1], octets)

    def rate(self, seconds: float) -> float:
        """Packets a second that arrived. Raises LabError when none did."""
        before = self._net.received(*self._counted)
        _, passed = self._sender.flood(seconds)
        arrived = self._net.received(*self._counted) - before
        if not arrived:
            raise LabError(f"no small packet arrives at {'/'.join(self._counted)}")
        return arrived / passed

    def close(self) -> None:
        """Let go of the generator."""
        self._sender.close()


def network_gateway(*, ipv6: bool) -> IPAddress:
    """The router at the other end of the home agent's uplink."""
    return fleet.HOME_AGENT - 1 if ipv6 else fleet.HOME_AGENT_IPV4 - 1


def floods(net: Network, form: Format, direction: str) -> tuple[Flood, Flood, Flood]:
    """Through the tunnel, plain, and one that the home agent does not take: not for its address."""
    if direction == "down":
        source, entry, exit_ = ("cn", "c0"), ("ha", "c0"), ("net", "h0")
        through = frames.packet(form.correspondent, form.host)
        plain = frames.packet(form.correspondent, form.plain_host)
    else:
        source, entry, exit_ = ("net", "h0"), ("ha", network.UPLINK), ("cn", "c0")
        outer_ipv6 = form.tunnel is TunnelFormat.IPV6
        care_of: IPAddress = network.CARE_OF if outer_ipv6 else network.IPV4_CARE_OF
        home_agent: IPAddress = fleet.HOME_AGENT if outer_ipv6 else fleet.HOME_AGENT_IPV4
        inner = frames.packet(form.host, form.correspondent)
        through = frames.tunnelled(inner, form.tunnel, care_of, home_agent)
        plain = frames.packet(form.plain_host, form.correspondent)
    to, at = network.mac(*entry), network.mac(*source)
    nobody = bytes.fromhex("02005e20fffe")
    return (
        Flood(net, source, [frames.frame(to, at, through)] * 64, exit_),
        Flood(net, source, [frames.frame(to, at, plain)] * 64, exit_),
        Flood(net, source, [frames.frame(nobody, at, plain)] * 64, entry),
    )
