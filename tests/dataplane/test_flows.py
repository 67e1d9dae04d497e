"""Flow rules: the eBPF program agrees with `dsmip.dataplane.choice`, written from RFC 6088 and RFC 6089."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)

from dsmip.core.types import FlowRule, IPAddress, TunnelFormat
from dsmip.dataplane.api import Role
from dsmip.dataplane.choice import Flow, choose
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector
from tests.dataplane.bench import BINDING, Bench
from tests.dataplane.packets import HOME4, HOME6, PEER4, PEER6

pytestmark = pytest.mark.root

BIDS = (1, 2, 3, 4)
PREFERENCE = (1, 2, 3)
TCP, ESP, AH, ICMPV6, MOBILITY = 6, 50, 51, 58, 135
WITH_PORTS = (TCP, 17, 136, 132, 33)  # TCP, UDP, UDP-Lite, SCTP, DCCP
PORTS = tuple(range(5000, 5004))


@pytest.fixture(scope="module", params=list(Role), ids=lambda role: role.value)
def bench(request: pytest.FixtureRequest, bpf_directory: FilePath) -> Iterator[Bench]:
    with Bench("flows", request.param, bpf_directory) as made:
        yield made


@pytest.fixture(scope="module")
def home_agent(bpf_directory: FilePath) -> Iterator[Bench]:
    with Bench("flows-ha", Role.HOME_AGENT, bpf_directory) as made:
        yield made


# Random rules and packets ----------------------------------------------------------------------------------
# From few values, so that packets meet rules.

peers6 = st.integers(0, 3).map(lambda number: PEER6 + number)
peers4 = st.integers(0, 3).map(lambda number: PEER4 + number)


def spans(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Absent, a value, or a range, which may be empty."""
    return st.none() | values.map(lambda value: (value, value)) | st.tuples(values, values)


numbers = st.integers(0, 3)
classes = st.sampled_from([0x00, 0x03, 0x28, 0xB8, 0xBB, 0xFF])
protocols = st.sampled_from([*WITH_PORTS, ESP, AH, ICMPV6, MOBILITY, 59])
edges = st.sampled_from([0, 0xFFFF]) | st.sampled_from(PORTS)
common = {
    "spi": spans(st.integers(0, 3) | st.just(0xFFFFFFFF)),
    "source_port": spans(edges),
    "destination_port": spans(edges),
}


def selectors(role: Role) -> st.SearchStrategy[IPv6TrafficSelector | IPv4TrafficSelector]:
    def ends(peers: st.SearchStrategy[IPAddress], home: IPAddress) -> dict[str, Any]:
        peer, own = spans(peers), st.none() | st.just((home, home)) | st.just((home + 1, home + 9))
        to_home = role is Role.HOME_AGENT
        return {"source": peer if to_home else own, "destination": own if to_home else peer}

    six = st.builds(
        IPv6TrafficSelector,
        **ends(peers6, HOME6),
        **common,
        flow_label=spans(numbers | st.just(0xFFFFF)),
        traffic_class=spans(classes),
        next_header=spans(protocols),
    )
    four = st.builds(
        IPv4TrafficSelector, **ends(peers4, HOME4), **common, dscp=spans(classes), protocol=spans(protocols)
    )
    return six | four


rule_bids = st.lists(st.sampled_from(BIDS), min_size=1, max_size=1).map(tuple)


def flows(role: Role) -> st.SearchStrategy[Flow]:
    def build(
        peer: IPAddress, label: int, protocol: int, ports: tuple[int, int], spi: int, tc: int, icmpv6: int
    ) -> Flow:
        home: IPAddress = HOME6 if peer.version == 6 else HOME4
        source, destination = (peer, home) if role is Role.HOME_AGENT else (home, peer)
        source_port, destination_port = ports if protocol in WITH_PORTS else (None, None)
        return Flow(
            source,
            destination,
            protocol,
            source_port,
            destination_port,
            spi if protocol in (ESP, AH) else None,
            tc,
            label if peer.version == 6 else 0,
            icmpv6 if protocol == ICMPV6 else None,
        )

    return st.builds(
        build,
        peers6 | peers4,
        numbers,
        protocols,
        st.tuples(edges, edges),
        st.integers(0, 3),
        classes,
        st.integers(143, 148),
    )


