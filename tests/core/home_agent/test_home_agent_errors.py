"""Mobility headers that are wrong, home address options without a binding, data for nobody.

RFC 6275 sections 9.2, 9.3.1 and 9.3.3; RFC 4443 sections 2.4 and 3.1; RFC 1122 section 3.2.2.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from ha_scenario import (
    COA1,
    COA2,
    COA4,
    CORRESPONDENT,
    HA,
    HA4,
    HOME,
    HOME4,
    PLAIN_ENTRY,
    Outcome,
    Scenario,
    scenario,
)
from hypothesis import given
from hypothesis import strategies as st

from dsmip.core.actions import SendDatagram, SendError, SendPacket
from dsmip.core.types import UdpEndpoint
from dsmip.wire import icmpv4, icmpv6
from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import HOST_MH_TYPES, BEStatus, MHType, NextHeader
from dsmip.wire.ip import IPv4Header
from dsmip.wire.messages import BindingError, UnknownMessage, decode_message, encode_message
from dsmip.wire.packet import Packet, UdpOuter, decode_packet, encapsulate_udp, encode_packet

UNSPECIFIED = IPv6Address("::")
UNASSIGNED_TYPE = 0xFF


def unknown_type(
    source: IPv6Address, home_address: IPv6Address | None = None, mh_type: int = UNASSIGNED_TYPE
) -> bytes:
    message = UnknownMessage(mh_type, bytes(10))
    header = encode_message(message, home_address or source, HA)
    return encode_packet(source, HA, header, home_address=home_address)


def spoilt(update: bytes, offset: int, value: int, start: int) -> bytes:
    """`update` with one octet of the mobility header at `start` changed and the checksum made right."""
    octets = bytearray(update)
    octets[start + offset] = value
    octets[start + 4 : start + 6] = bytes(2)
    checksum = pseudo_checksum_v6(HOME, HA, NextHeader.MOBILITY, bytes(octets[start:]))
    octets[start + 4 : start + 6] = checksum.to_bytes(2)
    return bytes(octets)


def sent(outcome: Outcome) -> Packet:
    """The one packet sent over IPv6."""
    (action,) = (action for action in outcome.actions if isinstance(action, SendPacket | SendError))
    return decode_packet(action.packet)


def binding_error(outcome: Outcome) -> BindingError:
    packet = sent(outcome)
    message = decode_message(packet.payload, packet.sender, packet.recipient)
    assert isinstance(message, BindingError)
    assert packet.source == HA
    return message


def icmp(packet: Packet) -> icmpv6.Icmpv6Message:
    assert packet.next_header == NextHeader.ICMPV6
    return icmpv6.decode_icmpv6(packet.payload, packet.sender, packet.recipient)


@pytest.fixture(params=[False, True], ids=["no binding", "binding"])
def agent(request: pytest.FixtureRequest) -> Scenario:
    agent, mobile = scenario(PLAIN_ENTRY)
    if request.param:
        agent.receive(mobile.update())
    return agent


# Mobility header --------------------------------------------------------------------------------------------


def test_rfc6275_9_2_unknown_type_is_binding_error_2(agent: Scenario) -> None:
    """HA-MH-001, NHA-MH-001."""
    before = dict(agent.agent.bindings)
    outcome = agent.receive(unknown_type(HOME))
    assert binding_error(outcome) == BindingError(BEStatus.UNRECOGNIZED_MH_TYPE, UNSPECIFIED)
    assert sent(outcome).destination == HOME
    assert dict(agent.agent.bindings) == before


@pytest.mark.parametrize("mh_type", sorted(set(MHType) - HOST_MH_TYPES))
def test_rfc6275_9_2_types_of_routers_and_proxies_are_unknown_to_a_home_agent(mh_type: MHType) -> None:
    agent, _ = scenario()
    outcome = agent.receive(unknown_type(HOME, mh_type=mh_type))
    assert binding_error(outcome) == BindingError(BEStatus.UNRECOGNIZED_MH_TYPE, UNSPECIFIED)


def test_rfc6275_9_3_3_binding_error_names_the_home_address_of_the_option(agent: Scenario) -> None:
    outcome = agent.receive(unknown_type(COA2, HOME))
    assert binding_error(outcome) == BindingError(BEStatus.UNRECOGNIZED_MH_TYPE, HOME)
    assert sent(outcome).destination == COA2


@pytest.mark.parametrize("source", ["ff02::1", "::", "fe80::1"])
def test_rfc6275_9_3_3_no_binding_error_to_what_is_not_unicast(source: str) -> None:
    agent, _ = scenario()
    assert agent.receive(unknown_type(IPv6Address(source))).silent


@pytest.mark.parametrize("hao", [True, False])
def test_rfc6275_9_2_payload_proto_is_a_parameter_problem(agent: Scenario, hao: bool) -> None:
    """HA-MH-002, NHA-MH-001."""
    _, mobile = scenario(PLAIN_ENTRY)
    start = 64 if hao else 40
    source = COA1 if hao else HOME
    before = dict(agent.agent.bindings)
    packet = spoilt(mobile.update(source=source, hao=hao, sequence=20), 0, NextHeader.ICMPV6, start)
    outcome = agent.receive(packet)
    assert icmp(sent(outcome)) == icmpv6.ParameterProblem(0, start, packet)
    assert sent(outcome).destination == source
    assert sent(outcome).routing_home_address is None
    assert dict(agent.agent.bindings) == before


@pytest.mark.parametrize("hao", [True, False])
def test_rfc6275_9_2_short_header_is_a_parameter_problem(agent: Scenario, hao: bool) -> None:
    """HA-MH-003, NHA-MH-001."""
    _, mobile = scenario(PLAIN_ENTRY)
    start = 64 if hao else 40
    packet = spoilt(mobile.update(source=COA1 if hao else HOME, hao=hao, sequence=20), 1, 0, start)
    outcome = agent.receive(packet)
    assert icmp(sent(outcome)) == icmpv6.ParameterProblem(0, start + 1, packet)
    assert outcome.drops == ["header-length"]


def test_rfc6275_9_2_bad_checksum_is_dropped_silently(agent: Scenario) -> None:
    """NHA-MH-001."""
    _, mobile = scenario(PLAIN_ENTRY)
    packet = bytearray(mobile.update(sequence=20))
    packet[64 + 4] ^= 1
    outcome = agent.receive(bytes(packet))
    assert outcome.silent
    assert outcome.drops == ["checksum"]


def test_an_error_about_a_packet_in_udp_goes_back_in_udp() -> None:
    agent, _ = scenario()
    outer = UdpOuter(COA4, 4242, HA4, 4191)
    outcome = agent.receive(encapsulate_udp(unknown_type(HOME), outer))
    action = outcome.one(SendDatagram)
    assert (action.local, action.remote) == (UdpEndpoint(HA4, 4191), UdpEndpoint(COA4, 4242))
    assert decode_packet(action.payload).destination == HOME


def test_rfc6275_9_3_3_errors_are_limited() -> None:
    agent, _ = scenario()
    outcomes = [agent.receive(unknown_type(COA1)) for _ in range(30)]
    assert sum("SendPacket" in outcome.kinds() for outcome in outcomes) == 10
    assert all(outcome.drops == ["unrecognized-mh-type"] for outcome in outcomes)
    agent.after(0.5)
    outcomes = [agent.receive(unknown_type(COA1)) for _ in range(30)]
    assert sum("SendPacket" in outcome.kinds() for outcome in outcomes) == 5


def test_a_binding_error_is_not_answered() -> None:
    agent, _ = scenario()
    header = encode_message(BindingError(2, HOME), COA1, HA)
    assert agent.receive(encode_packet(COA1, HA, header)).drops == ["unexpected-message"]


# Home address option ----------------------------------------------------------------------------------------


def probe(source: IPv6Address = COA1, home_address: IPv6Address = HOME) -> bytes:
    """The conformance catalogue's probe: an echo request with a home address option."""
    echo = icmpv6.encode_icmpv6(icmpv6.EchoRequest(7, 8, b"probe"), home_address, HA)
    return encode_packet(source, HA, echo, NextHeader.ICMPV6, home_address=home_address)


