"""Into the tunnel: every octet that leaves the uplink, for every format, as home agent and as mobile node."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import pytest
from msgspec.structs import replace

from dsmip.core.types import TunnelFormat
from dsmip.dataplane.api import Role, Traffic
from dsmip.dataplane.bpf import map_sizes
from dsmip.dataplane.maps import UPCALL_MARK
from tests.dataplane.bench import BINDING, NODE_MAC, ROUTER4, ROUTER6, ROUTER_MAC, Bench
from tests.dataplane.packets import HEADER_LENGTH, HOME4, HOME6, PORT, TUNNELS, inner, over_ipv4, wrap

pytestmark = pytest.mark.root


@pytest.fixture(scope="module", params=list(Role), ids=lambda role: role.value)
def bench(request: pytest.FixtureRequest, bpf_directory: Path) -> Iterator[Bench]:
    with Bench("encap", request.param, bpf_directory) as made:
        yield made


@pytest.fixture(scope="module")
def home_agent(bpf_directory: Path) -> Iterator[Bench]:
    with Bench("encap-ha", Role.HOME_AGENT, bpf_directory) as made:
        yield made


def packet(bench: Bench, version: int, traffic_class: int = 0, size: int = 11) -> bytes:
    return inner(version, to_home=bench.role is Role.HOME_AGENT, traffic_class=traffic_class, size=size)


def expected(bench: Bench, tunnel: TunnelFormat, inside: bytes, traffic_class: int = 0) -> bytes:
    local, remote = bench.ends(tunnel)
    return wrap(tunnel, inside, local, remote, traffic_class=traffic_class)


def without_flow_label(outer: bytes) -> bytes:
    return outer if outer[0] >> 4 == 4 else outer[:1] + bytes([outer[1] & 0xF0, 0, 0]) + outer[4:]


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
@pytest.mark.parametrize("routed", [False, True], ids=["interface", "by-route"])
def test_every_octet(bench: Bench, tunnel: TunnelFormat, version: int, routed: bool) -> None:
    bench.bind(tunnel, interface=0 if routed else None)
    inside = packet(bench, version)
    bench.send(inside)
    [frame] = bench.on_wire()
    assert frame[:12] == ROUTER_MAC + NODE_MAC
    assert frame[12:14] == (b"\x08\x00" if over_ipv4(tunnel) else b"\x86\xdd")
    assert without_flow_label(frame[14:]) == expected(bench, tunnel, inside)


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_raw_uplink_has_no_ethernet_header(bench: Bench, tunnel: TunnelFormat, version: int) -> None:
    bench.bind(tunnel, interface=bench.raw_uplink)
    inside = packet(bench, version)
    bench.on_raw_wire()
    bench.send(inside)
    [sent] = bench.on_raw_wire()
    assert without_flow_label(sent) == expected(bench, tunnel, inside)


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_rfc2983_rfc6040_dscp_and_ecn_are_copied(
    home_agent: Bench, tunnel: TunnelFormat, version: int
) -> None:
    home_agent.bind(tunnel)
    for traffic_class in (
        0x00,
        0xB8,
        0x01,
        0x02,
        0x03,
        0xFF,
    ):  # expedited forwarding, ECT(1), ECT(0), CE, all
        inside = packet(home_agent, version, traffic_class)
        home_agent.send(inside)
        [frame] = home_agent.on_wire()
        assert without_flow_label(frame[14:]) == expected(home_agent, tunnel, inside, traffic_class)


@pytest.mark.parametrize("tunnel", [TunnelFormat.IPV6, TunnelFormat.UDP6])
def test_rfc6438_flow_label_is_that_of_the_flow(home_agent: Bench, tunnel: TunnelFormat) -> None:
    home_agent.bind(tunnel)
    for inside in (packet(home_agent, 6), packet(home_agent, 6, size=40)):
        home_agent.send(inside)
    first, second = (int.from_bytes(frame[15:18], "big") & 0xFFFFF for frame in home_agent.on_wire(2))
    assert first == second != 0


def test_largest_packet(home_agent: Bench) -> None:
    for tunnel in TUNNELS:
        home_agent.bind(tunnel)
        inside = packet(home_agent, 6, size=1500 - HEADER_LENGTH[tunnel] - 48)
        home_agent.send(inside)
        [frame] = home_agent.on_wire()
        assert len(frame) == 1514
        assert without_flow_label(frame[14:]) == expected(home_agent, tunnel, inside)


@pytest.mark.parametrize("tunnel", [TunnelFormat.IPV6, TunnelFormat.UDP4])
@pytest.mark.parametrize("routed", [False, True], ids=["interface", "by-route"])
def test_first_packet_waits_for_the_neighbour(
    bpf_directory: Path, tunnel: TunnelFormat, routed: bool
) -> None:
    """Not lost while ARP or neighbour discovery finds the router."""
    with Bench("neighbour", Role.HOME_AGENT, bpf_directory) as bench:
        bench.bind(tunnel, interface=0 if routed else None)
        for router, length in ((ROUTER4, 24), (ROUTER6, 64)):
            bench.node.ip(f"neigh del {router} dev u0")
            bench.far.ip(f"addr add {router}/{length} dev u1")
        # Sent by a socket, as everything the home agent forwards: with a route of its own.
        bench.node.ip(f"-6 route add {HOME6}/128 dev dsmip0")
        with bench.node.inside(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"first", (str(HOME6), 6000))
        [frame] = bench.on_wire()
        assert frame[:12] == ROUTER_MAC + NODE_MAC
        assert frame.endswith(b"first")


def test_explicit_next_hop(home_agent: Bench) -> None:
    for tunnel in TUNNELS:
        path = home_agent.bind(tunnel)
        gateway = ROUTER4 if over_ipv4(tunnel) else ROUTER6
        home_agent.plane.set_path(BINDING, replace(path, next_hop=gateway))
        home_agent.send(packet(home_agent, 6))
        [frame] = home_agent.on_wire()
        assert frame[:12] == ROUTER_MAC + NODE_MAC


def test_ports_of_a_nat(home_agent: Bench) -> None:
    path = home_agent.bind(TunnelFormat.UDP4)
    home_agent.plane.set_path(BINDING, replace(path, remote_port=40123))
    home_agent.send(packet(home_agent, 4))
    [frame] = home_agent.on_wire()
    assert frame[14 + 20 : 14 + 24] == PORT.to_bytes(2, "big") + (40123).to_bytes(2, "big")


@pytest.mark.parametrize("version", [6, 4])
def test_at_home_packets_go_as_they_are(home_agent: Bench, version: int) -> None:
    path = home_agent.bind(TunnelFormat.IPV6)
    gateway = ROUTER6 if version == 6 else ROUTER4
    home_agent.plane.set_path(BINDING, replace(path, format=TunnelFormat.LINK, next_hop=gateway))
    inside = packet(home_agent, version)
    home_agent.send(inside)
    assert home_agent.on_wire() == [
        ROUTER_MAC + NODE_MAC + (b"\x86\xdd" if version == 6 else b"\x08\x00") + inside
    ]


def test_counters(bench: Bench) -> None:
    bench.bind(TunnelFormat.UDP4)
    sizes = [len(packet(bench, 6)), len(packet(bench, 4))]
    for version in (6, 4):
        bench.send(packet(bench, version))
    bench.on_wire(2)
    assert bench.plane.traffic(BINDING) == Traffic(sent_packets=2, sent_bytes=sum(sizes))
    bench.restart()
    assert bench.plane.traffic(BINDING) == Traffic(sent_packets=2, sent_bytes=sum(sizes))
    bench.plane.remove_binding(BINDING)
    assert bench.plane.traffic(BINDING) == Traffic()


def test_counters_of_a_binding_with_a_large_index(bench: Bench) -> None:
    """Indices are never given to another mobile node, so they may be beyond the number of bindings there can
    be."""
    path = bench.bind(TunnelFormat.UDP4)
    bench.plane.remove_binding(BINDING)
    index = max(map_sizes(131072).values()) + 1
    bench.plane.set_path(index, path)
    bench.plane.set_networks(index, [ip_network(HOME6)])
    bench.send(packet(bench, 6))
    bench.on_wire()
    assert bench.plane.traffic(index) == Traffic(sent_packets=1, sent_bytes=len(packet(bench, 6)))
    bench.plane.remove_binding(index)
    assert bench.plane.traffic(index) == Traffic()
    assert not list(bench.plane._maps["traffic"].items())


def test_path_expires_by_itself(bench: Bench) -> None:
    path = bench.bind(TunnelFormat.UDP4)
    bench.plane.set_path(BINDING, replace(path, expires=time.monotonic() + 0.05))
    bench.send(packet(bench, 6))
    assert len(bench.on_wire()) == 1
    time.sleep(0.06)
    assert bench.drops_of(lambda: bench.send(packet(bench, 6))) == {"expired": 1}


def test_nothing_is_sent_without_a_path(bench: Bench) -> None:
    bench.bind(TunnelFormat.UDP4)
    bench.plane.remove_path(BINDING)
    for version in (6, 4):
        inside = packet(bench, version)
        assert bench.drops_of(partial(bench.send, inside)) == {"no-path": 1}


def test_unreachable_remote_is_counted(bench: Bench) -> None:
    bench.bind(TunnelFormat.UDP4, interface=0)
    bench.node.ip(f"route del default via {ROUTER4} dev u0")
    try:
        assert bench.drops_of(lambda: bench.send(packet(bench, 6))) == {"no-path": 1}
    finally:
        bench.node.ip(f"route add default via {ROUTER4} dev u0")


def test_longest_prefix_wins(home_agent: Bench) -> None:
    home_agent.bind(TunnelFormat.UDP4)
    plane = home_agent.plane
    plane.set_networks(BINDING + 1, [ip_network("2001:db8:100::/64"), ip_network("198.51.100.0/24")])
    home_agent.send(packet(home_agent, 6))
    home_agent.send(packet(home_agent, 4))
    assert len(home_agent.on_wire(2)) == 2
    plane.set_networks(BINDING, ())
    assert home_agent.drops_of(lambda: home_agent.send(packet(home_agent, 6))) == {"no-path": 1}
    plane.remove_binding(BINDING + 1)


def test_mobile_node_never_sends_from_an_address_without_binding(bpf_directory: Path) -> None:
    with Bench("encap-mn", Role.MOBILE_NODE, bpf_directory) as bench:
        assert bench.drops_of(lambda: bench.send(packet(bench, 6))) == {"no-binding": 1}


def test_home_agent_hands_unbound_packets_to_the_home_link(home_agent: Bench) -> None:
    home_agent.plane.remove_binding(BINDING)
    home_agent.plane.set_home_link(home_agent.uplink)
    home_agent.node.ip(f"neigh replace {HOME6} lladdr 02:00:00:00:00:66 dev u0 nud permanent")
    home_agent.node.ip(f"neigh replace {HOME4} lladdr 02:00:00:00:00:44 dev u0 nud permanent")
    inside = [packet(home_agent, 6), packet(home_agent, 4)]
    for each in inside:
        home_agent.send(each)
    frames = home_agent.on_wire(2)
    assert [f[5] for f in frames] == [0x66, 0x44]
    assert [f[14:] for f in frames] == inside
    home_agent.plane.set_home_link(0)


def test_home_agent_asks_the_daemon_about_unbound_packets_at_a_limited_rate(
    home_agent: Bench, one_cpu: None
) -> None:
    home_agent.plane.remove_binding(BINDING)
    home_agent.upcalls()
    inside = packet(home_agent, 6)

    def flood() -> None:
        for _ in range(100):
            home_agent.send(inside)

    refused = home_agent.drops_of(flood)
    passed = home_agent.upcalls()
    assert set(passed) == {inside}
    # 200 a second with a burst of a tenth of a second and 16.
    assert 36 <= len(passed) <= 60
    assert refused == {"miss-rate": 100 - len(passed)}


def test_multicast_is_not_tunnelled_and_not_answered(home_agent: Bench) -> None:
    six = inner(6)
    multicast = six[:24] + bytes.fromhex("ff0e0000000000000000000000000123") + six[40:]
    assert home_agent.drops_of(lambda: home_agent.send(multicast)) == {"no-binding": 1}


@pytest.mark.parametrize(
    "broken",
    [b"\0", b"\x60" + bytes(38), b"\x45" + bytes(18), b"\x50" + bytes(60), b"\x44\0\0\x50" + bytes(76)],
    ids=["one-octet", "short-6", "short-4", "version", "header-length"],
)
def test_broken_packets_are_dropped(home_agent: Bench, broken: bytes) -> None:
    assert home_agent.drops_of(lambda: home_agent.send(broken)) == {"malformed": 1}


def test_upcalls_pass_the_egress_program(home_agent: Bench) -> None:
    home_agent.bind(TunnelFormat.UDP4)
    marked = wrap(TunnelFormat.UDP4, inner(6))
    before = home_agent.plane.traffic(BINDING)
    home_agent.upcalls()
    home_agent.sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, UPCALL_MARK)
    home_agent.send(marked)
    home_agent.sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)
    assert home_agent.upcalls() == [marked]
    assert home_agent.plane.traffic(BINDING) == before
