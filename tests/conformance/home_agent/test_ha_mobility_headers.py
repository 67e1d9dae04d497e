"""Validation of mobility headers (RFC 6275 section 9.2)."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import BAStatus, BEStatus, NextHeader
from dsmip.wire.icmpv6 import EchoRequest, ParameterProblem, encode_icmpv6
from dsmip.wire.packet import encode_packet
from tests.conformance.home_agent.conftest import HomeAgent
from tests.conformance.home_agent.mobiles import Mobile, acknowledgement
from tests.conformance.home_agent.steps import BOTH_KINDS, is_bound, unused
from tests.conformance.home_agent.world import HOME_AGENT, UNASSIGNED_MH_TYPE, Frame, binding_errors

pytestmark = pytest.mark.root

PAYLOAD_PROTO, HEADER_LEN, MH_TYPE, RESERVED, FLAGS = 0, 1, 2, 3, 8


def mended(header: bytes, home: IPv6Address, changes: dict[int, int]) -> bytes:
    """The mobility header with octets changed, and a checksum that is right again."""
    octets = bytearray(header)
    for offset, value in changes.items():
        octets[offset] = value
    octets[4:6] = bytes(2)
    octets[4:6] = pseudo_checksum_v6(home, HOME_AGENT, NextHeader.MOBILITY, octets).to_bytes(2)
    return bytes(octets)


def problems(frames: list[Frame]) -> list[tuple[Frame, ParameterProblem]]:
    return [(frame, frame.message) for frame in frames if isinstance(frame.message, ParameterProblem)]


def prepared(home_agent: HomeAgent, kind: str, bound: bool) -> Mobile:
    """A mobile node or router that nobody has used yet."""
    mobile = unused(home_agent, kind)
    if bound:
        home_agent.bind(mobile)
    return mobile


BOTH_STATES = pytest.mark.parametrize("bound", [False, True], ids=["no-binding", "bound"])


@pytest.mark.row("HA-MH-001", "NHA-MH-001")
@BOTH_KINDS
@BOTH_STATES
@pytest.mark.parametrize("option", [False, True], ids=["from-home-address", "home-address-option"])
def test_ha_mh_001_unassigned_type(home_agent: HomeAgent, kind: str, bound: bool, option: bool) -> None:
    mobile = prepared(home_agent, kind, bound)
    header = mended(mobile.message(sequence=16), mobile.home, {MH_TYPE: UNASSIGNED_MH_TYPE})
    if option:
        packet = encode_packet(mobile.care_of, HOME_AGENT, header, home_address=mobile.home)
        frames = home_agent.cables.ask_net(packet)
    else:
        home_agent.cables.neighbours[mobile.home] = mobile.mac
        home_agent.cables.from_home(encode_packet(mobile.home, HOME_AGENT, header), source_mac=mobile.mac)
        frames = home_agent.cables.wait_for(lambda frame: bool(binding_errors([frame])))
    ((error_packet, error),) = binding_errors(frames)
    assert error.status == BEStatus.UNRECOGNIZED_MH_TYPE
    assert error.home_address == (mobile.home if option else IPv6Address("::"))
    assert error_packet.destination == (mobile.care_of if option else mobile.home)
    assert is_bound(home_agent, mobile) == bound


@pytest.mark.row("HA-MH-002", "NHA-MH-001")
@BOTH_KINDS
def test_ha_mh_002_payload_behind_the_header(home_agent: HomeAgent, kind: str) -> None:
    mobile = prepared(home_agent, kind, bound=False)
    header = mended(mobile.message(), mobile.home, {PAYLOAD_PROTO: NextHeader.ICMPV6})
    header += encode_icmpv6(EchoRequest(1, 1), mobile.home, HOME_AGENT)
    packet = encode_packet(mobile.care_of, HOME_AGENT, header, home_address=mobile.home)
    ((frame, problem),) = problems(home_agent.cables.ask_net(packet))
    assert (problem.code, problem.pointer) == (0, 40 + 24)
    assert problem.invoking == packet
    assert frame.packet is not None
    assert frame.packet.destination == mobile.care_of
    assert not is_bound(home_agent, mobile)


@pytest.mark.row("HA-MH-002", "HA-MH-003", "NHA-MH-001")
@BOTH_KINDS
@pytest.mark.parametrize("offset", [PAYLOAD_PROTO, HEADER_LEN], ids=["payload-proto", "header-len"])
def test_ha_mh_002_from_home_with_a_binding(home_agent: HomeAgent, kind: str, offset: int) -> None:
    mobile = prepared(home_agent, kind, bound=True)
    value = NextHeader.ICMPV6 if offset == PAYLOAD_PROTO else 0
    header = mended(
        mobile.message(sequence=16, lifetime=0, alternate=mobile.home), mobile.home, {offset: value}
    )
    home_agent.cables.neighbours[mobile.home] = mobile.mac
    home_agent.cables.from_home(encode_packet(mobile.home, HOME_AGENT, header), source_mac=mobile.mac)
    frames = home_agent.cables.wait_for(lambda frame: bool(problems([frame])))
    ((frame, problem),) = problems(frames)
    assert (problem.code, problem.pointer) == (0, 40 + offset)
    assert frame.packet is not None
    assert frame.packet.destination == mobile.home
    assert (frame.link, frame.destination_mac) == ("home", mobile.mac)
    assert is_bound(home_agent, mobile)


@pytest.mark.row("HA-MH-003", "NHA-MH-001")
@BOTH_KINDS
@BOTH_STATES
def test_ha_mh_003_header_too_short(home_agent: HomeAgent, kind: str, bound: bool) -> None:
    mobile = prepared(home_agent, kind, bound)
    header = mended(mobile.message(sequence=16, care_of=mobile.other_care_of), mobile.home, {HEADER_LEN: 0})
    packet = encode_packet(mobile.other_care_of, HOME_AGENT, header, home_address=mobile.home)
    ((frame, problem),) = problems(home_agent.cables.ask_net(packet))
    assert (problem.code, problem.pointer) == (0, 40 + 24 + 1)
    assert frame.packet is not None
    assert frame.packet.destination == mobile.other_care_of
    assert is_bound(home_agent, mobile) == bound


@pytest.mark.row("NHA-MH-001")
@BOTH_KINDS
@BOTH_STATES
def test_nha_mh_001_wrong_checksum(home_agent: HomeAgent, kind: str, bound: bool) -> None:
    mobile = prepared(home_agent, kind, bound)
    header = bytearray(mobile.message(sequence=16, care_of=mobile.other_care_of))
    header[4] ^= 0x5A
    packet = encode_packet(mobile.other_care_of, HOME_AGENT, bytes(header), home_address=mobile.home)
    assert home_agent.cables.ask_net(packet) == []
    assert not is_bound(home_agent, mobile, mobile.other_care_of)
    assert is_bound(home_agent, mobile) == bound


@pytest.mark.row("HA-MH-005", "NHA-BU-002")
@BOTH_KINDS
@pytest.mark.parametrize(("offset", "bits"), [(RESERVED, 0xFF), (FLAGS + 1, 0x0F)], ids=["octet", "flags"])
def test_ha_mh_005_reserved_fields(home_agent: HomeAgent, kind: str, offset: int, bits: int) -> None:
    """Of the sixteen bits that begin with the flags the last four have no name today."""
    mobile = prepared(home_agent, kind, bound=False)
    header = mobile.message()
    header = mended(header, mobile.home, {offset: header[offset] | bits})
    packet = encode_packet(mobile.care_of, HOME_AGENT, header, home_address=mobile.home)
    _, answer = acknowledgement(home_agent.cables.ask_net(packet))
    assert answer.status == BAStatus.ACCEPTED
    assert is_bound(home_agent, mobile)
