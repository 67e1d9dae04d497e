"""No octets make a decoder raise anything but DecodeError, loop, or take a damaged message for a good one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsmip.wire.arp import ArpPacket
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv4 import Icmpv4Message, decode_icmpv4
from dsmip.wire.icmpv6 import Icmpv6Message, decode_icmpv6
from dsmip.wire.ip import IPv4Header, IPv6Header, UdpHeader
from dsmip.wire.messages import Message, UnknownMessage, covered_octets, decode_message, encode_message
from dsmip.wire.packet import Packet, decode_packet, encode_packet
from tests.oracles.strategies import OPTIONS, message
from tests.wire.wire_vectors import HA, HOA, VECTORS


def digest(data: bytes, *, verify: bool) -> Message | Icmpv6Message | Packet | DecodeError:
    """Decode as deep as it goes."""
    try:
        packet = decode_packet(data, verify_udp_checksum=verify)
    except DecodeError as error:
        return error
    covered = covered_octets(packet.payload)
    assert covered is None or packet.payload.startswith(covered[:4])
    try:
        if packet.next_header == NextHeader.MOBILITY:
            return decode_message(packet.payload, packet.sender, packet.recipient, verify_checksum=verify)
        if packet.next_header == NextHeader.ICMPV6:
            return decode_icmpv6(packet.payload, packet.sender, packet.recipient, verify)
    except DecodeError as error:
        return error
    return packet


#: The vectors that are a mobility message.
MESSAGES = [name for name, data in VECTORS.items() if isinstance(digest(data, verify=True), Message)]


def test_most_vectors_are_messages() -> None:
    assert len(MESSAGES) == 40


@pytest.mark.parametrize("name", VECTORS)
def test_every_truncation_is_refused(name: str) -> None:
    data = VECTORS[name]
    for length in range(len(data)):
        for verify in (True, False):
            assert isinstance(digest(data[:length], verify=verify), DecodeError)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_truncation_of_the_mobility_header_is_refused(name: str) -> None:
    """The IPv6 header knows of the truncation, as it would if the sender had made it."""
    packet = decode_packet(VECTORS[name])
    for length in range(len(packet.payload)):
        with pytest.raises(DecodeError):
            decode_message(packet.payload[:length], packet.sender, packet.recipient)
        data = encode_packet(packet.source, packet.destination, packet.payload[:length])
        cut = digest(data, verify=False)
        assert isinstance(cut, DecodeError | UnknownMessage)


@pytest.mark.parametrize("name", VECTORS)
def test_every_bit_flip_is_a_message_or_refused(name: str) -> None:
    for damaged in bit_flips(VECTORS[name]):
        for verify in (True, False):
            assert isinstance(digest(damaged, verify=verify), Message | Icmpv6Message | Packet | DecodeError)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_bit_flip_in_a_mobility_header_is_refused(name: str) -> None:
    packet = decode_packet(VECTORS[name])
    for damaged in bit_flips(packet.payload):
        with pytest.raises(DecodeError):
            decode_message(damaged, packet.sender, packet.recipient)


def bit_flips(data: bytes) -> list[bytes]:
    number = int.from_bytes(data, "big")
    return [(number ^ 1 << bit).to_bytes(len(data), "big") for bit in range(8 * len(data))]


@given(st.binary(max_size=120))
@example(b"")
@example(b"\x60")
def test_random_octets(data: bytes) -> None:
    digest(data, verify=False)
    covered_octets(data)
    for decode in (
        lambda: decode_message(data, HOA, HA, verify_checksum=False),
        lambda: decode_icmpv6(data, HOA, HA, False),
        lambda: decode_icmpv4(data, False),
        lambda: ArpPacket.decode(data),
        lambda: IPv4Header.decode(data),
        lambda: IPv6Header.decode(data),
        lambda: UdpHeader.decode(data),
    ):
        try:
            result = decode()
        except DecodeError:
            continue
        assert isinstance(
            result, Message | Icmpv6Message | Icmpv4Message | ArpPacket | IPv4Header | IPv6Header | UdpHeader
        )


@given(st.integers(0, 255), st.binary(min_size=6, max_size=160))
def test_random_body_of_every_message_type(mh_type: int, body: bytes) -> None:
    header = bytes((59, len(body) // 8, mh_type, 0, 0, 0)) + body
    try:
        decoded = decode_message(header, HOA, HA, verify_checksum=False)
    except DecodeError:
        return
    assert isinstance(decoded, Message)


@given(st.integers(0, 255), st.binary(min_size=4, max_size=120))
def test_random_body_of_every_icmpv6_type(kind: int, body: bytes) -> None:
    try:
        decoded = decode_icmpv6(bytes((kind, 0, 0, 0)) + body, HOA, HA, verify_checksum=False)
    except DecodeError:
        return
    assert isinstance(decoded, Icmpv6Message)


@given(
    st.sampled_from([0, 43, 44, 60]),
    st.lists(st.tuples(st.sampled_from([0, 43, 44, 60]), st.binary(max_size=30))),
)
def test_random_extension_headers(first: int, headers: list[tuple[int, bytes]]) -> None:
    payload = b""
    for next_header, content in headers:
        size = -(-(2 + len(content)) // 8)
        payload += (bytes((next_header, size - 1)) + content).ljust(8 * size, b"\0")
    digest(encode_packet(HOA, HA, payload, first), verify=False)


@given(message(OPTIONS), st.data())
def test_one_changed_octet_is_never_accepted(sent: Message, data: st.DataObject) -> None:
    header = bytearray(encode_message(sent, HOA, HA))
    index = data.draw(st.integers(0, len(header) - 1))
    header[index] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecodeError):
        decode_message(bytes(header), HOA, HA)
