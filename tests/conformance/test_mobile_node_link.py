"""Mobile node rows that speak of packets on a link: the real daemon on a cable (RFC 6275 section 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import BEStatus, BUFlag, NextHeader
from dsmip.wire.icmpv6 import (
    EchoReply,
    MobilePrefixSolicitation,
    NeighborAdvertisement,
    NeighborSolicitation,
    ParameterProblem,
    SourceLinkLayerAddress,
    TargetLinkLayerAddress,
)
from dsmip.wire.messages import BindingError
from dsmip.wire.options import AlternateCareOfAddress, BindingAuthorizationData, NonceIndices, find
from tests.conformance.mobile_node_bed import (
    ACCEPT,
    CORRESPONDENT,
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_AGENT_MAC,
    HOME_ROUTER,
    LINK_LOCAL,
    NODE_MAC,
    SILENCE,
    UNSPECIFIED,
    Answer,
    Bed,
    bed,
    echo,
    foreign,
    tunnelled_reply,
)
from tests.conformance.mobile_node_wire import ALL_NODES, ALL_NODES_MAC, Frame, icmp

pytestmark = pytest.mark.root

#: Octets in front of the Mobility Header of an acknowledgement: IPv6 and type 2 routing header.
MOBILITY_HEADER = 40 + 24


@pytest.fixture(scope="module")
def mn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with bed(tmp_path_factory.mktemp("mn"), "mobile-node") as made:
        yield made


def with_octet(offset: int, value: int) -> Callable[[bytes], bytes]:
    """Change an octet of the Mobility Header and set the checksum right again."""

    def mangle(packet: bytes) -> bytes:
        octets = bytearray(packet)
        octets[MOBILITY_HEADER + offset] = value
        octets[MOBILITY_HEADER + 4 : MOBILITY_HEADER + 6] = bytes(2)
        header = bytes(octets[MOBILITY_HEADER:])
        checksum = pseudo_checksum_v6(HOME_AGENT, HOME_ADDRESS, NextHeader.MOBILITY, header)
        octets[MOBILITY_HEADER + 4 : MOBILITY_HEADER + 6] = checksum.to_bytes(2, "big")
        return bytes(octets)

    return mangle


def with_wrong_checksum(packet: bytes) -> bytes:
    octets = bytearray(packet)
    octets[MOBILITY_HEADER + 4] ^= 0x55
    return bytes(octets)


# Going from link to link ------------------------------------------------------------------------------------


@pytest.mark.row("MN-SCN-001")
def test_mn_scn_001_registers_at_every_hop(mn: Bed) -> None:
    mn.come_home()
    for _ in range(2):
        care_of = mn.register()
        _, sent = mn.updates[0]
        assert sent.care_of == care_of
        assert mn.answers_ping()
    mn.come_home()
    assert mn.updates[0][1].update.lifetime == 0


@pytest.mark.row("MN-ADR-002")
def test_mn_adr_002_checks_its_link_local_address_then_registers(mn: Bed) -> None:
    mn.unplug()
    mn.node("ip", "link", "set", "wan0", "down")
    mn.node("ip", "link", "set", "wan0", "up")
    mark = mn.plug(foreign())
    care_of = mn.registered()
    probe = mn.wire.find(icmp(NeighborSolicitation, target=LINK_LOCAL), mark)
    update, sent = mn.update()
    assert probe is not None
    assert probe.packet.source == UNSPECIFIED
    assert probe.time < update.time
    assert sent.care_of == care_of
    checked = mn.wire.find(icmp(NeighborSolicitation, target=care_of), mark)
    assert checked is not None
    assert checked.packet.source == UNSPECIFIED
    address = str(LINK_LOCAL)
    mn.until(lambda: "optimistic" not in mn.node("ip", "addr", "show", "to", address), 3, "checked")


@pytest.mark.row("MN-MOV-001")
def test_mn_mov_001_stays_with_a_reachable_router(mn: Bed) -> None:
    care_of = mn.register()
    router, other = mn.router, foreign()
    assert router is not None
    mark, count = mn.wire.mark(), len(mn.updates)
    mn.advertise(other)
    asked = mn.wire.wait(icmp(NeighborSolicitation, target=router.address), mark, 2.0, "a probe of R1")
    assert asked.destination_mac == router.mac
    mn.wire.pump(1.0)
    assert len(mn.updates) == count
    assert mn.status()["care_of"] == str(care_of)


@pytest.mark.row("MN-MOV-003")
def test_mn_mov_003_the_old_care_of_address_is_not_used_any_more(mn: Bed) -> None:
    before = mn.register()
    gone, other = mn.router, foreign()
    assert gone is not None
    mn.deaf.add(gone.address)
    mn.router = other
    mn.updates.clear()
    mn.advertise()
    _, sent = mn.update(seconds=5.0)
    assert sent.care_of in other.prefix
    mn.registered()
    mark = mn.wire.mark()
    mn.send(echo(CORRESPONDENT, before))
    mn.wire.icmpv6(NeighborSolicitation(before), other.address, before, other.mac, NODE_MAC)
    mn.wire.pump(1.0)
    assert mn.wire.find(icmp(EchoReply), mark) is None
    assert mn.wire.find(icmp(NeighborAdvertisement, target=before), mark) is None
    assert mn.answers_ping()


# Binding Updates --------------------------------------------------------------------------------------------


@pytest.mark.row("MN-BU-001", "MN-BU-003")
def test_mn_bu_001_a_home_registration_is_as_the_rfc_wants_it(mn: Bed) -> None:
    care_of = mn.register()
    frame, sent = mn.update()
    assert frame.packet.source == care_of
    assert frame.packet.destination == HOME_AGENT
    assert frame.packet.home_address == HOME_ADDRESS
    assert frame.packet.raw[6] == NextHeader.DESTINATION  # the first header, before anything else
    assert frame.packet.raw[40] == NextHeader.MOBILITY
    assert sent.update.flags == BUFlag.A | BUFlag.H  # and not K
    flags = int.from_bytes(frame.packet.payload[8:10], "big")
    assert flags == BUFlag.A | BUFlag.H  # reserved bits are zero on the wire, too
    assert find(sent.update.options, AlternateCareOfAddress) == AlternateCareOfAddress(care_of)
    assert find(sent.update.options, NonceIndices) is None
    assert find(sent.update.options, BindingAuthorizationData) is None
    # The acknowledgement had K = 0, too: the registration works (MN-BU-003).
    assert mn.answers_ping()


@pytest.mark.row("MN-BU-005")
def test_mn_bu_005_moving_registers_the_new_address(mn: Bed) -> None:
    mn.register()
    before = mn.updates[-1][1].update.sequence
    care_of = mn.register()
    _, sent = mn.update()
    assert 0 < (sent.update.sequence - before) % 0x10000 < 0x8000
    assert sent.care_of == care_of


# Binding Acknowledgements -----------------------------------------------------------------------------------


@pytest.mark.row("MN-BA-001")
@pytest.mark.parametrize(
    "fields",
    [{"status": 0}, {"status": 127}, {"flags": 0x01}],
    ids=["status 0", "status 127", "reserved bits"],
)
def test_mn_ba_001_accepted(mn: Bed, fields: dict[str, int]) -> None:
    mn.answers = [Answer(fields=fields)]
    mn.plug(foreign())
    mn.registered()
    assert mn.answers_ping()


@pytest.mark.row("MN-BA-003")
@pytest.mark.parametrize(("last", "following"), [(1000, 1001), (65535, 0)])
def test_mn_ba_003_goes_on_after_the_sequence_number_given(mn: Bed, last: int, following: int) -> None:
    mn.answers = [Answer(fields={"status": 135, "sequence": last})]
    mn.plug(foreign())
    _, again = mn.update(1, 0.5)
    assert again.update.sequence == following
    mn.registered()


@pytest.mark.row("MN-BA-004")
def test_mn_ba_004_what_does_not_match_is_ignored(mn: Bed) -> None:
    mn.come_home()  # no binding: the first interval is 1.5 s
    mn.answer = SILENCE
    mn.plug(foreign())
    frame, sent = mn.update()
    mn.acknowledge(sent, Answer(fields={"sequence": (sent.update.sequence - 1) % 0x10000}))
    mn.acknowledge(sent, Answer(mangle=lambda packet: packet[:-1] + bytes((packet[-1] ^ 1,))))
    mn.acknowledge(sent, Answer(mangle=with_wrong_checksum))
    again, second = mn.update(1, 3.0)
    assert 1.4 < again.time - frame.time < 1.7
    assert mn.status()["state"] == "registering"
    refused = mn.ask("stats")["signalling_refused"]
    assert refused["checksum"] >= 1
    mn.acknowledge(second)
    mn.registered()


@pytest.mark.row("MN-MH-001")
@pytest.mark.parametrize(("offset", "value"), [(0, NextHeader.ICMPV6), (1, 0)], ids=["proto", "length"])
def test_mn_mh_001_parameter_problem_points_at_the_field(mn: Bed, offset: int, value: int) -> None:
    mn.answers = [Answer(mangle=with_octet(offset, value))]
    mark = mn.plug(foreign())
    problem = mn.wire.wait(icmp(ParameterProblem), mark, 3.0, "a Parameter Problem")
    assert problem.packet.destination == HOME_AGENT
    assert problem.packet.source == IPv6Address(mn.status()["care_of"])
    assert problem.packet.home_address is None
    assert problem.message.code == 0
    assert problem.message.pointer == MOBILITY_HEADER + offset


@pytest.mark.row("MN-MH-001")
def test_mn_mh_001_binding_error_for_an_unassigned_type(mn: Bed) -> None:
    mn.answers = [Answer(mangle=with_octet(2, 250))]
    mark = mn.plug(foreign())
    error = mn.wire.wait(icmp(BindingError), mark, 3.0, "a Binding Error")
    assert error.packet.destination == HOME_AGENT
    assert error.message.status == BEStatus.UNRECOGNIZED_MH_TYPE
    assert error.message.home_address == UNSPECIFIED


# Returning home ---------------------------------------------------------------------------------------------


@pytest.mark.row("MN-DR-003")
def test_mn_dr_003_back_home_it_announces_its_address(mn: Bed) -> None:
    mn.register()
    mark = mn.come_home()
    frame, sent = mn.update()
    assert frame.packet.source == HOME_ADDRESS
    assert frame.packet.home_address is None
    assert sent.update.flags == BUFlag.A | BUFlag.H
    assert sent.update.lifetime == 0
    announcement = mn.wire.wait(
        icmp(NeighborAdvertisement, target=HOME_ADDRESS, solicited=False), mark, 2.0, "an announcement"
    )
    assert announcement.packet.destination == ALL_NODES
    assert announcement.destination_mac == ALL_NODES_MAC
    assert announcement.message.override
    assert announcement.message.options == (TargetLinkLayerAddress(NODE_MAC),)
    assert announcement.time > frame.time


@pytest.mark.row("MN-DR-003")
def test_mn_dr_003_not_its_home_agent_any_more(mn: Bed) -> None:
    mn.register()
    mn.answers = [Answer(fields={"status": 133})]
    mn.plug(HOME_ROUTER)
    mn.until(lambda: mn.status()["state"] == "at home", 3, "settled")
    mark = mn.wire.mark()
    mn.send(echo(CORRESPONDENT, HOME_ADDRESS))
    reply = mn.wire.wait(icmp(EchoReply), mark, 2.0, "an Echo Reply")
    assert reply.packet.source == HOME_ADDRESS


@pytest.mark.row("MN-DR-004")
def test_mn_dr_004_answers_the_home_agents_solicitation(mn: Bed) -> None:
    mn.register()
    mn.answer = SILENCE
    mark = mn.plug(HOME_ROUTER)
    _, sent = mn.update()
    solicitation = NeighborSolicitation(HOME_ADDRESS, (SourceLinkLayerAddress(HOME_AGENT_MAC),))
    group = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(HOME_ADDRESS) & 0xFFFFFF)
    mn.wire.icmpv6(solicitation, HOME_AGENT, group, HOME_AGENT_MAC)
    answer = mn.wire.wait(
        icmp(NeighborAdvertisement, target=HOME_ADDRESS), mark, 2.0, "a Neighbor Advertisement"
    )
    assert answer.packet.destination == HOME_AGENT
    assert answer.destination_mac == HOME_AGENT_MAC
    assert mn.status()["state"] == "returning home"
    mn.acknowledge(sent)
    mn.until(lambda: mn.status()["state"] == "at home", 3, "settled")


@pytest.mark.row("MN-DR-002")
def test_mn_dr_002_finds_the_home_agent_without_using_the_home_address(mn: Bed) -> None:
    mn.register()
    mark = mn.come_home()
    update, _ = mn.update()
    assert update.destination_mac == HOME_AGENT_MAC
    assert update.packet.source == HOME_ADDRESS
    asked = mn.wire.find(icmp(NeighborSolicitation, target=HOME_ADDRESS), mark)
    assert asked is not None
    assert asked.packet.source == UNSPECIFIED
    assert asked.packet.destination == IPv6Address("ff02::1:ff00:1234")
    for frame in mn.wire.frames[mark:]:
        if isinstance(frame.message, NeighborSolicitation) and frame.time < update.time:
            assert frame.packet.source != HOME_ADDRESS


@pytest.mark.row("MN-DR-002")
def test_mn_dr_002_waits_for_a_home_agent_that_does_not_answer(mn: Bed) -> None:
    mn.register()
    mn.resolves = False
    try:
        mark = mn.plug(HOME_ROUTER)
        mn.play(0.5)
        assert not mn.updates
    finally:
        mn.resolves = True
    mn.update(seconds=2.0)
    mn.until(lambda: mn.status()["state"] == "at home", 3, "settled")
    solicitations = [f for f in mn.wire.frames[mark:] if icmp(NeighborSolicitation, target=HOME_AGENT)(f)]
    assert all(frame.packet.source != HOME_ADDRESS for frame in solicitations)


# Lifetimes and mobile prefix discovery ----------------------------------------------------------------------


@pytest.mark.row("MN-LT-001")
def test_mn_lt_001_no_longer_than_the_care_of_address(mn: Bed) -> None:
    mn.register(foreign(valid=100, preferred=100))
    _, sent = mn.update()
    assert 80 <= sent.update.lifetime * 4 <= 100


@pytest.mark.row("MN-LT-001")
def test_mn_lt_001_no_longer_than_the_home_address(mn: Bed) -> None:
    mn.register()
    mn.come_home(replace(HOME_ROUTER, valid=100, preferred=100))
    mn.register()
    _, sent = mn.update()
    assert 80 <= sent.update.lifetime * 4 <= 100
    mn.come_home()
    mn.register()
    assert mn.update()[1].update.lifetime == 150


def solicited(mn: Bed, mark: int) -> tuple[Frame, MobilePrefixSolicitation]:
    frame = mn.wire.wait(icmp(MobilePrefixSolicitation), mark, 3.0, "a Mobile Prefix Solicitation")
    assert isinstance(frame.message, MobilePrefixSolicitation)
    return frame, frame.message


@pytest.mark.row("MN-BA-001", "MN-MPD-004")
@pytest.mark.parametrize("reserved", [False, True], ids=["plain", "reserved bits and unknown option"])
def test_mn_ba_001_status_1_asks_for_the_prefixes(mn: Bed, reserved: bool) -> None:
    mn.answers = [Answer(fields={"status": 1})]
    mark = mn.plug(foreign())
    care_of = mn.registered()
    frame, solicitation = solicited(mn, mark)
    assert frame.packet.source == care_of
    assert frame.packet.destination == HOME_AGENT
    assert frame.packet.home_address == HOME_ADDRESS
    assert frame.packet.payload[6:8] == bytes(2)  # reserved
    assert mn.answers_ping()
    mark = mn.wire.mark()
    mn.prefix_advertisement(care_of, solicitation.identifier, 7200, reserved=reserved)
    mn.play(3.3)  # a retransmission would come after 3 s
    assert mn.wire.find(icmp(MobilePrefixSolicitation), mark) is None
    event = [event for event in mn.ask("events") if event["event"] == "home-prefix"][-1]
    assert 7190 < event["valid"] <= 7200


@pytest.mark.row("MN-MPD-002", "MN-BU-006")
def test_mn_mpd_002_only_what_was_asked_for_counts(mn: Bed) -> None:
    care_of = mn.register()
    before = mn.updates[-1][1].update.sequence
    mark = mn.wire.mark()
    mn.prefix_advertisement(care_of, 1, 200)  # nothing was asked for
    _, first = solicited(mn, mark)
    mark = mn.wire.mark()
    mn.prefix_advertisement(care_of, first.identifier ^ 1, 200)
    _, second = solicited(mn, mark)
    assert len(mn.updates) == 1
    mn.prefix_advertisement(care_of, second.identifier, 200)
    _, sent = mn.update(1, 2.0)
    assert 0 < (sent.update.sequence - before) % 0x10000 < 0x8000
    assert sent.update.lifetime * 4 <= 200
    mn.until(lambda: mn.status()["lifetime_left"] <= 200, 2, "the shorter registration")
    mn.come_home()  # where the prefix has all its lifetime


# ICMP errors ------------------------------------------------------------------------------------------------


@pytest.mark.row("MN-ICMP-001")
def test_mn_icmp_001_no_more_binding_updates_from_here(mn: Bed) -> None:
    mn.come_home()
    mn.answer = SILENCE
    mn.plug(foreign())
    frame, _ = mn.update()
    mn.icmpv6(ParameterProblem(1, 40 + 24, frame.packet.raw), frame.packet.source)
    mn.play(2.0)  # a retransmission would come after 1.5 s
    assert len(mn.updates) == 1
    mn.answer = ACCEPT
    mn.plug(foreign())  # elsewhere it may be otherwise
    mn.registered()


# Home agent discovery ---------------------------------------------------------------------------------------

ANYCAST = IPv6Address("2001:db8:100:0:fdff:ffff:ffff:fffe")
OTHERS = (IPv6Address("2001:db8:100::2"), IPv6Address("2001:db8:100::3"))


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[Bed]:
    """A mobile node that does not know its home agent."""
    with bed(tmp_path, "mobile-node", name="conformance-lost", home_agent="discover") as made:
        yield made


@pytest.mark.row("MN-DHAAD-002")
@pytest.mark.parametrize("order", [(HOME_AGENT,), (HOME_AGENT, *OTHERS), (*OTHERS, HOME_AGENT)], ids=str)
def test_mn_dhaad_002_registers_with_the_first_of_the_reply(
    lost: Bed, order: tuple[IPv6Address, ...]
) -> None:
    lost.discovered = order
    lost.plug(foreign())
    frame, _ = lost.update()
    request = lost.discovery()
    assert request.packet.destination == ANYCAST
    assert request.packet.source == frame.packet.source
    assert request.packet.home_address is None
    assert request.packet.payload[6:8] == bytes(2)  # reserved, and no R flag
    assert frame.packet.destination == order[0]
    lost.registered()
    assert lost.status()["home_agent"] == str(order[0])


@pytest.mark.row("MN-DHAAD-003")
def test_mn_dhaad_003_goes_to_another_home_agent_when_refused(lost: Bed) -> None:
    lost.discovered = (HOME_AGENT, OTHERS[0])
    lost.home_agents[HOME_AGENT] = Answer(fields={"status": 130})
    lost.plug(foreign())
    first, _ = lost.update()
    lost.until(lambda: lost.updates[-1][0].packet.destination == OTHERS[0], 4.0, "the other home agent")
    second = lost.updates[-1][0]
    assert second.time - first.time > 1.49
    lost.registered()
    mark = lost.wire.mark()
    care_of = IPv6Address(lost.status()["care_of"])
    lost.tunnel(echo(CORRESPONDENT, HOME_ADDRESS), care_of, OTHERS[0])
    reply = lost.wire.wait(tunnelled_reply(HOME_ADDRESS), mark, 2.0, "an answer through the new tunnel")
    assert reply.packet.destination == OTHERS[0]