def octets(flow: Flow, *extensions: Any) -> bytes:
    """A packet of this flow."""
    if flow.source_port is not None and flow.destination_port is not None:
        payload = flow.source_port.to_bytes(2, "big") + flow.destination_port.to_bytes(2, "big") + bytes(12)
    elif flow.spi is not None:
        spi = flow.spi.to_bytes(4, "big")
        payload = spi + bytes(12) if flow.protocol == ESP else bytes([59, 4, 0, 0]) + spi + bytes(12)
    else:
        payload = bytes([flow.icmpv6_type or 0]) + bytes(15)
    source, destination = str(flow.source), str(flow.destination)
    if flow.source.version == 4:
        return bytes(
            IP(src=source, dst=destination, tos=flow.traffic_class, proto=flow.protocol, ttl=63) / payload
        )
    packet: Any = IPv6(src=source, dst=destination, tc=flow.traffic_class, fl=flow.flow_label, hlim=63)
    for extension in extensions:
        packet /= extension
    packet.lastlayer().nh = flow.protocol
    return bytes(packet / payload)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_rfc6088_rfc6089_5_3_6_program_and_oracle_agree(bench: Bench, data: st.DataObject) -> None:
    bench.bind_bids(*BIDS)
    bench.plane.set_preference(BINDING, PREFERENCE)
    pairs = st.tuples(selectors(bench.role), rule_bids)
    rules = [FlowRule(*pair) for pair in data.draw(st.lists(pairs, max_size=12))]
    bench.plane.set_flows(BINDING, rules)
    existing = set(BIDS)
    gone = data.draw(st.none() | st.sampled_from(BIDS))
    if gone:
        bench.plane.remove_path(BINDING, gone)
        existing.discard(gone)
    packets = data.draw(st.lists(flows(bench.role), min_size=8, max_size=8))
    packets += packets[:4]  # which are remembered
    expected = []
    for flow in packets:
        expected += choose(flow, rules, PREFERENCE, existing, existing.__contains__)
        bench.send(octets(flow))
    assert bench.bids_on_wire(len(packets)) == expected


# One after the other ---------------------------------------------------------------------------------------


def flow_of(bench: Bench, port: int = 5001, protocol: int = 17) -> Flow:
    source, destination = (PEER6, HOME6) if bench.role is Role.HOME_AGENT else (HOME6, PEER6)
    return Flow(source, destination, protocol, 5000, port)


def taken(bench: Bench, packet: bytes) -> int:
    bench.send(packet)
    [bid] = bench.bids_on_wire()
    return bid


def test_sixty_four_rules_and_the_first_one_wins(bench: Bench) -> None:
    bench.bind_bids(1, 2, 3)
    rules = [
        FlowRule(IPv6TrafficSelector(destination_port=(6000 + n, 6000 + n)), (2 + n % 2,)) for n in range(63)
    ]
    rules.append(FlowRule(IPv6TrafficSelector(next_header=(17, 17)), (3,)))
    bench.plane.set_flows(BINDING, rules)
    for n in (0, 1, 30, 62):
        for _ in range(2):
            assert taken(bench, octets(flow_of(bench, 6000 + n))) == 2 + n % 2
    assert taken(bench, octets(flow_of(bench, 7000))) == 3
    assert taken(bench, octets(flow_of(bench, 7000, TCP))) == 1


def test_new_rules_hold_for_flows_under_way(bench: Bench) -> None:
    bench.bind_bids(1, 2, 3)
    packet = octets(flow_of(bench))
    for bid in (2, 3, 2):
        bench.plane.set_flows(BINDING, [FlowRule(IPv6TrafficSelector(), (bid,))])
        assert taken(bench, packet) == taken(bench, packet) == bid
    bench.plane.set_flows(BINDING, [])
    assert taken(bench, packet) == 1


def test_rfc6089_5_3_6_a_rule_without_usable_path_is_inactive(bench: Bench) -> None:
    paths = bench.bind_bids(1, 2, 3)
    rules = [FlowRule(IPv6TrafficSelector(destination_port=PORTS[:2]), (bid,)) for bid in (2, 3)]
    bench.plane.set_flows(BINDING, rules)
    packet = octets(flow_of(bench))
    assert taken(bench, packet) == 2
    bench.plane.set_path(BINDING, replace(paths[2], expires=time.monotonic() - 1), 2)
    assert taken(bench, packet) == 3
    bench.plane.remove_path(BINDING, 3)
    assert taken(bench, packet) == 1
    bench.plane.set_path(BINDING, paths[3], 3)
    assert taken(bench, packet) == 3
    bench.plane.set_path(BINDING, paths[2], 2)
    assert taken(bench, packet) == 2


def test_rules_of_one_binding_do_not_concern_another(bench: Bench) -> None:
    bench.bind_bids(1, 2)
    other = BINDING + 1
    bench.plane.set_flows(other, [FlowRule(IPv6TrafficSelector(), (2,))])
    assert taken(bench, octets(flow_of(bench))) == 1
    bench.plane.remove_binding(other)


