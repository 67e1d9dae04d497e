"""Whatever can be said is understood as it was meant."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st

from dsmip.wire import icmpv4
from dsmip.wire.arp import ArpPacket
from dsmip.wire.checksum import internet_checksum, pseudo_checksum_v4, pseudo_checksum_v6
from dsmip.wire.constants import BUFlag
from dsmip.wire.icmpv6 import Icmpv6Message, decode_icmpv6, encode_icmpv6
from dsmip.wire.ip import IPv4Header, IPv6Header, UdpHeader, encode_udp
from dsmip.wire.messages import BindingUpdate, Message, covered_octets, decode_message, encode_message
from dsmip.wire.options import (
    MN_HA,
    AuthenticatingOption,
    Authentication,
    BindingAuthorizationData,
    MobilityOption,
)
from dsmip.wire.packet import UdpOuter, decode_packet, encapsulate_udp, encode_packet
from dsmip.wire.tlv import walk
from tests.oracles.strategies import (
    ARP,
    EXPERIMENTAL_MESSAGE,
    ICMPV4,
    ICMPV6,
    IPV4,
    IPV6,
    OPTIONS,
    ROUTABLE,
    SIGNED_OPTIONS,
    U8,
    U16,
    UNKNOWN_MESSAGE,
    message,
)
from tests.wire.wire_vectors import HA, HOA


@settings(max_examples=400)
@given(message(OPTIONS) | UNKNOWN_MESSAGE | EXPERIMENTAL_MESSAGE, IPV6, IPV6)
def test_message(sent: Message, source: IPv6Address, destination: IPv6Address) -> None:
    header = encode_message(sent, source, destination)
    assert len(header) % 8 == 0
    assert len(header) == 8 * (header[1] + 1)
    received = decode_message(header, source, destination)
    assert received == sent
    assert type(received) is type(sent)


@given(message(SIGNED_OPTIONS), IPV6, IPV6)
def test_signed_message(sent: Message, source: IPv6Address, destination: IPv6Address) -> None:
    covered = []

    def sign(octets: bytes) -> bytes:
        covered.append(octets)
        return bytes(len(option.authenticator))

    option = sent.options[-1]
    assert isinstance(option, AuthenticatingOption)
    header = encode_message(sent, source, destination, sign)
    received = decode_message(header, source, destination)
    assert received.options == (
        *sent.options[:-1],
        option.with_authenticator(bytes(len(option.authenticator))),
    )
    assert header[6:].startswith(covered[0][6:])
    if (isinstance(option, Authentication) and option.subtype == MN_HA) or isinstance(
        option, BindingAuthorizationData
    ):
        assert covered_octets(header) == covered[0]


@given(SIGNED_OPTIONS | OPTIONS)
def test_rfc6275_6_2_1_every_option_is_aligned(options: tuple[MobilityOption, ...]) -> None:
    header = encode_message(BindingUpdate(0, BUFlag(0), 0, options), HOA, HA)
    starts = [start - 2 for _, start, _ in walk(header, BindingUpdate.OPTIONS_AT, len(header))]
    assert len(starts) == len(options)
    for start, option in zip(starts, options, strict=True):
        modulus, remainder = option.alignment
        assert start % modulus == remainder


@settings(max_examples=300)
@given(ICMPV6, ROUTABLE, IPV6)
def test_icmpv6(sent: Icmpv6Message, source: IPv6Address, destination: IPv6Address) -> None:
    received = decode_icmpv6(encode_icmpv6(sent, source, destination), source, destination)
    assert received == sent
    assert type(received) is type(sent)


@given(ICMPV4)
def test_icmpv4(sent: icmpv4.Icmpv4Message) -> None:
    received = icmpv4.decode_icmpv4(icmpv4.encode_icmpv4(sent))
    assert received == sent
    assert type(received) is type(sent)


@given(ARP, st.binary(max_size=18))
def test_arp(sent: ArpPacket, tail: bytes) -> None:
    assert len(sent.encode()) == 28
    assert ArpPacket.decode(sent.encode() + tail) == sent


@given(
    IPV6,
    IPV6,
    st.binary(max_size=64),
    st.sampled_from([6, 17, 41, 50, 58, 59, 135]),
    st.none() | ROUTABLE,
    st.none() | ROUTABLE,
    U8,
    st.none() | st.builds(UdpOuter, IPV4, U16, IPV4, U16),
    st.binary(max_size=8),
)
def test_packet(
    source: IPv6Address,
    destination: IPv6Address,
    payload: bytes,
    next_header: int,
    home_address: IPv6Address | None,
    routing_home_address: IPv6Address | None,
    hop_limit: int,
    udp: UdpOuter | None,
    tail: bytes,
) -> None:
    """`tail` is what a short Ethernet frame is filled up with."""
    inner = encode_packet(
        source,
        destination,
        payload,
        next_header,
        home_address=home_address,
        routing_home_address=routing_home_address,
        hop_limit=hop_limit,
    )
    whole = encapsulate_udp(inner, udp) if udp else inner
    packet = decode_packet(whole + tail, verify_udp_checksum=True)
    assert packet.raw == inner
    assert packet.udp == udp
    assert (packet.source, packet.destination) == (source, destination)
    assert (packet.home_address, packet.routing_home_address) == (home_address, routing_home_address)
    assert (packet.sender, packet.recipient) == (
        home_address or source,
        routing_home_address or destination,
    )
    assert (packet.next_header, packet.payload, packet.hop_limit) == (next_header, payload, hop_limit)
    assert packet.raw[packet.payload_offset :] == payload


@given(
    st.builds(
        IPv4Header,
        IPV4,
        IPV4,
        U8,
        st.integers(0, 100),
        U8,
        U8,
        U16,
        st.booleans(),
        st.booleans(),
        st.integers(0, 0x1FFF).map(lambda units: 8 * units),
        st.just(20),
    )
)
def test_ipv4_header(sent: IPv4Header) -> None:
    assert IPv4Header.decode(sent.encode() + bytes(sent.payload_length)) == sent


@given(st.builds(IPv6Header, IPV6, IPV6, U8, st.integers(0, 100), U8, U8, st.integers(0, 0xFFFFF)))
def test_ipv6_header(sent: IPv6Header) -> None:
    assert IPv6Header.decode(sent.encode() + bytes(sent.payload_length)) == sent


@given(IPV4, IPV4, IPV6, IPV6, U16, U16, st.binary(max_size=40))
def test_udp(
    source4: IPv4Address,
    destination4: IPv4Address,
    source6: IPv6Address,
    destination6: IPv6Address,
    source_port: int,
    destination_port: int,
    payload: bytes,
) -> None:
    over_ipv4 = encode_udp(source4, source_port, destination4, destination_port, payload)
    over_ipv6 = encode_udp(source6, source_port, destination6, destination_port, payload)
    assert pseudo_checksum_v4(source4, destination4, 17, over_ipv4) == 0
    assert pseudo_checksum_v6(source6, destination6, 17, over_ipv6) == 0
    for datagram in (over_ipv4, over_ipv6):
        header = UdpHeader.decode(datagram)
        assert (header.source_port, header.destination_port) == (source_port, destination_port)
        assert header.length == len(datagram)
        assert header.checksum != 0
        assert datagram[8:] == payload


@given(st.binary(max_size=70))
def test_rfc1071_checksum_is_the_folded_sum_of_words(data: bytes) -> None:
    even = data + bytes(len(data) % 2)
    total = sum(int.from_bytes(even[index : index + 2], "big") for index in range(0, len(even), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    assert internet_checksum(data) == total ^ 0xFFFF
