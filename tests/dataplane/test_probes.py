"""Path supervision in the program: probes come back at once, both ends note them, silent paths are left."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path as FilePath
from typing import Any

import pytest
from msgspec.structs import replace
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6Unknown, IPv6

from dsmip.core.types import FlowRule, IPAddress, TunnelFormat
from dsmip.dataplane.api import Role, Traffic
from dsmip.wire.trafficselectors import IPv6TrafficSelector
from tests.dataplane.bench import (
    BINDING,
    NODE_MAC,
    ROUTER_MAC,
    TC_REDIRECT,
    TC_SHOT,
    Bench,
)
from tests.dataplane.packets import (
    HOME6,
    HOME_AGENT6,
    PEER6,
    TUNNELS,
    care_of_bid,
    frame,
    inner,
    wrap,
)

pytestmark = pytest.mark.root

CS6 = 0xC0
TUNNEL = TunnelFormat.UDP4


@pytest.fixture(scope="module")
def home_agent(bpf_directory: FilePath) -> Iterator[Bench]:
    with Bench("probes-ha", Role.HOME_AGENT, bpf_directory) as made:
        made.plane.add_local(HOME_AGENT6)
        yield made


@pytest.fixture(scope="module")
def mobile_node(bpf_directory: FilePath) -> Iterator[Bench]:
    with Bench("probes-mn", Role.MOBILE_NODE, bpf_directory) as made:
        yield made


def payload(
    bid: int,
    hold_ms: int = 300,
    *,
    sent_ns: int | None = None,
    version: int = 1,
    flags: int = 0,
    mtu: int = 0,
) -> bytes:
    sent_ns = time.monotonic_ns() if sent_ns is None else sent_ns
    fields = (version, flags, bid, hold_ms, 77, sent_ns & (1 << 64) - 1, mtu)
    return struct.pack("!4sBBHIIQH6x", b"dsmP", *fields)


def request(data: bytes, source: IPAddress = HOME6, destination: IPAddress = HOME_AGENT6) -> bytes:
    header: Any = IPv6(src=str(source), dst=str(destination), tc=CS6, hlim=64)
    return bytes(header / ICMPv6EchoRequest(id=5, seq=6, data=data))


def reply(data: bytes, source: IPAddress = HOME_AGENT6) -> bytes:
    header: Any = IPv6(src=str(source), dst=str(HOME6), tc=CS6, hlim=64)
    return bytes(header / ICMPv6EchoReply(id=5, seq=6, data=data))


def arriving(bench: Bench, tunnel: TunnelFormat, bid: int, inside: bytes, **changes: Any) -> bytes:
    """A frame with a tunnelled packet that came over this path."""
    local, remote = bench.ends(tunnel)
    care_of = care_of_bid(bid, tunnel)
    ends = (care_of, local) if bench.role is Role.HOME_AGENT else (remote, care_of)
    return NODE_MAC + ROUTER_MAC + frame(wrap(tunnel, inside, *ends, traffic_class=CS6, **changes))[12:]


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_a_probe_is_answered_on_the_spot(home_agent: Bench, tunnel: TunnelFormat) -> None:
    home_agent.bind_bids(1, 2, tunnel=tunnel)
    probe = payload(2)
    before = time.monotonic()
    verdict, out, _ = home_agent.receive_at_uplink(arriving(home_agent, tunnel, 2, request(probe)))
    local, _ = home_agent.ends(tunnel)
    expected = wrap(tunnel, reply(probe), local, care_of_bid(2, tunnel), traffic_class=CS6)
    assert verdict == TC_REDIRECT
    assert out == ROUTER_MAC + NODE_MAC + frame(expected)[12:]
    state = home_agent.plane.paths(BINDING)
    assert before <= (state[2].heard or 0) <= time.monotonic()
    assert (state[1].heard, state[2].silent) == (None, False)
    assert home_agent.plane.traffic(BINDING) == Traffic()


@pytest.mark.parametrize("raw", [False, True], ids=["ethernet", "raw"])
def test_the_answer_leaves_by_the_way_the_probe_came(home_agent: Bench, raw: bool) -> None:
    home_agent.bind_bids(1, tunnel=TUNNEL)
    probe = payload(1)
    packet = arriving(home_agent, TUNNEL, 1, request(probe), source_port=4191)
    home_agent.on_raw_wire()
    if raw:
        home_agent.arrive_raw(packet[14:])
        [out] = home_agent.on_raw_wire()
    else:
        home_agent.arrive(packet)
        [out] = (sent[14:] for sent in home_agent.on_wire())
    local, _ = home_agent.ends(TUNNEL)
    assert out == wrap(TUNNEL, reply(probe), local, care_of_bid(1, TUNNEL), traffic_class=CS6)


def test_outer_checksums_stay_right(home_agent: Bench) -> None:
    """IPv4's, with a time to live that changes and with options, and UDP's, which covers the whole packet."""
    home_agent.bind_bids(1, tunnel=TUNNEL)
    local, _ = home_agent.ends(TUNNEL)
    care_of = care_of_bid(1, TUNNEL)
    for ttl, options in ((3, b""), (255, b"\x94\x04\0\0"), (64, b"")):
        probe = payload(1)
        header: Any = IP(src=str(care_of), dst=str(local), ttl=ttl, options=options, id=9)
        sent = bytes(header / UDP(sport=4191, dport=4191) / request(probe))
        verdict, out, _ = home_agent.receive(frame(sent))
        header = IP(src=str(local), dst=str(care_of), ttl=64, options=options, id=9)
        assert verdict == TC_REDIRECT
        assert out[14:] == bytes(header / UDP(sport=4191, dport=4191) / reply(probe))


def test_probes_from_elsewhere_are_refused(home_agent: Bench) -> None:
    home_agent.bind_bids(1, tunnel=TUNNEL)
    local, _ = home_agent.ends(TUNNEL)
    stranger = ip_address("10.9.9.9")
    for packet, reason in (
        (wrap(TUNNEL, request(payload(1)), stranger, local), "outer-source"),
        (arriving(home_agent, TUNNEL, 1, request(payload(1)), source_port=99)[14:], "outer-source"),
        (arriving(home_agent, TUNNEL, 1, request(payload(1), PEER6))[14:], "inner-address"),
    ):
        drops = home_agent.drops_of(lambda p=packet: home_agent.receive(frame(p)))  # type: ignore[misc]
        assert drops == {reason: 1}
    assert home_agent.plane.paths(BINDING)[1].heard is None


def test_what_is_no_probe_goes_to_the_kernel(home_agent: Bench) -> None:
    home_agent.bind_bids(1, tunnel=TUNNEL)
    good = payload(1)
    header: Any = IPv6(src=str(HOME6), dst=str(HOME_AGENT6))
    for inside in (
        request(good[:-1]),
        request(b""),
        request(b"dsmQ" + good[4:]),
        request(payload(1, version=2)),
        request(good, HOME6, PEER6),  # not to the home agent
        reply(good).replace(HOME_AGENT6.packed, HOME6.packed, 1),
        bytes(header / ICMPv6EchoRequest(code=1, data=good)),
        bytes(header / ICMPv6Unknown(type=130, msgbody=good)),
        inner(6, to_home=False),
    ):
        verdict, out, _ = home_agent.receive_at_uplink(arriving(home_agent, TUNNEL, 1, inside))
        assert (verdict, out[14:]) == (TC_REDIRECT, inside)
    assert home_agent.plane.paths(BINDING)[1].heard is None


def test_truncated_probes_do_no_harm(home_agent: Bench) -> None:
    home_agent.bind_bids(1, tunnel=TUNNEL)
    whole = arriving(home_agent, TUNNEL, 1, request(payload(1)))
    for length in range(14 + 28, len(whole)):
        assert home_agent.receive_at_uplink(whole[:length])[0] == TC_SHOT
    assert home_agent.plane.paths(BINDING)[1].heard is None


def test_a_plain_binding_is_probed_too(home_agent: Bench) -> None:
    home_agent.bind(TUNNEL)
    probe = payload(0)
    assert home_agent.receive(frame(wrap(TUNNEL, request(probe), traffic_class=CS6)))[0] == TC_REDIRECT
    assert home_agent.plane.paths(BINDING)[0].heard is not None


# What is heard ---------------------------------------------------------------------------------------------


def hear(bench: Bench, bid: int, hold_ms: int, tunnel: TunnelFormat = TUNNEL) -> None:
    data = payload(bid, hold_ms)
    inside = request(data) if bench.role is Role.HOME_AGENT else reply(data)
    assert bench.receive_at_uplink(arriving(bench, tunnel, bid, inside))[0] == TC_REDIRECT


def taken(bench: Bench) -> int:
    bench.send(inner(6, to_home=bench.role is Role.HOME_AGENT))
    [bid] = bench.bids_on_wire()
    return bid


@pytest.fixture(params=["home_agent", "mobile_node"])
def bench(request: pytest.FixtureRequest) -> Bench:
    made: Bench = request.getfixturevalue(request.param)
    return made


def test_a_silent_path_is_left_and_taken_again(bench: Bench) -> None:
    bench.bind_bids(1, 2, tunnel=TUNNEL)
    hear(bench, 1, 10_000)
    hear(bench, 2, 10_000)
    assert taken(bench) == 1
    hear(bench, 1, 1)
    time.sleep(0.03)
    assert taken(bench) == 2
    assert bench.plane.paths(BINDING)[1].silent
    assert not bench.plane.paths(BINDING)[2].silent
    hear(bench, 1, 10_000)
    assert taken(bench) == 1
    assert not bench.plane.paths(BINDING)[1].silent


def test_silence_everywhere_drops_nothing(bench: Bench) -> None:
    bench.bind_bids(1, 2, tunnel=TUNNEL)
    hear(bench, 1, 1)
    hear(bench, 2, 1)
    time.sleep(0.03)
    assert taken(bench) == 1


def test_copies_go_on_over_a_silent_path_while_another_is_usable(bench: Bench) -> None:
    bench.bind_bids(9, 1, 2, 3, tunnel=TUNNEL)
    bench.plane.set_flows(BINDING, [FlowRule(IPv6TrafficSelector(), (1, 2))])
    packet = inner(6, to_home=bench.role is Role.HOME_AGENT)
    bench.on_wire()
    hear(bench, 1, 1)
    time.sleep(0.03)
    bench.send(packet)
    assert sorted(bench.bids_on_wire(2)) == [1, 2]
    bench.plane.set_flows(BINDING, [FlowRule(IPv6TrafficSelector(), (1, 2, 3, 9))])
    bench.send(packet)
    assert sorted(bench.bids_on_wire(4)) == [2, 3, 9], "at most three, the usable ones first"
    bench.plane.set_flows(BINDING, [FlowRule(IPv6TrafficSelector(), (1, 2))])
    hear(bench, 2, 1)
    time.sleep(0.03)
    bench.send(packet)
    assert bench.bids_on_wire(2) == [9], "a rule without usable path does not count"


def test_hold_of_zero_is_for_ever(bench: Bench) -> None:
    bench.bind_bids(1, 2, tunnel=TUNNEL)
    hear(bench, 1, 1)
    hear(bench, 1, 0)
    time.sleep(0.03)
    assert taken(bench) == 1
    assert bench.plane.paths(BINDING)[1].heard is not None


def test_setting_a_path_again_keeps_what_was_heard(bench: Bench) -> None:
    path = bench.bind_bids(1, 2, tunnel=TUNNEL)[1]
    hear(bench, 1, 1)
    time.sleep(0.03)
    heard = bench.plane.paths(BINDING)[1].heard
    bench.plane.set_path(BINDING, replace(path, expires=time.monotonic() + 100), 1)
    assert bench.plane.paths(BINDING)[1].heard == heard
    assert taken(bench) == 2
    bench.plane.set_path(BINDING, replace(path, local_port=4192), 1)
    assert bench.plane.paths(BINDING)[1].heard is None
    assert taken(bench) == 1


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_the_mobile_node_hears_the_answer_and_passes_it_on(mobile_node: Bench, tunnel: TunnelFormat) -> None:
    mobile_node.bind_bids(1, 2, tunnel=tunnel)
    answer = reply(payload(2))
    before = time.monotonic()
    verdict, out, _ = mobile_node.receive_at_uplink(arriving(mobile_node, tunnel, 2, answer))
    assert (verdict, out[14:]) == (TC_REDIRECT, answer)
    state = mobile_node.plane.paths(BINDING)
    assert before <= (state[2].heard or 0) <= time.monotonic()
    assert state[1].heard is None


def test_an_answer_counts_for_the_path_it_came_over_only(mobile_node: Bench) -> None:
    path = mobile_node.bind_bids(1, 2, tunnel=TUNNEL)[2]
    for bid in (1, 3, 0):  # in the probe, which came to the address of 2
        mobile_node.receive_at_uplink(arriving(mobile_node, TUNNEL, 2, reply(payload(bid))))
    # The same address on another interface: two networks may hand out the same one.
    mobile_node.plane.set_path(BINDING, replace(path, interface=mobile_node.raw_uplink), 2)
    mobile_node.receive_at_uplink(arriving(mobile_node, TUNNEL, 2, reply(payload(2))))
    assert all(state.heard is None for state in mobile_node.plane.paths(BINDING).values())


def test_answers_to_nothing_that_was_asked_are_not_noted(mobile_node: Bench) -> None:
    """A stranger does not know this machine's clock."""
    mobile_node.bind_bids(1, tunnel=TUNNEL)
    now = time.monotonic_ns()
    for sent_ns in (now + 10**9, now - 11 * 10**9, 0):
        mobile_node.receive_at_uplink(arriving(mobile_node, TUNNEL, 1, reply(payload(1, sent_ns=sent_ns))))
    assert mobile_node.plane.paths(BINDING)[1].heard is None


