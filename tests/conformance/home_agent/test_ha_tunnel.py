"""The tunnel: what goes in, what comes out (RFC 6275 sections 10.4.2, 10.4.5 and 10.4.6)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import (
    DestinationUnreachable,
    EchoRequest,
    HomeAgentAddressDiscoveryReply,
    Icmpv6Message,
    PacketTooBig,
    TimeExceeded,
)
from dsmip.wire.messages import encode_message
from dsmip.wire.packet import Packet, encode_packet
from dsmip.wire.returnroutability import HomeTest
from tests.conformance.home_agent.conftest import HomeAgent
from tests.conformance.home_agent.mobiles import in_tunnel, tunnelled
from tests.conformance.home_agent.neighbours import Neighbours
from tests.conformance.home_agent.steps import BOTH_KINDS, from_tunnel, tunnel_end, unused
from tests.conformance.home_agent.world import CORRESPONDENT, HOME_AGENT, NEIGHBOUR, Frame, icmpv6

pytestmark = pytest.mark.root


@pytest.mark.row("HA-TUN-001", "NHA-TUN-001")
@BOTH_KINDS
def test_ha_tun_001_to_the_home_address(home_agent: HomeAgent, kind: str) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile)
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of
    home_agent.bind(mobile, sequence=16, care_of=mobile.other_care_of)
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.other_care_of


@pytest.mark.row("HA-TUN-005")
@BOTH_KINDS
def test_ha_tun_005_wrong_outer_source(home_agent: HomeAgent, kind: str) -> None:
    mobile, other = unused(home_agent, kind), home_agent.bound_node()
    home_agent.bind(mobile)
    for stranger in (mobile.other_care_of, other.care_of, CORRESPONDENT):
        assert from_tunnel(home_agent.cables, mobile.home, stranger) == []
    assert len(from_tunnel(home_agent.cables, mobile.home, mobile.care_of)) == 1


@pytest.mark.row("HA-RR-002")
@BOTH_KINDS
def test_ha_rr_002_home_test_is_tunnelled(home_agent: HomeAgent, kind: str) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile)
    test = HomeTest(1, bytes(8), bytes(range(8)))
    packet = encode_packet(CORRESPONDENT, mobile.home, encode_message(test, CORRESPONDENT, mobile.home))
    for sequence, care_of in ((None, mobile.care_of), (16, mobile.other_care_of)):
        if sequence is not None:
            home_agent.bind(mobile, sequence=sequence, care_of=care_of)
        ((outer, inner),) = tunnelled(home_agent.cables.ask_net(packet))
        assert (outer.source, outer.destination) == (HOME_AGENT, care_of)
        assert inner[40:] == packet[40:]


ROUTER_ON_THE_WAY = IPv6Address("2001:db8:7777::1")


@pytest.mark.row("HA-TUN-003")
@BOTH_KINDS
@pytest.mark.parametrize(
    "problem",
    [TimeExceeded(0, b""), DestinationUnreachable(0, b""), DestinationUnreachable(3, b"")],
    ids=["hop-limit-exceeded", "no-route", "address-unreachable"],
)
def test_ha_tun_003_errors_about_the_tunnel(
    home_agent: HomeAgent, kind: str, problem: TimeExceeded | DestinationUnreachable
) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile)
    ((frame, inner),) = tunnel_packet(home_agent, mobile.home, 64)
    error = icmpv6(replace(problem, invoking=frame.data), ROUTER_ON_THE_WAY, HOME_AGENT)
    ((packet, message),) = relayed(home_agent, error)
    assert isinstance(message, DestinationUnreachable)
    assert message.code == 3
    assert message.invoking == inner
    assert (packet.source, packet.destination) == (HOME_AGENT, IPv6Address(inner[8:24]))


@pytest.mark.row("HA-TUN-003")
def test_ha_tun_003_packet_too_big(home_agent: HomeAgent) -> None:
    """RFC 2473 section 8.2: the tunnel's MTU is that of the path less the outer header."""
    mobile = home_agent.bound_router()
    ((frame, inner),) = tunnel_packet(home_agent, mobile.host(), 1390)
    for path, told in ((1400, 1360), (1300, 1280)):
        error = icmpv6(PacketTooBig(path, frame.data), ROUTER_ON_THE_WAY, HOME_AGENT)
        ((packet, message),) = relayed(home_agent, error)
        assert isinstance(message, PacketTooBig)
        assert message.mtu == told
        assert packet.destination == IPv6Address(inner[8:24])
        assert message.invoking == inner[: len(message.invoking)]
    # Nobody may be asked to send less than 1280 octets.
    ((frame, _),) = tunnel_packet(home_agent, mobile.host(), 1200)
    error = icmpv6(PacketTooBig(1240, frame.data), ROUTER_ON_THE_WAY, HOME_AGENT)
    assert relayed(home_agent, error) == []


@pytest.mark.row("HA-TUN-003")
def test_ha_tun_003_only_about_packets_of_ours(home_agent: HomeAgent) -> None:
    """Who quotes a packet that was not tunnelled there makes nobody believe anything."""
    mobile, other = home_agent.bound_node(), home_agent.bound_node()
    ((frame, _),) = tunnel_packet(home_agent, mobile.home, 64)
    for destination in (other.care_of, mobile.other_care_of):
        forged = frame.data[:24] + destination.packed + frame.data[40:]
        assert relayed(home_agent, icmpv6(TimeExceeded(0, forged), ROUTER_ON_THE_WAY, HOME_AGENT)) == []
    # Errors about errors are not told (RFC 4443 section 2.4).
    inner = icmpv6(DestinationUnreachable(1, bytes(40)), CORRESPONDENT, mobile.home)
    quoted = encode_packet(HOME_AGENT, mobile.care_of, inner, NextHeader.IPV6)
    assert relayed(home_agent, icmpv6(TimeExceeded(0, quoted), ROUTER_ON_THE_WAY, HOME_AGENT)) == []


