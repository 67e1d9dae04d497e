"""ICMP errors from within a tunnel (RFC 2473 section 8)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from ha_scenario import (
    COA1,
    COA4,
    CORRESPONDENT,
    HA,
    HA4,
    HOME,
    HOME4,
    MNP1,
    NAT4,
    Outcome,
    Scenario,
    scenario,
)

from dsmip.core.actions import SendError
from dsmip.wire import icmpv4, icmpv6
from dsmip.wire.constants import NextHeader
from dsmip.wire.ip import IPv4Header
from dsmip.wire.options import IPv4HomeAddress
from dsmip.wire.packet import UdpOuter, decode_packet, encapsulate_udp, encode_packet

ROUTER = IPv6Address("2001:db8:7777::1")
CORRESPONDENT4 = IPv4Address("198.51.100.200")
DONT_FRAGMENT = pytest.mark.parametrize("dont_fragment", [False, True])


def inner6(destination: IPv6Address = HOME, size: int = 100) -> bytes:
    header = icmpv6.encode_icmpv6(icmpv6.EchoRequest(1, 1, bytes(size - 48)), CORRESPONDENT, destination)
    return encode_packet(CORRESPONDENT, destination, header, NextHeader.ICMPV6)


def inner4(*, protocol: int = 17, payload: bytes = bytes(20), dont_fragment: bool = True) -> bytes:
    header = IPv4Header(CORRESPONDENT4, HOME4, protocol, len(payload), dont_fragment=dont_fragment)
    return header.encode() + payload


def in_ipv6(inner: bytes) -> bytes:
    return encode_packet(HA, COA1, inner, 41 if inner[0] >> 4 == 6 else 4)


def in_ipv4(inner: bytes, destination: IPv4Address = COA4) -> bytes:
    return IPv4Header(HA4, destination, 41 if inner[0] >> 4 == 6 else 4, len(inner)).encode() + inner


def in_udp(inner: bytes, destination: IPv4Address = COA4) -> bytes:
    # `encapsulate_udp` is for IPv6; the headers are the same for IPv4.
    return encapsulate_udp(inner, UdpOuter(HA4, 4191, destination, 4191))


def over_ipv6() -> Scenario:
    agent, mobile = scenario()
    agent.receive(mobile.update(options=[IPv4HomeAddress(HOME4)]))
    return agent


def over_ipv4(outer: IPv4Address = COA4) -> Scenario:
    agent, mobile = scenario()
    agent.receive(mobile.update_in_udp(outer=outer, options=[IPv4HomeAddress(HOME4)]))
    return agent


def error4(agent: Scenario, message: icmpv4.Icmpv4Message) -> Outcome:
    agent.agent.receive_icmpv4(icmpv4.encode_icmpv4(message), agent.now)
    return Outcome(agent.agent.actions())


def error6(agent: Scenario, message: icmpv6.Icmpv6Message) -> Outcome:
    return agent.icmp(message, ROUTER, HA, hop_limit=60, home_link=False)


def told6(outcome: Outcome) -> icmpv6.Icmpv6Message:
    packet = decode_packet(outcome.one(SendError).packet)
    assert (packet.source, packet.destination) == (HA, CORRESPONDENT)
    return icmpv6.decode_icmpv6(packet.payload, HA, CORRESPONDENT)


def told4(outcome: Outcome) -> icmpv4.Icmpv4Message:
    packet = outcome.one(SendError).packet
    header = IPv4Header.decode(packet)
    assert (header.source, header.destination, header.protocol) == (HA4, CORRESPONDENT4, 1)
    return icmpv4.decode_icmpv4(packet[20:])


@pytest.mark.parametrize(
    "problem",
    [icmpv6.TimeExceeded(0, b""), icmpv6.TimeExceeded(1, b""), icmpv6.DestinationUnreachable(1, b"")],
)
def test_rfc2473_8_2_unreachable(problem: icmpv6.TimeExceeded | icmpv6.DestinationUnreachable) -> None:
    agent, packet = over_ipv6(), inner6()
    message = type(problem)(problem.code, in_ipv6(packet))
    assert told6(error6(agent, message)) == icmpv6.DestinationUnreachable(3, packet)


@pytest.mark.parametrize(("path", "told"), [(1400, 1360), (1330, 1290), (1310, 1280)])
def test_rfc2473_8_2_packet_too_big(path: int, told: int) -> None:
    agent, packet = over_ipv6(), inner6(size=1380)
    message = told6(error6(agent, icmpv6.PacketTooBig(path, in_ipv6(packet))))
    assert isinstance(message, icmpv6.PacketTooBig)
    assert message.mtu == told
    assert packet.startswith(message.invoking)


def test_rfc2473_8_2_packets_everybody_may_send_are_not_too_big() -> None:
    agent = over_ipv6()
    outcome = error6(agent, icmpv6.PacketTooBig(1300, in_ipv6(inner6(size=1280))))
    assert outcome.drops == ["icmp-error-not-relayed"]


def test_rfc2473_8_3_ipv4_packet_in_ipv6() -> None:
    agent, packet = over_ipv6(), inner4()
    message = told4(error6(agent, icmpv6.TimeExceeded(0, in_ipv6(packet))))
    assert message == icmpv4.DestinationUnreachable(1, 0, packet)


@DONT_FRAGMENT
def test_rfc2473_8_3_too_big_for_ipv4_only_with_dont_fragment(dont_fragment: bool) -> None:
    agent, packet = over_ipv6(), inner4(dont_fragment=dont_fragment)
    outcome = error6(agent, icmpv6.PacketTooBig(1400, in_ipv6(packet)))
    if dont_fragment:
        assert told4(outcome) == icmpv4.DestinationUnreachable(icmpv4.FRAGMENTATION_NEEDED, 1360, packet)
    else:
        assert outcome.drops == ["icmp-error-not-relayed"]


@pytest.mark.parametrize(("wrap", "told"), [(in_ipv4, 1380), (in_udp, 1372)], ids=["protocol-41", "udp"])
def test_errors_of_ipv4_networks(wrap: object, told: int) -> None:
    """As RFC 2473 says for IPv6: the inner sender hears of it in its own words."""
    agent, packet = over_ipv4(), inner6(size=1390)
    quoted = wrap(packet)  # type: ignore[operator]
    too_big = icmpv4.DestinationUnreachable(icmpv4.FRAGMENTATION_NEEDED, 1400, quoted)
    message = told6(error4(agent, too_big))
    assert isinstance(message, icmpv6.PacketTooBig)
    assert message.mtu == told
    message = told6(error4(agent, icmpv4.UnknownIcmpv4(11, 0, bytes(4) + quoted)))
    assert isinstance(message, icmpv6.DestinationUnreachable)
    assert message.code == 3
    assert told4(error4(agent, icmpv4.DestinationUnreachable(1, 0, wrap(inner4())))) == (  # type: ignore[operator]
        icmpv4.DestinationUnreachable(1, 0, inner4())
    )


def test_behind_a_nat_the_outer_address_is_the_nat_s() -> None:
    agent = over_ipv4(outer=NAT4)
    assert told6(error4(agent, icmpv4.DestinationUnreachable(1, 0, in_udp(inner6(), NAT4))))
    outcome = error4(agent, icmpv4.DestinationUnreachable(1, 0, in_udp(inner6(), COA4)))
    assert outcome.drops == ["icmp-error-no-binding"]


def test_packets_to_the_mobile_network_too() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update(flags=0xC400))  # type: ignore[arg-type]
    packet = inner6(MNP1[9])
    assert told6(error6(agent, icmpv6.TimeExceeded(0, in_ipv6(packet)))) == icmpv6.DestinationUnreachable(
        3, packet
    )
    elsewhere = inner6(IPv6Address("2001:db8:5555::1"))
    assert error6(agent, icmpv6.TimeExceeded(0, in_ipv6(elsewhere))).drops == ["icmp-error-no-binding"]


def test_an_address_from_a_pool_is_known_as_well() -> None:
    from dataclasses import replace
    from ipaddress import IPv4Network

    from ha_scenario import ENTRY

    agent, mobile = scenario(
        replace(ENTRY, ipv4_home_address=None, ipv4_prefixes=()), ipv4_pool=IPv4Network((HOME4, 32))
    )
    agent.receive(mobile.update(options=[IPv4HomeAddress(HOME4)]))
    assert told4(error6(agent, icmpv6.TimeExceeded(0, in_ipv6(inner4()))))


@pytest.mark.parametrize(
    ("quoted", "reason"),
    [
        (encode_packet(ROUTER, COA1, inner6(), 41), "icmp-error-not-ours"),
        (encode_packet(HA, COA1, bytes(8), 58), "icmp-error-not-tunnel"),
        (encode_packet(HA, ROUTER, inner6(), 41), "icmp-error-no-binding"),
        (in_ipv6(inner6())[:79], "icmp-error-truncated"),
        (in_ipv6(inner6())[:30], "icmp-error-not-ours"),
        (b"", "icmp-error-not-ours"),
    ],
)
def test_what_we_did_not_send_is_nobody_s_business(quoted: bytes, reason: str) -> None:
    assert error6(over_ipv6(), icmpv6.TimeExceeded(0, quoted)).drops == [reason]


@pytest.mark.parametrize(
    "payload",
    [
        icmpv6.encode_icmpv6(icmpv6.DestinationUnreachable(1, bytes(40)), CORRESPONDENT, HOME),
        icmpv6.encode_icmpv6(icmpv6.PacketTooBig(1400, bytes(40)), CORRESPONDENT, HOME),
    ],
)
def test_rfc4443_2_4_no_error_about_an_error(payload: bytes) -> None:
    packet = encode_packet(CORRESPONDENT, HOME, payload, 58)
    assert error6(over_ipv6(), icmpv6.TimeExceeded(0, in_ipv6(packet))).drops == ["icmp-error-not-relayed"]


def test_other_messages_and_garbage() -> None:
    agent = over_ipv6()
    assert error6(agent, icmpv6.ParameterProblem(1, 6, in_ipv6(inner6()))).drops == ["icmp-error-not-relayed"]
    assert error4(agent, icmpv4.EchoReply(1, 1)).drops == ["icmp-error-not-relayed"]
    agent.agent.receive_icmpv4(b"\x03", agent.now)
    assert Outcome(agent.agent.actions()).drops == ["truncated"]
    agent.agent.receive_icmpv6(b"", ROUTER, HA, hop_limit=1, home_link=False, now=agent.now)
    assert Outcome(agent.agent.actions()).drops == ["truncated"]


@pytest.mark.parametrize("size", range(0, 160, 3))
def test_every_prefix_of_a_quote_is_harmless(size: int) -> None:
    agent4, agent6 = over_ipv4(), over_ipv6()
    for quoted in (in_udp(inner6()), in_ipv4(inner4())):
        error4(agent4, icmpv4.DestinationUnreachable(4, 1400, quoted[:size]))
    for quoted in (in_ipv6(inner6(size=1400)), in_ipv6(inner4())):
        error6(agent6, icmpv6.PacketTooBig(1400, quoted[:size]))


def test_errors_are_relayed_at_a_limited_rate() -> None:
    agent, message = over_ipv6(), icmpv6.TimeExceeded(0, in_ipv6(inner6()))
    outcomes = [error6(agent, message) for _ in range(50)]
    assert sum(bool(outcome.kinds() == ["SendError"]) for outcome in outcomes) == 10
    assert outcomes[-1].drops == ["icmp-error-rate"]
