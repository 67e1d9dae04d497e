"""Signalling reaches the daemon with all its outer headers, at a limited rate; everything else does not."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP

from dsmip.core.types import TunnelFormat
from dsmip.dataplane.api import Role
from dsmip.dataplane.maps import UPCALL_MARK
from tests.dataplane.bench import BINDING, NODE4, ROUTER4, TC_OK, TC_REDIRECT, TC_SHOT, Bench
from tests.dataplane.packets import (
    CARE_OF4,
    CARE_OF6,
    HOME6,
    HOME_AGENT4,
    HOME_AGENT6,
    PEER6,
    PORT,
    frame,
    home_address_option,
    inner,
    ipv6,
    mobility_header,
    type_2_routing_header,
    wrap,
)

pytestmark = pytest.mark.root

MOBILITY, DESTINATION, ROUTING, HOP_BY_HOP, ICMPV6 = 135, 60, 43, 0, 58
MH = mobility_header()
HOP_BY_HOP_PADDING = bytes([DESTINATION, 0, 1, 4, 0, 0, 0, 0])

#: Extension headers in front of a mobility header, or that say the mobility protocol by themselves.
SIGNALLING = {
    "mobility header": (MOBILITY, MH),
    "home address option": (DESTINATION, home_address_option() + MH),
    "home address option, data": (DESTINATION, home_address_option(17) + bytes(8)),
    "destination options, mobility header": (DESTINATION, bytes([MOBILITY, 0, 1, 4, 0, 0, 0, 0]) + MH),
    "type 2 routing header": (ROUTING, type_2_routing_header() + MH),
    "hop-by-hop options": (HOP_BY_HOP, HOP_BY_HOP_PADDING + home_address_option() + MH),
}
NOT_SIGNALLING = {
    "echo request": (ICMPV6, b"\x80" + bytes(7)),
    "no next header": (59, b""),
    "other destination option": (DESTINATION, bytes([59, 0, 1, 4, 0, 0, 0, 0])),
    "type 0 routing header": (ROUTING, bytes([59, 0, 0, 0, 0, 0, 0, 0])),
    "hop-by-hop options": (HOP_BY_HOP, bytes([ICMPV6, 0, 1, 4, 0, 0, 0, 0]) + b"\x80" + bytes(7)),
    "fragment": (44, bytes([MOBILITY, 0, 0, 1, 0, 0, 0, 1]) + MH),
}


@pytest.fixture(scope="module")
def bench(bpf_directory: Path) -> Iterator[Bench]:
    with Bench("upcall", Role.HOME_AGENT, bpf_directory) as made:
        made.plane.add_local(HOME_AGENT6)
        made.plane.add_local(HOME_AGENT4)
        yield made


@pytest.mark.parametrize("name", SIGNALLING)
def test_direct_signalling_is_marked_and_untouched(bench: Bench, name: str) -> None:
    packet = frame(ipv6(CARE_OF6, HOME_AGENT6, *SIGNALLING[name]))
    assert bench.receive(packet) == (TC_REDIRECT, packet, UPCALL_MARK)


@pytest.mark.parametrize("name", SIGNALLING)
def test_rfc5555_4_1_signalling_in_udp_keeps_its_outer_headers(bench: Bench, name: str) -> None:
    """From any port of any address: it is the daemon that looks at the outer source."""
    inside = ipv6(HOME6, HOME_AGENT6, *SIGNALLING[name])
    for source, port in ((CARE_OF4, PORT), (ip_address("203.0.113.77"), 40123)):
        packet = frame(wrap(TunnelFormat.UDP4, inside, source, source_port=port))
        assert bench.receive(packet) == (TC_REDIRECT, packet, UPCALL_MARK)


@pytest.mark.parametrize("name", NOT_SIGNALLING)
def test_other_packets_are_left_to_the_kernel(bench: Bench, name: str) -> None:
    packet = frame(ipv6(CARE_OF6, HOME_AGENT6, *NOT_SIGNALLING[name]))
    assert bench.receive(packet, mark=3) == (TC_OK, packet, 3)


def test_signalling_for_others_is_left_to_the_kernel(bench: Bench) -> None:
    for header, payload in SIGNALLING.values():
        packet = frame(ipv6(CARE_OF6, PEER6, header, payload))
        assert bench.receive(packet) == (TC_OK, packet, 0)


def test_signalling_in_udp_for_others_is_a_tunnelled_packet(bench: Bench) -> None:
    bench.bind(TunnelFormat.UDP4)
    inside = ipv6(HOME6, PEER6, MOBILITY, MH)
    verdict, out, mark = bench.receive(frame(wrap(TunnelFormat.UDP4, inside)))
    assert (verdict, out[14:], mark) == (TC_REDIRECT, inside, 0)


def test_truncated_signalling_does_no_harm(bench: Bench) -> None:
    for (header, payload), in_udp in itertools.product(SIGNALLING.values(), (False, True)):
        packet = ipv6(CARE_OF6, HOME_AGENT6, header, payload)
        whole = frame(wrap(TunnelFormat.UDP4, packet) if in_udp else packet)
        for length in range(14 + 40, len(whole)):
            verdict, _, mark = bench.receive(whole[:length])
            assert verdict in (TC_OK, TC_SHOT) or mark == UPCALL_MARK


def test_options_that_do_not_end(bench: Bench) -> None:
    endless = bytes([59, 255]) + bytes(30)  # Pad1 all along, and a length beyond the packet
    packet = frame(ipv6(CARE_OF6, HOME_AGENT6, DESTINATION, endless))
    assert bench.receive(packet)[0] == TC_OK


def test_the_daemon_reads_whole_packets(bench: Bench) -> None:
    bench.upcalls()
    direct = ipv6(CARE_OF6, HOME_AGENT6, DESTINATION, home_address_option() + MH)
    wrapped = wrap(TunnelFormat.UDP4, ipv6(HOME6, HOME_AGENT6, MOBILITY, MH))
    bench.arrive(frame(direct))
    bench.arrive(frame(wrapped))
    bench.arrive_raw(wrapped)
    assert bench.upcalls() == [direct, wrapped, wrapped]


def test_udp_checksum_left_to_the_interface_is_completed(bench: Bench) -> None:
    """Between namespaces a sender's UDP checksum is not computed until the packet leaves the machine."""
    bench.plane.add_local(NODE4)
    bench.far.ip(f"addr add {ROUTER4}/24 dev u1")
    bench.far.ip(f"neigh replace {NODE4} lladdr 02:00:00:00:00:02 dev u1 nud permanent")
    for size in (0, 1, 2):
        message = ipv6(HOME6, HOME_AGENT6, MOBILITY, MH + bytes(size))
        with bench.far.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((str(ROUTER4), PORT))
            sender.sendto(message, (str(NODE4), PORT))
        [seen] = bench.upcalls()
        assert seen[28:] == message
        expected = IP(src=str(ROUTER4), dst=str(NODE4)) / UDP(sport=PORT, dport=PORT) / message
        assert seen[26:28] == bytes(expected)[26:28]


