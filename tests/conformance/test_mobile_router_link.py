"""Mobile router rows that speak of packets on a link: the real daemon between two cables (RFC 3963)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from dsmip.wire.constants import BUFlag, NextHeader
from dsmip.wire.icmpv6 import (
    EchoReply,
    EchoRequest,
    NeighborAdvertisement,
    NeighborSolicitation,
    RouterAdvertisement,
    RouterSolicitation,
    SourceLinkLayerAddress,
    TargetLinkLayerAddress,
)
from dsmip.wire.options import MobileNetworkPrefix, find_all
from dsmip.wire.packet import encode_packet
from tests.conformance.mobile_node_bed import (
    CORRESPONDENT,
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_AGENT_MAC,
    HOME_ROUTER,
    LAN_NODE,
    LAN_NODE_MAC,
    LAN_ROUTER,
    LAN_ROUTER_MAC,
    MOBILE_PREFIX,
    NODE_MAC,
    SILENCE,
    UNSPECIFIED,
    Answer,
    Bed,
    bed,
    echo,
    foreign,
)
from tests.conformance.mobile_node_wire import ALL_NODES, Frame, Wire

pytestmark = pytest.mark.root

ALL_ROUTERS = IPv6Address("ff02::2")
LINK_LOCAL = IPv6Address("fe80::ff:fe5e:2001")
VISITOR_HOME_AGENT = IPv6Address("2001:db8:c0::aa")

_RADVD = f"""interface lan0 {{
    AdvSendAdvert on;
    AdvIntervalOpt on;
    MinRtrAdvInterval 3;
    MaxRtrAdvInterval 4;
    MinDelayBetweenRAs 0.03;
    prefix {MOBILE_PREFIX} {{ }};
}};
"""


@pytest.fixture(scope="module")
def mr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    more = f'mobile_network_prefixes = ["{MOBILE_PREFIX}"]\n'
    with bed(tmp_path_factory.mktemp("mr"), "mobile-router", more, "conformance-mr") as made:
        yield made


def lan(mr: Bed) -> Wire:
    assert mr.lan is not None
    return mr.lan


def message(kind: type, **fields: object) -> Callable[[Frame], Frame | None]:
    """Frames with a message of this class and these fields."""

    def match(frame: Frame) -> Frame | None:
        found = frame.message
        if not isinstance(found, kind):
            return None
        return frame if all(getattr(found, name) == value for name, value in fields.items()) else None

    return match


def solicited_node(address: IPv6Address) -> IPv6Address:
    return IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(address) & 0xFFFFFF)


def passes_down(mr: Bed, inner: bytes) -> Frame | None:
    """What of a packet that the home agent tunnels arrives on the mobile network."""
    mark = lan(mr).mark()
    mr.tunnel(inner, IPv6Address(mr.status()["care_of"]))
    for _ in range(50):
        mr.play(0.02)
        found = lan(mr).find(lambda f: f if f.packet.destination.packed == inner[24:40] else None, mark)
        if found is not None:
            return found
    return None


def passes_up(mr: Bed, packet: bytes, seconds: float = 1.0) -> Frame | None:
    """What of a packet from the mobile network comes out on the visited link, tunnelled or not."""

    def from_it(frame: Frame) -> Frame | None:
        inner = frame.inner or frame
        return frame if inner.packet.raw[8:40] == packet[8:40] else None

    mark = mr.wire.mark()
    lan(mr).send(packet, LAN_NODE_MAC)
    try:
        return mr.wire.wait(from_it, mark, seconds)
    except AssertionError:
        return None


def carries(mr: Bed) -> bool:
    """Whether correspondent node and mobile network reach each other through the tunnel."""
    down = passes_down(mr, echo(CORRESPONDENT, LAN_NODE))
    up = passes_up(mr, echo(LAN_NODE, CORRESPONDENT))
    if down is None or up is None or up.inner is None:
        return False
    assert up.packet.source == IPv6Address(mr.status()["care_of"])
    assert up.packet.destination == HOME_AGENT
    assert up.packet.home_address is None
    return True


def advertised(mr: Bed, target: IPv6Address, mark: int) -> NeighborAdvertisement:
    frame = mr.wire.wait(message(NeighborAdvertisement, target=target), mark, 2.0, f"an answer for {target}")
    assert isinstance(frame.message, NeighborAdvertisement)
    return frame.message


def solicit(mr: Bed, target: IPv6Address, *, probe: bool) -> None:
    """A solicitation for an address: to resolve it, or the probe of duplicate address detection."""
    router = mr.router
    assert router is not None
    if probe:
        solicitation = NeighborSolicitation(target)
        mr.wire.icmpv6(solicitation, UNSPECIFIED, solicited_node(target), router.mac)
    else:
        solicitation = NeighborSolicitation(target, (SourceLinkLayerAddress(router.mac),))
        mr.wire.icmpv6(solicitation, router.address, solicited_node(target), router.mac)


@pytest.mark.row("MR-SCN-001")
def test_mr_scn_001_serves_its_network_at_each_place(mr: Bed) -> None:
    mr.come_home()
    for _ in range(2):
        mr.register()
        assert mr.updates[0][1].update.flags & BUFlag.R
        assert carries(mr)
    mr.come_home()


@pytest.mark.row("MR-BA-001")
@pytest.mark.parametrize("flags", [0x40, 0x41], ids=["R", "R and reserved bits"])
def test_mr_ba_001_the_tunnel_is_up(mr: Bed, flags: int) -> None:
    mr.answers = [Answer(fields={"flags": flags})]
    mr.plug(foreign())
    mr.registered()
    assert carries(mr)
    assert mr.answers_ping()
    _, sent = mr.update()
    assert find_all(sent.update.options, MobileNetworkPrefix) == (MobileNetworkPrefix.of(MOBILE_PREFIX),)


# Neighbour discovery ----------------------------------------------------------------------------------------


@pytest.mark.row("MR-RA-002")
def test_mr_ra_002_no_advertisement_on_the_visited_link(mr: Bed) -> None:
    mr.register()
    mark = mr.wire.mark()
    router = mr.router
    assert router is not None
    for destination, mac in ((ALL_ROUTERS, None), (LINK_LOCAL, NODE_MAC)):
        solicitation = RouterSolicitation((SourceLinkLayerAddress(router.mac),))
        mr.wire.icmpv6(solicitation, router.address, destination, router.mac, mac)
    mr.play(1.5)
    assert mr.wire.find(message(RouterAdvertisement), mark) is None
    assert "ff02::2" not in mr.node("ip", "maddr", "show", "dev", "wan0")  # RFC 3963 section 5.7
    # It hears advertisements there all the same (section 5.6): another router takes over.
    gone, mr.router = router, foreign()
    mr.deaf.add(gone.address)
    mr.updates.clear()
    mr.advertise()
    _, sent = mr.update()
    assert sent.care_of in mr.router.prefix


@pytest.mark.row("MR-RA-003")
def test_mr_ra_003_advertises_on_the_ingress_link(mr: Bed, tmp_path: Path) -> None:
    mr.register()
    config = tmp_path / "radvd.conf"
    config.write_text(_RADVD)
    radvd = mr.start_beside(
        "radvd", "-n", "-m", "stderr", "-C", str(config), "-p", str(tmp_path / "radvd.pid")
    )
    try:
        lan(mr).wait(message(RouterAdvertisement), 0, 5.0, "radvd has started")
        link_local = IPv6Address("fe80::ff:fe5e:3001")
        for target, mac in ((ALL_ROUTERS, None), (LAN_ROUTER, LAN_ROUTER_MAC), (link_local, LAN_ROUTER_MAC)):
            mark = lan(mr).mark()
            solicitation = RouterSolicitation((SourceLinkLayerAddress(LAN_NODE_MAC),))
            lan(mr).icmpv6(solicitation, IPv6Address("fe80::99"), target, LAN_NODE_MAC, mac)
            lan(mr).wait(message(RouterAdvertisement), mark, 2.0, f"an advertisement, asked at {target}")
    finally:
        radvd.terminate()
        radvd.wait(5)


@pytest.mark.row("MR-ND-001")
@pytest.mark.parametrize("target", [HOME_ADDRESS, LINK_LOCAL], ids=["global", "link-local"])
@pytest.mark.parametrize("probe", [True, False], ids=["duplicate address detection", "resolution"])
def test_mr_nd_001_a_router_at_home(mr: Bed, target: IPv6Address, probe: bool) -> None:
    if mr.router is not HOME_ROUTER:
        mr.register()
        mr.come_home()
    mark = mr.wire.mark()
    solicit(mr, target, probe=probe)
    assert advertised(mr, target, mark).router


@pytest.mark.row("MR-ND-002")
@pytest.mark.parametrize("probe", [True, False], ids=["duplicate address detection", "resolution"])
def test_mr_nd_002_a_host_on_a_visited_link(mr: Bed, probe: bool) -> None:
    care_of = mr.register()
    shown = ("ip", "addr", "show", "to", str(care_of))
    # A tentative address is not defended (RFC 4862 section 5.4.3), an optimistic one is not resolved.
    mr.until(lambda: "optimistic" not in mr.node(*shown), 3, "the care-of address is checked")
    for target in (care_of, LINK_LOCAL):
        mark = mr.wire.mark()
        solicit(mr, target, probe=probe)
        assert not advertised(mr, target, mark).router
    mark = mr.wire.mark()
    solicit(mr, HOME_ADDRESS, probe=probe)
    mr.play(1.0)
    assert mr.wire.find(message(NeighborAdvertisement, target=HOME_ADDRESS), mark) is None


# Forwarding -------------------------------------------------------------------------------------------------


def mobility_header(source: IPv6Address, destination: IPv6Address, kind: int) -> bytes:
    """A mobility message that is none of the router's business: it need not even be well-formed."""
    body = bytes((NextHeader.NONE, 1, kind, 0, 0xAB, 0xCD)) + bytes(10)
    return encode_packet(source, destination, body, NextHeader.MOBILITY)