def test_rfc6275_9_3_1_without_a_binding_it_is_binding_error_1() -> None:
    """The probe, HA-BU-004, HA-LT-002."""
    agent, _ = scenario()
    outcome = agent.receive(probe())
    assert binding_error(outcome) == BindingError(BEStatus.UNKNOWN_BINDING, HOME)
    assert sent(outcome).destination == COA1


def test_rfc6275_9_3_1_from_another_care_of_address_it_is_binding_error_1() -> None:
    """HA-SEQ-002."""
    agent, mobile = scenario()
    agent.receive(mobile.update())
    assert binding_error(agent.receive(probe(source=COA2))) == BindingError(BEStatus.UNKNOWN_BINDING, HOME)


def test_rfc6275_9_3_2_with_a_binding_the_answer_takes_the_direct_way() -> None:
    """HA-BU-001."""
    agent, mobile = scenario()
    agent.receive(mobile.update())
    packet = sent(agent.receive(probe()))
    assert (packet.source, packet.destination, packet.routing_home_address) == (HA, COA1, HOME)
    assert icmp(packet) == icmpv6.EchoReply(7, 8, b"probe")


def test_the_probe_with_a_bad_checksum_is_dropped() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update())
    packet = bytearray(probe())
    packet[-1] ^= 1
    assert agent.receive(bytes(packet)).drops == ["checksum"]


