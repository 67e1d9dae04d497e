"""The home link: duplicate address detection and proxy neighbour discovery (RFC 6275 10.3.1 and 10.4.1)."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from dsmip.host.home_link import solicited_node
from dsmip.wire.constants import BAStatus, BUFlag
from dsmip.wire.icmpv6 import (
    DestinationUnreachable,
    EchoRequest,
    NeighborAdvertisement,
    NeighborSolicitation,
    SourceLinkLayerAddress,
    TargetLinkLayerAddress,
)
from dsmip.wire.messages import BindingAcknowledgement
from tests.conformance.home_agent.conftest import HomeAgent
from tests.conformance.home_agent.mobiles import Mobile, acknowledgement
from tests.conformance.home_agent.steps import (
    ACKNOWLEDGE,
    BOTH_KINDS,
    is_bound,
    tunnel_end,
    unused,
)
from tests.conformance.home_agent.world import (
    ALL_NODES,
    HOME,
    HOME_AGENT,
    HOME_AGENT_LINK_LOCAL,
    HOME_AGENT_MAC,
    NEIGHBOUR,
    NEIGHBOUR_LINK_LOCAL,
    NEIGHBOUR_MAC,
    UNSPECIFIED,
    Frame,
    discovery,
    icmpv6,
)

pytestmark = pytest.mark.root

LINK_LOCAL_FLAG = pytest.mark.parametrize("link_local", [False, True], ids=["L=0", "L=1"])


def flags_of(mobile: Mobile, link_local: bool, acknowledge: bool = True) -> BUFlag:
    flags = mobile.flags | (BUFlag.L if link_local else BUFlag(0))
    return flags if acknowledge else flags & ~BUFlag.A


def probes(frames: list[Frame]) -> list[IPv6Address]:
    """Targets of duplicate address detection, in order."""
    found = []
    for frame in frames:
        message, packet = frame.message, frame.packet
        if packet is not None and isinstance(message, NeighborSolicitation):
            assert (frame.link, packet.source, packet.hop_limit) == (HOME, UNSPECIFIED, 255)
            assert packet.destination == solicited_node(message.target)
            assert message.options == ()
            found.append(message.target)
    return found


def advertisements(frames: list[Frame]) -> list[tuple[Frame, NeighborAdvertisement]]:
    return [(frame, frame.message) for frame in frames if isinstance(frame.message, NeighborAdvertisement)]


# Duplicate address detection -------------------------------------------------------------------------------


@pytest.mark.row("HA-DAD-001", "HA-DAD-002")
@LINK_LOCAL_FLAG
def test_ha_dad_001_probes_before_the_acknowledgement(probing: HomeAgent, link_local: bool) -> None:
    mobile = probing.mobiles.node()
    probing.cables.from_net(mobile.update(flags=flags_of(mobile, link_local)))
    frames = probing.cables.wait_for(lambda frame: isinstance(frame.message, BindingAcknowledgement))
    expected = [mobile.home, mobile.link_local] if link_local else [mobile.home]
    assert sorted(probes(frames)) == sorted(expected)
    assert acknowledgement(frames)[1].status == BAStatus.ACCEPTED
    # Only then is the address taken over, and a refresh needs no further probe.
    assert [message.target for _, message in advertisements(frames)] == expected
    refresh = probing.send(mobile.update(sequence=16, flags=flags_of(mobile, link_local)))
    assert probes(refresh.frames) == []


@pytest.mark.row("HA-DAD-004")
@ACKNOWLEDGE
@pytest.mark.parametrize(
    ("target", "link_local"),
    [("home-address", False), ("home-address", True), ("link-local-address", True)],
    ids=["home-address-L=0", "home-address-L=1", "link-local-address-L=1"],
)
@pytest.mark.parametrize("objection", ["advertisement", "probe"])
def test_ha_dad_004_somebody_has_it(
    probing: HomeAgent, link_local: bool, acknowledge: bool, target: str, objection: str
) -> None:
    mobile = probing.mobiles.node()
    probing.cables.from_net(mobile.update(flags=flags_of(mobile, link_local, acknowledge)))
    probing.cables.wait_for(lambda frame: probes([frame]) == [mobile.home])
    address = mobile.home if target == "home-address" else mobile.link_local
    if objection == "advertisement":
        answer = NeighborAdvertisement(
            address, override=True, options=(TargetLinkLayerAddress(NEIGHBOUR_MAC),)
        )
        probing.cables.from_home(discovery(answer, NEIGHBOUR_LINK_LOCAL, ALL_NODES))
    else:
        # Somebody else probes for it at the same time (RFC 4862 section 5.4.3).
        probing.cables.from_home(
            discovery(NeighborSolicitation(address), UNSPECIFIED, solicited_node(address))
        )
    frames = probing.cables.wait_for(lambda frame: isinstance(frame.message, BindingAcknowledgement), 0.9)
    packet, refusal = acknowledgement(frames)
    assert refusal.status == BAStatus.DUPLICATE_ADDRESS_DETECTION_FAILED
    assert (packet.destination, packet.routing_home_address) == (mobile.care_of, mobile.home)
    assert advertisements(frames) == []
    assert not is_bound(probing, mobile)


@pytest.mark.row("NHA-DAD-002", "NHA-PND-001")
def test_nha_dad_002_home_address_of_the_mobile_network(probing: HomeAgent) -> None:
    mobile = probing.mobiles.prefix_homed()
    objection = NeighborAdvertisement(
        mobile.home, override=True, options=(TargetLinkLayerAddress(NEIGHBOUR_MAC),)
    )
    probing.cables.from_net(mobile.update())
    probing.cables.from_home(discovery(objection, NEIGHBOUR_LINK_LOCAL, ALL_NODES))
    frames = probing.cables.settle()
    _, answer = acknowledgement(frames)
    assert answer.status == BAStatus.ACCEPTED
    assert probes(frames) == []
    assert advertisements(frames) == []
    assert is_bound(probing, mobile)


# Taking over -----------------------------------------------------------------------------------------------


@pytest.mark.row("HA-PND-001", "NHA-PND-001")
@BOTH_KINDS
@LINK_LOCAL_FLAG
def test_ha_pnd_001_announcement(home_agent: HomeAgent, kind: str, link_local: bool) -> None:
    mobile = unused(home_agent, kind)
    frames = home_agent.bind(mobile, flags=flags_of(mobile, link_local)).frames
    announced = advertisements(frames)
    targets = [mobile.home, mobile.link_local] if link_local else [mobile.home]
    assert [message.target for _, message in announced] == targets
    for frame, message in announced:
        assert frame.packet is not None
        assert (frame.link, frame.destination_mac) == (HOME, bytes.fromhex("333300000001"))
        assert (frame.packet.source, frame.packet.destination) == (HOME_AGENT_LINK_LOCAL, ALL_NODES)
        assert frame.packet.hop_limit == 255
        assert (message.solicited, message.override) == (False, True)
        # RFC 6275 section 10.4.1 for mobile nodes, RFC 3963 section 6.2 for mobile routers.
        assert message.router == bool(mobile.prefixes)
        assert message.options == (TargetLinkLayerAddress(HOME_AGENT_MAC),)
    assert advertisements(home_agent.bind(mobile, sequence=16).frames) == []


# Defending -------------------------------------------------------------------------------------------------

FORMS = ("multicast", "unicast", "unicast-without-option", "probe")
EVERY_FORM = pytest.mark.parametrize("form", FORMS)


def solicit(
    home_agent: HomeAgent, target: IPv6Address, form: str
) -> list[tuple[Frame, NeighborAdvertisement]]:
    """A neighbour's solicitation in one of the forms of the catalogue, and the answers."""
    source = UNSPECIFIED if form == "probe" else NEIGHBOUR_LINK_LOCAL
    options = (SourceLinkLayerAddress(NEIGHBOUR_MAC),) if form in ("multicast", "unicast") else ()
    destination = target if form.startswith("unicast") else solicited_node(target)
    frames = home_agent.cables.ask_home(discovery(NeighborSolicitation(target, options), source, destination))
    return advertisements(frames)


