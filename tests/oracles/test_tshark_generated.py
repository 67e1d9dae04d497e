"""tshark reads made-up messages field by field as they were meant, except where it is known to be wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import Phase, find, settings
from hypothesis import strategies as st

from dsmip.wire import icmpv4, icmpv6
from dsmip.wire.arp import ArpPacket
from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import Icmpv6Message, encode_icmpv6
from dsmip.wire.ip import IPv4Header
from dsmip.wire.message import Message
from dsmip.wire.messages import encode_message
from dsmip.wire.packet import UdpOuter, encapsulate_udp, encode_packet
from tests.oracles import checksum, tshark
from tests.oracles.generate import sample
from tests.oracles.strategies import (
    ARP_REQUESTS_AND_REPLIES,
    AUTHENTICATING_OPTION,
    EACH_ICMPV6,
    EXPERIMENTAL_MESSAGE,
    ICMPV4,
    IPV4,
    OPTIONS,
    PLAIN_OPTION,
    ROUTABLE,
    SIGNED_OPTIONS,
    U16,
    UNKNOWN_MESSAGE,
    each_message,
)
from tests.oracles.tshark_fields import MESSAGE_FIELDS, OPTION_FIELDS, Readers, Value, shown_as, values
from tests.oracles.tshark_icmp_fields import ARP_FIELDS, ICMP_FIELDS, ND_OPTION_FIELDS
from tests.oracles.tshark_quirks import (
    CUT_BY_TWO,
    FIELDS_MISREAD,
    OPTIONS_MISREAD,
    is_readable,
    is_readable_icmpv6,
)

pytestmark = pytest.mark.programs

HA4 = IPv4Address("192.0.2.1")
HOA4 = IPv4Address("198.51.100.10")

Expected = dict[str, list[Value]]

OUTER = st.builds(UdpOuter, IPV4, U16, IPV4, st.just(4191))
ENVELOPE = st.tuples(ROUTABLE, ROUTABLE, st.none() | ROUTABLE, st.none() | ROUTABLE, st.none() | OUTER)
MESSAGES: list[st.SearchStrategy[Message]] = [
    *(one.filter(is_readable) for one in each_message(OPTIONS | SIGNED_OPTIONS)),
    UNKNOWN_MESSAGE,
    EXPERIMENTAL_MESSAGE,
]
#: The first that is found will do.
AT_ONCE = settings(phases=[Phase.generate], max_examples=10_000, database=None, deadline=None)
#: How many of each.
EACH = 18

#: Errors quote a packet, which tshark reads too: of made-up octets it makes what it can.
QUOTING = (
    icmpv6.DestinationUnreachable,
    icmpv6.PacketTooBig,
    icmpv6.TimeExceeded,
    icmpv6.ParameterProblem,
    icmpv4.DestinationUnreachable,
)


def merge(into: Expected, readers: Readers, subject: object) -> None:
    for name, found in values(readers, subject).items():
        if name in CUT_BY_TWO:
            found = [value[:-2] for value in found if isinstance(value, bytes) and value[:-2]]
        into[name] += found


def disagreements(
    subjects: Sequence[object], frames: Sequence[bytes], expected: Sequence[Expected], directory: Path
) -> list[str]:
    """Every field that tshark has another opinion of."""
    names = {name for fields in expected for name in fields}
    complaints = []
    for subject, fields, found in zip(
        subjects, expected, tshark.dissect(frames, names, directory), strict=True
    ):
        for name, wanted in fields.items():
            shown = found.get(name, [])
            if isinstance(subject, QUOTING):
                shown = shown[:1]
            if len(shown) != len(wanted) or not all(map(shown_as, wanted, shown)):
                complaints.append(f"{name} is {shown} instead of {wanted} in {subject}")
        misread = isinstance(subject, QUOTING) or type(subject) in OPTIONS_MISREAD
        if "_ws.malformed" in found and not misread:
            complaints.append(f"malformed: {subject}")
    return complaints


def mobility_fields(sent: Message) -> Expected:
    fields: Expected = defaultdict(list)
    if type(sent) not in FIELDS_MISREAD:
        merge(fields, MESSAGE_FIELDS.get(type(sent), {}), sent)
    for option in () if type(sent) in OPTIONS_MISREAD else sent.options:
        merge(fields, OPTION_FIELDS.get(type(option), {}), option)
    return fields


@pytest.mark.parametrize("kind", OPTION_FIELDS, ids=lambda kind: kind.__name__)
def test_every_option_is_among_the_generated(kind: type) -> None:
    assert find(PLAIN_OPTION | AUTHENTICATING_OPTION, lambda option: type(option) is kind, settings=AT_ONCE)


def test_mobility_messages(tmp_path: Path) -> None:
    subjects, frames, expected = [], [], []
    samples = [case for one in MESSAGES for case in sample(st.tuples(one, ENVELOPE), EACH)]
    for sent, (source, destination, home, routing, outer) in samples:
        header = encode_message(sent, home or source, routing or destination)
        # tshark does not check it.
        assert checksum.is_valid_ipv6(home or source, routing or destination, 135, header)
        packet = encode_packet(source, destination, header, home_address=home, routing_home_address=routing)
        fields = mobility_fields(sent) | {
            "mip6.mhtype": [sent.type_code],
            "mip6.hlen": [header[1]],
            "mip6.csum": [int.from_bytes(header[4:6], "big")],
            "ipv6.src": [source],
            "ipv6.opt.mipv6.home_address": [home] if home else [],
            "ipv6.routing.mipv6.home_address": [routing] if routing else [],
            "ipv6.plen": [len(packet) - 40],
        }
        if outer is not None:
            packet = encapsulate_udp(packet, outer)
            fields |= {
                "ip.src": [outer.source],
                "ip.dst": [outer.destination],
                "udp.srcport": [outer.source_port],
                "udp.length": [len(packet) - 20],
                "ip.checksum.status": [1],
                "udp.checksum.status": [1],
            }
        subjects.append(sent)
        frames.append(tshark.ethernet(packet))
        expected.append(fields)
    complaints = disagreements(subjects, frames, expected, tmp_path)
    assert not complaints, "\n".join(complaints)


def icmp_fields(sent: Icmpv6Message | icmpv4.Icmpv4Message) -> Expected:
    fields: Expected = defaultdict(list)
    merge(fields, ICMP_FIELDS.get(type(sent), {}), sent)
    for option in getattr(sent, "options", ()):
        merge(fields, ND_OPTION_FIELDS.get(type(option), {}), option)
    return fields


def test_icmpv6_and_neighbour_discovery(tmp_path: Path) -> None:
    subjects, frames, expected = [], [], []
    readable = [one.filter(is_readable_icmpv6) for one in EACH_ICMPV6]
    samples = [case for one in readable for case in sample(st.tuples(one, ROUTABLE, ROUTABLE), EACH)]
    for sent, source, destination in samples:
        octets = encode_icmpv6(sent, source, destination)
        assert checksum.is_valid_ipv6(source, destination, 58, octets)
        kind, code = sent.type_code
        subjects.append(sent)
        frames.append(
            tshark.ethernet(encode_packet(source, destination, octets, NextHeader.ICMPV6, hop_limit=255))
        )
        expected.append(
            icmp_fields(sent) | {"icmpv6.type": [kind], "icmpv6.code": [code], "icmpv6.checksum.status": [1]}
        )
    complaints = disagreements(subjects, frames, expected, tmp_path)
    assert not complaints, "\n".join(complaints)


def test_icmpv4(tmp_path: Path) -> None:
    subjects, frames, expected = [], [], []
    for sent in sample(ICMPV4.filter(lambda sent: not isinstance(sent, icmpv4.UnknownIcmpv4)), 60):
        octets = icmpv4.encode_icmpv4(sent)
        assert checksum.is_valid(octets)
        header = IPv4Header(HOA4, HA4, NextHeader.ICMPV4, len(octets)).encode()
        assert checksum.is_valid(header)
        subjects.append(sent)
        frames.append(tshark.ethernet(header + octets))
        expected.append(icmp_fields(sent) | {"icmp.type": [sent.type_code[0]], "icmp.checksum.status": [1]})
    complaints = disagreements(subjects, frames, expected, tmp_path)
    assert not complaints, "\n".join(complaints)


def test_arp(tmp_path: Path) -> None:
    # Of other operations (those of DRARP, for one) tshark shows other fields.
    subjects: list[ArpPacket] = sample(ARP_REQUESTS_AND_REPLIES, 40)
    frames = [tshark.ethernet(sent.encode(), arp=True) for sent in subjects]
    expected = [values(ARP_FIELDS[ArpPacket], sent) for sent in subjects]
    complaints = disagreements(subjects, frames, expected, tmp_path)
    assert not complaints, "\n".join(complaints)