@pytest.mark.parametrize("home", ["fe80::1", "ff02::1", "::1"])
def test_rfc6275_9_3_1_home_address_that_is_not_routable_is_dropped(home: str) -> None:
    agent, _ = scenario()
    assert agent.receive(probe(home_address=IPv6Address(home))).silent


@pytest.mark.parametrize("next_header", [NextHeader.ESP, NextHeader.AH])
def test_rfc6275_9_3_1_ipsec_is_not_tested_for_a_binding(next_header: int) -> None:
    agent, _ = scenario()
    outcome = agent.receive(encode_packet(COA1, HA, bytes(32), next_header, home_address=HOME))
    assert outcome.silent
    assert outcome.drops != ["unknown-binding"]


# Data for nobody --------------------------------------------------------------------------------------------


def data(
    payload: bytes = bytes(20),
    next_header: int = NextHeader.TCP,
    source: IPv6Address = CORRESPONDENT,
    destination: IPv6Address = HOME,
) -> bytes:
    return encode_packet(source, destination, payload, next_header)


def data4(
    payload: bytes = bytes(20),
    protocol: int = NextHeader.TCP,
    source: str = "198.51.100.200",
    destination: str = str(HOME4),
    fragment_offset: int = 0,
) -> bytes:
    addresses = IPv4Address(source), IPv4Address(destination)
    header = IPv4Header(*addresses, protocol, len(payload), fragment_offset=fragment_offset)
    return header.encode() + payload


def test_rfc4443_3_1_address_unreachable() -> None:
    agent, _ = scenario()
    packet = data()
    outcome = agent.receive(packet)
    answer = sent(outcome)
    assert (answer.source, answer.destination) == (HA, CORRESPONDENT)
    assert icmp(answer) == icmpv6.DestinationUnreachable(3, packet)
    assert outcome.drops == ["no-binding"]


def test_rfc4443_2_4_c_the_answer_fits_into_1280_octets() -> None:
    agent, _ = scenario()
    action = agent.receive(data(bytes(1400))).one(SendError)
    assert len(action.packet) == 1280