def check_defended(home_agent: HomeAgent, mobile: Mobile, target: IPv6Address, form: str) -> None:
    ((frame, message),) = solicit(home_agent, target, form)
    probe = form == "probe"
    assert frame.packet is not None
    assert (frame.link, frame.source_mac) == (HOME, HOME_AGENT_MAC)
    assert frame.packet.destination == (ALL_NODES if probe else NEIGHBOUR_LINK_LOCAL)
    assert frame.packet.source in (HOME_AGENT_LINK_LOCAL, HOME_AGENT)
    assert frame.packet.hop_limit == 255
    assert message.target == target
    assert (message.solicited, message.override) == (not probe, False)
    assert message.router == bool(mobile.prefixes)
    if not form.startswith("unicast") or message.options:
        assert message.options == (TargetLinkLayerAddress(HOME_AGENT_MAC),)


@pytest.mark.row("HA-PND-002", "HA-PND-003", "NHA-PND-002")
@BOTH_KINDS
@LINK_LOCAL_FLAG
@EVERY_FORM
def test_ha_pnd_002_home_address(home_agent: HomeAgent, kind: str, link_local: bool, form: str) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile, flags=flags_of(mobile, link_local))
    check_defended(home_agent, mobile, mobile.home, form)


@pytest.mark.row("HA-PND-004", "NHA-PND-002")
@BOTH_KINDS
@EVERY_FORM
def test_ha_pnd_004_link_local_address(home_agent: HomeAgent, kind: str, form: str) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile, flags=flags_of(mobile, True))
    check_defended(home_agent, mobile, mobile.link_local, form)