@pytest.mark.row("MR-FWD-001")
@pytest.mark.parametrize("kind", [6, 3], ids=["Binding Acknowledgement", "Home Test"])
def test_mr_fwd_001_mobility_messages_of_a_visitor_pass_down(mr: Bed, kind: int) -> None:
    if mr.status().get("state") != "registered":
        mr.register()
    body = bytes((NextHeader.NONE, 1, kind, 0, 0xAB, 0xCD)) + bytes(10)
    packet = encode_packet(
        VISITOR_HOME_AGENT, LAN_NODE, body, NextHeader.MOBILITY, routing_home_address=CORRESPONDENT
    )
    arrived = passes_down(mr, packet)
    assert arrived is not None
    assert arrived.packet.raw[8:] == packet[8:]


@pytest.mark.row("MR-FWD-001")
def test_mr_fwd_001_mobility_messages_of_a_visitor_pass_up(mr: Bed) -> None:
    if mr.status().get("state") != "registered":
        mr.register()
    packet = mobility_header(LAN_NODE, VISITOR_HOME_AGENT, 1)
    sent = passes_up(mr, packet)
    assert sent is not None
    assert sent.inner is not None
    assert sent.inner.packet.raw[8:] == packet[8:]


@pytest.mark.row("MR-FWD-002")
@pytest.mark.parametrize(
    "source",
    [IPv6Address("2001:db8:bad::1"), HOME_ADDRESS, LAN_ROUTER],
    ids=["outside the prefix", "the home address", "the ingress address"],
)
def test_mr_fwd_002_foreign_sources_are_not_forwarded(mr: Bed, source: IPv6Address) -> None:
    if mr.status().get("state") != "registered":
        mr.register()
    assert passes_up(mr, echo(LAN_NODE, CORRESPONDENT)) is not None
    assert passes_up(mr, echo(source, CORRESPONDENT), 0.7) is None


