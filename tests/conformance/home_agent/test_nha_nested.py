"""Mobile nodes in the network of a mobile router of the same home agent (RFC 3963 sections 3 and 6.5)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

import pytest

from dsmip.wire.constants import BAStatus, NextHeader
from dsmip.wire.icmpv6 import (
    EchoReply,
    EchoRequest,
    HomeAgentAddressDiscoveryReply,
    Icmpv6Message,
    MobilePrefixAdvertisement,
    decode_icmpv6,
)
from dsmip.wire.message import Message
from dsmip.wire.messages import BindingAcknowledgement, decode_message, encode_message
from dsmip.wire.packet import Packet, decode_packet, encode_packet
from dsmip.wire.returnroutability import CareOfTestInit, HomeTestInit
from tests.conformance.home_agent.conftest import HomeAgent
from tests.conformance.home_agent.mobiles import Mobile, in_tunnel
from tests.conformance.home_agent.neighbours import Neighbours
from tests.conformance.home_agent.steps import BOTH_KINDS, unused
from tests.conformance.home_agent.test_ha_prefix_discovery import solicitation
from tests.conformance.home_agent.world import CORRESPONDENT, HOME_AGENT, Frame, icmpv6

pytestmark = pytest.mark.root


@dataclass(frozen=True)
class Inner:
    """A packet that came out of the tunnel to the first mobile router."""

    packet: Packet

    @property
    def message(self) -> Message | Icmpv6Message:
        packet = self.packet
        if packet.next_header == NextHeader.MOBILITY:
            return decode_message(packet.payload, packet.sender, packet.recipient)
        return decode_icmpv6(packet.payload, packet.sender, packet.recipient)


class Nest:
    """A mobile router that is registered, and a mobile node that visits its network."""

    def __init__(self, home_agent: HomeAgent, visitor: Mobile) -> None:
        self.home_agent = home_agent
        self.router = home_agent.bound_router()
        self.visitor = visitor
        self.care_of = self.router.host()

    def send(self, packet: bytes) -> None:
        """The visitor's packet, as the mobile router tunnels it."""
        self.home_agent.cables.from_net(in_tunnel(packet, self.router.care_of))

    def inner(self, frames: list[Frame]) -> list[Inner]:
        """What is tunnelled to the mobile router."""
        outer = [frame.packet for frame in frames if frame.packet is not None]
        return [
            Inner(decode_packet(packet.payload))
            for packet in outer
            if packet.next_header == NextHeader.IPV6
            and (packet.source, packet.destination) == (HOME_AGENT, self.router.care_of)
        ]

    def ask(self, packet: bytes) -> list[Inner]:
        """What comes back through the tunnel."""
        self.send(packet)
        return self.inner(self.home_agent.cables.settle())

    def register(self, **fields: object) -> BindingAcknowledgement:
        (answer,) = self.ask(self.visitor.update(care_of=self.care_of, **fields))  # type: ignore[arg-type]
        assert (answer.packet.source, answer.packet.destination) == (HOME_AGENT, self.care_of)
        assert answer.packet.routing_home_address == self.visitor.home
        assert isinstance(answer.message, BindingAcknowledgement)
        return answer.message


def unwrapped(packet: bytes) -> bytes:
    """What is in an IPv6-in-IPv6 packet."""
    assert packet[6] == NextHeader.IPV6
    return packet[40:]


@pytest.mark.row("NHA-NEST-002")
@BOTH_KINDS
def test_nha_nest_002_registration_through_the_tunnel(home_agent: HomeAgent, kind: str) -> None:
    nest = Nest(home_agent, unused(home_agent, kind))
    assert nest.register().status == BAStatus.ACCEPTED
    (reply,) = nest.ask(nest.visitor.probe(nest.care_of))
    assert isinstance(reply.message, EchoReply)
    assert (reply.packet.destination, reply.packet.routing_home_address) == (nest.care_of, nest.visitor.home)
    answer = nest.register(sequence=16, lifetime=0)
    assert (answer.status, answer.lifetime) == (BAStatus.ACCEPTED, 0)
    (error,) = nest.ask(nest.visitor.probe(nest.care_of))
    assert error.packet.destination == nest.care_of


