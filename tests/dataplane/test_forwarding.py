"""Real forwarding: pings, datagrams and TCP with segmentation offload through every format, with no process
attached to anything."""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from dsmip.core.types import FlowRule, TunnelFormat
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector
from tests.dataplane.namespaces import Namespace
from tests.dataplane.network import (
    MOBILES,
    PEER4,
    PEER6,
    Network,
    bind,
    move,
    open_plane,
    pattern,
    tcp_transfer,
    udp_exchange,
    udp_socket,
)
from tests.dataplane.packets import TUNNELS, over_ipv4

pytestmark = pytest.mark.root

FIRST, SECOND = MOBILES
PACKETS = 100
MEGABYTE = 1 << 20
#: Protocol numbers on the wire: IPv6 and IPv4 inside.
ON_WIRE = {
    TunnelFormat.IPV6: {41, 4},
    TunnelFormat.IPV4: {41, 4},
    TunnelFormat.UDP4: {17},
    TunnelFormat.UDP6: {17},
}


@pytest.fixture(scope="module")
def network(bpf_directory: Path) -> Iterator[Network]:
    with Network(bpf_directory, TunnelFormat.UDP4) as made:
        yield made


@contextmanager
def frames_at(namespace: Namespace, interface: str) -> Iterator[list[bytes]]:
    """The first octets and, as the last four, the length of every frame on an interface, both ways."""
    with namespace.inside():
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        tap.bind((interface, 3))
    tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * MEGABYTE)
    frames: list[bytes] = []
    yield frames
    while select.select([tap], [], [], 0)[0]:
        data = tap.recv(1 << 17)
        frames.append(data[:64] + len(data).to_bytes(4, "big"))
    tap.close()


def outer_protocols(frames: list[bytes], tunnel: TunnelFormat) -> set[int]:
    """Without the kernel's own: neighbour discovery and multicast listener reports."""
    if over_ipv4(tunnel):
        return {f[14 + 9] for f in frames if f[12:14] == b"\x08\x00"}
    return {f[14 + 6] for f in frames if f[12:14] == b"\x86\xdd"} - {0, 58}


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_every_format_with_nobody_attached(network: Network, tunnel: TunnelFormat) -> None:
    network.use(FIRST, tunnel)
    node = network.nodes[FIRST.name]
    with frames_at(network.router, FIRST.name) as frames:
        for home, peer in ((FIRST.home6, PEER6), (FIRST.home4, PEER4)):
            node.run(f"ping -q -c 3 -i 0.002 -W 1 -I {home} {peer}")
            assert udp_exchange(node, home, network.peer, peer, PACKETS) == (PACKETS, PACKETS)
            assert udp_exchange(network.peer, peer, node, home, PACKETS) == (PACKETS, PACKETS)
    assert outer_protocols(frames, tunnel) == ON_WIRE[tunnel]


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_tcp_keeps_segmentation_offload(network: Network, tunnel: TunnelFormat) -> None:
    network.use(FIRST, tunnel)
    node, size = network.nodes[FIRST.name], 4 * MEGABYTE
    for home, peer in ((FIRST.home6, PEER6), (FIRST.home4, PEER4)):
        with frames_at(network.router, FIRST.name) as frames:
            assert tcp_transfer(node, home, network.peer, peer, size) == pattern(size)
            assert tcp_transfer(network.peer, peer, node, home, size) == pattern(size)
        # A frame of many segments has gone through encapsulation whole.
        assert max(int.from_bytes(frame[-4:], "big") for frame in frames) > 10 * 1500


@pytest.mark.parametrize(("one", "other"), list(itertools.product(TUNNELS, repeat=2)))
def test_from_one_mobile_node_to_another(network: Network, one: TunnelFormat, other: TunnelFormat) -> None:
    """Out of one tunnel and into the next in the same breath."""
    network.use(FIRST, one)
    network.use(SECOND, other)
    first, second = network.nodes[FIRST.name], network.nodes[SECOND.name]
    for here, there in ((FIRST.home6, SECOND.home6), (FIRST.home4, SECOND.home4)):
        # The first packet of each opens the way through the address translation.
        udp_exchange(second, there, network.peer, PEER6 if there.version == 6 else PEER4, 1)
        assert udp_exchange(first, here, second, there, 10) == (10, 10)
        assert tcp_transfer(first, here, second, there, MEGABYTE) == pattern(MEGABYTE)
        assert tcp_transfer(second, there, first, here, MEGABYTE) == pattern(MEGABYTE)