# Returning home ---------------------------------------------------------------------------------------------


@pytest.mark.row("MR-DR-001")
def test_mr_dr_001_de_registers_from_the_home_address(mr: Bed) -> None:
    mr.register()
    before = mr.updates[-1][1].update.sequence
    mr.come_home()
    frame, sent = mr.update()
    assert frame.packet.source == HOME_ADDRESS
    assert sent.update.flags & (BUFlag.A | BUFlag.H) == BUFlag.A | BUFlag.H
    assert sent.update.lifetime == 0
    assert 0 < (sent.update.sequence - before) % 0x10000 < 0x8000
    assert find_all(sent.update.options, MobileNetworkPrefix) == ()


@pytest.mark.row("MR-DR-002")
def test_mr_dr_002_announces_its_address_as_a_router(mr: Bed) -> None:
    mr.register()
    mr.answer = SILENCE
    mark = mr.plug(HOME_ROUTER)
    _, sent = mr.update()
    solicitation = NeighborSolicitation(HOME_ADDRESS, (SourceLinkLayerAddress(HOME_AGENT_MAC),))
    mr.wire.icmpv6(solicitation, HOME_AGENT, solicited_node(HOME_ADDRESS), HOME_AGENT_MAC)
    answer = mr.wire.wait(message(NeighborAdvertisement, target=HOME_ADDRESS), mark, 2.0, "an answer")
    assert answer.packet.destination == HOME_AGENT
    mark = mr.wire.mark()
    mr.acknowledge(sent)
    announced = mr.wire.wait(message(NeighborAdvertisement, target=HOME_ADDRESS), mark, 2.0, "announced")
    assert announced.packet.destination == ALL_NODES
    announcement = announced.message
    assert isinstance(announcement, NeighborAdvertisement)
    assert (announcement.router, announcement.solicited, announcement.override) == (True, False, True)
    assert announcement.options == (TargetLinkLayerAddress(NODE_MAC),)
    native = passes_up(mr, echo(LAN_NODE, CORRESPONDENT))
    assert native is not None
    assert native.inner is None