def test_upcalls_are_limited(bpf_directory: Path, one_cpu: None) -> None:
    with Bench("upcall-rate", Role.HOME_AGENT, bpf_directory, signalling_rate=100) as bench:
        bench.plane.add_local(HOME_AGENT6)
        packet = frame(ipv6(CARE_OF6, HOME_AGENT6, MOBILITY, MH))
        verdicts = [bench.receive(packet)[0] for _ in range(200)]
        passed = verdicts.count(TC_REDIRECT)
        # A tenth of a second's worth and 16 at once, at a fifth of the rate.
        assert 18 <= passed <= 24
        assert bench.plane.drops()["upcall-rate"] == verdicts.count(TC_SHOT) == 200 - passed


def test_strangers_do_not_use_up_what_mobile_nodes_need(bpf_directory: Path, one_cpu: None) -> None:
    """Of three budgets: nobody bound, a binding from elsewhere, and from where it is registered."""
    with Bench("upcall-share", Role.HOME_AGENT, bpf_directory, signalling_rate=50) as bench:
        bench.plane.add_local(HOME_AGENT6)
        bench.plane.add_local(HOME_AGENT4)
        bench.bind(TunnelFormat.IPV6)
        bench.plane.allow_source(BINDING, CARE_OF4, PORT, None)
        signalling = home_address_option() + MH
        unknown = home_address_option(home_address=PEER6) + MH
        elsewhere = ip_address("2001:db8:666::1")
        in_udp = ipv6(HOME6, HOME_AGENT6, MOBILITY, MH)
        strange = [
            frame(ipv6(CARE_OF6, HOME_AGENT6, DESTINATION, unknown)),
            frame(wrap(TunnelFormat.UDP4, ipv6(PEER6, HOME_AGENT6, MOBILITY, MH))),
        ]
        moved = [
            frame(ipv6(elsewhere, HOME_AGENT6, DESTINATION, signalling)),
            frame(wrap(TunnelFormat.UDP4, in_udp, CARE_OF4, source_port=PORT + 1)),
        ]
        expected = [
            frame(ipv6(CARE_OF6, HOME_AGENT6, DESTINATION, signalling)),
            frame(wrap(TunnelFormat.UDP4, in_udp, CARE_OF4)),
        ]
        for packets in (strange, moved, expected):
            for packet in packets:
                verdicts = [bench.receive(packet)[0] for _ in range(2)]
                assert verdicts == [TC_REDIRECT] * 2
            assert TC_SHOT in [bench.receive(packet)[0] for packet in packets * 30]


def test_what_the_home_agent_answers_is_expected(bpf_directory: Path, one_cpu: None) -> None:
    """At a mobile node: behind a type 2 routing header, or in UDP."""
    with Bench("upcall-node", Role.MOBILE_NODE, bpf_directory, signalling_rate=50) as bench:
        bench.plane.add_local(CARE_OF6)
        bench.plane.set_networks(BINDING, [ip_network(HOME6)])
        bench.plane.allow_source(BINDING, HOME_AGENT6, 0, None)
        header = type_2_routing_header() + MH
        strange = frame(ipv6(PEER6, CARE_OF6, ROUTING, header))
        assert TC_SHOT in [bench.receive(strange)[0] for _ in range(60)]
        assert bench.receive(frame(ipv6(HOME_AGENT6, CARE_OF6, ROUTING, header)))[0] == TC_REDIRECT


def test_tunnelled_data_is_not_limited(bench: Bench) -> None:
    bench.bind(TunnelFormat.UDP4)
    packet = frame(wrap(TunnelFormat.UDP4, inner(4, to_home=False)))
    assert all(bench.receive(packet)[0] == TC_REDIRECT for _ in range(500))