# The MTU of the path ---------------------------------------------------------------------------------------


def test_the_home_agent_heeds_the_mtu_in_probes(home_agent: Bench) -> None:
    path = home_agent.bind_bids(1, 2, tunnel=TUNNEL)[1]
    for told, known in ((1400, 1400), (0, 1400), (100, 1400), (1380, 1380)):
        home_agent.receive_at_uplink(arriving(home_agent, TUNNEL, 1, request(payload(1, mtu=told))))
        assert home_agent.plane.paths(BINDING)[1].mtu == known
    assert home_agent.plane.paths(BINDING)[2].mtu == 0
    home_agent.plane.set_path(BINDING, path, 1)
    assert home_agent.plane.paths(BINDING)[1].mtu == 1380, "a registration renewed says nothing of it"


def test_padded_probes_come_back_whole_and_say_nothing_of_the_time_to_come(home_agent: Bench) -> None:
    home_agent.bind_bids(1, tunnel=TUNNEL)
    probe = payload(1, 1, flags=1, mtu=1400) + bytes(1300)
    verdict, out, _ = home_agent.receive_at_uplink(arriving(home_agent, TUNNEL, 1, request(probe)))
    local, _ = home_agent.ends(TUNNEL)
    expected = wrap(TUNNEL, reply(probe), local, care_of_bid(1, TUNNEL), traffic_class=CS6)
    assert (verdict, out[14:]) == (TC_REDIRECT, expected)
    state = home_agent.plane.paths(BINDING)[1]
    assert (state.heard, state.silent, state.mtu) == (None, False, 1400)


