"""Packets that are not what they should be."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mobile_node_bench import (
    CAFE4,
    CONFIG,
    HOME,
    HOME_ADDRESS,
    HOME_AGENT,
    NO_NAT_FORCED,
    WIFI6,
    Bench,
    at,
    drops,
    only,
    registered,
)

from dsmip.core.actions import Drop, SendDatagram, SendPacket
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.icmpv6 import ParameterProblem, decode_icmpv6
from dsmip.wire.messages import BindingError, decode_message
from dsmip.wire.options import BindingRefreshAdvice, IPv4AddressAcknowledgement, NatDetection
from dsmip.wire.packet import decode_packet, encode_packet


def mobility_header(mh_type: int, *, payload_proto: int = 59, header_length: int = 1) -> bytes:
    """A Mobility Header from the home agent to the home address, with a right checksum."""
    body = struct.pack(">BBBBH", payload_proto, header_length, mh_type, 0, 0) + bytes(10)
    checksum = pseudo_checksum_v6(HOME_AGENT, HOME_ADDRESS, 135, body)
    return body[:4] + struct.pack(">H", checksum) + body[6:]


def to_care_of(payload: bytes) -> bytes:
    return encode_packet(HOME_AGENT, WIFI6.address, payload, routing_home_address=HOME_ADDRESS)  # type: ignore[arg-type]


@pytest.mark.parametrize("mh_type", [200, 8, 14, 17, 23], ids=lambda kind: f"type {kind}")
def test_rfc6275_9_2_unknown_mh_type_is_answered_with_binding_error_2(mh_type: int) -> None:
    bench = registered()
    actions = bench.receive(to_care_of(mobility_header(mh_type)), 1.0)
    assert drops(actions) == ["unknown-mh-type"]
    [answer] = only(actions, SendPacket)
    packet = decode_packet(answer.packet)
    assert (packet.source, packet.destination) == (WIFI6.address, HOME_AGENT)
    assert packet.home_address is None
    error = decode_message(packet.payload, packet.source, packet.destination)
    assert isinstance(error, BindingError)
    assert (error.status, int(error.home_address)) == (2, 0)


@pytest.mark.parametrize("source", ["ff02::1", "::"])
def test_rfc6275_9_3_3_no_binding_error_to_other_than_unicast_addresses(source: str) -> None:
    bench = registered()
    data = bytearray(to_care_of(with_checksum(mobility_header(200), IPv6Address(source))))
    data[8:24] = IPv6Address(source).packed
    actions = bench.receive(bytes(data), 1.0)
    assert drops(actions) == ["unknown-mh-type"]
    assert only(actions, SendPacket) == []


def test_rfc6275_9_3_3_binding_errors_are_rate_limited() -> None:
    bench = registered()
    answers = []
    for _ in range(50):
        answers += only(bench.receive(to_care_of(mobility_header(200)), 1.0), SendPacket)
    assert 1 <= len(answers) <= 5


@pytest.mark.parametrize(
    ("header", "offset"),
    [(mobility_header(6, payload_proto=58), 0), (mobility_header(6, header_length=0), 1)],
    ids=["payload proto", "header length"],
)
def test_rfc6275_9_2_wrong_field_is_answered_with_a_parameter_problem(header: bytes, offset: int) -> None:
    bench = registered()
    if offset == 1:
        header = with_checksum(header[:8])
    data = to_care_of(header)
    actions = bench.receive(data, 1.0)
    [answer] = only(actions, SendPacket)
    packet = decode_packet(answer.packet)
    assert (packet.source, packet.destination) == (WIFI6.address, HOME_AGENT)
    problem = decode_icmpv6(packet.payload, packet.source, packet.destination)
    assert isinstance(problem, ParameterProblem)
    assert (problem.code, problem.pointer) == (0, 40 + 24 + offset)
    assert problem.invoking == data


def with_checksum(header: bytes, source: IPv6Address = HOME_AGENT) -> bytes:
    body = header[:4] + bytes(2) + header[6:]
    return body[:4] + struct.pack(">H", pseudo_checksum_v6(source, HOME_ADDRESS, 135, body)) + body[6:]


def test_answer_to_a_message_in_udp_goes_back_in_udp() -> None:
    bench = registered(care_of=CAFE4)
    actions = bench.receive(bench.wrap(mobility_header(200), bench.last), 1.0)
    [answer] = only(actions, SendDatagram)
    sent = bench.last.action
    assert isinstance(sent, SendDatagram)
    assert (answer.local, answer.remote) == (sent.local, sent.remote)


def test_message_for_somebody_else_is_dropped() -> None:
    bench = registered()
    message = mobility_header(200)
    stranger = IPv6Address("2001:db8:9::9")
    assert drops(bench.receive(encode_packet(HOME_AGENT, stranger, message), 1.0)) == ["wrong-destination"]


def test_other_protocols_are_dropped() -> None:
    bench = registered()
    data = encode_packet(HOME_AGENT, HOME_ADDRESS, bytes(8), 17)
    assert drops(bench.receive(data, 1.0)) == ["not-mobility"]


def benches() -> list[Bench]:
    """A mobile node in each of its states."""
    detached, returning, registering = Bench(), Bench(), Bench()
    returning.attach(0.0, home=HOME)
    registering.attach(0.0, WIFI6)
    return [detached, returning, registering, registered(), registered(care_of=CAFE4)]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_are_dropped(data: bytes) -> None:
    for bench in benches():
        actions = bench.receive(data, 1.0)
        assert len(only(actions, Drop)) == 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_change_to_an_acknowledgement_is_noticed(data: st.DataObject) -> None:
    for care_of in (WIFI6, CAFE4):
        bench = Bench()
        bench.attach(0.0, care_of)
        options = (NO_NAT_FORCED,) if care_of is CAFE4 else ()
        good = bench.acknowledgement(bench.last, options)
        start = len(good) - len(decode_packet(good).payload)
        at_octet = data.draw(st.integers(start, len(good) - 1))
        change = data.draw(st.integers(1, 255))
        bad = bytearray(good)
        bad[at_octet] ^= change
        actions = bench.receive(bytes(bad), 0.1)
        assert len(only(actions, Drop)) == 1
        assert bench.node.state(at(0.1)) is MobileNodeState.REGISTERING


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_truncation_of_an_acknowledgement_is_dropped(data: st.DataObject) -> None:
    for care_of in (WIFI6, CAFE4):
        bench = Bench()
        bench.attach(0.0, care_of)
        good = bench.acknowledgement(bench.last)
        actions = bench.receive(good[: data.draw(st.integers(0, len(good) - 1))], 0.1)
        assert len(only(actions, Drop)) == 1
        assert bench.node.state(at(0.1)) is MobileNodeState.REGISTERING


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_authentic_answer_is_survived_without_hammering(data: st.DataObject) -> None:
    """Even a home agent gone mad gets a handful of updates a second, and the timer always moves on."""
    octet, units = st.integers(0, 255), st.integers(0, 0xFFFF)
    options = st.lists(
        st.one_of(
            st.builds(NatDetection, st.booleans(), st.integers(0, 0xFFFFFFFF)),
            st.builds(BindingRefreshAdvice, units),
            st.builds(IPv4AddressAcknowledgement, octet, st.ip_addresses(v=4), st.integers(0, 63)),
        ),
        max_size=3,
    )
    config = replace(
        CONFIG, ipv4_home_address="dynamic", ipv4_prefix_request=28, mobile_router=data.draw(st.booleans())
    )
    bench = Bench(config)
    places = ((WIFI6,), (CAFE4,), (CAFE4, WIFI6), ())
    for _ in range(data.draw(st.integers(1, 12))):
        home = data.draw(st.sampled_from((None, None, None, HOME)))
        bench.attach(bench.time, *data.draw(st.sampled_from(places)), home=home)
        for _ in range(3):
            if bench.sent:
                bench.answer(
                    status=data.draw(st.one_of(st.sampled_from((0, 129, 135, 139, 144)), octet)),
                    lifetime=data.draw(units),
                    flags=data.draw(octet),
                    options=tuple(data.draw(options)),
                )
        start, count = bench.time, len(bench.sent)
        bench.run(start + data.draw(st.sampled_from((0.01, 1.0, 40.0))))
        assert len(bench.sent) - count <= 2 + 2 * (bench.time - start)
