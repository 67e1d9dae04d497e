"""Data of a mobile node without route optimisation, on the wire: rows MN-RO."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import (
    EchoReply,
    EchoRequest,
    NeighborAdvertisement,
    NeighborSolicitation,
    SourceLinkLayerAddress,
    encode_icmpv6,
)
from dsmip.wire.ip import IPV6_HEADER_SIZE
from dsmip.wire.packet import encode_packet
from tests.conformance.mobile_node_bed import (
    CORRESPONDENT,
    HOME_ADDRESS,
    LINK_LOCAL,
    NODE_MAC,
    Bed,
    bed,
    echo,
    foreign,
)
from tests.conformance.mobile_node_wire import icmp

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def mn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with bed(tmp_path_factory.mktemp("mn"), "mobile-node") as made:
        yield made


@pytest.mark.row("MN-RO-001", "MN-RR-011")
def test_mn_ro_001_without_route_optimisation_data_goes_by_the_tunnel(mn: Bed) -> None:
    mn.register()
    mark = mn.wire.mark()
    assert mn.answers_ping()
    mn.wire.pump(0.5)
    # Neither a test init message nor anything else of the Mobility Header for the correspondent node.
    for frame in mn.wire.frames[mark:]:
        assert frame.packet.destination != CORRESPONDENT
        assert frame.inner is None or frame.inner.packet.next_header != NextHeader.MOBILITY


@pytest.mark.row("MN-RO-003")
def test_mn_ro_003_at_home_it_is_an_ordinary_host(mn: Bed) -> None:
    mn.register()
    mn.come_home()
    mark = mn.wire.mark()
    mn.send(echo(CORRESPONDENT, HOME_ADDRESS))
    reply = mn.wire.wait(icmp(EchoReply), mark, 2.0, "an Echo Reply")
    assert reply.packet.source == HOME_ADDRESS
    assert reply.packet.destination == CORRESPONDENT
    assert reply.packet.home_address is None


@pytest.mark.row("MN-RO-003")
def test_mn_ro_003_neighbour_discovery_never_uses_the_home_address(mn: Bed) -> None:
    mark = mn.plug(foreign())
    mn.registered()
    router = mn.router
    assert router is not None
    solicitation = NeighborSolicitation(LINK_LOCAL, (SourceLinkLayerAddress(router.mac),))

    def answered() -> bool:
        # Asked again and again: while the kernel's duplicate address detection of its own link-local address
        # runs, neither question is answered (RFC 4862 section 5.4.3).
        mn.wire.icmpv6(solicitation, router.address, LINK_LOCAL, router.mac, NODE_MAC)
        mn.wire.icmpv6(EchoRequest(1, 1, b"x"), router.address, LINK_LOCAL, router.mac, NODE_MAC)
        mn.wire.pump(0.1)
        return mn.wire.find(icmp(EchoReply), mark) is not None

    mn.until(answered, 10.0, "an Echo Reply on the link")
    reply = mn.wire.wait(icmp(EchoReply), mark)
    assert reply.packet.source == LINK_LOCAL
    assert mn.wire.find(icmp(NeighborAdvertisement, target=LINK_LOCAL), mark) is not None
    for frame in mn.wire.frames[mark:]:
        assert frame.packet.source != HOME_ADDRESS
        assert frame.packet.home_address is None or frame.packet.next_header == NextHeader.MOBILITY


@pytest.mark.row("MN-RO-005")
@pytest.mark.parametrize(
    ("offset", "octet"),
    [(1, 0), (1, 4), (3, 0), (3, 2), (23, 0xEE)],
    ids=["too short", "too long", "no segment left", "two segments left", "another address"],
)
def test_mn_ro_005_a_wrong_routing_header_is_not_answered(mn: Bed, offset: int, octet: int) -> None:
    care_of = mn.register()
    refused = sum(mn.ask("stats")["signalling_refused"].values())
    request = encode_icmpv6(EchoRequest(7, 1, b"to the home address"), CORRESPONDENT, HOME_ADDRESS)
    packet = bytearray(
        encode_packet(CORRESPONDENT, care_of, request, NextHeader.ICMPV6, routing_home_address=HOME_ADDRESS)
    )
    packet[IPV6_HEADER_SIZE + offset] = octet
    mark = mn.wire.mark()
    mn.send(bytes(packet))
    mn.until(
        lambda: sum(mn.ask("stats")["signalling_refused"].values()) > refused, 2.0, "the packet is refused"
    )
    mn.wire.pump(0.3)
    for frame in mn.wire.frames[mark:]:
        within = frame.inner if frame.inner is not None else frame
        assert within.packet.destination != CORRESPONDENT
