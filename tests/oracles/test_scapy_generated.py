"""Made-up messages, built by scapy, mean to us what they were made up to mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from scapy.layers import inet, inet6, l2

from dsmip.wire import icmpv4
from dsmip.wire.arp import ArpPacket
from dsmip.wire.icmpv6 import decode_icmpv6
from dsmip.wire.messages import decode_message
from dsmip.wire.packet import UdpOuter, decode_packet
from tests.oracles.generate import sample
from tests.oracles.scapy_builders import MESSAGES, build_icmpv6, build_message
from tests.oracles.strategies import (
    ARP,
    EACH_ICMPV6,
    ICMPV4,
    IPV4,
    OPTIONS,
    ROUTABLE,
    SIGNED_OPTIONS,
    U16,
    each_message,
)

#: How many of each kind of message.
EACH = 12

OUTER = st.builds(UdpOuter, IPV4, U16, IPV4, U16)
ENVELOPE = st.tuples(ROUTABLE, ROUTABLE, st.none() | ROUTABLE, st.none() | ROUTABLE, st.none() | OUTER)


def octets(packet: Any) -> bytes:
    return bytes(packet)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_mobility_messages(kind: type) -> None:
    (strategy,) = [
        one for one in each_message(OPTIONS | SIGNED_OPTIONS) if isinstance(sample(one, 1)[0], kind)
    ]
    for sent, (source, destination, home, routing, outer) in sample(st.tuples(strategy, ENVELOPE), 2 * EACH):
        packet = inet6.IPv6(src=str(source), dst=str(destination))
        if routing is not None:
            packet = packet / inet6.IPv6ExtHdrRouting(type=2, addresses=[str(routing)])
        if home is not None:
            packet = packet / inet6.IPv6ExtHdrDestOpt(options=[inet6.HAO(hoa=str(home))])
        packet = packet / build_message(sent)
        if outer is not None:
            packet = (
                inet.IP(src=str(outer.source), dst=str(outer.destination))
                / inet.UDP(sport=outer.source_port, dport=outer.destination_port)
                / packet
            )
        received = decode_packet(octets(packet), verify_udp_checksum=True)
        assert (received.source, received.destination) == (source, destination)
        assert (received.home_address, received.routing_home_address) == (home, routing)
        assert received.udp == outer
        assert decode_message(received.payload, received.sender, received.recipient) == sent


def test_icmpv6_and_neighbour_discovery() -> None:
    for strategy in EACH_ICMPV6:
        for sent, source, destination in sample(st.tuples(strategy, ROUTABLE, ROUTABLE), EACH):
            built = octets(inet6.IPv6(src=str(source), dst=str(destination), nh=58) / build_icmpv6(sent))
            received = decode_packet(built)
            assert decode_icmpv6(received.payload, source, destination) == sent


def test_icmpv4() -> None:
    for sent in sample(ICMPV4, 60):
        kind, code = sent.type_code
        match sent:
            case icmpv4.EchoRequest() | icmpv4.EchoReply():
                built = inet.ICMP(type=kind, id=sent.identifier, seq=sent.sequence) / sent.data
            case icmpv4.DestinationUnreachable():
                built = inet.ICMP(type=kind, code=code, nexthopmtu=sent.mtu) / sent.invoking
            case _:
                continue
        assert icmpv4.decode_icmpv4(octets(built)) == sent


def test_arp() -> None:
    for sent in sample(ARP, 40):
        built = l2.ARP(
            op=sent.operation,
            hwsrc=sent.sender_mac.hex(":"),
            psrc=str(sent.sender),
            hwdst=sent.target_mac.hex(":"),
            pdst=str(sent.target),
        )
        assert ArpPacket.decode(octets(built)) == sent
