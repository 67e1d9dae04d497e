"""tshark reads our messages as they were meant: one run of it for all packets."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network

import pytest

from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from dsmip.wire.messages import BindingAcknowledgement, BindingError, BindingUpdate, Message, encode_message
from dsmip.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    BindingRefreshAdvice,
    IPv4AddressAcknowledgement,
    IPv4CareOfAddress,
    IPv4HomeAddress,
    MessageIdentifier,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    NatDetection,
)
from dsmip.wire.packet import UdpOuter, encapsulate_udp, encode_packet
from tests.oracles.tshark import Fields, dissect, ethernet
from tests.wire.wire_vectors import COA, COA4, HA, HA4, HOA, HOA4, NAT4

pytestmark = pytest.mark.programs

A, H, L, K, R, F = BUFlag.A, BUFlag.H, BUFlag.L, BUFlag.K, BUFlag.R, BUFlag.F
ACCEPTED = BAStatus.ACCEPTED
PREFIX = IPv6Network("2001:db8:aaaa:1::/64")
SIGNATURE = (
    MobileNodeIdentifier(b"mn1@example.com"),
    MessageIdentifier(0xE5A1B2C300000001),
    Authentication(0x1000, bytes(range(12))),
)


@dataclass(frozen=True)
class Reading:
    """A packet, and the fields that tshark has to find in it."""

    packet: bytes
    fields: dict[str, str]


def away(message: Message, fields: dict[str, str]) -> Reading:
    packet = encode_packet(COA, HA, encode_message(message, HOA, HA), home_address=HOA)
    addresses = {"ipv6.src": str(COA), "ipv6.dst": str(HA), "ipv6.opt.mipv6.home_address": str(HOA)}
    return Reading(packet, addresses | fields)


def to_care_of(message: Message, fields: dict[str, str]) -> Reading:
    packet = encode_packet(HA, COA, encode_message(message, HA, HOA), routing_home_address=HOA)
    return Reading(packet, {"ipv6.dst": str(COA), "ipv6.routing.mipv6.home_address": str(HOA)} | fields)


def in_udp(message: Message, outer: UdpOuter, fields: dict[str, str]) -> Reading:
    packet = encapsulate_udp(encode_packet(HOA, HA, encode_message(message, HOA, HA)), outer)
    ports = {
        "ip.src": str(outer.source),
        "ip.dst": str(outer.destination),
        "udp.srcport": str(outer.source_port),
        "udp.dstport": str(outer.destination_port),
        "ip.checksum.status": "1",
        "udp.checksum.status": "1",
    }
    return Reading(packet, ports | fields)


def bu(sequence: int, flags: str, lifetime: int) -> dict[str, str]:
    """What tshark calls the fields of a Binding Update."""
    names = {
        **{letter: f"mip6.bu.{letter.lower()}_flag" for letter in "AHLKMPF"},
        "R": "mip6.nemo.bu.r_flag",
    }
    fields = {"mip6.mhtype": "5", "mip6.bu.seqnr": str(sequence), "mip6.bu.lifetime": str(lifetime)}
    return fields | {name: "1" if letter in flags else "0" for letter, name in names.items()}


def ba(status: int, flags: str, sequence: int, lifetime: int) -> dict[str, str]:
    return {
        "mip6.mhtype": "6",
        "mip6.ba.status": str(status),
        "mip6.ba.k_flag": "1" if "K" in flags else "0",
        "mip6.nemo.ba.r_flag": "1" if "R" in flags else "0",
        "mip6.ba.seqnr": str(sequence),
        "mip6.ba.lifetime": str(lifetime),
    }


# tshark 4.0 shows only the first ten octets of the authenticator, so that is compared elsewhere.
SIGNED = {
    "mip6.mnid.subtype": "1",
    "mip6.mnid.identifier": "mn1@example.com",
    "mip6.auth.subtype": "1",
    "mip6.auth.mobility_spi": "4096",
}

READINGS: dict[str, Reading] = {
    "update": away(
        BindingUpdate(0x1234, A | H | L | K, 60, (AlternateCareOfAddress(COA),)),
        bu(0x1234, "AHLK", 60) | {"mip6.acoa.acoa": str(COA)},
    ),
    "signed update": away(
        BindingUpdate(65535, A | H, 65535, (AlternateCareOfAddress(COA), *SIGNATURE)),
        bu(65535, "AH", 65535) | SIGNED,
    ),
    "mobile router": away(
        BindingUpdate(
            1,
            A | H | R,
            1,
            (
                AlternateCareOfAddress(COA),
                MobileNetworkPrefix.of(PREFIX),
                MobileNetworkPrefix.of(IPv6Network("2001:db8:bbbb::/48")),
                *SIGNATURE,
            ),
        ),
        bu(1, "AHR", 1)
        | SIGNED
        | {"mip6.nemo.mnp.mnp": "2001:db8:aaaa:1::,2001:db8:bbbb::", "mip6.nemo.mnp.pfl": "64,48"},
    ),
    "all flags": away(BindingUpdate(2, A | H | L | K | BUFlag.M | R | BUFlag.P | F, 3), bu(2, "AHLKMRPF", 3)),
    "forced UDP": in_udp(
        BindingUpdate(3, A | H | F, 75, (IPv4HomeAddress(HOA4), IPv4CareOfAddress(COA4), *SIGNATURE)),
        UdpOuter(COA4, 4191, HA4, 4191),
        bu(3, "AHF", 75)
        | SIGNED
        | {
            "mip6.ipv4ha.preflen": "32",
            "mip6.ipv4ha.p_flag": "0",
            "mip6.ipv4ha.ha": str(HOA4),
            "mip6.ipv4coa.addr": str(COA4),
        },
    ),
    "through a NAT, address and prefix asked for": in_udp(
        BindingUpdate(
            4,
            A | H | R,
            75,
            (
                IPv4HomeAddress(IPv4Address("0.0.0.0")),
                IPv4HomeAddress(IPv4Address("0.0.0.0"), 28, True),
                IPv4CareOfAddress(COA4),
            ),
        ),
        UdpOuter(NAT4, 40123, HA4, 4191),
        bu(4, "AHR", 75)
        | {
            "mip6.ipv4ha.preflen": "32,28",
            "mip6.ipv4ha.p_flag": "0,1",
            "mip6.ipv4ha.ha": "0.0.0.0,0.0.0.0",
            "mip6.ipv4coa.addr": str(COA4),
        },
    ),
    "acknowledgement": to_care_of(
        BindingAcknowledgement(ACCEPTED, BAFlag.K, 0x1234, 60, (BindingRefreshAdvice(45),)),
        ba(0, "K", 0x1234, 60) | {"mip6.bra.interval": "45"},
    ),
    "refusal": to_care_of(
        BindingAcknowledgement(BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, BAFlag(0), 0x2000, 0),
        ba(135, "", 0x2000, 0),
    ),
    "signed acknowledgement with IPv4": to_care_of(
        BindingAcknowledgement(
            ACCEPTED,
            BAFlag.K | BAFlag.R,
            9,
            150,
            (IPv4AddressAcknowledgement(0, HOA4, 32), NatDetection(True, 0xFFFF_FFFF), *SIGNATURE),
        ),
        ba(0, "KR", 9, 150)
        | SIGNED
        | {"mip6.ipv4aa.sts": "0", "mip6.natd.f_flag": "1", "mip6.natd.refresh_t": "4294967295"},
    ),
    "acknowledgement in UDP": in_udp(
        BindingAcknowledgement(
            ACCEPTED, BAFlag(0), 10, 75, (IPv4AddressAcknowledgement(132, HOA4, 0), NatDetection(False, 110))
        ),
        UdpOuter(HA4, 4191, NAT4, 40123),
        ba(0, "", 10, 75) | {"mip6.ipv4aa.sts": "132", "mip6.natd.f_flag": "0", "mip6.natd.refresh_t": "110"},
    ),
    "binding error": to_care_of(
        BindingError(1, HOA), {"mip6.mhtype": "7", "mip6.be.status": "1", "mip6.be.haddr": str(HOA)}
    ),
}


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fields]:
    """What tshark found in each packet."""
    frames = [ethernet(reading.packet) for reading in READINGS.values()]
    names = {name for reading in READINGS.values() for name in reading.fields}
    return dict(zip(READINGS, dissect(frames, names, tmp_path_factory.mktemp("tshark")), strict=True))


@pytest.mark.parametrize("name", READINGS)
def test_tshark_reads_what_we_wrote(name: str, read: dict[str, Fields]) -> None:
    found = read[name]
    assert "_ws.malformed" not in found
    shown = {field: ",".join(found.get(field, [])) for field in READINGS[name].fields}
    assert shown == READINGS[name].fields
