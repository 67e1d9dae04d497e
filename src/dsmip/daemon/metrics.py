"""Counters for Prometheus. Nothing is kept: maps and engine are read when somebody asks.

Labels take words of the program only (reasons, tunnel formats, directions), so the number of time series does
not grow with the fleet; `per_mobile_node = true` adds a handful for each binding.

Needs the package prometheus-client, which is imported when metrics are configured and not before.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from dsmip import __version__
from dsmip.core.mobile_node.view import MobileNodeState
from dsmip.core.types import Nat, TunnelFormat
from dsmip.daemon.http import Request, Response
from dsmip.dataplane.api import Traffic

if TYPE_CHECKING:
    from prometheus_client import Metric

    from dsmip.core.types import Binding
    from dsmip.daemon.home_agent.questions import HomeAgentQuestions
    from dsmip.daemon.mobile_node.questions import MobileNodeQuestions
    from dsmip.daemon.runtime import Runtime

#: Bindings read before everything else gets its turn: a millisecond's work.
_SLICE = 500

Family = CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily


class _Collected(Collector):
    """What was collected just now."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


class Metrics:
    """Answers scrapes of one daemon, whose engine gets its turn in between."""

    def __init__(self, runtime: Runtime, questions: HomeAgentQuestions | MobileNodeQuestions) -> None:
        self._runtime = runtime
        self._questions = questions

    async def answer(self, request: Request) -> Response:
        """GET /metrics."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_Collected([*self._common(), *await self._of_role()]))
        # Text of many series takes a while, and needs nothing that changes meanwhile.
        return Response(await asyncio.to_thread(generate_latest, registry), CONTENT_TYPE_LATEST)

    async def _of_role(self) -> list[Family]:
        raise NotImplementedError

    def _common(self) -> Iterable[Family]:
        status, stats, events = self._questions.status(), self._questions.stats(), self._runtime.events
        about = {"version": __version__, "role": str(status["role"]), "name": str(status["name"])}
        yield InfoMetricFamily("dsmip", "This daemon.", value=about)
        yield _gauge("dsmip_uptime_seconds", "Time since the start.", float(status["uptime"]))
        yield _labelled("dsmip_events", "What happened, by kind of event.", "event", events.counts)
        yield _labelled(
            "dsmip_signalling_refused",
            "Signalling packets that were refused, by reason.",
            "reason",
            stats["signalling_refused"],
        )
        yield _labelled(
            "dsmip_dataplane_dropped",
            "Packets that the data plane dropped, by reason.",
            "reason",
            stats["dataplane_dropped"],
        )


class HomeAgentMetrics(Metrics):
    """Of a home agent."""

    def __init__(self, runtime: Runtime, questions: HomeAgentQuestions, *, per_mobile_node: bool) -> None:
        super().__init__(runtime, questions)
        self._home_agent = questions
        self._per_mobile_node = per_mobile_node

    async def _of_role(self) -> list[Family]:
        status = self._home_agent.status()
        traffic, tunnels, nat = self._runtime.retired, Counter[str](), 0
        nodes = _Nodes() if self._per_mobile_node else None
        async for binding in _in_slices(self._home_agent.cache()):
            own = self._runtime.dataplane.traffic(binding.index)
            traffic += own
            tunnels[binding.format.value] += 1
            nat += binding.nat is Nat.DETECTED
            if nodes is not None:
                nodes.add(self._home_agent.name_of(binding), binding, own)
        formats = {one.value: tunnels[one.value] for one in TunnelFormat if one is not TunnelFormat.LINK}
        by_tunnel = GaugeMetricFamily(
            "dsmip_bindings_by_tunnel", "Bindings by the tunnel to their care-of address.", labels=["tunnel"]
        )
        for name, count in formats.items():
            by_tunnel.add_metric([name], count)
        return [
            _gauge("dsmip_mobile_nodes", "Mobile nodes that are configured.", status["mobile_nodes"]),
            _gauge("dsmip_bindings", "Mobile nodes that are registered.", status["bindings"]),
            by_tunnel,
            _gauge("dsmip_bindings_behind_nat", "Bindings with a NAT on the way.", nat),
            *_traffic(traffic),
            *(nodes.families if nodes is not None else ()),
        ]


class MobileNodeMetrics(Metrics):
    """Of a mobile node or mobile router."""

    async def _of_role(self) -> list[Family]:
        status = self._questions.status()
        state = GaugeMetricFamily("dsmip_state", "1 for the state the mobile node is in.", labels=["state"])
        for name in MobileNodeState:
            state.add_metric([name.value], float(status["state"] == name.value))
        tunnel = GaugeMetricFamily("dsmip_tunnel", "1 for the tunnel in use.", labels=["tunnel"])
        for one in TunnelFormat:
            tunnel.add_metric([one.value], float(status["tunnel"] == one.value))
        families: list[Family] = [
            state,
            tunnel,
            _gauge(
                "dsmip_behind_nat", "Whether there is a NAT on the way.", float(status["nat"] == "detected")
            ),
            _gauge(
                "dsmip_binding_lifetime_seconds",
                "Time left of the binding.",
                float(status["lifetime_left"] or 0),
            ),
            *_traffic(Traffic(*(int(status[name]) for name in _COUNTERS))),
        ]
        if status["round_trip_ms"] is not None:
            families.append(
                _gauge(
                    "dsmip_registration_round_trip_seconds",
                    "Binding Update to Binding Acknowledgement, the last time.",
                    float(status["round_trip_ms"]) / 1000,
                )
            )
        return families


_COUNTERS = ("sent_packets", "sent_bytes", "received_packets", "received_bytes")


async def _in_slices(bindings: Mapping[Any, Binding]) -> AsyncIterator[Binding]:
    """Every binding that was there at the beginning, with pauses."""
    for number, binding in enumerate(list(bindings.values()), start=1):
        yield binding
        if number % _SLICE == 0:
            await asyncio.sleep(0)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _traffic(traffic: Traffic) -> Iterable[Family]:
    """Directions as this end sees them: sent into the tunnel, received out of it."""
    packets = CounterMetricFamily("dsmip_packets", "Inner packets through the tunnels.", labels=["direction"])
    packets.add_metric(["sent"], traffic.sent_packets)
    packets.add_metric(["received"], traffic.received_packets)
    volume = CounterMetricFamily("dsmip_bytes", "Inner octets through the tunnels.", labels=["direction"])
    volume.add_metric(["sent"], traffic.sent_bytes)
    volume.add_metric(["received"], traffic.received_bytes)
    return (packets, volume)


class _Nodes:
    """Time series of single bindings."""

    def __init__(self) -> None:
        self._bytes = CounterMetricFamily(
            "dsmip_node_bytes", "Inner octets of one binding.", labels=["node", "direction"]
        )
        self._expires = GaugeMetricFamily(
            "dsmip_node_binding_expires_seconds", "Time left of one binding.", labels=["node"]
        )
        self._tunnel = GaugeMetricFamily(
            "dsmip_node_tunnel", "1 for the tunnel of one binding.", labels=["node", "tunnel"]
        )

    @property
    def families(self) -> tuple[Family, ...]:
        return (self._bytes, self._expires, self._tunnel)

    def add(self, name: str, binding: Binding, traffic: Traffic) -> None:
        self._bytes.add_metric([name, "sent"], traffic.sent_bytes)
        self._bytes.add_metric([name, "received"], traffic.received_bytes)
        self._expires.add_metric([name], max(0.0, binding.expires - time.time()))
        self._tunnel.add_metric([name, binding.format.value], 1)
