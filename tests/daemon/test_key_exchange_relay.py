"""Questions of IKE without a binding: into the kernel, and answered through the headers they came in."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from dsmip.core.actions import SendDatagram, SendIPv4, SendPacket
from dsmip.core.types import UdpEndpoint
from dsmip.daemon.key_exchange_relay import KeyExchangeRelay, Reply

HOME_AGENT, HOME, STRANGER = "2001:db8:ffff::1", "2001:db8:100::20", "2001:db8:100::66"
CARE_OF, CARE_OF4, HOME_AGENT4 = "2001:db8:1::33", "203.0.113.7", "192.0.2.1"
SPI = b"spi-of-i"


class Parts:
    """A relay, and what came out of it."""

    def __init__(self) -> None:
        self.injected: list[bytes] = []
        self.sent: list[Reply] = []
        self.passed_on: list[bytes] = []
        self.relay = KeyExchangeRelay(
            IPv6Address(HOME_AGENT),
            lambda home_address: home_address == IPv6Address(HOME),
            self._inject,
            self.sent.append,
            self.passed_on.append,
        )

    def _inject(self, packet: bytes) -> bool:
        self.injected.append(packet)
        return True


def ike(source: str, destination: str, *, spi: bytes = SPI) -> bytes:
    return bytes(IPv6(src=source, dst=destination) / UDP(sport=500, dport=500) / (spi + bytes(20)))


def in_ipv6(packet: bytes, source: str = CARE_OF) -> bytes:
    return bytes(IPv6(src=source, dst=HOME_AGENT, nh=41) / packet)


def in_udp(packet: bytes, port: int = 40123) -> bytes:
    return bytes(IP(src=CARE_OF4, dst=HOME_AGENT4) / UDP(sport=port, dport=4191) / packet)


def in_ipv4(packet: bytes) -> bytes:
    return bytes(IP(src=CARE_OF4, dst=HOME_AGENT4, proto=41) / packet)


def test_answers_take_the_headers_of_their_question() -> None:
    parts = Parts()
    question, answer = ike(HOME, HOME_AGENT), ike(HOME_AGENT, HOME)

    assert parts.relay.takes(in_udp(question))
    assert parts.relay.takes(answer)
    local, remote = UdpEndpoint(IPv4Address(HOME_AGENT4), 4191), UdpEndpoint(IPv4Address(CARE_OF4), 40123)
    assert parts.sent.pop() == SendDatagram(answer, local, remote)

    assert parts.relay.takes(in_ipv6(question))
    assert parts.relay.takes(answer)
    back = parts.sent.pop()
    assert isinstance(back, SendPacket)
    outer = IPv6(back.packet)
    assert (outer.src, outer.dst, outer.nh, back.packet[40:]) == (HOME_AGENT, CARE_OF, 41, answer)

    assert parts.relay.takes(in_ipv4(question))
    assert parts.relay.takes(answer)
    back = parts.sent.pop()
    assert isinstance(back, SendIPv4)
    header = IP(back.packet)
    assert (header.src, header.dst, header.proto, back.packet[20:]) == (HOME_AGENT4, CARE_OF4, 41, answer)
    assert parts.injected == [question] * 3
    assert parts.passed_on == []


def test_each_exchange_has_its_own_place() -> None:
    """Somebody who claims the home address, from elsewhere, does not get the answers of the other one."""
    parts = Parts()
    parts.relay.takes(in_udp(ike(HOME, HOME_AGENT)))
    parts.relay.takes(in_ipv6(ike(HOME, HOME_AGENT, spi=b"attacker"), "2001:db8:666::6"))
    parts.relay.takes(ike(HOME_AGENT, HOME))
    assert isinstance(parts.sent.pop(), SendDatagram)


def test_after_authentic_signalling_answers_go_where_data_goes() -> None:
    parts = Parts()
    answer = ike(HOME_AGENT, HOME)
    parts.relay.takes(in_udp(ike(HOME, HOME_AGENT)))
    parts.relay.registered(IPv6Address(HOME))
    assert parts.relay.takes(answer)
    assert (parts.sent, parts.passed_on) == ([], [answer])


def test_strangers_are_not_heard() -> None:
    parts = Parts()
    assert parts.relay.takes(in_udp(ike(STRANGER, HOME_AGENT)))
    assert parts.injected == []


def test_what_is_not_ike_is_not_taken() -> None:
    parts = Parts()
    other = bytes(IPv6(src=HOME, dst=HOME_AGENT) / UDP(sport=53, dport=53) / bytes(40))
    whole = [in_udp(other), in_ipv6(other), other, in_udp(ike(HOME, STRANGER)), b"", b"\x45"]
    whole += [in_udp(ike(HOME, HOME_AGENT))[:cut] for cut in range(20 + 8 + 40 + 8 + 8)]
    for data in whole:
        assert not parts.relay.takes(data)
    assert (parts.injected, parts.sent, parts.passed_on) == ([], [], [])


def test_what_is_remembered_is_bounded() -> None:
    parts = Parts()
    for number in range(3000):
        parts.relay.takes(in_udp(ike(HOME, HOME_AGENT, spi=number.to_bytes(8, "big"))))
    for number in (0, 2999):
        parts.relay.takes(ike(HOME_AGENT, HOME, spi=number.to_bytes(8, "big")))
    assert (len(parts.passed_on), len(parts.sent)) == (1, 1)
