"""What is told from frames that scapy built."""

from __future__ import annotations

import struct

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    HAO,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_RA,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from dsmip.lab.observation import Control, DataClass, observe

HA, HOME, CARE_OF = "2001:db8:100::1", "2001:db8:100::10", "2001:db8:206::abcd"
HOST, PEER = "2001:db8:aaaa:1::66", "2001:db8:400::cafe"
HOST4, PEER4, HA4, CARE_OF4 = "203.0.113.66", "192.0.2.200", "198.51.100.1", "10.4.0.159"

UP6 = IPv6(src=HOST, dst=PEER) / UDP(sport=7, dport=5001) / Raw(b"x" * 64)
DOWN6 = IPv6(src=PEER, dst=HOST) / TCP(sport=5002, dport=7) / Raw(b"x" * 64)
UP4 = IP(src=HOST4, dst=PEER4) / UDP(sport=7, dport=5001) / Raw(b"x" * 64)
DOWN4 = IP(src=PEER4, dst=HOST4) / TCP(sport=5002, dport=7) / Raw(b"x" * 64)
UDP_UP = UDP(sport=4191, dport=4191)


def frame(packet: Packet) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet)[:400]


@pytest.mark.parametrize(
    ("packet", "up", "expected"),
    [
        (UP6, True, DataClass(True, "v6", "native", "", 5001)),
        (DOWN4, False, DataClass(False, "v4", "native", "", 5002)),
        (IPv6(src=CARE_OF, dst=HA) / UP6, True, DataClass(True, "v6", "ipv6", CARE_OF, 5001)),
        (IPv6(src=HA, dst=CARE_OF) / DOWN6, False, DataClass(False, "v6", "ipv6", CARE_OF, 5002)),
        (IPv6(src=CARE_OF, dst=HA) / UP4, True, DataClass(True, "v4", "ipv6", CARE_OF, 5001)),
        (IP(src=CARE_OF4, dst=HA4) / UP6, True, DataClass(True, "v6", "ipv4", CARE_OF4, 5001)),
        (IP(src=HA4, dst=CARE_OF4) / DOWN4, False, DataClass(False, "v4", "ipv4", CARE_OF4, 5002)),
        (IP(src=CARE_OF4, dst=HA4) / UDP_UP / UP6, True, DataClass(True, "v6", "udp4", CARE_OF4, 5001)),
        (
            IP(src=HA4, dst=CARE_OF4) / UDP(sport=4191, dport=5) / DOWN4,
            False,
            DataClass(False, "v4", "udp4", CARE_OF4, 5002),
        ),
        (
            IP(src=CARE_OF4, dst=HA4) / UDP_UP / Raw(bytes([1, 0, 0, 0, 0, 0, 0, 9])) / UP6,  # one of copies
            True,
            DataClass(True, "v6", "udp4", CARE_OF4, 5001),
        ),
        (IPv6(src=CARE_OF, dst=HA) / UDP_UP / UP4, True, DataClass(True, "v4", "udp6", CARE_OF, 5001)),
    ],
)
def test_data_is_told_by_family_direction_and_tunnel(packet: Packet, up: bool, expected: DataClass) -> None:
    assert observe(frame(packet), up) == expected


@pytest.mark.parametrize(
    ("packet", "up"),
    [
        (UP6, False),  # the host's own packet cannot come in
        (IPv6(src=CARE_OF, dst=HA) / ICMPv6EchoRequest(), True),
        (IP(src=CARE_OF4, dst=HA4) / IPv6(src=HOME, dst=HA) / ICMPv6EchoRequest(), True),  # a path probe
        (IP(src=CARE_OF4, dst=HA4) / UDP(sport=53, dport=53) / Raw(b"x"), True),
        (IP(src=CARE_OF4, dst=HA4) / UDP_UP / Raw(b"\0"), True),  # a NAT keepalive
    ],
)
def test_what_is_not_the_hosts_is_not_data(packet: Packet, up: bool) -> None:
    assert observe(frame(packet), up) is None


