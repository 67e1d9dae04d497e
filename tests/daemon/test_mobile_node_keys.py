"""Where a mobile node's IKE goes: beside the Binding Update that waits for it, and with the data later."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from tests.daemon.test_waiting_for_keys import Bench

from dsmip.core.actions import SendDatagram, SendPacket
from dsmip.core.types import UdpEndpoint
from dsmip.daemon.conditions import Conditions
from dsmip.daemon.config.loading import parse
from dsmip.daemon.config.schema import MobileNodeFile
from dsmip.daemon.ike.connection import Negotiated
from dsmip.daemon.mobile_node import keys as mobile_node_keys
from dsmip.daemon.mobile_node.keys import MobileNodeKeys
from dsmip.daemon.protection import Send
from dsmip.daemon.runtime import Runtime
from dsmip.wire.packet import encode_packet

HOME, HOME_AGENT, CARE_OF = "2001:db8:100::20", "2001:db8:ffff::1", "2001:db8:1::33"
FILE = f"""\
role = "mobile-node"
name = "laptop"
home_agent = "{HOME_AGENT}"
home_address = "{HOME}"
home_prefix = "2001:db8:100::/64"
authentication = "ipsec"

[ike]
psk = "000102030405060708090a0b0c0d0e0f"

[[interface]]
name = "eth0"
"""
QUESTION = bytes(IPv6(src=HOME, dst=HOME_AGENT) / UDP(sport=500, dport=500) / bytes(28))


class Device:
    """What goes with the data."""

    def __init__(self, *_: object) -> None:
        self.sent: list[bytes] = []
        Device.last = self

    last: Device

    def send(self, packet: bytes) -> None:
        self.sent.append(packet)


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mobile_node_keys, "DeviceSocket", Device)
        self.bench = Bench(monkeypatch)
        self.sent: list[Send] = []
        self.problems = Conditions(lambda _kind, _fields: None)
        self.payload: list[tuple[int, frozenset[int]]] = []
        negotiated = SimpleNamespace(negotiated=lambda index, spis: self.payload.append((index, spis)))
        events = SimpleNamespace(event=lambda _kind, _fields: None)
        runtime: Any = SimpleNamespace(events=events, conditions=self.problems, takers=[], payload=negotiated)
        config = parse(FILE, Path("x.toml"))
        assert isinstance(config, MobileNodeFile)
        assert config.ike is not None
        self.keys = MobileNodeKeys(
            config, config.ike, cast(Runtime, runtime), self.bench.protection, self.sent.append
        )

    def changed(self, state: Negotiated) -> None:
        self.keys._changed(IPv6Address(HOME), state)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def update(*, at_home: bool = False) -> SendPacket:
    if at_home:
        packet = encode_packet(IPv6Address(HOME), IPv6Address(HOME_AGENT), bytes([59, 0, 5, 0, 0, 0]))
    else:
        packet = encode_packet(
            IPv6Address(CARE_OF),
            IPv6Address(HOME_AGENT),
            bytes([59, 0, 5, 0, 0, 0]),
            home_address=IPv6Address(HOME),
        )
    return SendPacket(packet, "eth0")


def test_over_ipv6_it_is_in_a_tunnel_from_the_care_of_address(world: World) -> None:
    world.bench.protection.protects(update())
    assert world.keys.takes(QUESTION)
    [sent] = world.sent
    assert isinstance(sent, SendPacket)
    outer = IPv6(sent.packet)
    assert (outer.src, outer.dst, outer.nh, sent.interface) == (CARE_OF, HOME_AGENT, 41, "eth0")
    assert sent.packet[40:] == QUESTION


def test_over_ipv4_it_is_in_udp_between_the_same_ports(world: World) -> None:
    local, remote = (UdpEndpoint(IPv4Address(a), 4191) for a in ("10.0.0.2", "192.0.2.1"))
    packet = encode_packet(IPv6Address(HOME), IPv6Address(HOME_AGENT), bytes([59, 0, 5, 0, 0, 0]))
    world.bench.protection.protects(SendDatagram(packet, local, remote, "wwan0"))
    assert world.keys.takes(QUESTION)
    assert world.sent == [SendDatagram(QUESTION, local, remote, "wwan0")]


def test_over_the_home_link_it_is_in_nothing(world: World) -> None:
    world.bench.protection.protects(update(at_home=True))
    assert world.keys.takes(QUESTION)
    assert world.sent == [SendPacket(QUESTION, "eth0")]


def test_with_keys_it_goes_with_the_data(world: World) -> None:
    world.bench.protection.protects(update())
    world.changed(Negotiated(True, cipher="AES-GCM-256", payload_spis=frozenset({7})))
    assert len(world.bench.socket.sent) == 1
    assert world.keys.takes(QUESTION)
    assert (world.sent, Device.last.sent) == ([], [QUESTION])
    assert world.payload == [(1, frozenset({7}))]


def test_ike_with_others_goes_with_the_data(world: World) -> None:
    world.bench.protection.protects(update())
    other = bytes(IPv6(src=HOME, dst="2001:db8:9::1") / UDP(sport=500, dport=500) / bytes(28))
    assert world.keys.takes(other)
    assert (world.sent, Device.last.sent) == ([], [other])
    assert not world.keys.takes(bytes(IPv6(src=HOME, dst=HOME_AGENT) / UDP(dport=53) / bytes(28)))


def test_why_there_are_no_keys_stands_until_there_are(world: World) -> None:
    world.changed(Negotiated(problem="the home agent does not answer IKE"))
    assert world.problems.sentences == ["Keys are missing: the home agent does not answer IKE."]
    world.changed(Negotiated(True))
    assert world.problems.sentences == []
