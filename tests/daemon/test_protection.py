"""Signalling under IPsec: what has to be under ESP, and which ESP is whose, with a kernel in memory."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from types import SimpleNamespace

import pytest

from dsmip.core.actions import SendPacket
from dsmip.core.types import IPAddress
from dsmip.daemon import protection
from dsmip.daemon.payload_policies import PASS_PRIORITY, Ends, Side, policies
from dsmip.daemon.protection import Peer, SignallingProtection, StaticAssociation
from dsmip.host.protected_socket import Decrypted
from dsmip.host.xfrm import CipherAndMac, Direction, Policy, State, Traffic
from dsmip.wire.icmpv6 import MobilePrefixAdvertisement, MobilePrefixSolicitation, encode_icmpv6
from dsmip.wire.ip import IPv6Header
from dsmip.wire.packet import Packet, UdpOuter, decode_packet, encapsulate_udp, encode_packet

HA, HOME, CARE_OF = (IPv6Address(f"2001:db8:{rest}") for rest in ("100::1", "100::10", "206::5"))
ESP, ICMPV6, MOBILITY = 50, 58, 135
MESSAGE = bytes([59, 1, 6, 0]) + bytes(12)
SOLICITATION = encode_icmpv6(MobilePrefixSolicitation(7), HOME, HA)
ADVERTISEMENT = encode_icmpv6(MobilePrefixAdvertisement(7), HA, HOME)
KEYS = CipherAndMac(bytes(16), bytes(32))
HOME_NETWORK, EVERYTHING = IPv6Network("2001:db8:100::10"), IPv6Network("::/0")
OUTER = UdpOuter(IPv4Address("203.0.113.7"), 40000, IPv4Address("192.0.2.1"), 4191)
PEER = Peer(HA, HOME, 1, StaticAssociation(0x1001, KEYS), StaticAssociation(0x2001, KEYS))


class FakeSocket:
    """Keeps what is sent, with its tag, and gives what the kernel is to have decrypted."""

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.sent: list[tuple[bytes, int]] = []
        self.arrived: list[Decrypted] = []

    def receive(self) -> list[Decrypted]:
        return self.arrived

    def send(self, source: IPv6Address, destination: IPv6Address, message: bytes, tag: int, _: int) -> bool:
        self.sent.append((message, tag))
        return True


class Kernel:
    """Policies by what tells them apart, and states by destination and SPI."""

    def __init__(self) -> None:
        self.policies: dict[tuple[Traffic, Direction], Policy] = {}
        self.states: dict[tuple[IPAddress, int], State] = {}

    def set_policy(self, policy: Policy) -> None:
        self.policies[policy.traffic, policy.direction] = policy

    def set_state(self, state: State) -> None:
        self.states[state.destination, state.spi] = state

    def remove_policy(self, traffic: Traffic, direction: Direction) -> None:
        del self.policies[traffic, direction]

    def remove_state(self, destination: IPAddress, spi: int) -> None:
        del self.states[destination, spi]


@pytest.fixture
def sent() -> list[object]:
    return []


@pytest.fixture
def delivered() -> list[Packet]:
    return []


@pytest.fixture
def injected() -> list[bytes]:
    return []


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def sockets() -> dict[int, FakeSocket]:
    return {protocol: FakeSocket(protocol) for protocol in (MOBILITY, ICMPV6)}


@pytest.fixture
def signalling(
    monkeypatch: pytest.MonkeyPatch,
    sent: list[object],
    delivered: list[Packet],
    injected: list[bytes],
    kernel: Kernel,
    sockets: dict[int, FakeSocket],
) -> SignallingProtection:
    monkeypatch.setattr(protection, "Xfrm", lambda: kernel)
    opened = SimpleNamespace(
        of_mobility_headers=lambda _mark: sockets[MOBILITY], of_icmpv6=lambda _types, _mark: sockets[ICMPV6]
    )
    monkeypatch.setattr(protection, "ProtectedSocket", opened)

    def inject(packet: bytes) -> bool:
        injected.append(packet)
        return True

    made = SignallingProtection(inject, lambda packet: delivered.append(decode_packet(packet)), sent.append)
    made.add(PEER)
    return made


def leaving(tag: int) -> bytes:
    """ESP between the two ends, as the kernel made it of what was sent with this tag."""
    octets = bytearray(IPv6Header(HA, HOME, ESP, 24, tag & 0xFF).encode() + b"E" * 24)
    octets[0] |= tag >> 12
    octets[1] |= (tag >> 4) & 0xF0
    return bytes(octets)


@pytest.mark.parametrize(
    ("protocol", "octets"), [(MOBILITY, MESSAGE), (ICMPV6, ADVERTISEMENT)], ids=["mobility", "prefixes"]
)
def test_a_message_leaves_in_its_own_headers_once_it_is_encrypted(
    signalling: SignallingProtection,
    sent: list[object],
    sockets: dict[int, FakeSocket],
    protocol: int,
    octets: bytes,
) -> None:
    clear = encode_packet(HA, CARE_OF, octets, protocol, routing_home_address=HOME)
    assert signalling.protects(SendPacket(clear))
    ((message, tag),) = sockets[protocol].sent
    assert (message, sent) == (octets, [])
    assert signalling.takes(leaving(tag))
    (action,) = sent
    assert isinstance(action, SendPacket)
    packet = decode_packet(action.packet)
    assert (packet.destination, packet.next_header, packet.payload) == (CARE_OF, ESP, b"E" * 24)
    assert packet.routing_home_address == HOME
    # It is gone: the same once more is somebody else's.
    assert not signalling.takes(leaving(tag))


def test_payload_under_esp_that_is_too_big_is_the_engines_business(
    signalling: SignallingProtection, sent: list[object]
) -> None:
    """The data plane hands it over for its sender to be told."""
    assert not signalling.takes(leaving(64))
    assert sent == []


def test_mobility_headers_and_prefix_discovery_need_esp_both_ways_and_nothing_else_does(
    signalling: SignallingProtection, kernel: Kernel
) -> None:
    """RFC 3776 section 4.1, RFC 4877 section 6.3; one security association each way."""
    ends = {Direction.OUT: (HA, HOME), Direction.IN: (HOME, HA)}
    found = {
        (policy.direction, policy.traffic.protocol, policy.traffic.message, policy.traffic.pair)
        for policy in kernel.policies.values()
    }
    assert found == {(one, *what) for one in ends for what in ((MOBILITY, None, False), (ICMPV6, 146, True))}
    assert len(kernel.policies) == 4
    for policy in kernel.policies.values():
        assert (policy.request, policy.ends) == (1, None)
        addresses = policy.traffic.source.network_address, policy.traffic.destination.network_address
        assert addresses == ends[policy.direction]
    assert {state.spi for state in kernel.states.values()} == {0x1001, 0x2001}
    assert all(state.traffic is not None and not state.traffic.protocol for state in kernel.states.values())
    signalling.remove(PEER)
    assert (kernel.policies, kernel.states) == ({}, {})


def test_where_payload_is_under_esp_too_both_know_their_own_policies(
    signalling: SignallingProtection, kernel: Kernel
) -> None:
    """Payload's let prefix discovery pass, signalling's decide, and neither takes the other's away."""
    ours = dict(kernel.policies)
    of_payload = policies(Ends(Side.HOME_AGENT, HA, HOME, 2), [HOME_NETWORK], [EVERYTHING])
    assert not ours.keys() & {(policy.traffic, policy.direction) for policy in of_payload}
    assert all(policy.priority < PASS_PRIORITY for policy in ours.values())


