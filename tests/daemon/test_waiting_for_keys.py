"""Binding Updates wait for negotiated keys; unanswered for long, they make for another negotiation."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Any

import pytest

from dsmip.core.actions import SendDatagram, SendPacket
from dsmip.core.types import UdpEndpoint
from dsmip.daemon import protection
from dsmip.daemon.protection import Peer, Send, SignallingProtection, is_signalling
from dsmip.host.protected_socket import Decrypted
from dsmip.wire.icmpv6 import MobilePrefixSolicitation, encode_icmpv6
from dsmip.wire.packet import encode_packet

HOME, HOME_AGENT = IPv6Address("2001:db8:100::20"), IPv6Address("2001:db8:ffff::1")
CARE_OF, OTHER = IPv6Address("2001:db8:1::33"), IPv6Address("2001:db8:100::66")
PEER = Peer(HOME, HOME_AGENT, 77, waits=True)


class FakeXfrm:
    """Takes everything."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments: None


class FakeSocket:
    """What the kernel is given to encrypt, and what it has decrypted."""

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.sent: list[bytes] = []
        self.arrived: list[Decrypted] = []

    def send(self, _source: object, _destination: object, message: bytes, _tag: int, _interface: int) -> bool:
        self.sent.append(message)
        return True

    def receive(self) -> Iterator[Decrypted]:
        yield from self.arrived


class Told:
    """Stands for who negotiates."""

    def __init__(self) -> None:
        self.what: list[str] = []

    def waiting(self, _peer: Peer) -> None:
        self.what.append("waiting")

    def silent(self, _peer: Peer) -> None:
        self.what.append("silent")

    def heard(self, _peer: Peer) -> None:
        self.what.append("heard")


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.socket, self.icmpv6 = FakeSocket(135), FakeSocket(58)
        opened = SimpleNamespace(
            of_mobility_headers=lambda _mark: self.socket, of_icmpv6=lambda _types, _mark: self.icmpv6
        )
        monkeypatch.setattr(protection, "Xfrm", FakeXfrm)
        monkeypatch.setattr(protection, "ProtectedSocket", opened)
        monkeypatch.setattr(protection.time, "monotonic", lambda: self.now)
        self.told = Told()
        self.protection = SignallingProtection(
            lambda _packet: True, lambda _packet: None, lambda _action: None
        )
        self.protection.keys = self.told
        self.protection.add(PEER)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def update(number: int, interface: str = "eth0", home_agent: IPv6Address = HOME_AGENT) -> SendPacket:
    packet = encode_packet(CARE_OF, home_agent, bytes([59, 0, 5, 0, 0, number]), home_address=HOME)
    return SendPacket(packet, interface)


def update_in_udp(number: int, interface: str) -> SendDatagram:
    packet = encode_packet(HOME, HOME_AGENT, bytes([59, 0, 5, 0, 0, number]))
    local, remote = (UdpEndpoint(IPv4Address(a), 4191) for a in ("10.0.0.2", "192.0.2.1"))
    return SendDatagram(packet, local, remote, interface)


def numbers(bench: Bench) -> list[int]:
    return [message[5] for message in bench.socket.sent]


def test_without_keys_nothing_is_sent_and_the_latest_of_each_interface_waits(bench: Bench) -> None:
    messages: list[Send] = [update(1), update_in_udp(2, "wwan0"), update(3)]
    assert all(bench.protection.protects(message) for message in messages)
    assert bench.socket.sent == []
    assert bench.told.what == ["waiting"] * 3
    assert bench.protection.held(PEER) == messages[2]
    bench.protection.ready(PEER, True)
    assert numbers(bench) == [2, 3]
    assert bench.protection.held(PEER) is None
    assert bench.protection.protects(update(4))
    assert numbers(bench) == [2, 3, 4]


def test_keys_that_are_gone_are_waited_for_again(bench: Bench) -> None:
    bench.protection.ready(PEER, True)
    bench.protection.ready(PEER, False)
    assert bench.protection.protects(update(1))
    assert bench.socket.sent == []
    assert bench.told.what == ["waiting"]


def test_silence_is_told_once_it_is_long_and_wide(bench: Bench) -> None:
    bench.protection.ready(PEER, True)
    for number in range(7):
        bench.protection.protects(update(number))
    assert bench.told.what == []
    bench.now += 30
    bench.protection.protects(update(7))
    assert bench.told.what == ["silent"]
    bench.protection.protects(update(8))
    assert bench.told.what == ["silent"]
    assert len(bench.socket.sent) == 9


def test_an_answer_ends_the_silence(bench: Bench) -> None:
    bench.protection.ready(PEER, True)
    for number in range(7):
        bench.protection.protects(update(number))
    bench.socket.arrived = [Decrypted(HOME_AGENT, HOME, bytes([59, 0, 6, 0, 0, 0]), 0)]
    bench.protection.decrypted(bench.socket)
    bench.now += 30
    bench.protection.protects(update(7))
    assert bench.told.what == ["heard"]


def solicitation(interface: str = "eth0", home_agent: IPv6Address = HOME_AGENT) -> SendPacket:
    octets = encode_icmpv6(MobilePrefixSolicitation(7), HOME, home_agent)
    return SendPacket(encode_packet(CARE_OF, home_agent, octets, 58, home_address=HOME), interface)


def test_a_solicitation_takes_no_binding_updates_place(bench: Bench) -> None:
    """It calls for keys, and is not kept: it is asked again."""
    assert bench.protection.protects(update(1))
    assert bench.protection.protects(solicitation())
    assert bench.told.what == ["waiting"] * 2
    assert bench.protection.held(PEER) == update(1)
    bench.protection.ready(PEER, True)
    assert (numbers(bench), bench.icmpv6.sent) == ([1], [])
    assert bench.protection.protects(solicitation())
    assert [message[0] for message in bench.icmpv6.sent] == [146]


def test_solicitations_without_an_answer_call_for_no_other_keys(bench: Bench) -> None:
    """A home agent may well not advertise."""
    bench.protection.ready(PEER, True)
    for _ in range(7):
        bench.protection.protects(solicitation())
    bench.now += 30
    bench.protection.protects(solicitation())
    assert bench.told.what == []


def test_prefix_discovery_does_not_say_where_the_other_end_is(bench: Bench) -> None:
    bench.protection.ready(PEER, True)
    bench.icmpv6.arrived = [Decrypted(HOME_AGENT, HOME, bytes([147, 0, 0, 0, 0, 7, 0, 0]), 0)]
    bench.protection.decrypted(bench.icmpv6)
    assert bench.told.what == []


def test_signalling_for_somebody_without_keys_is_known_as_such(bench: Bench) -> None:
    """The mobile node's daemon does not let it out."""
    elsewhere = update(1, home_agent=OTHER)
    assert not bench.protection.protects(elsewhere)
    assert is_signalling(elsewhere)
    asked = solicitation(home_agent=OTHER)
    assert not bench.protection.protects(asked)
    assert is_signalling(asked)
    for other in (bytes([128, *bytes(7)]), b""):
        assert not is_signalling(SendPacket(encode_packet(CARE_OF, OTHER, other, 58)))
