"""What is true of damaged vectors is true of damaged messages of every kind."""

from __future__ import annotations

import random
from ipaddress import IPv6Address

import pytest
from fuzz.mutation import mutate
from hypothesis import given, settings
from hypothesis import strategies as st

from dsmip.wire.arp import ArpPacket
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv4 import Icmpv4Message, decode_icmpv4, encode_icmpv4
from dsmip.wire.icmpv6 import Icmpv6Message, decode_icmpv6, encode_icmpv6
from dsmip.wire.messages import Message, UnknownMessage, covered_octets, decode_message, encode_message
from dsmip.wire.packet import UdpOuter, decode_packet, encapsulate_udp, encode_packet
from tests.oracles.strategies import (
    ARP,
    ICMPV4,
    ICMPV6,
    IPV4,
    OPTIONS,
    ROUTABLE,
    SIGNED_OPTIONS,
    U16,
    each_message,
    message,
)
from tests.wire.wire_vectors import HA, HOA

EACH_MESSAGE = each_message(OPTIONS | SIGNED_OPTIONS)
OUTER = st.none() | st.builds(UdpOuter, IPV4, U16, IPV4, U16)
MESSAGE = message(OPTIONS | SIGNED_OPTIONS)


@pytest.mark.parametrize("kind", range(len(EACH_MESSAGE)))
@settings(max_examples=12)
@given(data=st.data())
def test_every_prefix_of_every_message_is_refused(kind: int, data: st.DataObject) -> None:
    header = encode_message(data.draw(EACH_MESSAGE[kind]), HOA, HA)
    for length in range(len(header)):
        for verify in (True, False):
            with pytest.raises(DecodeError):
                decode_message(header[:length], HOA, HA, verify_checksum=verify)


@settings(max_examples=60)
@given(MESSAGE, ROUTABLE, ROUTABLE, st.none() | ROUTABLE, OUTER)
def test_every_prefix_of_every_packet_is_refused(
    sent: Message,
    source: IPv6Address,
    destination: IPv6Address,
    home: IPv6Address | None,
    outer: UdpOuter | None,
) -> None:
    header = encode_message(sent, home or source, destination)
    packet = encode_packet(source, destination, header, home_address=home)
    if outer is not None:
        packet = encapsulate_udp(packet, outer)
    for length in range(len(packet)):
        with pytest.raises(DecodeError):
            decode_packet(packet[:length])


@settings(max_examples=300)
@given(MESSAGE, st.integers(0, 2**32))
def test_mutated_message_is_read_or_refused(sent: Message, seed: int) -> None:
    damaged = mutate(encode_message(sent, HOA, HA), random.Random(seed))
    covered_octets(damaged)
    try:
        received = decode_message(damaged, HOA, HA, verify_checksum=False)
    except DecodeError:
        return
    if isinstance(received, UnknownMessage):
        # Of one that says it is longer than it is there is no telling where it ends.
        return
    # What was read can be written, and then reads the same.
    assert decode_message(encode_message(received, HOA, HA), HOA, HA) == received


@settings(max_examples=200)
@given(ICMPV6, st.integers(0, 2**32))
def test_mutated_icmpv6_is_read_or_refused(sent: Icmpv6Message, seed: int) -> None:
    damaged = mutate(encode_icmpv6(sent, HA, HOA), random.Random(seed))
    try:
        received = decode_icmpv6(damaged, HA, HOA, verify_checksum=False)
    except DecodeError:
        return
    assert decode_icmpv6(encode_icmpv6(received, HA, HOA), HA, HOA) == received


@given(ICMPV6)
def test_every_prefix_of_an_icmpv6_message_is_read_or_refused(sent: Icmpv6Message) -> None:
    octets = encode_icmpv6(sent, HA, HOA)
    for length in range(len(octets)):
        try:
            assert isinstance(decode_icmpv6(octets[:length], HA, HOA, False), Icmpv6Message)
        except DecodeError:
            continue


@given(ICMPV4, st.integers(0, 2**32))
def test_mutated_icmpv4_is_read_or_refused(sent: Icmpv4Message, seed: int) -> None:
    damaged = mutate(encode_icmpv4(sent), random.Random(seed))
    try:
        received = decode_icmpv4(damaged, verify_checksum=False)
    except DecodeError:
        return
    assert decode_icmpv4(encode_icmpv4(received)) == received


@given(ARP)
def test_every_prefix_of_an_arp_packet_is_refused(sent: ArpPacket) -> None:
    octets = sent.encode()
    for length in range(len(octets)):
        with pytest.raises(DecodeError):
            ArpPacket.decode(octets[:length])
