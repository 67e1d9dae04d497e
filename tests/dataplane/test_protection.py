"""A binding whose payload has to be under ESP: nothing else goes into its tunnels or comes out of them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path as FilePath
from typing import Any

import pytest
from msgspec.structs import replace
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from dsmip.core.types import IPAddress, IPNetwork, Path, TunnelFormat
from dsmip.dataplane.api import Role
from dsmip.dataplane.maps import UPCALL_MARK
from tests.dataplane.bench import BINDING, TC_REDIRECT, TC_SHOT, Bench
from tests.dataplane.packets import (
    HEADER_LENGTH,
    HOME4,
    HOME6,
    HOME_AGENT6,
    PEER4,
    PEER6,
    TUNNELS,
    frame,
    inner,
    ipv6,
    wrap,
)

pytestmark = pytest.mark.root

UDP, ESP, ICMPV6, FRAGMENT, MOBILITY = 17, 50, 58, 44, 135
SPI = 0x3001
SIGNALLING_SPI = 0x1001
#: To port 500, and from there.
IKE, IKE_ANSWER = bytes([0x12, 0x34, 1, 0xF4]) + bytes(12), bytes([1, 0xF4, 0x12, 0x34]) + bytes(12)
#: Packet Too Big: it quotes another packet.
ERROR = bytes([2, 0]) + bytes(60)
EVERYTHING: tuple[IPNetwork, ...] = (IPv6Network("::/0"), IPv4Network("0.0.0.0/0"))
#: ((1380 - 40 - 16 - 16) & ~3) - 2
MTU, INSIDE_ESP = 1380, 1306


@pytest.fixture(scope="module", params=list(Role), ids=lambda role: role.value)
def bench(request: pytest.FixtureRequest, bpf_directory: FilePath) -> Iterator[Bench]:
    with Bench("protect", request.param, bpf_directory) as made:
        yield made


def bind(bench: Bench, tunnel: TunnelFormat, *correspondents: IPNetwork) -> Path:
    path = bench.bind(tunnel)
    bench.plane.set_protection(BINDING, correspondents, [SPI])
    bench.plane.add_local(HOME_AGENT6 if bench.role is Role.HOME_AGENT else HOME6)
    # A mobile node takes tunnelled packets from all addresses of its home agent.
    bench.plane.allow_source(BINDING, HOME_AGENT6, 0, None)
    return path


def between(
    bench: Bench, protocol: int, payload: bytes, *, into: bool, far: IPAddress | None = None
) -> bytes:
    """A packet between the home agent and the home address (or `far` in place of the other end)."""
    ours, theirs = (HOME_AGENT6, HOME6) if bench.role is Role.HOME_AGENT else (HOME6, HOME_AGENT6)
    source, destination = (ours, far or theirs) if into else (far or theirs, ours)
    return ipv6(source, destination, protocol, payload)


def esp(spi: int = SPI) -> bytes:
    return spi.to_bytes(4, "big") + bytes(60)


def data(bench: Bench, version: int, *, into: bool) -> bytes:
    return inner(version, to_home=into is (bench.role is Role.HOME_AGENT))


def arrives(bench: Bench, tunnel: TunnelFormat, inside: bytes) -> tuple[int, dict[str, int]]:
    """What becomes of a tunnelled packet."""
    local, remote = bench.ends(tunnel)
    verdict = 0

    def arrive() -> None:
        nonlocal verdict
        verdict = bench.receive(frame(wrap(tunnel, inside, remote, local)))[0]

    drops = bench.drops_of(arrive)
    return verdict, drops


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_clear_payload_is_dropped_both_ways_and_counted(
    bench: Bench, tunnel: TunnelFormat, version: int
) -> None:
    bind(bench, tunnel, *EVERYTHING)
    drops = bench.drops_of(lambda: bench.send(data(bench, version, into=True)))
    assert drops["not-protected"] == 1  # what the kernel says of an earlier packet may be dropped beside it
    assert bench.on_wire(1, patience=0.05) == []
    assert arrives(bench, tunnel, data(bench, version, into=False)) == (TC_SHOT, {"not-protected": 1})
    bench.plane.set_protection(BINDING, ())
    assert arrives(bench, tunnel, data(bench, version, into=False)) == (TC_REDIRECT, {})


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_esp_goes_through_the_tunnel_like_any_packet(bench: Bench, tunnel: TunnelFormat) -> None:
    bind(bench, tunnel, *EVERYTHING)
    fragment = bytes([ESP, 0, 0, 1, 0, 0, 0, 7])
    echo = b"\x80" + bytes(7)
    # Its own part in IKE goes to the daemon, which knows the headers to put in front (test_key_exchange.py).
    own = (UDP, IKE_ANSWER if bench.role is Role.HOME_AGENT else IKE)
    for packet in ((ESP, esp()), (FRAGMENT, fragment + esp()), (ICMPV6, echo), (UDP, IKE), (UDP, IKE_ANSWER)):
        if packet != own:
            out = between(bench, *packet, into=True)
            bench.send(out)
            [sent] = bench.on_wire()
            assert sent[14 + HEADER_LENGTH[tunnel] :] == out
        back = between(bench, *packet, into=False)
        assert arrives(bench, tunnel, back) == (TC_REDIRECT, {})


def test_esp_in_udp_is_signalling_unless_its_spi_is_known(bench: Bench) -> None:
    tunnel = TunnelFormat.UDP4
    bind(bench, tunnel, *EVERYTHING)
    local, remote = bench.ends(tunnel)
    for spi, whole in ((SPI, False), (SIGNALLING_SPI, True)):
        inside = between(bench, ESP, esp(spi), into=False)
        packet = frame(wrap(tunnel, inside, remote, local))
        verdict, out, mark = bench.receive(packet)
        assert verdict == TC_REDIRECT
        assert (out == packet, mark == UPCALL_MARK) == (whole, whole)
    bench.plane.set_protection(BINDING, EVERYTHING, [SIGNALLING_SPI])
    inside = between(bench, ESP, esp(SPI), into=False)
    assert bench.receive(frame(wrap(tunnel, inside, remote, local)))[2] == UPCALL_MARK


def test_the_daemons_own_messages_under_esp_go_to_the_daemon(bench: Bench) -> None:
    bind(bench, TunnelFormat.IPV6, *EVERYTHING)
    packet = between(bench, ESP, esp(SIGNALLING_SPI), into=True)
    bench.upcalls()
    bench.sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, UPCALL_MARK)
    try:
        bench.send(packet)
    finally:
        bench.sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)
    assert bench.upcalls() == [packet]


def test_only_the_two_ends_may_be_seen(bench: Bench) -> None:
    """Neither somebody else's ESP nor somebody else's ICMPv6, nor anything else between the two."""
    bind(bench, TunnelFormat.IPV6, *EVERYTHING)
    not_esp = bytes([17, 0, 0, 1, 0, 0, 0, 7])
    for packet in ((MOBILITY, bytes(8)), (UDP, bytes(16)), (FRAGMENT, not_esp + bytes(16)), (ICMPV6, ERROR)):
        assert arrives(bench, TunnelFormat.IPV6, between(bench, *packet, into=False))[0] == TC_SHOT
    if bench.role is Role.MOBILE_NODE:
        for packet in ((ESP, esp()), (ICMPV6, b"\x80" + bytes(7))):
            stranger = between(bench, *packet, into=False, far=PEER6)
            assert arrives(bench, TunnelFormat.IPV6, stranger) == (TC_SHOT, {"not-protected": 1})
            onward = between(bench, *packet, into=True, far=PEER6)
            assert bench.drops_of(partial(bench.send, onward)) == {"not-protected": 1}
    else:
        for packet in ((ESP, esp()), (ICMPV6, b"\x80" + bytes(7)), (UDP, IKE)):
            outside = ipv6(HOME6, PEER6, *packet)
            assert arrives(bench, TunnelFormat.IPV6, outside) == (TC_SHOT, {"not-protected": 1})


@pytest.mark.parametrize("version", [6, 4])
def test_chosen_correspondents(bench: Bench, version: int) -> None:
    """Others are talked to in clear."""
    tunnel = TunnelFormat.IPV6
    near, other = {6: (PEER6, "2001:db8:500::/48"), 4: (PEER4, "192.0.3.0/24")}[version]
    packet = data(bench, version, into=False)
    bind(bench, tunnel, ip_network(other))
    assert arrives(bench, tunnel, packet) == (TC_REDIRECT, {})
    bind(bench, tunnel, ip_network(other), ip_network(near))
    assert arrives(bench, tunnel, packet) == (TC_SHOT, {"not-protected": 1})
    assert bench.drops_of(lambda: bench.send(data(bench, version, into=True))) == {"not-protected": 1}
    # The other one's binding is another matter.
    bench.plane.set_protection(BINDING, ())
    bench.plane.set_protection(BINDING + 1, EVERYTHING)
    assert arrives(bench, tunnel, packet) == (TC_REDIRECT, {})
    bench.plane.set_protection(BINDING + 1, ())


def test_the_home_link_is_in_clear(bench: Bench) -> None:
    """Where the mobile node is at home there is no tunnel."""
    path = bind(bench, TunnelFormat.IPV6, *EVERYTHING)
    home = Path(TunnelFormat.LINK, path.local, path.remote, interface=path.interface, next_hop=path.remote)
    bench.plane.set_path(BINDING, home)
    assert bench.drops_of(lambda: bench.send(data(bench, 6, into=True))) == {}


def test_protection_outlives_the_binding_and_the_process(bench: Bench) -> None:
    bind(bench, TunnelFormat.IPV6, *EVERYTHING)
    bench.plane.remove_binding(BINDING)
    assert bench.plane.protected() == {BINDING}
    bench.restart()
    assert bench.plane.protected() == {BINDING}
    bench.bind(TunnelFormat.IPV6)
    assert arrives(bench, TunnelFormat.IPV6, data(bench, 6, into=False))[0] == TC_SHOT
    bench.plane.set_protection(BINDING, ())
    assert bench.plane.protected() == frozenset()
    assert arrives(bench, TunnelFormat.IPV6, data(bench, 6, into=False))[0] == TC_REDIRECT


@pytest.mark.parametrize("version", [6, 4])
def test_the_mss_of_decrypted_syns_leaves_room_for_esp(bench: Bench, version: int) -> None:
    """The kernel gives them back on the tunnel device."""
    with bench.node.inside():
        bench.plane.attach("dsmip0")
    path = bind(bench, TunnelFormat.UDP4, *EVERYTHING)
    bench.plane.set_path(BINDING, replace(path, mtu=MTU))
    header = 40 if version == 6 else 20
    ends: tuple[Any, Any] = (PEER6, HOME6) if version == 6 else (PEER4, HOME4)
    source, destination = map(str, ends if bench.role is Role.MOBILE_NODE else reversed(ends))

    def passed_on(most: int) -> tuple[int, int]:
        """The option and the checksum of a SYN that came with this maximum segment size."""
        kind: Any = IPv6 if version == 6 else IP
        segment = TCP(dport=80, flags="S", options=[("MSS", most)])
        bench.arrive_decrypted(bytes(kind(src=source, dst=destination) / segment))
        [sent] = bench.on_wire()
        found = Ether(sent)[TCP]
        return dict(found.options)["MSS"], found.chksum

    def expected(most: int) -> tuple[int, int]:
        kind: Any = IPv6 if version == 6 else IP
        segment = TCP(dport=80, flags="S", options=[("MSS", most)])
        built = kind(bytes(kind(src=source, dst=destination) / segment))
        return most, built[TCP].chksum

    for asked, told in ((1460, INSIDE_ESP - header - 20), (536, 536)):
        assert passed_on(asked) == expected(told)
    bench.plane.set_protection(BINDING, ())
    assert passed_on(1460) == expected(1460)