@pytest.mark.parametrize("udp", [None, OUTER], ids=["ipv6", "udp"])
def test_a_decrypted_solicitation_is_put_back_into_the_headers_it_came_in(
    signalling: SignallingProtection,
    delivered: list[Packet],
    injected: list[bytes],
    sockets: dict[int, FakeSocket],
    udp: UdpOuter | None,
) -> None:
    if udp is None:
        assert signalling.takes(encode_packet(CARE_OF, HA, b"E" * 24, ESP, home_address=HOME))
    else:
        assert signalling.takes(encapsulate_udp(encode_packet(HOME, HA, b"E" * 24, ESP), udp))
    (plain,) = injected
    assert (plain[6], plain[8:40]) == (ESP, HOME.packed + HA.packed)
    label = int.from_bytes(plain[1:4], "big") & 0xFFFFF
    sockets[ICMPV6].arrived = [Decrypted(HOME, HA, SOLICITATION, label)]
    signalling.decrypted(sockets[ICMPV6])
    (packet,) = delivered
    assert (packet.sender, packet.recipient, packet.udp) == (HOME, HA, udp)
    assert (packet.next_header, packet.payload) == (ICMPV6, SOLICITATION)
    assert packet.source == (CARE_OF if udp is None else HOME)


def test_what_the_kernel_has_decrypted_by_itself_comes_without_other_headers(
    signalling: SignallingProtection, delivered: list[Packet], sockets: dict[int, FakeSocket]
) -> None:
    """Through the tunnel, or over the home link. Nobody else's prefix discovery is taken for protected."""
    stranger = IPv6Address("2001:db8:100::11")
    sockets[ICMPV6].arrived = [Decrypted(HOME, HA, SOLICITATION, 0), Decrypted(stranger, HA, SOLICITATION, 0)]
    signalling.decrypted(sockets[ICMPV6])
    (packet,) = delivered
    assert (packet.source, packet.destination, packet.home_address) == (HOME, HA, None)
    assert packet.payload == SOLICITATION


def test_other_icmpv6_is_not_signalling(signalling: SignallingProtection) -> None:
    for octets in (bytes([128, *bytes(7)]), bytes([1, *bytes(7)]), b""):
        assert not signalling.protects(SendPacket(encode_packet(HA, HOME, octets, ICMPV6)))