def test_a_mobile_node_does_not_believe_its_own_probes(mobile_node: Bench) -> None:
    mobile_node.bind_bids(1, tunnel=TUNNEL)
    probe = payload(1, flags=1, mtu=1300)
    mobile_node.receive_at_uplink(arriving(mobile_node, TUNNEL, 1, reply(probe)))
    state = mobile_node.plane.paths(BINDING)[1]
    assert (state.heard, state.mtu) == (None, 0)


def test_what_is_too_big_goes_to_the_home_agent_s_daemon(home_agent: Bench) -> None:
    path = home_agent.bind(TUNNEL)
    home_agent.on_wire()
    for version, mtu, fits in ((6, 1300, 1300), (6, 1240, 1280), (4, 1240, 1240)):
        home_agent.plane.set_path(BINDING, replace(path, mtu=mtu))
        header = 40 if version == 6 else 20
        for size, reasons in ((fits, {}), (fits + 1, {"too-big": 1})):
            inside = inner(version, to_home=True)[:header]
            length = size - 40 if version == 6 else size
            at = 4 if version == 6 else 2
            inside = inside[:at] + length.to_bytes(2, "big") + inside[at + 2 :] + bytes(size - header)
            drops = home_agent.drops_of(lambda p=inside: home_agent.send(p))  # type: ignore[misc]
            assert drops == reasons, (version, mtu, size)
            assert len(home_agent.on_wire()) == (not reasons)
