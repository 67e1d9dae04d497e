"""Metrics: read at scrape, bounded in number, and what the dashboard asks for."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.daemon.home_agent_parts import HomeAgentParts

from dsmip.core.types import TunnelFormat
from dsmip.daemon.http import Request
from dsmip.daemon.metrics import HomeAgentMetrics, Metrics, MobileNodeMetrics
from dsmip.daemon.mobile_node.questions import MobileNodeQuestions
from dsmip.dataplane.api import Traffic

DASHBOARD = Path(__file__).parents[2] / "contrib" / "grafana-dashboard.json"
STATUS: dict[str, Any] = {
    "name": "bus-1",
    "role": "mobile-router",
    "state": "registered",
    "tunnel": "udp4",
    "nat": "detected",
    "lifetime_left": 500.0,
    "round_trip_ms": 12.5,
    "uptime": 60.0,
    "sent_packets": 1,
    "sent_bytes": 2,
    "received_packets": 3,
    "received_bytes": 4,
}

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(metrics: Metrics) -> Samples:
    response = asyncio.run(metrics.answer(Request("/metrics", {}, {}, "")))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.body.decode())
        for sample in family.samples
    }


def home_agent(parts: HomeAgentParts, *, per_mobile_node: bool = False) -> HomeAgentMetrics:
    return HomeAgentMetrics(parts.runtime, parts.questions, per_mobile_node=per_mobile_node)


def mobile_node(parts: HomeAgentParts) -> MobileNodeMetrics:
    questions = SimpleNamespace(status=lambda: STATUS, stats=parts.questions.stats)
    return MobileNodeMetrics(parts.runtime, cast(MobileNodeQuestions, questions))


@pytest.fixture
def parts(tmp_path: Path) -> HomeAgentParts:
    made = HomeAgentParts(tmp_path)
    made.bind(1, ("2001:db8:6::1", TunnelFormat.IPV6), traffic=Traffic(1, 1000, 2, 2000))
    made.bind(2, ("192.0.2.9", TunnelFormat.UDP4), traffic=Traffic(10, 10000, 20, 20000))
    made.events.drop("replay", "")
    return made


def test_a_home_agent_tells_sums(parts: HomeAgentParts) -> None:
    found = scrape(home_agent(parts))
    assert found["dsmip_bindings", ()] == 2
    assert found["dsmip_mobile_nodes", ()] == 3
    assert found["dsmip_bindings_by_tunnel", (("tunnel", "udp4"),)] == 1
    assert found["dsmip_bindings_by_tunnel", (("tunnel", "ipv4"),)] == 0
    assert found["dsmip_bindings_behind_nat", ()] == 1
    assert found["dsmip_bytes_total", (("direction", "received"),)] == 22000
    assert found["dsmip_packets_total", (("direction", "sent"),)] == 11
    assert found["dsmip_events_total", (("event", "registered"),)] == 2
    assert found["dsmip_signalling_refused_total", (("reason", "replay"),)] == 1


def test_counters_never_go_back_when_a_binding_ends(parts: HomeAgentParts) -> None:
    before = scrape(home_agent(parts))
    parts.runtime.retired += parts.dataplane.traffic(2)
    parts.dataplane.remove_binding(2)
    assert scrape(home_agent(parts))["dsmip_bytes_total", (("direction", "sent"),)] == 11000
    assert before["dsmip_bytes_total", (("direction", "sent"),)] == 11000


def test_the_number_of_time_series_does_not_grow_with_the_fleet(tmp_path: Path) -> None:
    def series(nodes: int, *, per_mobile_node: bool) -> int:
        made = HomeAgentParts(tmp_path, nodes=nodes)
        for number in range(1, nodes + 1):
            made.bind(number, (f"2001:db8:6::{number:x}", TunnelFormat.IPV6))
        found = scrape(home_agent(made, per_mobile_node=per_mobile_node))
        return sum(name.startswith("dsmip_") for name, _ in found)

    assert series(2, per_mobile_node=False) == series(50, per_mobile_node=False)
    assert series(50, per_mobile_node=True) == series(2, per_mobile_node=True) + 48 * 4


def test_single_mobile_nodes_are_told_when_that_is_wanted(parts: HomeAgentParts) -> None:
    found = scrape(home_agent(parts, per_mobile_node=True))
    assert found["dsmip_node_bytes_total", (("direction", "sent"), ("node", "bus-2"))] == 10000
    assert found["dsmip_node_tunnel", (("node", "bus-1"), ("tunnel", "ipv6"))] == 1


def test_a_mobile_node_tells_its_state(parts: HomeAgentParts) -> None:
    found = scrape(mobile_node(parts))
    assert found["dsmip_state", (("state", "registered"),)] == 1
    assert found["dsmip_state", (("state", "detached"),)] == 0
    assert found["dsmip_registration_round_trip_seconds", ()] == 0.0125
    assert found["dsmip_packets_total", (("direction", "received"),)] == 3


def test_the_dashboard_asks_for_what_there_is(parts: HomeAgentParts) -> None:
    exported = {name for name, _ in (*scrape(home_agent(parts)), *scrape(mobile_node(parts)))}
    labels = {
        key for _, pairs in (*scrape(home_agent(parts)), *scrape(mobile_node(parts))) for key, _ in pairs
    }
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [
        variable["definition"] for variable in dashboard["templating"]["list"] if "definition" in variable
    ]
    assert len(queries) > 10
    for query in queries:
        names = set(re.findall(r"\b(?:dsmip|process)_[a-z0-9_]+", query))
        assert names, query
        assert names <= exported, query
        used = set(re.findall(r"[{,]\s*([a-z]+)=", query))
        for grouping in re.findall(r"by \(([a-z, ]+)\)", query):
            used |= {label.strip() for label in grouping.split(",")}
        # Prometheus itself adds these two.
        assert used <= labels | {"instance", "job"}, query
