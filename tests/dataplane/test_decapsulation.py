"""Out of the tunnel: what is unwrapped, octet for octet, and what is refused, either way to shrink it."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path as FilePath

import pytest
from scapy.layers.inet import IP

from dsmip.core.types import Path, TunnelFormat
from dsmip.dataplane.api import Role, Traffic
from dsmip.dataplane.bpf import kernel_version
from tests.dataplane.bench import BINDING, NODE_MAC, ROUTER_MAC, TC_OK, TC_REDIRECT, TC_SHOT, Bench
from tests.dataplane.packets import (
    CARE_OF4,
    CARE_OF6,
    ETHERNET_IPV4,
    ETHERNET_IPV6,
    HEADER_LENGTH,
    HOME4,
    HOME6,
    HOME_AGENT4,
    HOME_AGENT6,
    PEER4,
    PORT,
    TUNNELS,
    frame,
    in_udp,
    inner,
    ipv6,
    over_ipv4,
    wrap,
)
from tests.dataplane.vectors import TUNNELLED

pytestmark = pytest.mark.root

VECTOR_FORMATS = {
    "6in6": TunnelFormat.IPV6,
    "4in6": TunnelFormat.IPV6,
    "6in4": TunnelFormat.IPV4,
    "4in4": TunnelFormat.IPV4,
    "6in_udp4": TunnelFormat.UDP4,
    "4in_udp4": TunnelFormat.UDP4,
}
#: Destination options behind their next header: a tunnel encapsulation limit of 4 and PadN.
LIMIT = bytes([0, 4, 1, 4, 1, 1, 0])
#: Octets of the outer IP header, by whether it is IPv4.
IP_HEADER = {True: 20, False: 40}
SHRINKING = [False] if kernel_version() < (6, 3) else [False, True]


@pytest.fixture(
    scope="module", params=SHRINKING, ids=lambda flags: "by-flags" if flags else "by-change-proto"
)
def home_agent(request: pytest.FixtureRequest, bpf_directory: FilePath) -> Iterator[Bench]:
    with Bench("decap-ha", Role.HOME_AGENT, bpf_directory, decapsulate_by_flags=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def mobile_node(bpf_directory: FilePath) -> Iterator[Bench]:
    with Bench("decap-mn", Role.MOBILE_NODE, bpf_directory) as made:
        yield made


def from_home(version: int, traffic_class: int = 0) -> bytes:
    return inner(version, to_home=False, traffic_class=traffic_class)


def refused(bench: Bench, packet: bytes) -> dict[str, int]:
    """The reason counted for a packet that is dropped."""

    def arrive() -> None:
        assert bench.receive(frame(packet))[0] == TC_SHOT

    return bench.drops_of(arrive)


@pytest.mark.parametrize("name", TUNNELLED)
def test_vectors_of_another_implementation(home_agent: Bench, name: str) -> None:
    version, outer, packet = TUNNELLED[name]
    home_agent.bind(VECTOR_FORMATS[name])
    expected = (ETHERNET_IPV6 if version == 6 else ETHERNET_IPV4)[:12] + frame(packet[outer:])[12:]
    verdict, out, mark = home_agent.receive(frame(packet), mark=77)
    assert verdict == TC_REDIRECT
    assert out[14:] == expected[14:]
    assert mark == 0


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_every_octet(home_agent: Bench, tunnel: TunnelFormat, version: int) -> None:
    home_agent.bind(tunnel)
    inside = from_home(version)
    verdict, out, _ = home_agent.receive(frame(wrap(tunnel, inside)))
    assert (verdict, out[14:]) == (TC_REDIRECT, inside)


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
@pytest.mark.parametrize("raw", [False, True], ids=["ethernet", "raw"])
def test_received_on_the_tunnel_device(
    home_agent: Bench, tunnel: TunnelFormat, version: int, raw: bool
) -> None:
    home_agent.bind(tunnel)
    inside = from_home(version)
    packet = wrap(tunnel, inside)
    if raw:
        home_agent.arrive_raw(packet)
    else:
        home_agent.arrive(frame(packet))
    assert home_agent.unwrapped() == [inside]


def limited(inside: bytes, *, destination: IPv6Address = HOME_AGENT6, options: bytes = LIMIT) -> bytes:
    """A packet in IPv6 as Linux tunnels it unless told otherwise: destination options in between."""
    following = 41 if inside[0] >> 4 == 6 else 4
    source = CARE_OF6 if destination == HOME_AGENT6 else HOME_AGENT6
    return ipv6(source, destination, 60, bytes([following]) + options + inside)


@pytest.mark.parametrize("limit", [0, 4, 255])
@pytest.mark.parametrize("version", [6, 4])
def test_a_tunnel_encapsulation_limit_is_passed_over(home_agent: Bench, version: int, limit: int) -> None:
    """RFC 2473 section 4.1.1: it is about tunnels in this one, which ends here."""
    home_agent.bind(TunnelFormat.IPV6)
    inside = from_home(version)
    packet = limited(inside, options=bytes([0, 4, 1, limit, 1, 1, 0]))
    verdict, out, _ = home_agent.receive(frame(packet))
    assert (verdict, out[14:]) == (TC_REDIRECT, inside)
    home_agent.arrive(frame(packet))
    assert home_agent.unwrapped() == [inside]


@pytest.mark.parametrize("version", [6, 4])
def test_a_mobile_node_passes_over_the_limit_too(mobile_node: Bench, version: int) -> None:
    mobile_node.bind(TunnelFormat.IPV6)
    inside = inner(version, to_home=True)
    verdict, out, _ = mobile_node.receive(frame(limited(inside, destination=CARE_OF6)))
    assert (verdict, out[14:]) == (TC_REDIRECT, inside)


def test_a_limit_does_not_hide_a_wrong_sender(home_agent: Bench) -> None:
    home_agent.bind(TunnelFormat.IPV6)
    stranger = ipv6(ip_address("2001:db8:666::6"), HOME_AGENT6, 60, bytes([41]) + LIMIT + from_home(6))
    assert refused(home_agent, stranger) == {"outer-source": 1}


@pytest.mark.parametrize(
    "options",
    [
        bytes([1, 4, 1, 4, 1, 9, *bytes(9)]),
        bytes([0, 4, 2, 4, 4, 1, 0]),
        bytes([0, 1, 4, 0, 0, 0, 0]),
        bytes([0, 0x1E, 1, 4, 1, 1, 0]),
    ],
    ids=["longer", "two-octets", "padding-only", "another-option"],
)
def test_other_destination_options_are_the_kernels_business(home_agent: Bench, options: bytes) -> None:
    home_agent.bind(TunnelFormat.IPV6)
    assert home_agent.receive(frame(limited(from_home(6), options=options)))[0] == TC_OK


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_mobile_node_unwraps_what_is_for_it(mobile_node: Bench, tunnel: TunnelFormat, version: int) -> None:
    mobile_node.bind(tunnel)
    local, remote = mobile_node.ends(tunnel)
    inside = inner(version)
    verdict, out, _ = mobile_node.receive(frame(wrap(tunnel, inside, remote, local)))
    assert (verdict, out[14:]) == (TC_REDIRECT, inside)
    stray = wrap(tunnel, from_home(version), remote, local)
    assert refused(mobile_node, stray) == {"inner-address": 1}


def test_outer_ipv4_options_are_removed(home_agent: Bench) -> None:
    home_agent.bind(TunnelFormat.IPV4)
    for version, protocol in ((6, 41), (4, 4)):
        inside = from_home(version)
        outer = IP(src=str(CARE_OF4), dst=str(HOME_AGENT4), proto=protocol, options=b"\x94\x04\0\0\1\1\1\0")
        verdict, out, _ = home_agent.receive(frame(bytes(outer / inside)))
        assert (verdict, out[14:]) == (TC_REDIRECT, inside)


def test_ethernet_padding_does_no_harm(home_agent: Bench) -> None:
    home_agent.bind(TunnelFormat.IPV4)
    inside = from_home(4)
    verdict, out, _ = home_agent.receive(frame(wrap(TunnelFormat.IPV4, inside)) + bytes(6))
    assert verdict == TC_REDIRECT
    assert out[14:].startswith(inside)


# RFC 6040 section 4.2, figure 4: arriving inner and outer header -> outgoing header; None = drop.
NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3
ECN = {
    (NOT_ECT, NOT_ECT): NOT_ECT,
    (NOT_ECT, ECT0): NOT_ECT,
    (NOT_ECT, ECT1): NOT_ECT,
    (NOT_ECT, CE): None,
    (ECT0, NOT_ECT): ECT0,
    (ECT0, ECT0): ECT0,
    (ECT0, ECT1): ECT1,
    (ECT0, CE): CE,
    (ECT1, NOT_ECT): ECT1,
    (ECT1, ECT0): ECT1,
    (ECT1, ECT1): ECT1,
    (ECT1, CE): CE,
    (CE, NOT_ECT): CE,
    (CE, ECT0): CE,
    (CE, ECT1): CE,
    (CE, CE): CE,
}


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_rfc6040_4_2_ecn_and_rfc2983_dscp(home_agent: Bench, tunnel: TunnelFormat, version: int) -> None:
    home_agent.bind(tunnel)
    dscp = 0xB8
    for (inside, outside), after in ECN.items():
        packet = wrap(tunnel, from_home(version, dscp | inside), traffic_class=0x28 | outside)
        if after is None:
            assert refused(home_agent, packet) == {"ecn": 1}
        else:
            verdict, out, _ = home_agent.receive(frame(packet))
            # Built anew, so that the IPv4 checksum is compared too; the DSCP is the inner packet's own.
            assert (verdict, out[14:]) == (TC_REDIRECT, from_home(version, dscp | after))


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_wrong_sources_are_refused(home_agent: Bench, tunnel: TunnelFormat, version: int) -> None:
    home_agent.bind(tunnel)
    inside = from_home(version)
    stranger = ip_address("10.1.2.4" if over_ipv4(tunnel) else "2001:db8:200::5679")
    assert refused(home_agent, wrap(tunnel, inside, stranger)) == {"outer-source": 1}
    if in_udp(tunnel):
        assert refused(home_agent, wrap(tunnel, inside, source_port=PORT + 1)) == {"outer-source": 1}
        assert refused(home_agent, wrap(tunnel, inside, source_port=0)) == {"outer-source": 1}
    else:
        in_udp_instead = TunnelFormat.UDP4 if over_ipv4(tunnel) else TunnelFormat.UDP6
        assert refused(home_agent, wrap(in_udp_instead, inside)) == {"outer-source": 1}
    assert refused(home_agent, wrap(tunnel, inner(version))) == {"inner-address": 1}


def test_one_binding_cannot_speak_for_another(home_agent: Bench) -> None:
    home_agent.bind(TunnelFormat.UDP4)
    other = BINDING + 1
    home_agent.plane.set_networks(other, [ip_network("2001:db8:aaaa::/48")])
    home_agent.plane.allow_source(other, ip_address("10.9.9.9"), PORT, None)
    theirs = ipv6(ip_address("2001:db8:aaaa::1"), HOME_AGENT6, 17, bytes(8))
    assert refused(home_agent, wrap(TunnelFormat.UDP4, theirs)) == {"outer-source": 1}
    verdict, _, _ = home_agent.receive(frame(wrap(TunnelFormat.UDP4, theirs, ip_address("10.9.9.9"))))
    assert verdict == TC_REDIRECT
    home_agent.plane.remove_binding(other)
    assert refused(home_agent, wrap(TunnelFormat.UDP4, theirs, ip_address("10.9.9.9"))) == {
        "inner-address": 1
    }


def test_previous_care_of_address_for_the_grace_period(home_agent: Bench) -> None:
    home_agent.bind(TunnelFormat.UDP4)
    now = frame(wrap(TunnelFormat.UDP4, from_home(6)))
    before = wrap(TunnelFormat.IPV6, from_home(6))
    home_agent.plane.add_local(HOME_AGENT6)
    home_agent.plane.allow_source(BINDING, home_agent.ends(TunnelFormat.IPV6)[1], 0, time.monotonic() + 0.1)
    assert home_agent.receive(frame(before))[0] == TC_REDIRECT
    time.sleep(0.11)
    assert refused(home_agent, before) == {"expired": 1}
    assert home_agent.receive(now)[0] == TC_REDIRECT
    home_agent.plane.deny_source(BINDING, home_agent.ends(TunnelFormat.IPV6)[1], 0)
    assert refused(home_agent, before) == {"outer-source": 1}


def test_permission_ends_with_the_binding(home_agent: Bench) -> None:
    home_agent.bind(TunnelFormat.IPV6, until=time.monotonic() + 100)
    packet = wrap(TunnelFormat.IPV6, from_home(4))
    assert home_agent.receive(frame(packet))[0] == TC_REDIRECT
    home_agent.bind(TunnelFormat.IPV6, until=time.monotonic() - 1)
    assert refused(home_agent, packet) == {"expired": 1}


def test_counters(home_agent: Bench) -> None:
    home_agent.bind(TunnelFormat.UDP4)
    inside = [from_home(6), from_home(4)]
    for each in inside:
        home_agent.receive(frame(wrap(TunnelFormat.UDP4, each)))
    home_agent.receive(frame(wrap(TunnelFormat.UDP4, inside[0], source_port=1)))
    assert home_agent.plane.traffic(BINDING) == Traffic(
        received_packets=2, received_bytes=sum(map(len, inside))
    )


def test_what_is_not_ours_is_left_to_the_kernel(home_agent: Bench) -> None:
    home_agent.bind(TunnelFormat.UDP4)
    home_agent.plane.remove_local(HOME_AGENT6)
    inside = from_home(6)
    untouched = [
        wrap(TunnelFormat.UDP4, inside, destination=PEER4),
        wrap(TunnelFormat.UDP4, inside, destination_port=53),
        wrap(TunnelFormat.IPV4, b"\x45" + bytes(30), protocol=6),
        wrap(TunnelFormat.IPV6, inside),
        wrap(TunnelFormat.UDP6, inside),
        ipv6(HOME6, HOME_AGENT6, 58, bytes(8)),
        inside,
        from_home(4),
    ]
    fragment = bytearray(wrap(TunnelFormat.UDP4, inside))
    fragment[6] = 0x20  # more fragments
    untouched.append(bytes(fragment))
    before = home_agent.plane.drops()
    for packet in untouched:
        assert home_agent.receive(frame(packet), mark=9) == (TC_OK, frame(packet), 9)
    assert home_agent.plane.drops() == before
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    assert home_agent.receive(arp) == (TC_OK, arp, 0)


def broken_inside() -> Iterator[tuple[str, bytes]]:
    six, four = from_home(6), from_home(4)
    yield "version", b"\x50" + four[1:]
    yield "ipv4-header-length", b"\x44" + four[1:]
    yield "ipv4-total-length-small", four[:2] + b"\0\x13" + four[4:]
    yield "ipv4-total-length-large", four[:2] + (len(four) + 1).to_bytes(2, "big") + four[4:]
    yield "ipv6-payload-length-large", six[:4] + (len(six) - 39).to_bytes(2, "big") + six[6:]
    yield "one-octet", six[:1]


@pytest.mark.parametrize("tunnel", TUNNELS)
@pytest.mark.parametrize(("name", "inside"), list(broken_inside()), ids=[name for name, _ in broken_inside()])
def test_malformed_inside_is_refused(
    home_agent: Bench, tunnel: TunnelFormat, name: str, inside: bytes
) -> None:
    home_agent.bind(tunnel)
    protocol = 4 if name.startswith("ipv4") else 41
    assert refused(home_agent, wrap(tunnel, inside, protocol=protocol)) == {"malformed": 1}


@pytest.mark.parametrize("tunnel", [TunnelFormat.IPV6, TunnelFormat.IPV4])
def test_protocol_number_and_version_must_agree(home_agent: Bench, tunnel: TunnelFormat) -> None:
    home_agent.bind(tunnel)
    assert refused(home_agent, wrap(tunnel, from_home(6), protocol=4)) == {"malformed": 1}
    assert refused(home_agent, wrap(tunnel, from_home(4), protocol=41)) == {"malformed": 1}


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_truncated_packets_are_never_forwarded(home_agent: Bench, tunnel: TunnelFormat, version: int) -> None:
    home_agent.bind(tunnel)
    whole = frame(wrap(tunnel, from_home(version)))
    assert home_agent.receive(whole)[0] == TC_REDIRECT
    for length in range(14 + IP_HEADER[over_ipv4(tunnel)], len(whole)):
        verdict = home_agent.receive(whole[:length])[0]
        # Once the outer headers are there, the packet is ours to drop.
        assert verdict == (TC_SHOT if length >= 14 + HEADER_LENGTH[tunnel] else TC_OK)


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_truncated_packets_from_a_real_interface(home_agent: Bench, tunnel: TunnelFormat) -> None:
    """Also those that are too short for a test run; only the last, whole one comes through."""
    home_agent.bind(tunnel)
    inside = from_home(6)
    whole = frame(wrap(tunnel, inside))
    for length in range(14, len(whole) + 1):
        home_agent.arrive(whole[:length])
        if length > 14:
            home_agent.arrive_raw(whole[14:length])
    assert home_agent.unwrapped(3) == [inside, inside]


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_flipped_bits_never_let_foreign_packets_in(
    home_agent: Bench, tunnel: TunnelFormat, version: int
) -> None:
    home_agent.bind(tunnel)
    packet = wrap(tunnel, from_home(version))
    headers = HEADER_LENGTH[tunnel] + (40 if version == 6 else 20)
    inner_source = HEADER_LENGTH[tunnel] + (8 if version == 6 else 12)
    identity = set(range(*((12, 20) if over_ipv4(tunnel) else (8, 40))))  # both outer addresses
    identity |= set(range(inner_source, inner_source + (16 if version == 6 else 4)))
    if in_udp(tunnel):
        start = HEADER_LENGTH[tunnel] - 8
        identity |= set(range(start, start + 4))  # both ports
    for bit in range(headers * 8):
        flipped = bytearray(packet)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        verdict, _, _ = home_agent.receive(frame(packet)[:14] + bytes(flipped))
        assert verdict in (TC_OK, TC_SHOT, TC_REDIRECT)
        if bit // 8 in identity:
            assert verdict != TC_REDIRECT


def test_random_packets_do_no_harm(home_agent: Bench) -> None:
    for tunnel in TUNNELS:
        home_agent.bind(tunnel)
        home_agent.plane.add_local(home_agent.ends(tunnel)[0])
    chance = random.Random(5555)
    seeds = [wrap(tunnel, from_home(version)) for tunnel, version in itertools.product(TUNNELS, (6, 4))]
    for _ in range(4000):
        packet = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 6)):
            packet[chance.randrange(len(packet))] = chance.randrange(256)
        data = frame(bytes(packet))[: chance.randrange(14 + 40, 14 + len(packet) + 1)]
        assert home_agent.receive(data)[0] in (TC_OK, TC_SHOT, TC_REDIRECT)
    inside = from_home(4)
    assert home_agent.receive(frame(wrap(tunnel, inside)))[1][14:] == inside


def test_the_same_address_on_two_interfaces_belongs_to_two_paths(mobile_node: Bench) -> None:
    """Every second NAT hands out 192.168.1.2."""
    tunnel = TunnelFormat.UDP4
    mobile_node.bind(tunnel)
    local, remote = mobile_node.ends(tunnel)
    mobile_node.plane.remove_local(local)
    packet = wrap(tunnel, inner(6, to_home=True), remote, local)
    arriving = NODE_MAC + ROUTER_MAC + frame(packet)[12:]
    try:
        for bid, interface in ((1, mobile_node.uplink), (2, mobile_node.raw_uplink)):
            mobile_node.plane.set_path(BINDING, Path(tunnel, local, remote, interface=interface), bid)
            mobile_node.plane.add_local(local, bid, interface)
        assert mobile_node.receive_at_uplink(arriving)[0] == TC_REDIRECT
        for _ in range(2):
            mobile_node.arrive_raw(packet)
        states = mobile_node.plane.paths(BINDING)
        assert [states[bid].traffic.received_packets for bid in (1, 2)] == [1, 2]
        mobile_node.plane.remove_local(local, mobile_node.uplink)
        assert mobile_node.receive_at_uplink(arriving)[0] == TC_OK, "elsewhere it is not ours"
    finally:
        for interface in (mobile_node.uplink, mobile_node.raw_uplink):
            mobile_node.plane.remove_local(local, interface)


def test_home_networks_of_a_mobile_router(home_agent: Bench) -> None:
    home_agent.bind(TunnelFormat.IPV6)
    networks = [
        ip_network(HOME6),
        ip_network(HOME4),
        ip_network("2001:db8:aaaa:1::/64"),
        ip_network("198.51.100.64/26"),
    ]
    home_agent.plane.set_networks(BINDING, networks)
    for source, allowed in (
        ("2001:db8:aaaa:1::77", True),
        ("2001:db8:aaaa:2::77", False),
    ):
        inside = ipv6(ip_address(source), HOME_AGENT6, 17, bytes(8))
        verdict = home_agent.receive(frame(wrap(TunnelFormat.IPV6, inside)))[0]
        assert verdict == (TC_REDIRECT if allowed else TC_SHOT)
    for address, allowed in (("198.51.100.70", True), ("198.51.100.130", False)):
        inside = bytes(IP(src=address, dst=str(PEER4)) / bytes(8))
        verdict = home_agent.receive(frame(wrap(TunnelFormat.IPV6, inside)))[0]
        assert verdict == (TC_REDIRECT if allowed else TC_SHOT)
