"""Several care-of addresses of one mobile node (RFC 5648)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from dsmip.host.home_link import solicited_node
from dsmip.wire.constants import BAStatus, BUFlag
from dsmip.wire.icmpv6 import NeighborAdvertisement, NeighborSolicitation, SourceLinkLayerAddress
from dsmip.wire.ip import IPv4Header, UdpHeader
from dsmip.wire.messages import BindingAcknowledgement, BindingUpdate, decode_message, encode_message
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.option import MalformedOption, MobilityOption, find, find_all
from dsmip.wire.options import NatDetection
from dsmip.wire.packet import UdpOuter, decode_packet, encapsulate_udp, encode_packet
from tests.conformance.home_agent.conftest import HomeAgent, Registration
from tests.conformance.home_agent.mobiles import AH, Mobile
from tests.conformance.home_agent.steps import from_tunnel, is_bound, tunnel_end
from tests.conformance.home_agent.world import (
    HOME,
    HOME_AGENT,
    HOME_AGENT_IPV4,
    NEIGHBOUR_LINK_LOCAL,
    NEIGHBOUR_MAC,
    Frame,
    discovery,
)

pytestmark = pytest.mark.root

AHO = AH | BUFlag.O
INSIDE, OUTSIDE, PLAIN4 = (
    IPv4Address("192.168.1.7"),
    IPv4Address("203.0.113.99"),
    IPv4Address("198.51.100.7"),
)


def bid(
    number: int,
    care_of: IPv4Address | IPv6Address | None = None,
    *,
    priority: int = 0,
    home: bool = False,
) -> BindingIdentifier:
    return BindingIdentifier(number, priority=priority, home=home, care_of=care_of)


def both(mobile: Mobile) -> tuple[BindingIdentifier, BindingIdentifier]:
    """BID 1 on the first foreign link, BID 2 on the second one, which is preferred."""
    return bid(1, mobile.care_of, priority=20), bid(2, mobile.other_care_of, priority=10)


def register(home_agent: HomeAgent, mobile: Mobile, *options: MobilityOption) -> Registration:
    """Both care-of addresses; must succeed."""
    return home_agent.bind(mobile, options=(*both(mobile), *options), flags=AHO)


def statuses(message: BindingAcknowledgement) -> tuple[int, dict[int, int]]:
    found = find_all(message.options, BindingIdentifier)
    return message.status, {option.bid: option.status for option in found}


@pytest.mark.row("MHA-BU-001", "MHA-TUN-001")
def test_mha_bu_001_bulk_registration(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    answer = register(home_agent, mobile)
    assert find_all(answer.message.options, BindingIdentifier) == (bid(1, priority=20), bid(2, priority=10))
    assert (answer.message.status, answer.packet.destination) == (BAStatus.ACCEPTED, mobile.care_of)
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.other_care_of
    home_agent.bind(mobile, sequence=16, options=(bid(1, priority=5),))
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of


@pytest.mark.row("MHA-TUN-002")
def test_mha_tun_002_every_care_of_address_is_good(home_agent: HomeAgent) -> None:
    mobile, other = home_agent.mobiles.node(), home_agent.bound_node()
    register(home_agent, mobile)
    for care_of in (mobile.care_of, mobile.other_care_of):
        assert len(from_tunnel(home_agent.cables, mobile.home, care_of)) == 1
        assert is_bound(home_agent, mobile, care_of)
    assert from_tunnel(home_agent.cables, mobile.home, other.care_of) == []
    assert not is_bound(home_agent, mobile, other.care_of)


@pytest.mark.row("MHA-BU-002")
def test_mha_bu_002_one_more(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    home_agent.bind(mobile, options=(bid(1, mobile.care_of, priority=20),), flags=AHO)
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of
    answer = home_agent.bind(
        mobile,
        sequence=16,
        care_of=mobile.other_care_of,
        lifetime=1,
        options=(bid(2, mobile.other_care_of, priority=10),),
    )
    assert answer.packet.destination == mobile.other_care_of
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.other_care_of
    # It ends by itself, and leaves the other one.
    for _ in home_agent.cables.frames(4.2):
        pass
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of
    assert from_tunnel(home_agent.cables, mobile.home, mobile.other_care_of) == []


@pytest.mark.row("MHA-BU-003")
def test_mha_bu_003_the_same_bid_moves(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    home_agent.bind(mobile, options=(bid(1, mobile.care_of),), flags=AHO)
    answer = home_agent.bind(
        mobile, sequence=16, care_of=mobile.other_care_of, options=(bid(1, mobile.other_care_of),)
    )
    assert statuses(answer.message) == (BAStatus.ACCEPTED, {1: 0})
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.other_care_of
    home_agent.bind(mobile, sequence=17, options=(bid(1),))
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.other_care_of


@pytest.mark.row("MHA-BU-004")
def test_mha_bu_004_everything_is_replaced(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    register(home_agent, mobile)
    home_agent.bind(mobile, sequence=16, options=(bid(3, mobile.care_of),), flags=AHO)
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of
    register_again = home_agent.bind(mobile, sequence=17, options=both(mobile))
    assert statuses(register_again.message)[0] == BAStatus.ACCEPTED
    answer = home_agent.bind(mobile, sequence=18)
    assert statuses(answer.message) == (BAStatus.ACCEPTED, {})
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of
    (row,) = [row for row in home_agent.bindings() if row["home_address"] == str(mobile.home)]
    assert [one["bid"] for one in row["care_of_bindings"]] == [0]


@pytest.mark.row("MHA-BU-005")
def test_mha_bu_005_not_beside_a_plain_binding(home_agent: HomeAgent) -> None:
    mobile = home_agent.bound_node()
    one = (bid(1, mobile.other_care_of),)
    answer = home_agent.send(mobile.update(sequence=16, options=one))
    assert statuses(answer.message) == (BAStatus.MCOA_NON_MCOA_BINDING_EXISTS, {1: 0})
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of
    home_agent.bind(mobile, sequence=17, options=one, flags=AHO)
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.other_care_of


@pytest.mark.row("MHA-BU-006")
@pytest.mark.parametrize("length", [0, 3, 5, 7, 9, 19, 21])
def test_mha_bu_006_wrong_length(home_agent: HomeAgent, length: int) -> None:
    mobile = home_agent.mobiles.node()
    options = (bid(1, mobile.care_of), MalformedOption(35, bytes(length)))
    answer = home_agent.send(mobile.update(options=options, flags=AHO))
    assert answer.message.status == BAStatus.MCOA_MALFORMED
    assert tunnel_end(home_agent.cables, mobile.home) is None


@pytest.mark.row("MHA-BU-007")
@pytest.mark.parametrize(
    ("care_of", "status"),
    [
        (None, BAStatus.MCOA_UNKNOWN_COA),
        (IPv6Address("ff02::1"), BAStatus.MCOA_MALFORMED),
        (IPv6Address("fe80::1"), BAStatus.MCOA_MALFORMED),
        (HOME_AGENT, BAStatus.INVALID_CARE_OF_ADDRESS),
        (PLAIN4, BAStatus.MCOA_BULK_REGISTRATION_PROHIBITED),
    ],
    ids=["unknown", "multicast", "link-local", "home-agent", "ipv4-not-seen"],
)
def test_mha_bu_007_one_of_two_refused(
    home_agent: HomeAgent, care_of: IPv4Address | IPv6Address | None, status: BAStatus
) -> None:
    mobile = home_agent.mobiles.node()
    options = (bid(1, mobile.care_of), bid(2, care_of, priority=1))
    answer = home_agent.send(mobile.update(options=options, flags=AHO))
    assert statuses(answer.message) == (BAStatus.MCOA_NOTCOMPLETE, {1: 0, 2: status})
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of


@pytest.mark.row("MHA-DR-001")
def test_mha_dr_001_some_are_deregistered(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    register(home_agent, mobile)
    answer = home_agent.bind(mobile, sequence=16, lifetime=0, options=(bid(2),))
    assert statuses(answer.message) == (BAStatus.ACCEPTED, {2: 0})
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of
    answer = home_agent.send(mobile.update(sequence=17, lifetime=0, options=(bid(2),)))
    assert statuses(answer.message) == (BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE, {2: 0})
    assert tunnel_end(home_agent.cables, mobile.home) == mobile.care_of


@pytest.mark.row("MHA-DR-002")
@pytest.mark.parametrize("named", [False, True], ids=["all", "the-last-one"])
def test_mha_dr_002_the_end(home_agent: HomeAgent, named: bool) -> None:
    mobile = home_agent.mobiles.node()
    register(home_agent, mobile)
    options = (bid(1), bid(2)) if named else ()
    home_agent.bind(mobile, sequence=16, lifetime=0, options=options)
    assert tunnel_end(home_agent.cables, mobile.home) is None
    assert not is_bound(home_agent, mobile)


# IPv4 -------------------------------------------------------------------------------------------------------


def in_udp(mobile: Mobile, sequence: int, outer: IPv4Address, port: int, *options: MobilityOption) -> bytes:
    header = encode_message(BindingUpdate(sequence, AH, 105, options), mobile.home, HOME_AGENT)
    inner = encode_packet(mobile.home, HOME_AGENT, header)
    return encapsulate_udp(inner, UdpOuter(outer, port, HOME_AGENT_IPV4, 4191))


def acknowledged_in_udp(frames: list[Frame]) -> BindingAcknowledgement:
    (frame,) = [frame for frame in frames if frame.ethertype == 0x0800]
    packet = decode_packet(frame.data)
    message = decode_message(packet.payload, packet.sender, packet.recipient)
    assert isinstance(message, BindingAcknowledgement)
    return message


@pytest.mark.row("MHA-V4-001")
def test_mha_v4_001_ipv4_among_others(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    register(home_agent, mobile)
    frames = home_agent.cables.ask_net(in_udp(mobile, 16, PLAIN4, 4191, bid(3, PLAIN4)))
    message = acknowledged_in_udp(frames)
    assert statuses(message) == (BAStatus.ACCEPTED, {3: 0})
    assert find(message.options, NatDetection) == NatDetection(False, 0xFFFF_FFFF)
    frames = home_agent.cables.ask_net(in_udp(mobile, 17, OUTSIDE, 61000, bid(4, INSIDE, priority=1)))
    message = acknowledged_in_udp(frames)
    assert statuses(message) == (BAStatus.ACCEPTED, {4: 0})
    assert find(message.options, NatDetection) == NatDetection(False, 110)
    # Behind the NAT, and preferred: packets go to where the update came from.
    correspondent = home_agent.cables.stranger()
    packet = encode_packet(correspondent, mobile.home, bytes(16), 17)
    (frame,) = [f for f in home_agent.cables.ask_net(packet) if f.ethertype == 0x0800]
    assert IPv4Header.decode(frame.data).destination == OUTSIDE
    udp = UdpHeader.decode(frame.data[20:])
    assert (udp.source_port, udp.destination_port) == (4191, 61000)
    (row,) = [row for row in home_agent.bindings() if row["home_address"] == str(mobile.home)]
    assert [one["tunnel"] for one in row["care_of_bindings"]] == ["udp4", "ipv6", "ipv6", "ipv4"]


# The home link ----------------------------------------------------------------------------------------------


def is_defended(home_agent: HomeAgent, target: IPv6Address) -> bool:
    """Whether the home agent answers for an address on the home link."""
    message = NeighborSolicitation(target, (SourceLinkLayerAddress(NEIGHBOUR_MAC),))
    packet = discovery(message, NEIGHBOUR_LINK_LOCAL, solicited_node(target))
    frames = home_agent.cables.ask_home(packet)
    return any(isinstance(frame.message, NeighborAdvertisement) for frame in frames)


@pytest.mark.row("MHA-HL-001", "MHA-HL-002")
def test_mha_hl_001_home_and_foreign(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    cables = home_agent.cables
    home_agent.bind(mobile, options=(bid(1, mobile.care_of, priority=20),), flags=AHO)
    assert is_defended(home_agent, mobile.home)
    header = mobile.message(
        sequence=16, alternate=mobile.home, options=(bid(2, mobile.home, home=True, priority=10),)
    )
    update = encode_packet(mobile.home, HOME_AGENT, header)
    answer = home_agent.send_at_home(mobile, update)
    assert statuses(answer.message) == (BAStatus.ACCEPTED, {2: 0})
    assert not is_defended(home_agent, mobile.home)
    # The home link is preferred now.
    packet = encode_packet(cables.stranger(), mobile.home, bytes(16), 17)
    cables.from_net(packet)
    frames = cables.wait_for(lambda frame: frame.link == HOME and frame.data[24:40] == mobile.home.packed)
    assert frames[-1].destination_mac == mobile.mac
    # And a foreign one again, by an update that lacks the flag.
    home_agent.bind(mobile, sequence=17, options=(bid(1),))
    assert tunnel_end(cables, mobile.home) == mobile.care_of
    assert is_defended(home_agent, mobile.home)


@pytest.mark.row("MHA-HL-003")
def test_mha_hl_003_no_home_link(virtual: HomeAgent) -> None:
    mobile = virtual.mobiles.node()
    options = (bid(1, mobile.care_of), bid(2, mobile.home, home=True))
    answer = virtual.send(mobile.update(options=options, flags=AHO))
    prohibited = BAStatus.MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED
    assert statuses(answer.message) == (BAStatus.MCOA_NOTCOMPLETE, {1: 0, 2: prohibited})
    assert tunnel_end(virtual.cables, mobile.home) == mobile.care_of
