"""Packets that scapy builds are understood here, and its reading of ours agrees."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from scapy.layers import inet, inet6, l2

from dsmip.wire.arp import ArpPacket
from dsmip.wire.constants import BAFlag, BUFlag, NextHeader
from dsmip.wire.icmpv4 import DestinationUnreachable, Icmpv4Message, decode_icmpv4, encode_icmpv4
from dsmip.wire.icmpv4 import EchoRequest as EchoRequest4
from dsmip.wire.icmpv6 import (
    AdvertisementInterval,
    EchoReply,
    EchoRequest,
    HomeAgentAddressDiscoveryReply,
    HomeAgentInformation,
    Icmpv6Message,
    MobilePrefixSolicitation,
    Mtu,
    NeighborAdvertisement,
    NeighborSolicitation,
    PacketTooBig,
    ParameterProblem,
    PrefixInformation,
    RouterAdvertisement,
    RouterSolicitation,
    SourceLinkLayerAddress,
    TargetLinkLayerAddress,
    TimeExceeded,
    decode_icmpv6,
    encode_icmpv6,
)
from dsmip.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    Message,
    decode_message,
    encode_message,
)
from dsmip.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    BindingRefreshAdvice,
    IPv4CareOfAddress,
    IPv4HomeAddress,
    MessageIdentifier,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    MobilityOption,
    NonceIndices,
    UnknownOption,
)
from dsmip.wire.packet import UdpOuter, decode_packet, encapsulate_udp, encode_packet
from dsmip.wire.returnroutability import CareOfTest, HomeTestInit
from tests.wire.wire_vectors import COA, COA4, HA, HA4, HOA, HOA4

HOME_ADDRESS_HEADER = inet6.IPv6ExtHdrDestOpt(options=[inet6.HAO(hoa=str(HOA))])
ROUTING_HEADER = inet6.IPv6ExtHdrRouting(type=2, addresses=[str(HOA)])
MAC = "02:00:5e:10:00:01"
MAC_OCTETS = bytes.fromhex(MAC.replace(":", ""))


def octets(packet: object) -> bytes:
    return bytes(packet)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("flags", ["A", "AH", "AHLK", "AHR", "AHLKMRP", ""])
@pytest.mark.parametrize(
    ("scapy_options", "options"),
    [
        ([], ()),
        ([inet6.MIP6OptAltCoA(acoa=str(COA))], (AlternateCareOfAddress(COA),)),
        (
            [
                inet6.MIP6OptAltCoA(acoa=str(COA)),
                inet6.MIP6OptMobNetPrefix(prefix="2001:db8:aaaa::", plen=56),
                inet6.MIP6OptMNID(subtype=1, id="mn1@example.com"),
                inet6.MIP6OptReplayProtection(timestamp=0xE5A1B2C300000001),
                inet6.MIP6OptMsgAuth(subtype=1, mspi=0x1000, authdata="A" * 12),
            ],
            (
                AlternateCareOfAddress(COA),
                MobileNetworkPrefix.of(IPv6Network("2001:db8:aaaa::/56")),
                MobileNodeIdentifier(b"mn1@example.com"),
                MessageIdentifier(0xE5A1B2C300000001),
                Authentication(0x1000, b"A" * 12),
            ),
        ),
        ([inet6.MIP6OptNonceIndices(olen=4, hni=17, coni=18)], (NonceIndices(17, 18),)),
        ([inet6.MIP6OptUnknown(otype=200, odata=b"abc")], (UnknownOption(200, b"abc"),)),
    ],
)
def test_binding_update(flags: str, scapy_options: list[object], options: tuple[MobilityOption, ...]) -> None:
    built = (
        inet6.IPv6(src=str(COA), dst=str(HA))
        / HOME_ADDRESS_HEADER
        / inet6.MIP6MH_BU(seq=0x1234, flags=flags, mhtime=60, options=scapy_options)
    )
    packet = decode_packet(octets(built))
    assert packet.sender == HOA
    expected = BUFlag(0)
    for letter in flags:
        expected |= BUFlag[letter]
    received = decode_message(packet.payload, packet.sender, packet.recipient)
    assert received == BindingUpdate(0x1234, expected, 60, options)


MESSAGES: list[tuple[object, Message]] = [
    (
        inet6.MIP6MH_BA(status=135, flags="K", seq=7, mhtime=9, options=[inet6.MIP6OptBRAdvice(rinter=45)]),
        BindingAcknowledgement(135, BAFlag.K, 7, 9, (BindingRefreshAdvice(45),)),
    ),
    (inet6.MIP6MH_BE(status=2, ha="::"), BindingError(2, IPv6Address("::"))),
    (inet6.MIP6MH_BRR(), BindingRefreshRequest()),
    (inet6.MIP6MH_HoTI(cookie=b"01234567"), HomeTestInit(b"01234567")),
    (
        inet6.MIP6MH_CoT(index=18, cookie=b"01234567", token=b"89abcdef"),
        CareOfTest(18, b"01234567", b"89abcdef"),
    ),
]


@pytest.mark.parametrize(("scapy_message", "expected"), MESSAGES, ids=lambda value: type(value).__name__)
def test_other_messages(scapy_message: object, expected: Message) -> None:
    packet = decode_packet(octets(inet6.IPv6(src=str(HA), dst=str(COA)) / ROUTING_HEADER / scapy_message))
    assert packet.recipient == HOA
    assert decode_message(packet.payload, packet.sender, packet.recipient) == expected


def test_dual_stack_update_in_udp() -> None:
    built = (
        inet.IP(src=str(COA4), dst=str(HA4), id=1)
        / inet.UDP(sport=4191, dport=4191)
        / inet6.IPv6(src=str(HOA), dst=str(HA))
        / inet6.MIP6MH_BU(
            seq=0x100,
            flags="AH",
            reserved=0x100,
            mhtime=75,
            options=[
                inet6.MIP6OptUnknown(otype=29, odata=bytes((0x80, 0)) + HOA4.packed),
                inet6.MIP6OptUnknown(otype=32, odata=bytes(2) + COA4.packed),
            ],
        )
    )
    packet = decode_packet(octets(built), verify_udp_checksum=True)
    assert packet.udp == UdpOuter(COA4, 4191, HA4, 4191)
    assert decode_message(packet.payload, packet.sender, packet.recipient) == BindingUpdate(
        0x100, BUFlag.A | BUFlag.H | BUFlag.F, 75, (IPv4HomeAddress(HOA4), IPv4CareOfAddress(COA4))
    )


def test_scapy_computes_the_checksums_of_our_outer_headers() -> None:
    """It computes them again when they are taken away, from its own idea of what the packet is."""
    update = encode_message(BindingUpdate(1, BUFlag.A, 2, (AlternateCareOfAddress(COA),)), HOA, HA)
    inner = encode_packet(COA, HA, update, home_address=HOA)
    ours = encapsulate_udp(inner, UdpOuter(COA4, 4191, HA4, 4191))
    parsed = inet.IP(ours)
    del parsed.chksum, parsed[inet.UDP].chksum
    assert octets(parsed) == ours


ICMPV6: list[tuple[object, Icmpv6Message]] = [
    (inet6.ICMPv6EchoRequest(id=1, seq=2, data=b"abc"), EchoRequest(1, 2, b"abc")),
    (inet6.ICMPv6EchoReply(id=1, seq=2, data=b"abc"), EchoReply(1, 2, b"abc")),
    (inet6.ICMPv6PacketTooBig(mtu=1400) / b"quoted", PacketTooBig(1400, b"quoted")),
    (inet6.ICMPv6TimeExceeded(code=1) / b"quoted", TimeExceeded(1, b"quoted")),
    (inet6.ICMPv6ParamProblem(code=2, ptr=64) / b"quoted", ParameterProblem(2, 64, b"quoted")),
    (inet6.ICMPv6ND_RS(), RouterSolicitation()),
    (
        inet6.ICMPv6ND_RA(
            chlim=64, M=1, O=0, H=1, prf=1, routerlifetime=1800, reachabletime=5, retranstimer=6
        )
        / inet6.ICMPv6NDOptSrcLLAddr(lladdr=MAC)
        / inet6.ICMPv6NDOptPrefixInfo(
            prefix=str(HA), prefixlen=64, L=1, A=0, R=1, validlifetime=100, preferredlifetime=50
        )
        / inet6.ICMPv6NDOptMTU(mtu=1400)
        / inet6.ICMPv6NDOptAdvInterval(advint=1500)
        / inet6.ICMPv6NDOptHAInfo(res=0x8000, pref=10, lifetime=1800),
        RouterAdvertisement(
            1800,
            64,
            managed=True,
            home_agent=True,
            preference=1,
            reachable_time=5,
            retrans_timer=6,
            options=(
                SourceLinkLayerAddress(MAC_OCTETS),
                PrefixInformation(IPv6Network("2001:db8:100::/64"), True, False, True, 100, 50, HA),
                Mtu(1400),
                AdvertisementInterval(1500),
                HomeAgentInformation(10, 1800, True),
            ),
        ),
    ),
    (
        inet6.ICMPv6ND_NS(tgt=str(HOA)) / inet6.ICMPv6NDOptSrcLLAddr(lladdr=MAC),
        NeighborSolicitation(HOA, (SourceLinkLayerAddress(MAC_OCTETS),)),
    ),
    (
        inet6.ICMPv6ND_NA(tgt=str(HOA), R=1, S=0, O=1) / inet6.ICMPv6NDOptDstLLAddr(lladdr=MAC),
        NeighborAdvertisement(HOA, True, False, True, (TargetLinkLayerAddress(MAC_OCTETS),)),
    ),
    (inet6.ICMPv6MPSol(id=0x777), MobilePrefixSolicitation(0x777)),
    (
        inet6.ICMPv6HAADReply(id=0x4242, R=1, addresses=[str(HA), str(COA)]),
        HomeAgentAddressDiscoveryReply(0x4242, (HA, COA), True),
    ),
]


@pytest.mark.parametrize(("scapy_message", "expected"), ICMPV6, ids=lambda value: type(value).__name__)
def test_icmpv6(scapy_message: object, expected: Icmpv6Message) -> None:
    built = octets(inet6.IPv6(src=str(HA), dst=str(HOA), hlim=255) / scapy_message)
    packet = decode_packet(built)
    assert packet.next_header == NextHeader.ICMPV6
    assert decode_icmpv6(packet.payload, packet.source, packet.destination) == expected
    assert encode_icmpv6(expected, packet.source, packet.destination) == packet.payload


ICMPV4: list[tuple[object, Icmpv4Message]] = [
    (inet.ICMP(type=8, id=1, seq=2) / b"abc", EchoRequest4(1, 2, b"abc")),
    (inet.ICMP(type=3, code=4, nexthopmtu=1400) / b"quoted", DestinationUnreachable(4, 1400, b"quoted")),
    (inet.ICMP(type=3, code=1) / b"quoted", DestinationUnreachable(1, 0, b"quoted")),
]


@pytest.mark.parametrize(("scapy_message", "expected"), ICMPV4)
def test_icmpv4(scapy_message: object, expected: Icmpv4Message) -> None:
    assert decode_icmpv4(octets(scapy_message)) == expected
    assert encode_icmpv4(expected) == octets(scapy_message)


def test_arp() -> None:
    built = octets(l2.ARP(op=2, hwsrc=MAC, psrc="192.0.2.1", hwdst="02:00:00:00:00:02", pdst="192.0.2.2"))
    ours = ArpPacket(
        2, MAC_OCTETS, IPv4Address("192.0.2.1"), bytes.fromhex("020000000002"), IPv4Address("192.0.2.2")
    )
    assert ArpPacket.decode(built) == ours
    assert ours.encode() == built
