"""What the fuzzers start from, made from the test vectors: `python -m fuzz.corpus` writes it all.

Nothing of it is kept in the repository: it follows from the vectors.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from tests.wire.wire_vectors import VECTORS

from dsmip.wire.arp import ArpPacket
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv4 import DestinationUnreachable, EchoRequest, encode_icmpv4
from dsmip.wire.packet import Packet, decode_packet

CORPUS = Path(__file__).parent / "corpus"

_STORIES = 60
_CONFIGURATIONS = {
    "home agent": """role = "home-agent"
address = "2001:db8:100::1"
ipv4_address = "192.0.2.1"
home_prefixes = ["2001:db8:100::/64"]
[[mobile_node]]
name = "mn1"
home_address = "2001:db8:100::1234"
identifier = "mn1@example.com"
ipv4_home_address = "198.51.100.10"
mobile_network_prefixes = ["2001:db8:aaaa::/56"]
spi = 256
key = "000102030405060708090a0b0c0d0e0f"
""",
    "mobile node": """role = "mobile-node"
home_address = "2001:db8:100::1234"
home_prefix = "2001:db8:100::/64"
ipv4_home_address = "198.51.100.10/24"
home_agent = "discover"
lifetime = 600
spi = 256
key = "000102030405060708090a0b0c0d0e0f"
[[interface]]
name = "wlan0"
preference = 10
""",
    "nested": "a = [[[[[[{b = {c = [1, 2.5, 1979-05-27T07:32:00Z, true]}}]]]]]]\n",
    "deep": "a = " + "[" * 2000,
    "long number": f"lifetime = {'9' * 5000}\n",
}
_REQUESTS = (
    b'{"command": "status"}\n',
    b'{"command": "none"}\n',
    b'{"command": [1e9, null]}',
    b"[" * 4000,
    b"1" * 5000,
    b"{",
)
_HTTP_REQUESTS = (
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9418\r\nAccept: text/plain",
    b"GET /api/state?after=5&filter=bus%2017 HTTP/1.1\r\nHost: [::1]\r\nAuthorization: Bearer abc",
    b"POST //[ HTTP/1.0\r\nContent-Length: 5",
)
_IPV4 = IPv4Address("192.0.2.1")
_SMALL = (
    b"\x00" + encode_icmpv4(EchoRequest(1, 2, b"abc")),
    b"\x00" + encode_icmpv4(DestinationUnreachable(4, 1400, bytes(28))),
    b"\x01" + ArpPacket(1, bytes(6), _IPV4, bytes(6), _IPV4).encode(),
)


def seeds(target: str) -> Iterator[bytes]:
    """The inputs a target begins with."""
    match target:
        case "packet":
            yield from VECTORS.values()
        case "message":
            yield from _payloads(NextHeader.MOBILITY)
        case "icmpv6":
            yield from _payloads(NextHeader.ICMPV6)
        case "small-decoders":
            yield from _SMALL
            for data in VECTORS.values():
                yield (b"\x02" if data[0] >> 4 == 6 else b"\x03") + data
                yield b"\x04" + data[20:]
        case "home-agent" | "mobile-node":
            source = random.Random(target)
            for _ in range(_STORIES):
                yield source.randbytes(source.randrange(20, 400))
            # Steps are chosen by number: 5 and 7 are the ones that take a packet as it is.
            step = 5 if target == "home-agent" else 7
            for data in VECTORS.values():
                yield bytes((0, step, len(data))) + data
        case "configuration":
            for text in _CONFIGURATIONS.values():
                yield text.encode()
        case "control":
            yield from _REQUESTS
        case "http":
            yield from _HTTP_REQUESTS


def write(target: str, folder: Path = CORPUS) -> Path:
    """Write the seeds of a target and return where they are."""
    place = folder / target
    place.mkdir(parents=True, exist_ok=True)
    for data in seeds(target):
        (place / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    return place


def _payloads(next_header: NextHeader) -> Iterator[bytes]:
    for data in VECTORS.values():
        packet = _read(data)
        if packet is not None and packet.next_header == next_header:
            yield packet.payload


def _read(data: bytes) -> Packet | None:
    try:
        return decode_packet(data)
    except DecodeError:
        return None


if __name__ == "__main__":
    from fuzz.targets import TARGETS

    for name in TARGETS:
        sys.stdout.write(f"{write(name)}\n")