def tunnel_packet(home_agent: HomeAgent, destination: IPv6Address, size: int) -> list[tuple[Frame, bytes]]:
    """Have a packet of so many octets tunnelled: the frame, and the packet inside."""
    source = home_agent.cables.stranger()
    packet = icmpv6(EchoRequest(1, 2, bytes(size - 48)), source, destination)
    return [
        (frame, frame.packet.payload)
        for frame in home_agent.cables.ask_net(packet)
        if frame.packet is not None and frame.packet.next_header == NextHeader.IPV6
    ]


def relayed(home_agent: HomeAgent, error: bytes) -> list[tuple[Packet, Icmpv6Message]]:
    """What the home agent makes of an error: it comes to the same socket as discovery requests do."""
    home_agent.cables.from_net(error)
    source = home_agent.cables.stranger()
    home_agent.cables.from_net(Neighbours(home_agent.cables).request_packet(source))
    frames = home_agent.cables.wait_for(
        lambda frame: isinstance(frame.message, HomeAgentAddressDiscoveryReply)
    )
    return [
        (frame.packet, frame.message)
        for frame in frames[:-1]
        if frame.packet is not None and isinstance(frame.message, Icmpv6Message)
    ]


# Mobile routers --------------------------------------------------------------------------------------------


@pytest.mark.row("NHA-TUN-002")
def test_nha_tun_002_home_address_on_the_home_link(home_agent: HomeAgent) -> None:
    mobile = home_agent.bound_router()
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of
    assert tunnel_end(home_agent.cables, mobile.host()) == mobile.care_of


@pytest.mark.row("NHA-TUN-002")
def test_nha_tun_002_home_address_of_the_mobile_network(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.prefix_homed()
    home_agent.bind(mobile)
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of
    assert tunnel_end(home_agent.cables, mobile.host()) == mobile.care_of
    # The address its egress interface may have on the home link is nobody's home address.
    assert tunnel_end(home_agent.cables, NEIGHBOUR + mobile.number + 0x100) is None


@pytest.mark.row("NHA-TUN-006")
@pytest.mark.parametrize("number", [0, 1], ids=["first-prefix", "second-prefix"])
def test_nha_tun_006_to_the_mobile_network(home_agent: HomeAgent, number: int) -> None:
    mobile = home_agent.bound_router()
    assert tunnel_end(home_agent.cables, mobile.host(number)) == mobile.care_of
    home_agent.bind(mobile, sequence=16, care_of=mobile.other_care_of)
    assert tunnel_end(home_agent.cables, mobile.host(number)) == mobile.other_care_of


@pytest.mark.row("NHA-RT-001")
@BOTH_KINDS
def test_nha_rt_001_from_the_home_address(home_agent: HomeAgent, kind: str) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile)
    assert len(from_tunnel(home_agent.cables, mobile.home, mobile.care_of)) == 1
    home_agent.bind(mobile, sequence=16, care_of=mobile.other_care_of)
    assert len(from_tunnel(home_agent.cables, mobile.home, mobile.other_care_of)) == 1


@pytest.mark.row("NHA-RT-004")
@pytest.mark.parametrize("number", [0, 1], ids=["first-prefix", "second-prefix"])
def test_nha_rt_004_from_the_mobile_network(home_agent: HomeAgent, number: int) -> None:
    mobile = home_agent.bound_router()
    assert len(from_tunnel(home_agent.cables, mobile.host(number), mobile.care_of)) == 1
    home_agent.bind(mobile, sequence=16, care_of=mobile.other_care_of)
    assert len(from_tunnel(home_agent.cables, mobile.host(number), mobile.other_care_of)) == 1


@pytest.mark.row("NHA-RT-005")
def test_nha_rt_005_foreign_sources(home_agent: HomeAgent) -> None:
    mobile, other, idle = home_agent.bound_router(), home_agent.bound_router(), home_agent.mobiles.router()
    for source in (other.host(), other.home, idle.host(), NEIGHBOUR, CORRESPONDENT + 1):
        assert from_tunnel(home_agent.cables, source, mobile.care_of) == []
    assert len(from_tunnel(home_agent.cables, mobile.host(), mobile.care_of)) == 1


@pytest.mark.row("NHA-TUN-005")
def test_nha_tun_005_errors_of_the_mobile_network(home_agent: HomeAgent) -> None:
    mobile = home_agent.bound_router()
    invoking = icmpv6(EchoRequest(1, 1, bytes(8)), CORRESPONDENT, mobile.host())
    error = icmpv6(DestinationUnreachable(3, invoking), mobile.home, CORRESPONDENT)
    (frame,) = home_agent.cables.ask_net(in_tunnel(error, mobile.care_of))
    assert frame.data[:7] + frame.data[8:] == error[:7] + error[8:]
    assert frame.packet is not None
    assert frame.packet.next_header == NextHeader.ICMPV6