@pytest.mark.row("MR-RO-001")
def test_mr_ro_001_its_own_traffic(mr: Bed) -> None:
    mr.register()
    assert mr.answers_ping()  # away: through the tunnel, without Home Address option
    router = mr.router
    assert router is not None
    mark = mr.wire.mark()
    mr.wire.icmpv6(EchoRequest(1, 1, b"x"), router.address, LINK_LOCAL, router.mac, NODE_MAC)
    reply = mr.wire.wait(message(EchoReply), mark, 2.0, "an Echo Reply on the link")
    assert reply.packet.source == LINK_LOCAL
    mark = mr.come_home()
    mr.send(echo(CORRESPONDENT, HOME_ADDRESS))
    reply = mr.wire.wait(message(EchoReply), mark, 2.0, "an Echo Reply at home")
    assert reply.packet.source == HOME_ADDRESS
    assert reply.packet.destination == CORRESPONDENT
    assert reply.packet.home_address is None


@pytest.mark.row("MR-BU-002")
def test_mr_bu_002_l_flag_with_the_identifier_of_the_link_local_address(mr: Bed) -> None:
    mr.register()
    assert not mr.update()[1].update.flags & BUFlag.L  # the identifiers differ
    mr.stop()
    mr.node("ip", "addr", "add", "fe80::1234/64", "dev", "wan0", "nodad")  # that of the home address
    try:
        mr.start()
        mr.register()
        assert mr.update()[1].update.flags & BUFlag.L
    finally:
        mr.node("ip", "addr", "del", "fe80::1234/64", "dev", "wan0")
        mr.stop()
        mr.start()


# Several home agents ----------------------------------------------------------------------------------------

OTHER_HOME_AGENT = IPv6Address("2001:db8:100::2")


@pytest.fixture
def choosy(tmp_path: Path) -> Iterator[Bed]:
    """A mobile router of its own: it ends up with another home agent."""
    more = f'mobile_network_prefixes = ["{MOBILE_PREFIX}"]\n'
    with bed(tmp_path, "mobile-router", more, "conformance-mr2") as made:
        made.discovered = (HOME_AGENT, OTHER_HOME_AGENT)
        yield made


def forwards_by_the_other(mr: Bed) -> None:
    """What of the mobile network's traffic leaves goes to the other home agent."""
    assert mr.status()["home_agent"] == str(OTHER_HOME_AGENT)
    up = passes_up(mr, echo(LAN_NODE, CORRESPONDENT))
    assert up is not None
    assert up.packet.destination == OTHER_HOME_AGENT
    mark = lan(mr).mark()
    inner = echo(CORRESPONDENT, LAN_NODE)
    mr.tunnel(inner, IPv6Address(mr.status()["care_of"]), OTHER_HOME_AGENT)
    for _ in range(50):
        mr.play(0.02)
    assert lan(mr).find(message(EchoRequest), mark) is not None


@pytest.mark.row("MR-BA-006")
def test_mr_ba_006_forwards_by_another_home_agent(choosy: Bed) -> None:
    choosy.home_agents[HOME_AGENT] = Answer(fields={"status": 140})
    choosy.plug(foreign())
    choosy.registered()
    request = choosy.discovery()
    assert request.packet.payload[6:8] == b"\x80\x00"
    assert [frame.packet.destination for frame, _ in choosy.updates] == [HOME_AGENT, OTHER_HOME_AGENT]
    forwards_by_the_other(choosy)


@pytest.mark.row("MR-BA-007")
def test_mr_ba_007_never_forwards_by_one_without_mobile_routers(choosy: Bed) -> None:
    choosy.home_agents[HOME_AGENT] = Answer(fields={"flags": 0})
    mark = choosy.plug(foreign())
    choosy.update(1)
    # Whatever the mobile network sends now stays where it is.
    for _ in range(5):
        lan(choosy).send(echo(LAN_NODE, CORRESPONDENT), LAN_NODE_MAC)
        choosy.play(0.1)
    choosy.registered()
    first, parting, second = choosy.updates[:3]
    assert first[1].update.flags & BUFlag.R
    assert (parting[0].packet.destination, parting[1].update.lifetime) == (HOME_AGENT, 0)
    assert not parting[1].update.flags & BUFlag.R
    assert second[0].packet.destination == OTHER_HOME_AGENT
    assert second[1].update.flags & BUFlag.R
    for frame in choosy.wire.frames[mark:]:
        if frame.inner is not None:
            assert frame.packet.destination != HOME_AGENT
    forwards_by_the_other(choosy)
