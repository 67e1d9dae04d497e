"""What a mobile node believes, and what it does about it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from mobile_node_bench import (
    BEHIND_NAT,
    CAFE4,
    CONFIG,
    HOME,
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_AGENT_IPV4,
    NAT4,
    NO_NAT,
    OTHER6,
    WIFI6,
    Bench,
    at,
    drops,
    event,
    only,
    registered,
)

from dsmip.core.actions import HomeAddressesChanged, InstallPath
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.types import CareOfAddress, IPv4Grant, Nat
from dsmip.wire.messages import BindingError, BindingRefreshRequest, decode_message, encode_message
from dsmip.wire.options import (
    BindingRefreshAdvice,
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
    MessageIdentifier,
    find,
)
from dsmip.wire.packet import UdpOuter, decode_packet, encapsulate_udp, encode_packet

REGISTERING, REGISTERED = MobileNodeState.REGISTERING, MobileNodeState.REGISTERED

# Believing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 127])
def test_rfc6275_11_7_3_status_below_128_is_accepted(status: int) -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    assert bench.node.state(at(0.0)) is REGISTERING
    actions = bench.answer(time=0.02, status=status)
    assert bench.node.state(at(0.02)) is REGISTERED
    assert bench.node.last_status == status
    fields = event(actions, "binding-acknowledged").fields
    assert fields["status"] == status
    assert fields["rtt_ms"] == 20.0
    assert fields["format"] == "ipv6"


def test_rfc6275_11_7_3_acknowledgement_of_an_earlier_transmission_counts() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.run(5.0)
    bench.answer(bench.sent[0])
    assert bench.node.state(at(5.0)) is REGISTERED
    assert drops(bench.answer(bench.sent[1])) == ["not-outstanding"]


def test_rfc6275_11_7_3_acknowledgement_of_a_binding_that_is_over_is_not_believed() -> None:
    """The lifetime counts from the Binding Update: here it has ended on the way."""
    bench = Bench(replace(CONFIG, lifetime=8))
    bench.attach(0.0, WIFI6)
    assert drops(bench.answer(bench.sent[0], time=8.0)) == ["too-late"]
    assert bench.node.state(at(8.0)) is REGISTERING
    assert bench.node.last_status is None
    assert drops(bench.answer(bench.sent[1], lifetime=1)) == ["too-late"]
    bench.answer(bench.sent[2])
    assert bench.node.lifetime_left(at(8.0)) == 4.5


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"sequence": 7}, "sequence"),
        ({"timestamp": 7}, "not-outstanding"),
        ({"key": bytes(16)}, "authenticator"),
        ({"care_of": IPv6Address("2001:db8:666::1")}, "authenticator"),
        ({"spi": 4097}, "authenticator"),
        ({"after": (BindingRefreshAdvice(1),)}, "authenticator"),
        ({"status": 135, "sequence": 7, "key": bytes(16)}, "authenticator"),
        ({"status": 146, "key": bytes(16)}, "authenticator"),
    ],
)
def test_rfc6275_11_7_3_what_does_not_match_is_ignored_and_retransmission_goes_on(
    fields: dict[str, object], reason: str
) -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    actions = bench.receive(bench.acknowledgement(bench.last, **fields), 0.5)  # type: ignore[arg-type]
    assert drops(actions) == [reason]
    assert bench.node.state(at(0.5)) is REGISTERING
    assert bench.node.last_status is None
    bench.run(5.0)
    assert [sent.time for sent in bench.sent] == [0.0, 1.5, 4.5]


def test_rfc4285_5_acknowledgement_without_authentication_is_dropped() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.config = replace(CONFIG, authentication="none")
    assert drops(bench.answer(time=0.1)) == ["timestamp"]
    timestamp = MessageIdentifier(bench.last.timestamp)
    assert drops(bench.answer(time=0.1, options=(timestamp,))) == ["unauthenticated"]
    assert bench.node.state(at(0.1)) is REGISTERING


def test_rfc6275_9_5_4_acknowledgement_away_from_home_carries_the_home_address() -> None:
    bench = Bench(replace(CONFIG, authentication="none"))
    bench.attach(0.0, WIFI6)
    packet = decode_packet(bench.acknowledgement(bench.last))
    message = decode_message(packet.payload, packet.sender, packet.recipient)
    bare = encode_message(message, HOME_AGENT, WIFI6.address)  # type: ignore[arg-type]
    data = encode_packet(HOME_AGENT, WIFI6.address, bare)  # type: ignore[arg-type]
    assert drops(bench.receive(data, 0.1)) == ["routing-header"]


def test_home_agent_named_in_a_home_address_option_only_is_not_believed() -> None:
    bench = Bench(replace(CONFIG, authentication="none"))
    bench.attach(0.0, WIFI6)
    message = decode_packet(bench.acknowledgement(bench.last)).payload
    stranger = IPv6Address("2001:db8:666::1")
    data = encode_packet(
        stranger, WIFI6.address, message, home_address=HOME_AGENT, routing_home_address=HOME_ADDRESS
    )
    assert drops(bench.receive(data, 0.1)) == ["unknown-sender"]
    data = encode_packet(
        HOME_AGENT, WIFI6.address, message, home_address=HOME_AGENT, routing_home_address=HOME_ADDRESS
    )
    assert drops(bench.receive(data, 0.1)) == ["unknown-sender"]


def test_authentication_none_matches_by_sequence_number() -> None:
    bench = Bench(replace(CONFIG, authentication="none"))
    bench.attach(0.0, WIFI6)
    assert drops(bench.answer(time=0.1, sequence=1)) == ["not-outstanding"]
    bench.answer(time=0.1)
    assert bench.node.state(at(0.1)) is REGISTERED


def test_rfc6275_9_2_wrong_checksum_is_dropped_silently() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    data = bytearray(bench.acknowledgement(bench.last))
    data[-1] ^= 0xFF
    assert drops(bench.receive(bytes(data), 0.1)) == ["checksum"]


def test_acknowledgement_from_somebody_else_is_dropped() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    stranger = IPv6Address("2001:db8:666::1")
    message = encode_message(BindingRefreshRequest(()), stranger, HOME_ADDRESS)
    packet = encode_packet(stranger, WIFI6.address, message, routing_home_address=HOME_ADDRESS)
    assert drops(bench.receive(packet, 0.1)) == ["unknown-sender"]


def test_rfc6275_11_7_3_acknowledgement_must_come_to_the_care_of_address_with_the_home_address() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6, OTHER6)
    data = bench.acknowledgement(bench.last)
    elsewhere = data[:24] + OTHER6.address.packed + data[40:]
    assert drops(bench.receive(elsewhere, 0.1)) == ["wrong-destination"]


@pytest.mark.parametrize(("source", "port"), [(IPv4Address("203.0.113.9"), 4191), (HOME_AGENT_IPV4, 4192)])
def test_rfc5555_4_2_acknowledgement_from_a_wrong_udp_source_is_dropped(
    source: IPv4Address, port: int
) -> None:
    bench = Bench()
    bench.attach(0.0, CAFE4)
    inner = bench.acknowledgement(bench.last, (NO_NAT,))[28:]
    forged = encapsulate_udp(inner, UdpOuter(source, port, IPv4Address("198.51.100.7"), 4191))
    assert drops(bench.receive(forged, 0.1)) == ["wrong-udp-source"]


def test_acknowledgement_of_an_update_in_udp_must_come_in_udp() -> None:
    bench = Bench()
    bench.attach(0.0, CAFE4)
    inner = bench.acknowledgement(bench.last, (NO_NAT,))[28:]
    assert drops(bench.receive(inner, 0.1)) == ["not-in-udp"]


def test_answer_to_the_previous_care_of_address_comes_too_late() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    old = bench.last
    bench.attach(0.1, OTHER6)
    assert drops(bench.receive(bench.acknowledgement(old), 0.2)) == ["not-outstanding"]
    assert bench.node.state(at(0.2)) is REGISTERING


# Binding Refresh Advice, Binding Refresh Request, Binding Error ---------------------------------------------


def test_rfc6275_11_7_3_refresh_advice_is_honoured() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.02, options=(BindingRefreshAdvice(25),))
    bench.run(101.0)
    assert bench.sent[1].time == 80.0


def from_home_agent(message: object, care_of: CareOfAddress = WIFI6) -> bytes:
    octets = encode_message(message, HOME_AGENT, HOME_ADDRESS)  # type: ignore[arg-type]
    return encode_packet(HOME_AGENT, care_of.address, octets, routing_home_address=HOME_ADDRESS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "message",
    [BindingRefreshRequest(()), BindingError(1, HOME_ADDRESS)],
    ids=["RFC 6275 11.7.4", "RFC 6275 11.3.6"],
)
def test_asked_for_an_update_the_mobile_node_registers_again(message: object) -> None:
    bench = registered()
    bench.receive(from_home_agent(message), 50.0)
    assert bench.last.time == 50.0
    bench.answer(time=50.1)
    bench.receive(from_home_agent(message), 50.5)
    assert len(bench.sent) == 2  # anybody can forge it: once a second is enough


def test_tiny_lifetimes_are_refreshed_once_a_second_at_most() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    bench.answer(time=1.4, lifetime=1, options=(BindingRefreshAdvice(1),))
    bench.run(2.3)
    assert len(bench.sent) == 1
    bench.run(2.4)
    assert len(bench.sent) == 2


def test_rfc6275_11_7_4_refresh_request_without_a_binding_is_ignored() -> None:
    bench = Bench()
    bench.attach(0.0, WIFI6)
    assert drops(bench.receive(from_home_agent(BindingRefreshRequest(())), 1.2)) == [
        "binding-refresh-request"
    ]
    assert len(bench.sent) == 1


def test_rfc6275_11_3_6_binding_error_2_changes_nothing() -> None:
    bench = registered()
    assert drops(bench.receive(from_home_agent(BindingError(2, HOME_ADDRESS)), 50.0)) == ["binding-error"]
    assert bench.node.state(at(50.0)) is REGISTERED


# IPv4 home addresses ----------------------------------------------------------------------------------------


def test_rfc5555_4_4_2_granted_ipv4_home_address_is_adopted_and_refused_later() -> None:
    bench = Bench(replace(CONFIG, ipv4_home_address="dynamic"))
    bench.attach(0.0, WIFI6)
    granted = IPv4AddressAcknowledgement(0, IPv4Address("10.1.0.5"), 32)
    actions = bench.answer(time=0.02, options=(granted,))
    networks = (IPv6Network(HOME_ADDRESS), IPv4Network("10.1.0.5/32"))
    assert only(actions, HomeAddressesChanged) == [HomeAddressesChanged(networks)]
    assert only(actions, InstallPath)[-1].networks == networks
    assert bench.node.ipv4_grants == (IPv4Grant.of(IPv4Network("10.1.0.5/32"), dynamic=True),)
    bench.run(480.0)
    assert find(bench.last.update.options, IPv4HomeAddress) == IPv4HomeAddress(IPv4Address("10.1.0.5"), 32)
    refused = IPv4AddressAcknowledgement(130, IPv4Address("10.1.0.5"), 0)
    actions = bench.answer(time=480.02, options=(refused,))
    assert only(actions, HomeAddressesChanged) == [HomeAddressesChanged(networks[:1])]
    assert bench.node.ipv4_refusals == (130,)
    # There may be another one, so ask at once, but only once.
    assert bench.last.time == 480.02
    assert find(bench.last.update.options, IPv4HomeAddress) == IPv4HomeAddress(IPv4Address(0), 32)
    bench.answer(time=480.04, options=(IPv4AddressAcknowledgement(132, IPv4Address(0), 0),))
    assert bench.last.time == 480.02


def test_rfc5555_2_3_1_home_agent_without_ipv4_is_asked_again_after_a_visit_home() -> None:
    bench = Bench(replace(CONFIG, ipv4_home_address="dynamic"))
    bench.attach(0.0, WIFI6)
    bench.answer(time=0.02)
    bench.attach(1.0, OTHER6)
    assert find(bench.last.update.options, IPv4HomeAddress) is None
    bench.attach(2.0, home=HOME)
    bench.answer(time=2.02)
    bench.attach(3.0, WIFI6)
    assert find(bench.last.update.options, IPv4HomeAddress) is not None


# NAT --------------------------------------------------------------------------------------------------------


def test_rfc5555_4_3_nat_mapping_is_kept_alive_by_binding_updates() -> None:
    bench = Bench()
    bench.attach(0.0, NAT4)
    actions = bench.answer(time=0.02, options=(BEHIND_NAT,))
    assert bench.node.nat is Nat.DETECTED
    assert event(actions, "binding-acknowledged").fields["nat"] == "detected"
    bench.run(109.0)
    assert len(bench.sent) == 1
    bench.answer(time=110.0, options=(BEHIND_NAT,))
    bench.run(220.0)
    assert [sent.time for sent in bench.sent] == [0.0, 110.0, 220.0]


def test_rfc5555_3_2_2_all_ones_means_no_keepalives() -> None:
    bench = registered(care_of=CAFE4)
    bench.run(400.0)
    assert len(bench.sent) == 1
