"""What flow rules cost: the same binding over the same path, with and without."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence

from dsmip.bench import cost, frames, network, throughput
from dsmip.bench.figures import Collect, Figure, Say, Spread, compared
from dsmip.bench.network import BINDING, Network
from dsmip.core.types import FlowRule
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector

RULES = 32
BAR = 0.95
#: More flows than the program remembers the rule of.
_MANY_FLOWS = 8192
_WITHOUT = "the same binding without flow rules"
_BID = 1
_UDP = 17
_PORT = 9


def rules(*, ipv6: bool) -> list[FlowRule]:
    """As many as there have to be, each by protocol and a range of ports. Only the last one matches what this
    module sends."""
    made = []
    for number in range(RULES):
        ports = (20000 + 100 * number, 20099 + 100 * number) if number < RULES - 1 else (0, 19999)
        selector = (
            IPv6TrafficSelector(next_header=(_UDP, _UDP), destination_port=ports)
            if ipv6
            else IPv4TrafficSelector(protocol=(_UDP, _UDP), destination_port=ports)
        )
        made.append(FlowRule(selector, (_BID,)))
    return made


#: One format for each family inside.
FORMATS = (throughput.FORMATS[0], throughput.FORMATS[5])


def measure(
    collect: Collect,
    say: Say,
    *,
    repeat: int,
    seconds: float,
    formats: Sequence[throughput.Format] = FORMATS,
) -> None:
    """All of it. `seconds` is the length of one transfer. Raises LabError when something is missing."""
    with Network() as net, throughput.bulk_server(net):
        _bulk(net, collect, say, repeat, seconds, formats)
    with Network() as net:
        _small_packets(net, collect, say, repeat, seconds / 2, formats)


def _small_packets(
    net: Network,
    collect: Collect,
    say: Say,
    repeat: int,
    seconds: float,
    formats: Sequence[throughput.Format],
) -> None:
    """Floods of small packets into the tunnel: of one flow, and each of another flow than the one before, so
    that the rules are gone through every time. What arrives is counted behind the home agent's uplink."""
    plane = net.plane("ha")
    program = plane.program("tunnel_egress")
    gateways = [throughput.network_gateway(ipv6=ipv6) for ipv6 in (True, False)]
    net.sink("ha", network.UPLINK, gateways)
    for form in formats:
        net.use(form.tunnel, _BID)
        for name, bar, ports in (
            ("one flow", BAR, range(1)),
            (f"{_MANY_FLOWS:,} flows", None, range(_MANY_FLOWS)),
        ):
            octets = [
                frames.frame(
                    network.mac("ha", "c0"),
                    network.mac("cn", "c0"),
                    frames.packet(form.correspondent, form.host, ports=(1024 + port, _PORT)),
                )
                for port in ports
            ]
            flood = throughput.Flood(net, ("cn", "c0"), octets * max(1, 64 // len(octets)), ("net", "h0"))
            pairs, runs, bare_runs = [], [], []
            with contextlib.closing(flood):
                for number in range(repeat):
                    say(f"{RULES} flow rules, {form.name}, {name}, {number + 1} of {repeat}")
                    timed = functools.partial(flood.rate, seconds / 2)
                    plane.set_flows(BINDING, rules(ipv6=form.ipv6))
                    with_rules = flood.rate(seconds)
                    runs.append(cost.nanoseconds(program, timed))
                    plane.set_flows(BINDING, ())
                    pairs.append((with_rules / 1000, flood.rate(seconds) / 1000))
                    bare_runs.append(cost.nanoseconds(program, timed))
            title = f"throughput/64 B packets {form.name} down, {RULES} flow rules, {name}"
            collect(compared(title, "1000 packets/s", pairs, _WITHOUT, bar=bar))
            title = f"throughput/eBPF program {form.name} down, {RULES} flow rules, {name}"
            detail = {"ns_without_rules": Spread.of(bare_runs).median}
            collect(Figure(title, Spread.of(runs), "ns/packet", at_least=False, detail=detail))
        plane.set_flows(BINDING, ())


def _bulk(
    net: Network,
    collect: Collect,
    say: Say,
    repeat: int,
    seconds: float,
    formats: Sequence[throughput.Format],
) -> None:
    """Bulk TCP with rules at both ends."""
    planes = [net.plane(node) for node in ("ha", "mr")]
    for form in formats:
        net.use(form.tunnel, _BID)
        throughput.await_answer(net, form.host)
        for direction in ("down", "up"):
            pairs = []
            for number in range(repeat):
                say(f"bulk TCP, {RULES} flow rules, {form.name} {direction}, {number + 1} of {repeat}")
                measured = []
                for wanted in (rules(ipv6=form.ipv6), []):
                    for plane in planes:
                        plane.set_flows(BINDING, wanted)
                    measured.append(throughput.transfer(net, form.host, direction, seconds))
                pairs.append((measured[0], measured[1]))
            title = f"throughput/bulk TCP {form.name} {direction}, {RULES} flow rules"
            collect(compared(title, "Gbit/s", pairs, _WITHOUT, bar=BAR))
