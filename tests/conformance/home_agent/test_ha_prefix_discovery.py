"""Mobile prefix discovery (RFC 6275 section 10.6), and what prefixes mean for bindings (10.3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from dsmip.wire.constants import BAStatus, BEStatus
from dsmip.wire.icmpv6 import MobilePrefixAdvertisement, MobilePrefixSolicitation, encode_icmpv6
from dsmip.wire.messages import BindingRefreshRequest
from dsmip.wire.packet import Packet, encode_packet
from tests.conformance.home_agent.conftest import HomeAgent
from tests.conformance.home_agent.mobiles import Mobile
from tests.conformance.home_agent.neighbours import Neighbours
from tests.conformance.home_agent.steps import BOTH_KINDS, unused
from tests.conformance.home_agent.world import HOME_AGENT, HOME_PREFIX, Frame, binding_errors

pytestmark = pytest.mark.root

MESSAGE_IDENTIFIER = 0x1234


@pytest.fixture
def others(home_agent: HomeAgent) -> Iterator[Neighbours]:
    neighbours = Neighbours(home_agent.cables)
    yield neighbours
    neighbours.withdraw()


def solicitation(mobile: Mobile, care_of: IPv6Address | None = None, reserved: bool = False) -> bytes:
    """A Mobile Prefix Solicitation; options nobody knows stand for what a later RFC may add."""
    message = encode_icmpv6(MobilePrefixSolicitation(MESSAGE_IDENTIFIER), mobile.home, HOME_AGENT)
    if reserved:
        octets = bytearray(message)
        octets[6:8] = b"\xff\xff"  # zero in one's complement: the checksum is still right
        message = bytes(octets)
    return encode_packet(care_of or mobile.care_of, HOME_AGENT, message, 58, home_address=mobile.home)


def advertisements(frames: list[Frame]) -> list[tuple[Packet, MobilePrefixAdvertisement]]:
    return [
        (frame.packet, frame.message)
        for frame in frames
        if frame.packet is not None and isinstance(frame.message, MobilePrefixAdvertisement)
    ]


@pytest.mark.row("HA-MPD-003", "NHA-MPD-001")
@BOTH_KINDS
@pytest.mark.parametrize("reserved", [False, True], ids=["reserved-0", "reserved-not-0"])
def test_ha_mpd_003_advertisement(home_agent: HomeAgent, kind: str, reserved: bool) -> None:
    mobile = unused(home_agent, kind)
    granted = home_agent.bind(mobile, lifetime=0xFFFF).message.lifetime * 4
    ((packet, message),) = advertisements(home_agent.cables.ask_net(solicitation(mobile, reserved=reserved)))
    assert (packet.source, packet.destination) == (HOME_AGENT, mobile.care_of)
    assert packet.routing_home_address == mobile.home
    assert message.identifier == MESSAGE_IDENTIFIER
    assert (message.managed, message.other) == (False, False)
    (prefix,) = message.options
    assert prefix.prefix == HOME_PREFIX  # type: ignore[attr-defined]
    assert prefix.valid_lifetime >= granted  # type: ignore[attr-defined]
    assert prefix.address == HOME_AGENT  # type: ignore[attr-defined]


@pytest.mark.row("HA-MPD-003", "NHA-MPD-001", "NHA-BU-003")
@BOTH_KINDS
def test_ha_mpd_003_finite_prefix(home_agent: HomeAgent, others: Neighbours, kind: str) -> None:
    others.announce(1, valid=2000, preferred=1000)
    others.ask()
    mobile = unused(home_agent, kind)
    answer = home_agent.bind(mobile, lifetime=0xFFFF).message
    assert answer.status == BAStatus.ACCEPTED_PREFIX_DISCOVERY_NECESSARY
    assert 480 < answer.lifetime <= 500
    ((_, message),) = advertisements(home_agent.cables.ask_net(solicitation(mobile)))
    (prefix,) = message.options
    assert 2000 >= prefix.valid_lifetime >= answer.lifetime * 4  # type: ignore[attr-defined]
    assert prefix.preferred_lifetime <= 1000  # type: ignore[attr-defined]


@pytest.mark.row("NHA-BU-003")
def test_nha_bu_003_a_shorter_prefix_cuts_bindings(home_agent: HomeAgent, others: Neighbours) -> None:
    """RFC 6275 section 10.3.1: no binding outlasts the prefix. The mobile node is asked for a refresh."""
    mobile = home_agent.bound_node(lifetime=0xFFFF)
    others.announce(1, valid=3000, preferred=3000)
    frames = home_agent.cables.wait_for(
        lambda frame: (
            isinstance(frame.message, BindingRefreshRequest)
            and frame.packet is not None
            and frame.packet.routing_home_address == mobile.home
        )
    )
    packet = frames[-1].packet
    assert packet is not None
    assert (packet.source, packet.destination) == (HOME_AGENT, mobile.care_of)
    (binding,) = [row for row in home_agent.bindings() if row["home_address"] == str(mobile.home)]
    assert 2990 < binding["expires_in"] <= 3000


@pytest.mark.row("HA-MPD-002", "NHA-MPD-001")
@BOTH_KINDS
@pytest.mark.parametrize("bound", [False, True], ids=["no-binding", "bound-elsewhere"])
def test_ha_mpd_002_without_binding(home_agent: HomeAgent, kind: str, bound: bool) -> None:
    mobile = unused(home_agent, kind)
    if bound:
        home_agent.bind(mobile)
    frames = home_agent.cables.ask_net(solicitation(mobile, mobile.other_care_of))
    assert advertisements(frames) == []
    ((packet, error),) = binding_errors(frames)
    assert (error.status, error.home_address) == (BEStatus.UNKNOWN_BINDING, mobile.home)
    assert packet.destination == mobile.other_care_of


@pytest.mark.row("HA-MPD-003")
def test_ha_mpd_003_not_more_than_one_a_second(home_agent: HomeAgent) -> None:
    """RFC 6275 section 6.8. The second is answered, too, when it may be."""
    mobile = home_agent.bound_node()
    assert len(advertisements(home_agent.cables.ask_net(solicitation(mobile)))) == 1
    assert home_agent.cables.ask_net(solicitation(mobile)) == []
    frames = home_agent.cables.wait_for(lambda frame: bool(advertisements([frame])))
    assert len(advertisements(frames)) == 1