@pytest.mark.row("NHA-NEST-002")
@BOTH_KINDS
def test_nha_nest_002_discovery_prefixes_and_echo(home_agent: HomeAgent, kind: str) -> None:
    nest = Nest(home_agent, unused(home_agent, kind))
    nest.send(Neighbours(home_agent.cables).request_packet(nest.care_of))
    seen = home_agent.cables.wait_for(lambda frame: bool(nest.inner([frame])))
    (reply,) = nest.inner(seen)
    assert isinstance(reply.message, HomeAgentAddressDiscoveryReply)
    assert reply.packet.destination == nest.care_of
    nest.register()
    (advertisement,) = nest.ask(solicitation(nest.visitor, nest.care_of))
    assert isinstance(advertisement.message, MobilePrefixAdvertisement)
    assert advertisement.packet.routing_home_address == nest.visitor.home
    (echo,) = nest.ask(icmpv6(EchoRequest(5, 6), nest.care_of, HOME_AGENT))
    assert isinstance(echo.message, EchoReply)
    assert (echo.packet.source, echo.packet.destination) == (HOME_AGENT, nest.care_of)


@pytest.mark.row("NHA-NEST-002")
@BOTH_KINDS
def test_nha_nest_002_correspondents(home_agent: HomeAgent, kind: str) -> None:
    """Return routability and route optimisation are data to the home agent."""
    nest = Nest(home_agent, unused(home_agent, kind))
    nest.register()
    home, care_of = nest.visitor.home, nest.care_of
    home_init = encode_packet(
        home, CORRESPONDENT, encode_message(HomeTestInit(bytes(8)), home, CORRESPONDENT)
    )
    care_of_init = encode_packet(
        care_of, CORRESPONDENT, encode_message(CareOfTestInit(bytes(8)), care_of, CORRESPONDENT)
    )
    update = encode_packet(
        care_of,
        CORRESPONDENT,
        encode_message(HomeTestInit(bytes(8)), home, CORRESPONDENT),
        home_address=home,
    )
    for sent, packet in (
        (in_tunnel(home_init, care_of), home_init),
        (care_of_init, care_of_init),
        (update, update),
    ):
        nest.send(sent)
        (frame,) = home_agent.cables.settle()
        # A router on the way each time a tunnel ends.
        assert frame.data[:7] + frame.data[8:] == packet[:7] + packet[8:]
    # And back: to the home address through both tunnels, to the care-of address through the first.
    to_home = icmpv6(EchoRequest(1, 1), CORRESPONDENT, home)
    (frame,) = home_agent.cables.ask_net(to_home)
    second = unwrapped(frame.data)
    assert IPv6Address(frame.data[24:40]) == nest.router.care_of
    assert IPv6Address(second[24:40]) == care_of
    assert unwrapped(second)[8:] == to_home[8:]
    to_care_of = icmpv6(EchoRequest(1, 1), CORRESPONDENT, care_of)
    (frame,) = home_agent.cables.ask_net(to_care_of)
    assert unwrapped(frame.data)[8:] == to_care_of[8:]


@pytest.mark.row("NHA-NEST-003")
def test_nha_nest_003_two_mobile_routers(home_agent: HomeAgent) -> None:
    nest = Nest(home_agent, home_agent.mobiles.router())
    nest.register()
    host = nest.visitor.host()
    # From the inside: two layers come off.
    outward = icmpv6(EchoRequest(1, 1, bytes(20)), host, CORRESPONDENT)
    nest.send(in_tunnel(outward, nest.care_of))
    (frame,) = home_agent.cables.settle()
    assert frame.data[:7] + frame.data[8:] == outward[:7] + outward[8:]
    # From the outside: two layers are put on.
    inward = icmpv6(EchoRequest(1, 1, bytes(20)), CORRESPONDENT, host)
    (frame,) = home_agent.cables.ask_net(inward)
    second = unwrapped(frame.data)
    assert IPv6Address(frame.data[8:24]) == HOME_AGENT
    assert IPv6Address(frame.data[24:40]) == nest.router.care_of
    assert (IPv6Address(second[8:24]), IPv6Address(second[24:40])) == (HOME_AGENT, nest.care_of)
    assert unwrapped(second)[8:] == inward[8:]
    # To the home agent itself and back.
    nest.send(in_tunnel(icmpv6(EchoRequest(9, 9), host, HOME_AGENT), nest.care_of))
    (frame,) = home_agent.cables.settle()
    reply = decode_packet(unwrapped(unwrapped(frame.data)))
    assert isinstance(decode_icmpv6(reply.payload, HOME_AGENT, host), EchoReply)