def test_taking_over_loses_nothing(network: Network) -> None:
    """A thousand packets a second while processes adopt, replace the programs and let go, again and again."""
    network.use(FIRST, TunnelFormat.UDP4)
    sending, receiving = udp_socket(network.nodes[FIRST.name], FIRST.home6), udp_socket(network.peer, PEER6)
    stop = threading.Event()
    sent = received = 0

    def send() -> None:
        nonlocal sent
        while not stop.is_set():
            sending.sendto(b"x", receiving.getsockname()[:2])
            sent += 1
            time.sleep(0.001)

    def receive() -> None:
        nonlocal received
        while select.select([receiving], [], [], 0.5)[0] or not stop.is_set():
            receiving.recv(10)
            received += 1

    threads = [threading.Thread(target=receive), threading.Thread(target=send)]
    with sending, receiving:
        for thread in threads:
            thread.start()
        for _ in range(5):
            network.take_over(FIRST, TunnelFormat.UDP4)
        stop.set()
        for thread in threads:
            thread.join()
    assert received == sent > 50


def test_wrong_outer_source_is_dropped_at_the_home_agent(network: Network) -> None:
    network.use(FIRST, TunnelFormat.IPV6)
    node = network.nodes[FIRST.name]
    wrong = ip_address("2001:db8:201::bad")
    network.unsettle(FIRST)
    with node.inside():
        plane = open_plane(FIRST.name, network.pins)
        move(plane, FIRST, TunnelFormat.IPV6, local=wrong)
        plane.close(keep=True)
    with network.home_agent.inside():
        plane = open_plane("ha", network.pins)
    before = plane.drops()["outer-source"]
    assert udp_exchange(node, FIRST.home6, network.peer, PEER6, 2) == (0, 0)
    assert plane.drops()["outer-source"] == before + 2
    with network.home_agent.inside():
        plane.allow_source(FIRST.number, wrong, 0, None)
        assert udp_exchange(node, FIRST.home6, network.peer, PEER6, 2)[0] == 2
        plane.deny_source(FIRST.number, wrong, 0)
        bind(plane, FIRST, TunnelFormat.IPV6)
        plane.close(keep=True)


def test_both_ends_count_the_same(network: Network) -> None:
    network.use(FIRST, TunnelFormat.UDP4)
    with network.home_agent.inside():
        home_agent = open_plane("ha", network.pins)
    with network.nodes[FIRST.name].inside():
        node = open_plane(FIRST.name, network.pins)
    before = [plane.traffic(FIRST.number) for plane in (home_agent, node)]
    udp_exchange(network.nodes[FIRST.name], FIRST.home6, network.peer, PEER6, 10)
    after = [plane.traffic(FIRST.number) for plane in (home_agent, node)]
    size = 10 * (40 + 8 + 4)
    for count_before, count_after in zip(before, after, strict=True):
        assert count_after.sent_packets - count_before.sent_packets == 10
        assert count_after.received_packets - count_before.received_packets == 10
        assert count_after.sent_bytes - count_before.sent_bytes == size
        assert count_after.received_bytes - count_before.received_bytes == size
    for plane in (home_agent, node):
        plane.close(keep=True)


def test_copies_over_two_paths_with_nobody_attached(network: Network) -> None:
    """Datagrams over an IPv6 and an IPv4 path, delivered once; TCP with segmentation offload over one."""
    rules = [
        FlowRule(IPv6TrafficSelector(next_header=(17, 17)), (1, 2)),
        FlowRule(IPv4TrafficSelector(protocol=(17, 17)), (1, 2)),
        FlowRule(IPv6TrafficSelector(), (2, 1)),
    ]
    network.use_both(FIRST, TunnelFormat.IPV6, TunnelFormat.UDP4, rules)
    node, router = network.nodes[FIRST.name], network.router
    node.run(f"ping -q -c 1 -W 1 -I {FIRST.home6} {PEER6}")  # opens the way through the address translation
    before = network.drops(FIRST, "duplicates")
    with frames_at(router, FIRST.name) as frames:
        for home, peer in ((FIRST.home6, PEER6), (FIRST.home4, PEER4)):
            assert udp_exchange(node, home, network.peer, peer, PACKETS) == (PACKETS, PACKETS)
    copies = {kind: sum(f[12:14] == kind for f in frames) for kind in (b"\x86\xdd", b"\x08\x00")}
    assert min(copies.values()) >= 4 * PACKETS
    dropped = [after - was for after, was in zip(network.drops(FIRST, "duplicates"), before, strict=True)]
    assert dropped == [2 * PACKETS, 2 * PACKETS]
    for home, peer in ((FIRST.home6, PEER6), (FIRST.home4, PEER4)):
        assert tcp_transfer(node, home, network.peer, peer, MEGABYTE) == pattern(MEGABYTE)
        assert tcp_transfer(network.peer, peer, node, home, MEGABYTE) == pattern(MEGABYTE)