@pytest.mark.row("HA-PND-005", "NHA-PND-002")
@BOTH_KINDS
@EVERY_FORM
def test_ha_pnd_005_link_local_address_not_ours(home_agent: HomeAgent, kind: str, form: str) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile)
    assert solicit(home_agent, mobile.link_local, form) == []


@pytest.mark.row("NHA-PND-003")
@BOTH_KINDS
@EVERY_FORM
def test_nha_pnd_003_other_targets_and_after_deregistration(
    home_agent: HomeAgent, kind: str, form: str
) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile, flags=flags_of(mobile, True))
    assert solicit(home_agent, mobile.home + 0x1000, form) == []
    assert solicit(home_agent, mobile.link_local + 0x1000, form) == []
    home_agent.send_at_home(mobile, mobile.update_at_home())
    assert solicit(home_agent, mobile.home, form) == []
    assert solicit(home_agent, mobile.link_local, form) == []


# Packets to the link-local address -------------------------------------------------------------------------


@pytest.mark.row("HA-TUN-002")
@BOTH_KINDS
def test_ha_tun_002_link_local_packets_are_not_tunnelled(home_agent: HomeAgent, kind: str) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile, flags=flags_of(mobile, True))
    # Not the neighbour of the other tests, to whom the kernel may have sent as many errors as it wants to.
    neighbour = NEIGHBOUR_LINK_LOCAL + 1 + mobile.number
    home_agent.cables.neighbours[neighbour] = NEIGHBOUR_MAC
    echo = icmpv6(EchoRequest(1, 1, bytes(8)), neighbour, mobile.link_local)
    home_agent.cables.from_home(echo)
    (frame,) = home_agent.cables.wait_for(lambda frame: isinstance(frame.message, DestinationUnreachable), 1)
    message, packet = frame.message, frame.packet
    assert isinstance(message, DestinationUnreachable)
    assert packet is not None
    assert message.code == 3
    assert (packet.source, packet.destination) == (HOME_AGENT_LINK_LOCAL, neighbour)
    assert message.invoking[:7] + message.invoking[8:] == echo[:7] + echo[8:]
    assert message.invoking[7] in (63, 64)
    # The home address itself is reached, from the home link too.
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of


@pytest.mark.row("HA-TUN-001")
def test_ha_tun_001_from_the_home_link(home_agent: HomeAgent) -> None:
    mobile = home_agent.bound_node()
    packet = icmpv6(EchoRequest(1, 2), NEIGHBOUR, mobile.home)
    ((outer, inner),) = [
        (frame.packet, frame.packet.payload)
        for frame in home_agent.cables.ask_home(packet)
        if frame.packet is not None and frame.packet.next_header == 41
    ]
    assert (outer.source, outer.destination) == (HOME_AGENT, mobile.care_of)
    assert inner[:7] + inner[8:] == packet[:7] + packet[8:]
