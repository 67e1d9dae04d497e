"""A lab under ESP: its configuration files are sound, and a witness outside knows what passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import HAO, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from dsmip.daemon.config import loading as config
from dsmip.daemon.config import schema as config_schema
from dsmip.daemon.config.payload import payload_in_words
from dsmip.lab import configs, measure, protection, tour
from dsmip.lab.observation import UNKNOWN_SEQUENCE, Control, DataClass, observe
from dsmip.lab.sniffer import Wire
from dsmip.lab.streams import PORT

HA, HOME, CARE_OF = "2001:db8:100::1", "2001:db8:100::10", "2001:db8:206::abcd"
HA4, CARE_OF4 = "198.51.100.1", "10.4.0.159"
SIGNALLING_UP, SIGNALLING_DOWN = protection.SIGNALLING_SPIS
PAYLOAD_UP, PAYLOAD_DOWN = protection.PAYLOAD_SPIS
#: Of ESP around a packet of the streams: 8 + 8 + (inner + 2, rounded up to 4) + 16.
OF_STREAM = {"v6": 8 + 8 + 116 + 16, "v4": 8 + 8 + 96 + 16}
HAO_OPTION = IPv6ExtHdrDestOpt(options=[HAO(hoa=HOME)])
UDP4191 = UDP(sport=4191, dport=4191)


def esp(spi: int, length: int = 120) -> Packet:
    return ESP(spi=spi, seq=1, data=b"x" * (length - 8))


def frame(packet: Packet) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet)[:400]


def update(care_of: str, form: str) -> Control:
    fields = {"care_of": care_of, "format": form, "sequence": UNKNOWN_SEQUENCE, "status": 0}
    return Control("binding-update", {**fields, "spi": SIGNALLING_UP})


def test_signalling_is_known_by_its_security_association() -> None:
    native = IPv6(src=CARE_OF, dst=HA) / HAO_OPTION / esp(SIGNALLING_UP)
    assert observe(frame(native), True) == update(CARE_OF, "ipv6")
    in_udp = IP(src=CARE_OF4, dst=HA4) / UDP4191 / IPv6(src=HOME, dst=HA) / esp(SIGNALLING_UP)
    assert observe(frame(in_udp), True) == update(CARE_OF4, "udp4")
    at_home = IPv6(src=HOME, dst=HA) / esp(SIGNALLING_UP)
    assert observe(frame(at_home), True) == update(HOME, "ipv6")
    routing = IPv6ExtHdrRouting(type=2, segleft=1, addresses=[HOME])
    answer = observe(frame(IPv6(src=HA, dst=CARE_OF) / routing / esp(SIGNALLING_DOWN)), False)
    assert isinstance(answer, Control)
    assert answer.kind == "binding-acknowledgement"
    assert (answer.fields["care_of"], answer.fields["spi"]) == (CARE_OF, SIGNALLING_DOWN)


@pytest.mark.parametrize("family", ["v6", "v4"])
def test_streams_are_known_by_the_length_of_their_esp(family: str) -> None:
    inside = IPv6(src=HOME, dst=HA) / esp(PAYLOAD_UP, OF_STREAM[family])
    for outer, form, local in (
        (IPv6(src=CARE_OF, dst=HA), "ipv6", CARE_OF),
        (IP(src=CARE_OF4, dst=HA4), "ipv4", CARE_OF4),
        (IP(src=CARE_OF4, dst=HA4) / UDP4191, "udp4", CARE_OF4),
    ):
        found = observe(frame(outer / inside), True)
        assert found == DataClass(True, family, form, local, PORT, spi=PAYLOAD_UP)
    back = IPv6(src=HA, dst=CARE_OF) / IPv6(src=HA, dst=HOME) / esp(PAYLOAD_DOWN, OF_STREAM[family])
    assert observe(frame(back), False) == DataClass(False, family, "ipv6", CARE_OF, PORT, spi=PAYLOAD_DOWN)
    assert observe(frame(IPv6(src=CARE_OF, dst=HA) / IPv6() / esp(PAYLOAD_UP, 1000)), True) is None


def test_key_exchanges_are_counted() -> None:
    for port in (500, 4500):
        packet = IP(src=CARE_OF4, dst=HA4) / UDP(sport=port, dport=port) / Raw(b"x" * 40)
        assert observe(frame(packet), True) == Control("ike", {"up": True})


def test_security_associations_seen() -> None:
    wire = Wire(
        [{"time": 1.0, "kind": "binding-update", "spi": 7}, {"time": 2.0, "kind": "dhcp-ack"}],
        {DataClass(True, "v6", "udp4", "", PORT, spi=9): [1.0], DataClass(True, "v6", "native", ""): [2.0]},
    )
    assert measure.associations(wire) == [7, 9]


def test_what_is_seen_in_clear_is_counted_where_it_should_be_under_esp() -> None:
    protected = {"time": 1.0, "kind": "binding-update", "spi": 7}
    wire = Wire(
        [
            protected,
            {"time": 2.0, "kind": "binding-acknowledgement"},
            {"time": 3.0, "kind": "dhcp-ack"},
            {"time": 4.0, "kind": "prefix-discovery"},
        ],
        {
            DataClass(True, "v6", "udp4", "", PORT, spi=9): [1.0],
            DataClass(True, "v6", "udp4", ""): [12.0, 13.0],
            # At home, on the network visited, and at home again.
            DataClass(True, "v4", "native", ""): [1.0, 11.0, 15.0, 19.0, 21.0],
        },
    )
    stays = [measure.Stay("nat4", 10.0, 11.0, 20.0), measure.Stay("home", 20.0, 20.5, 30.0)]
    assert tour.exposed("", wire, stays) == 0
    assert tour.exposed(protection.SIGNALLING, wire, stays) == 2
    assert tour.exposed(protection.ALL, wire, stays) == 2 + 2 + 3
    assert tour.exposed(protection.ALL, Wire([protected], {}), stays) == 0


@pytest.mark.parametrize("protect", ["", *protection.CHOICES])
def test_both_files_are_sound_and_have_the_same_keys(protect: str, tmp_path: Path) -> None:
    paths = configs.write(tmp_path, ("ha", "mr"), tmp_path, protect=protect)
    home_agent, mobile_router = map(config.load, paths)
    assert isinstance(home_agent, config_schema.HomeAgentFile)
    assert isinstance(mobile_router, config_schema.MobileNodeFile)
    served = home_agent.mobile_node[0]
    assert served.authentication == mobile_router.authentication == ("ipsec" if protect else "mn-ha")
    assert (served.key, served.ipsec, served.payload) == (
        mobile_router.key,
        mobile_router.ipsec,
        mobile_router.payload,
    )
    words = "esp aes-gcm-128" if protect == protection.ALL else "clear"
    assert payload_in_words(mobile_router.payload) == words
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths)


@pytest.mark.parametrize(
    ("network", "found", "wrong"),
    [
        ("nat4", "detected", ""),
        ("nat4", "none", "the NAT was not detected"),
        ("fw4", "none", ""),
        ("fw4", "detected", "a NAT was detected where there is none"),
        ("wifi6", "", ""),
    ],
)
def test_nats_are_expected_where_they_are(network: str, found: str, wrong: str) -> None:
    assert tour.wrong_nat(network, found) == wrong