def mobility(kind: int, body: bytes) -> bytes:
    return struct.pack("!BBBBH", 59, (6 + len(body)) // 8 - 1, kind, 0, 0) + body


UPDATE = mobility(5, struct.pack("!HHH", 7, 0xC200, 150) + bytes(4))
ACCEPTED = mobility(6, struct.pack("!BBHH", 0, 0, 7, 150) + bytes(4))
REFUSED = mobility(6, struct.pack("!BBHH", 135, 0, 90, 0) + bytes(4))


def test_binding_update_with_home_address_option() -> None:
    option = IPv6ExtHdrDestOpt(nh=135, autopad=0, options=[PadN(optdata=bytes(2)), HAO(hoa=HOME)])
    seen = observe(frame(IPv6(src=CARE_OF, dst=HA) / option / Raw(UPDATE)), True)
    assert isinstance(seen, Control)
    assert seen.kind == "binding-update"
    assert seen.fields == {
        "care_of": CARE_OF,
        "format": "ipv6",
        "sequence": 7,
        "flags": 0xC200,
        "lifetime": 600,
    }


def test_binding_update_in_udp_names_the_outer_source() -> None:
    inner = IPv6(src=HOME, dst=HA, nh=135) / Raw(UPDATE)
    seen = observe(frame(IP(src=CARE_OF4, dst=HA4) / UDP_UP / inner), True)
    assert isinstance(seen, Control)
    assert (seen.fields["care_of"], seen.fields["format"]) == (CARE_OF4, "udp4")


def test_binding_acknowledgement_with_routing_header() -> None:
    routing = IPv6ExtHdrRouting(type=2, segleft=1, addresses=[HOME], nh=135)
    seen = observe(frame(IPv6(src=HA, dst=CARE_OF) / routing / Raw(ACCEPTED)), False)
    assert isinstance(seen, Control)
    assert seen.kind == "binding-acknowledgement"
    assert (seen.fields["status"], seen.fields["sequence"], seen.fields["lifetime"]) == (0, 7, 600)


def test_refused_binding_acknowledgement_in_udp() -> None:
    inner = IPv6(src=HA, dst=HOME, nh=135) / Raw(REFUSED)
    seen = observe(frame(IP(src=HA4, dst=CARE_OF4) / UDP_UP / inner), False)
    assert isinstance(seen, Control)
    assert (seen.fields["status"], seen.fields["sequence"], seen.fields["care_of"]) == (135, 90, CARE_OF4)


@pytest.mark.parametrize("kind", [146, 147])
def test_prefix_discovery_is_seen_with_and_without_a_tunnel(kind: int) -> None:
    message = Raw(bytes([kind, *bytes(7)]))
    option = IPv6ExtHdrDestOpt(nh=58, autopad=0, options=[PadN(optdata=bytes(2)), HAO(hoa=HOME)])
    routing = IPv6ExtHdrRouting(type=2, segleft=1, addresses=[HOME], nh=58)
    inner = IPv6(src=HOME, dst=HA, nh=58) / message
    for up, packet in (
        (True, IPv6(src=CARE_OF, dst=HA) / option / message),
        (False, IPv6(src=HA, dst=CARE_OF) / routing / message),
        (True, IP(src=CARE_OF4, dst=HA4) / UDP_UP / inner),
    ):
        assert observe(frame(packet), up) == Control("prefix-discovery", {"up": up})


def test_router_advertisement_with_its_prefixes() -> None:
    advertisement = (
        IPv6(src="fe80::1", dst="ff02::1")
        / ICMPv6ND_RA()
        / ICMPv6NDOptMTU()
        / ICMPv6NDOptPrefixInfo(prefix="2001:db8:206::", prefixlen=64)
    )
    seen = observe(frame(advertisement), False)
    assert seen == Control("router-advertisement", {"source": "fe80::1", "prefixes": ["2001:db8:206::/64"]})


def test_neighbour_advertisement() -> None:
    seen = observe(frame(IPv6(src="fe80::1", dst="fe80::2") / ICMPv6ND_NA(tgt="fe80::1", R=1, S=1)), False)
    assert isinstance(seen, Control)
    assert seen.fields == {"source": "fe80::1", "target": "fe80::1", "router": True, "solicited": True}


@pytest.mark.parametrize(("kind", "seen"), [("offer", False), ("ack", True), ("nak", False)])
def test_only_a_dhcp_ack_gives_an_address(kind: str, seen: bool) -> None:
    packet = (
        IP(src="10.4.0.1", dst="255.255.255.255")
        / UDP(sport=67, dport=68)
        / BOOTP(yiaddr=CARE_OF4)
        / DHCP(options=[("server_id", "10.4.0.1"), ("message-type", kind), "end"])
    )
    expected = Control("dhcp-ack", {"address": CARE_OF4}) if seen else None
    assert observe(frame(packet), False) == expected


def test_arp_replies_count_and_requests_do_not() -> None:
    assert observe(frame(ARP(op=2, psrc="10.4.0.1", pdst=CARE_OF4)), False) == Control(
        "arp-reply", {"sender": "10.4.0.1"}
    )
    assert observe(frame(ARP(op=1, psrc="10.4.0.1", pdst=CARE_OF4)), False) is None


def test_frames_cut_anywhere_do_no_harm() -> None:
    inner = IPv6(src=HOME, dst=HA, nh=135) / Raw(UPDATE)
    for whole in (frame(IP(src=CARE_OF4, dst=HA4) / UDP_UP / inner), frame(IPv6(src=CARE_OF, dst=HA) / UP4)):
        for length in range(len(whole)):
            seen = observe(whole[:length], True)
            assert seen is None or isinstance(seen, (Control, DataClass))
