"""Data that does not fit into the path to its mobile node (RFC 2473 section 7)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from ha_scenario import CORRESPONDENT, HA, HA4, HOME, HOME4, Scenario, scenario

from dsmip.core.actions import SendError, SendIPv4, TooBig
from dsmip.wire import icmpv4, icmpv6
from dsmip.wire.constants import NextHeader
from dsmip.wire.ip import IPv4Header
from dsmip.wire.options import IPv4HomeAddress
from dsmip.wire.packet import decode_packet, encode_packet

CORRESPONDENT4 = IPv4Address("198.51.100.200")
MTU = 1372


def bound() -> Scenario:
    agent, mobile = scenario()
    agent.receive(mobile.update(options=[IPv4HomeAddress(HOME4)]))
    return agent


def packet6(size: int) -> bytes:
    return encode_packet(CORRESPONDENT, HOME, bytes(size - 40), 17)


def packet4(size: int, **header: int | bool) -> bytes:
    return IPv4Header(CORRESPONDENT4, HOME4, 17, size - 20, **header).encode() + bytes(range(250)) * 10


def test_what_is_handed_up_for_a_bound_node_is_too_big() -> None:
    agent = bound()
    for packet in (packet6(1400), packet4(1400)):
        outcome = agent.receive(packet)
        assert outcome.kinds() == ["TooBig"]
        assert outcome.one(TooBig) == TooBig(packet, agent.binding)
    assert agent.receive(packet6(1400)[:30]).kinds() != ["TooBig"]


def test_floods_are_not_answered_one_by_one() -> None:
    agent = bound()
    kinds = [kind for _ in range(5000) for kind in agent.receive(packet6(1400)).kinds()]
    assert 0 < len(kinds) < 5000


def test_rfc2473_7_1_packet_too_big() -> None:
    packet = packet6(1400)
    [answer] = bound().agent.too_big(packet, MTU)
    assert isinstance(answer, SendError)
    sent = decode_packet(answer.packet)
    assert (sent.source, sent.destination) == (HA, CORRESPONDENT)
    told = icmpv6.decode_icmpv6(sent.payload, HA, CORRESPONDENT)
    assert isinstance(told, icmpv6.PacketTooBig)
    assert told.mtu == MTU
    assert packet.startswith(told.invoking)


def test_rfc2473_7_1_never_less_than_the_minimum_mtu() -> None:
    agent = bound().agent
    [answer] = agent.too_big(packet6(1400), 1240)
    assert isinstance(answer, SendError)
    told = icmpv6.decode_icmpv6(decode_packet(answer.packet).payload, HA, CORRESPONDENT)
    assert isinstance(told, icmpv6.PacketTooBig)
    assert told.mtu == 1280
    assert agent.too_big(packet6(1280), 1240) == []


def test_errors_are_not_answered() -> None:
    agent = bound().agent
    error = icmpv6.encode_icmpv6(icmpv6.PacketTooBig(1300, bytes(1390)), CORRESPONDENT, HOME)
    assert agent.too_big(encode_packet(CORRESPONDENT, HOME, error, NextHeader.ICMPV6), 1240) == []
    multicast = encode_packet(IPv6Address("ff02::1"), HOME, bytes(1400), 17)
    assert agent.too_big(multicast, MTU) == []


def test_rfc2473_7_2_ipv4_with_dont_fragment() -> None:
    packet = packet4(1400, dont_fragment=True)[:1400]
    [answer] = bound().agent.too_big(packet, MTU)
    assert isinstance(answer, SendError)
    header = IPv4Header.decode(answer.packet)
    assert (header.source, header.destination) == (HA4, CORRESPONDENT4)
    told = icmpv4.decode_icmpv4(answer.packet[20:])
    assert told == icmpv4.DestinationUnreachable(icmpv4.FRAGMENTATION_NEEDED, MTU, packet[:548])


def test_rfc2473_7_2_ipv4_that_may_be_cut_up() -> None:
    whole = packet4(1420, identification=7, traffic_class=4, ttl=9)[:1420]
    pieces = bound().agent.too_big(whole, 700)
    data = b""
    for number, piece in enumerate(pieces):
        assert isinstance(piece, SendIPv4)
        assert len(piece.packet) <= 700
        header = IPv4Header.decode(piece.packet)
        assert header.fragment_offset == len(data)
        assert header.more_fragments is (number < len(pieces) - 1)
        assert (header.identification, header.traffic_class, header.ttl) == (7, 4, 9)
        data += piece.packet[20:]
    assert data == whole[20:]
    assert len(pieces) == 3


def test_rfc2473_7_2_a_fragment_is_cut_up_further() -> None:
    part = packet4(1420, fragment_offset=1480, more_fragments=True)[:1420]
    first, last = (
        IPv4Header.decode(piece.packet)
        for piece in bound().agent.too_big(part, 1000)
        if isinstance(piece, SendIPv4)
    )
    assert (first.fragment_offset, last.fragment_offset) == (1480, 1480 + 976)
    assert first.more_fragments
    assert last.more_fragments