#: A destination options header, and behind it a Destination Unreachable.
BEHIND_OPTIONS = bytes([NextHeader.ICMPV6, 0, 1, 4, 0, 0, 0, 0, 1]) + bytes(7)


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(data(bytes([1, 3]) + bytes(46), NextHeader.ICMPV6), id="e.1 error"),
        pytest.param(data(bytes([127]) + bytes(7), NextHeader.ICMPV6), id="e.1 error unknown"),
        pytest.param(
            data(bytes([58, 0, 1, 4, 0, 0, 0, 0, 1]) + bytes(7), NextHeader.DESTINATION), id="e.1 behind"
        ),
        pytest.param(data(bytes([137]) + bytes(39), NextHeader.ICMPV6), id="e.2 redirect"),
        pytest.param(data(destination=IPv6Address("ff0e::1")), id="e.3 multicast"),
        pytest.param(data(source=UNSPECIFIED), id="e.6 unspecified"),
        pytest.param(data(source=IPv6Address("ff02::1")), id="e.6 multicast source"),
        pytest.param(data(b"", NextHeader.ICMPV6), id="nothing of ICMPv6"),
        pytest.param(data(bytes([58, 200]) + bytes(6), NextHeader.ROUTING), id="header longer than packet"),
        pytest.param(data(bytes([58, 0, 0, 8]) + bytes(12), NextHeader.FRAGMENT), id="fragment"),
        pytest.param(data4(bytes([3, 1]) + bytes(26), NextHeader.ICMPV4), id="ICMPv4 error"),
        pytest.param(data4(b"", NextHeader.ICMPV4), id="nothing of ICMPv4"),
        pytest.param(data4(fragment_offset=1480), id="later IPv4 fragment"),
        pytest.param(data4(source="0.0.0.0"), id="IPv4 from nobody"),
        pytest.param(data4(source="224.0.0.5"), id="IPv4 from multicast"),
        pytest.param(data4(destination="224.0.0.5"), id="IPv4 to multicast"),
        pytest.param(data()[:30], id="truncated"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\x90" * 60, id="neither 4 nor 6"),
    ],
)
def test_rfc4443_2_4_e_what_is_never_answered(packet: bytes) -> None:
    agent, _ = scenario()
    outcome = agent.receive(packet)
    assert outcome.silent
    assert outcome.drops == ["no-binding"]


@pytest.mark.parametrize("kind", [128, 129, 135])
def test_icmpv6_that_is_no_error_is_answered(kind: int) -> None:
    agent, _ = scenario()
    assert icmp(sent(agent.receive(data(bytes([kind]) + bytes(7), NextHeader.ICMPV6))))


def test_rfc792_host_unreachable() -> None:
    agent, _ = scenario()
    packet = data4()
    action = agent.receive(packet).one(SendError)
    header = IPv4Header.decode(action.packet)
    assert (header.source, str(header.destination), header.protocol) == (HA4, "198.51.100.200", 1)
    message = icmpv4.decode_icmpv4(action.packet[20:])
    assert message == icmpv4.DestinationUnreachable(1, 0, packet)


def test_rfc1812_4_3_2_3_host_unreachable_stays_below_576_octets() -> None:
    agent, _ = scenario()
    action = agent.receive(data4(bytes(1400))).one(SendError)
    assert len(action.packet) == 576


def test_without_an_ipv4_address_there_is_no_answer_over_ipv4() -> None:
    agent, _ = scenario(ipv4_address=None)
    assert agent.receive(data4()).silent


def test_unreachables_are_limited() -> None:
    agent, _ = scenario()
    assert sum("SendError" in agent.receive(data()).kinds() for _ in range(30)) == 10


@given(st.integers(0, 1), st.binary(max_size=120))
def test_any_data_packet_never_raises(family: int, octets: bytes) -> None:
    agent, _ = scenario()
    agent.agent.unreachable((b"\x60" if family else b"\x45") + octets, agent.now)
    assert "Drop" in Outcome(agent.agent.actions()).kinds()
