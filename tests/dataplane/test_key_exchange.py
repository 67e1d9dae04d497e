"""IKE inside the tunnel: heard before there is a binding, answered where it came from; all else as ever."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import UDP

from dsmip.core.types import TunnelFormat
from dsmip.dataplane.api import Role
from dsmip.dataplane.maps import SEEN_MARK, UPCALL_MARK
from tests.dataplane.bench import BINDING, TC_OK, TC_REDIRECT, TC_SHOT, Bench
from tests.dataplane.packets import (
    CARE_OF4,
    CARE_OF6,
    HOME6,
    HOME_AGENT4,
    HOME_AGENT6,
    PEER6,
    TUNNELS,
    frame,
    ipv6,
    wrap,
)

pytestmark = pytest.mark.root


def udp(source: int, destination: int) -> bytes:
    return bytes(UDP(sport=source, dport=destination, len=8 + 28, chksum=1)) + bytes(28)


QUESTION = ipv6(HOME6, HOME_AGENT6, 17, udp(500, 500))
ANSWER = ipv6(HOME_AGENT6, HOME6, 17, udp(500, 500))


@pytest.fixture(scope="module")
def home_agent(bpf_directory: Path) -> Iterator[Bench]:
    with Bench("ike-ha", Role.HOME_AGENT, bpf_directory) as made:
        made.plane.add_local(HOME_AGENT6)
        made.plane.add_local(HOME_AGENT4)
        yield made


@pytest.fixture
def unbound(home_agent: Bench) -> Bench:
    home_agent.plane.remove_binding(BINDING)
    return home_agent


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_a_question_without_a_binding_goes_to_the_daemon_whole(unbound: Bench, tunnel: TunnelFormat) -> None:
    packet = frame(wrap(tunnel, QUESTION))
    assert unbound.receive(packet) == (TC_REDIRECT, packet, UPCALL_MARK)


def test_a_question_from_elsewhere_than_the_care_of_address_does_too(unbound: Bench) -> None:
    unbound.bind(TunnelFormat.IPV6)
    packet = frame(wrap(TunnelFormat.UDP4, QUESTION, CARE_OF4, source_port=40123))
    assert unbound.receive(packet) == (TC_REDIRECT, packet, UPCALL_MARK)
    unbound.plane.allow_source(BINDING, CARE_OF6, 0, time.monotonic() - 5)
    packet = frame(wrap(TunnelFormat.IPV6, QUESTION))
    assert unbound.receive(packet) == (TC_REDIRECT, packet, UPCALL_MARK)


def test_a_question_from_the_care_of_address_is_data(unbound: Bench) -> None:
    unbound.bind(TunnelFormat.IPV6)
    verdict, out, mark = unbound.receive(frame(wrap(TunnelFormat.IPV6, QUESTION)))
    assert (verdict, out[14:], mark) == (TC_REDIRECT, QUESTION, 0)


@pytest.mark.parametrize(
    "packet",
    [
        ipv6(HOME6, PEER6, 17, udp(500, 500)),
        ipv6(HOME6, HOME_AGENT6, 17, udp(500, 4500)),
        ipv6(HOME6, HOME_AGENT6, 6, udp(500, 500)),
        ipv6(HOME6, HOME_AGENT6, 17, b"\x01\xf4"),
    ],
    ids=["to others", "another port", "TCP", "no UDP header"],
)
def test_nothing_else_is_heard_without_a_binding(unbound: Bench, packet: bytes) -> None:
    for tunnel in TUNNELS:
        assert unbound.receive(frame(wrap(tunnel, packet)))[0] == TC_SHOT


def test_a_mobile_node_asks_by_its_daemon_and_hears_its_home_agent_only(bpf_directory: Path) -> None:
    with Bench("ike-mn", Role.MOBILE_NODE, bpf_directory) as bench:
        bench.bind(TunnelFormat.IPV6)
        question = ipv6(HOME_AGENT6, HOME6, 17, udp(500, 500))
        for source, expected in ((HOME_AGENT6, TC_REDIRECT), (PEER6, TC_SHOT)):
            packet = frame(wrap(TunnelFormat.IPV6, question, source, CARE_OF6))
            verdict, _, mark = bench.receive(packet)
            assert (verdict, mark) == (expected, 0)
        bench.plane.add_local(HOME6)
        assert bench.receive(QUESTION, "tunnel_egress") == (TC_OK, QUESTION, 0)
        bench.sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, SEEN_MARK)
        bench.send(QUESTION)
        [seen] = bench.on_wire()
        assert seen[14 + 40 :] == QUESTION


def test_an_answer_goes_to_the_daemon_with_and_without_a_binding(unbound: Bench) -> None:
    for bind in (False, True):
        if bind:
            unbound.bind(TunnelFormat.UDP4)
        assert unbound.receive(ANSWER, "tunnel_egress") == (TC_OK, ANSWER, 0)


def test_an_answer_the_daemon_has_seen_takes_the_way_of_data(unbound: Bench) -> None:
    unbound.upcalls()
    unbound.sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, SEEN_MARK)
    try:
        assert unbound.drops_of(lambda: unbound.send(ANSWER)) == {"no-binding": 1}
        assert unbound.upcalls() == []
        unbound.bind(TunnelFormat.UDP4)
        unbound.send(ANSWER)
        [seen] = unbound.on_wire()
        assert seen[14:] == wrap(TunnelFormat.UDP4, ANSWER, HOME_AGENT4, CARE_OF4)
    finally:
        unbound.sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)


def test_other_datagrams_of_the_home_agent_are_data(unbound: Bench) -> None:
    unbound.bind(TunnelFormat.IPV6)
    for packet in (ipv6(HOME_AGENT6, HOME6, 17, udp(53, 500)), ipv6(PEER6, HOME6, 17, udp(500, 500))):
        unbound.send(packet)
        [seen] = unbound.on_wire()
        assert seen[14 + 40 :] == packet


def test_questions_of_strangers_are_limited(bpf_directory: Path, one_cpu: None) -> None:
    with Bench("ike-rate", Role.HOME_AGENT, bpf_directory, signalling_rate=50) as bench:
        bench.plane.add_local(HOME_AGENT6)
        packet = frame(wrap(TunnelFormat.IPV6, ipv6(PEER6, HOME_AGENT6, 17, udp(500, 500)), CARE_OF6))
        verdicts = [bench.receive(packet)[0] for _ in range(60)]
        assert verdicts[0] == TC_REDIRECT
        assert TC_SHOT in verdicts
        assert bench.plane.drops()["upcall-rate"] == verdicts.count(TC_SHOT)