def test_rfc6089_4_3_rules_do_not_touch_signalling(bench: Bench) -> None:
    """Neither what the home agent sends through the tunnel to a mobile node in an IPv4 network, nor what
    passes between the mobile node and a correspondent."""
    bench.bind_bids(1, 2, tunnel=TunnelFormat.UDP4)
    bench.plane.set_flows(BINDING, [FlowRule(IPv6TrafficSelector(), (2,))])
    source, destination = (PEER6, HOME6) if bench.role is Role.HOME_AGENT else (HOME6, PEER6)
    for flow, chosen in (
        (Flow(source, destination, MOBILITY), 1),
        (Flow(source, destination, ICMPV6, icmpv6_type=147), 1),
        (Flow(source, destination, ICMPV6, icmpv6_type=129), 2),
        (flow_of(bench), 2),
    ):
        for headers in ((), (IPv6ExtHdrDestOpt(),), (IPv6ExtHdrRouting(type=2, segleft=1),)):
            assert taken(bench, octets(flow, *headers)) == chosen


@pytest.mark.parametrize("extensions", [1, 2, 4])
def test_upper_layer_behind_extension_headers(bench: Bench, extensions: int) -> None:
    bench.bind_bids(1, 2)
    bench.plane.set_flows(
        BINDING, [FlowRule(IPv6TrafficSelector(next_header=(17, 17), destination_port=PORTS[1:3]), (2,))]
    )
    headers = [
        IPv6ExtHdrHopByHop(),
        IPv6ExtHdrDestOpt(),
        IPv6ExtHdrRouting(type=4, segleft=0),
        IPv6ExtHdrDestOpt(),
    ]
    for flow in (flow_of(bench, PORTS[1]), flow_of(bench, PORTS[3])):
        chosen = 2 if flow.destination_port == PORTS[1] else 1
        assert taken(bench, octets(flow, *headers[-extensions:])) == chosen


def test_headers_that_are_cut_short_do_no_harm(bench: Bench) -> None:
    bench.bind_bids(1, 2)
    bench.plane.set_flows(BINDING, [FlowRule(IPv6TrafficSelector(destination_port=(0, 65535)), (2,))])
    whole = octets(flow_of(bench), IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(id=7))
    for length in range(40, len(whole)):
        assert taken(bench, whole[:length]) == (2 if length >= 40 + 8 + 8 + 4 else 1)
    for length in range(4):
        source, destination = (PEER4, HOME4) if bench.role is Role.HOME_AGENT else (HOME4, PEER4)
        four = bytes(IP(src=str(source), dst=str(destination), proto=17) / bytes(length))
        assert taken(bench, four) == 1


def fragments(home_agent: Bench, version: int, identification: int) -> list[bytes]:
    """Of one UDP datagram, three."""
    payload = bytes(UDP(sport=5000, dport=5001) / bytes(60))
    pieces = [payload[:24], payload[24:48], payload[48:]]
    made = []
    for number, piece in enumerate(pieces):
        more = int(number < 2)
        if version == 6:
            header: Any = IPv6(src=str(PEER6), dst=str(HOME6)) / IPv6ExtHdrFragment(
                nh=17, offset=3 * number, m=more, id=identification
            )
        else:
            header = IP(
                src=str(PEER4), dst=str(HOME4), proto=17, frag=3 * number, flags=more, id=identification
            )
        made.append(bytes(header / piece))
    return made


@pytest.mark.parametrize("version", [6, 4])
def test_rfc6089_5_3_6_fragments_follow_the_first_one(home_agent: Bench, version: int) -> None:
    home_agent.bind_bids(1, 2, 3)
    kind = IPv6TrafficSelector if version == 6 else IPv4TrafficSelector
    home_agent.plane.set_flows(BINDING, [FlowRule(kind(destination_port=(5001, 5001)), (2,))])
    for order in itertools.permutations(range(3)):
        pieces = fragments(home_agent, version, 100 + sum(n * 3**p for p, n in enumerate(order)))
        known = False
        for number in order:
            known |= number == 0
            assert taken(home_agent, pieces[number]) == (2 if known else 1)
    # What is remembered of a packet does not outlive the rules.
    first, second, _ = fragments(home_agent, version, 5000)
    assert taken(home_agent, first) == 2
    home_agent.plane.set_flows(BINDING, [FlowRule(kind(), (3,))])
    assert taken(home_agent, second) == 3


def test_a_thousand_bindings_get_their_rules_at_once(home_agent: Bench) -> None:
    rules = [FlowRule(IPv6TrafficSelector(destination_port=(n, n)), (1,)) for n in range(64)]
    for index in range(1000, 2000):
        home_agent.plane.set_flows(index, rules)
    assert len(home_agent.plane.bindings() & set(range(1000, 2000))) == 1000
    for index in range(1000, 2000):
        home_agent.plane.remove_binding(index)
