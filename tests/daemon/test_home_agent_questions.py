"""What a home agent tells about bindings with several care-of addresses and about flows."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tests.daemon.home_agent_parts import HomeAgentParts

from dsmip.core.types import FlowBinding, TunnelFormat
from dsmip.core.types import Path as TunnelPath
from dsmip.dataplane.api import Traffic
from dsmip.wire.trafficselectors import IPv6TrafficSelector


@pytest.fixture
def parts(tmp_path: Path) -> HomeAgentParts:
    flows = (
        FlowBinding(7, 10, IPv6TrafficSelector(next_header=(17, 17)), (1, 2)),
        FlowBinding(8, 20, IPv6TrafficSelector(), (9,)),
    )
    parts = HomeAgentParts(tmp_path)
    parts.bind(1, ("2001:db8:6::1", TunnelFormat.IPV6), traffic=Traffic(1, 100, 2, 200))
    parts.bind(2, ("192.0.2.9", TunnelFormat.UDP4), ("2001:db8:6::2", TunnelFormat.IPV6), flows=flows)
    for bid in (1, 2):
        path = TunnelPath(TunnelFormat.IPV6, parts.config.address, parts.config.address)
        parts.dataplane.set_path(2, path, bid)
        parts.dataplane.counters[2, bid] = Traffic(bid, 100 * bid, 0, 0)
    return parts


def test_every_care_of_address_has_counters_of_its_own(parts: HomeAgentParts) -> None:
    now = time.monotonic()
    parts.dataplane.note_probe(2, 1, now - 5, 0.3)
    parts.dataplane.note_probe(2, 2, now - 0.1, 60)
    plain, several = json.loads(json.dumps(parts.questions.bindings()))
    (only,) = plain["care_of_bindings"]
    assert (only["bid"], only["care_of"], only["received_bytes"]) == (0, "2001:db8:6::1", 200)
    assert (only["heard_ago"], only["silent"], only["at_home"]) == (None, False, False)
    first, second = several["care_of_bindings"]
    assert (first["bid"], first["tunnel"], first["sent_packets"]) == (1, "udp4", 1)
    assert (second["bid"], second["tunnel"], second["sent_packets"]) == (2, "ipv6", 2)
    assert (first["silent"], second["silent"]) == (True, False)
    assert first["heard_ago"] >= 5
    assert second["heard_ago"] < 5
    # As a whole it is where the preferred one is.
    assert (several["care_of"], several["tunnel"]) == ("192.0.2.9", "udp4")


def test_flows(parts: HomeAgentParts) -> None:
    expected = [
        {
            "name": "bus-2",
            "home_address": "2001:db8:100::2",
            "fid": 7,
            "priority": 10,
            "selector": "udp",
            "bids": [1, 2],
            "active": True,
        },
        {
            "name": "bus-2",
            "home_address": "2001:db8:100::2",
            "fid": 8,
            "priority": 20,
            "selector": "IPv6",
            "bids": [9],
            "active": False,
        },
    ]
    ask = parts.questions.handlers()["flows"]
    assert ask({}) == expected
    assert ask({"filter": "bus-2"}) == expected
    assert ask({"filter": "bus-1"}) == []
