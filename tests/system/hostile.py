"""What an attacker sends to a home agent: packets of every kind that must come to nothing."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from dsmip.bench.frames import Sender, frame
from dsmip.core.authentication import SecurityAssociation, ntp_timestamp
from dsmip.core.types import DSMIP_PORT
from dsmip.lab import configs, plan
from dsmip.wire.constants import BUFlag, NextHeader
from dsmip.wire.ip import IPv4Header
from dsmip.wire.messages import BindingUpdate, encode_message
from dsmip.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    IPv4HomeAddress,
    MessageIdentifier,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    MobilityOption,
)
from dsmip.wire.packet import UdpOuter, encapsulate_udp, encode_packet

ATTACKER_MAC = bytes.fromhex("02005e666666")
HOME_AGENT_MAC = bytes.fromhex("02005e100001")

#: A node of the home agent's own that is out for what belongs to another.
MALLORY = IPv6Address("2001:db8:100::bad")
MALLORY_CARE_OF = IPv6Address("2001:db8:400::bad")
MALLORY_IDENTIFIER = "mallory@example.org"
MALLORY_SPI = 4097
MALLORY_KEY = bytes(range(16))
MALLORY_CONFIG = f"""
[[mobile_node]]
name = "mallory"
identifier = "{MALLORY_IDENTIFIER}"
home_address = "{MALLORY}"
spi = {MALLORY_SPI}
key = "{MALLORY_KEY.hex()}"
"""

_FLAGS = BUFlag.A | BUFlag.H | BUFlag.R
_MORE_FRAGMENTS = 0x2000


@dataclass(frozen=True)
class Target:
    """The mobile router whose home agent is attacked: where it is, Binding Updates recorded on the way."""

    care_of: IPv6Address
    recorded: Sequence[bytes]


def binding_update(
    home_address: IPv6Address,
    care_of: IPv6Address,
    association: SecurityAssociation,
    unix: float,
    *options: MobilityOption,
    sequence: int = 60000,
    source: IPv6Address | None = None,
) -> bytes:
    """A Binding Update that would divert traffic to `care_of`, if the home agent fell for it."""
    message = BindingUpdate(
        sequence=sequence,
        flags=_FLAGS,
        lifetime=100,
        options=(
            AlternateCareOfAddress(care_of),
            *options,
            MobileNodeIdentifier(association.identifier.encode()),
            MessageIdentifier(ntp_timestamp(unix)),
            Authentication(association.spi, bytes(12)),
        ),
    )
    header = encode_message(message, home_address, plan.HOME_AGENT, association.signer(care_of, home_address))
    return encode_packet(source or care_of, plan.HOME_AGENT, header, home_address=home_address)


class Attacker:
    """Draws packets of every kind. The same seed draws the same ones."""

    def __init__(self, target: Target, seed: int) -> None:
        self._target = target
        self._rng = random.Random(seed)
        self.kinds = (
            self.garbage,
            self.unauthenticated_update,
            self.unknown_node,
            self.spoofed_outer_source,
            self.spoofed_inner_source,
            self.replay,
            self.fragment,
            self.oversize_options,
            self.nested,
            self.routing_header,
            self.home_address_option,
        )

    def packets(self, count: int) -> list[bytes]:
        """So many of every kind, in no order."""
        drawn = [kind() for kind in self.kinds for _ in range(count)]
        self._rng.shuffle(drawn)
        return drawn

    def garbage(self) -> bytes:
        """Octets where signalling is expected."""
        rng, kind = self._rng, self._rng.randrange(3)
        if kind == 0:
            return self._in_udp(rng.randbytes(rng.randint(0, 400)))
        payload = rng.randbytes(8 * rng.randint(1, 40))
        header = rng.choice((NextHeader.MOBILITY, NextHeader.DESTINATION, NextHeader.ROUTING))
        packet = encode_packet(self._source(), plan.HOME_AGENT, payload, header)
        return packet if kind == 1 else self._in_udp(packet)

    def unauthenticated_update(self) -> bytes:
        """The mobile router's own Binding Update, but for the key; also as if from its care-of address."""
        wrong = SecurityAssociation(configs.SPI, self._rng.randbytes(16), configs.IDENTIFIER)
        care_of = self._source()
        source = self._rng.choice((care_of, self._target.care_of))
        return binding_update(plan.HOME_ADDRESS, care_of, wrong, time.time(), source=source)

    def unknown_node(self) -> bytes:
        """From a home address nobody has."""
        stranger = plan.HOME_PREFIX[self._rng.getrandbits(64)]
        association = SecurityAssociation(5000, self._rng.randbytes(16), "stranger@example.org")
        return binding_update(stranger, self._source(), association, time.time())

    def spoofed_outer_source(self) -> bytes:
        """Data in the mobile router's name that comes from elsewhere, in each tunnel format."""
        inner = encode_packet(plan.HOST, plan.CORRESPONDENT, bytes(64), NextHeader.NONE)
        kind = self._rng.randrange(3)
        if kind == 0:
            return encode_packet(self._source(), plan.HOME_AGENT, inner, NextHeader.IPV6)
        return self._in_udp(inner) if kind == 1 else self._in_ipv4(inner, NextHeader.IPV6)

    def spoofed_inner_source(self) -> bytes:
        """From the mobile router's care-of address, in the name of others."""
        inner = encode_packet(self._source(), plan.CORRESPONDENT, bytes(64), NextHeader.NONE)
        if self._rng.random() < 0.3:
            inner = IPv4Header(self._ipv4_source(), plan.CORRESPONDENT_IPV4, 59, 8).encode() + bytes(8)
            return encode_packet(self._target.care_of, plan.HOME_AGENT, inner, NextHeader.IPV4)
        return encode_packet(self._target.care_of, plan.HOME_AGENT, inner, NextHeader.IPV6)

    def replay(self) -> bytes:
        """What the mobile router once sent."""
        return self._rng.choice(self._target.recorded)

    def fragment(self) -> bytes:
        """First, middle and last pieces, of signalling and of tunnelled data."""
        rng = self._rng
        offset = 8 * rng.randrange(200)
        more = rng.randrange(2)
        if rng.random() < 0.5:
            flags = (offset >> 3) | (_MORE_FRAGMENTS if more else 0)
            data = rng.randbytes(64)
            header = IPv4Header(self._ipv4_source(), plan.HOME_AGENT_IPV4, NextHeader.UDP, len(data))
            octets = bytearray(header.encode())
            octets[6:8] = flags.to_bytes(2, "big")
            octets[10:12] = b"\0\0"
            octets[10:12] = _ipv4_checksum(octets).to_bytes(2, "big")
            return bytes(octets) + data
        next_header = rng.choice((NextHeader.MOBILITY, NextHeader.IPV6, NextHeader.DESTINATION))
        piece = bytes((next_header, 0)) + (offset | more).to_bytes(2, "big") + rng.randbytes(4 + 64)
        return encode_packet(self._source(), plan.HOME_AGENT, piece, NextHeader.FRAGMENT)

    def oversize_options(self) -> bytes:
        """Extension headers, mobility headers and options that are as long as can be, or say they are."""
        rng, kind = self._rng, self._rng.randrange(3)
        if kind == 0:
            options = bytes((NextHeader.MOBILITY, 140)) + rng.randbytes(8 * 141 - 2)
            return encode_packet(self._source(), plan.HOME_AGENT, options, NextHeader.DESTINATION)
        if kind == 1:
            header = bytes((59, 255, 5, 0)) + rng.randbytes(12)
            return encode_packet(self._source(), plan.HOME_AGENT, header)
        header = bytes((59, 140, 5, 0)) + bytes(8) + bytes((8, 255)) * 8 + rng.randbytes(8 * 141 - 28)
        return encode_packet(self._source(), plan.HOME_AGENT, header, home_address=plan.HOME_ADDRESS)

    def nested(self) -> bytes:
        """Tunnels in tunnels, from the mobile router's care-of address and from elsewhere."""
        packet = encode_packet(plan.HOST, plan.CORRESPONDENT, bytes(8), NextHeader.NONE)
        for _ in range(self._rng.randint(2, 8)):
            packet = encode_packet(self._source(), plan.HOME_AGENT, packet, NextHeader.IPV6)
        outer = self._rng.choice((self._source(), self._target.care_of))
        return encode_packet(outer, plan.HOME_AGENT, packet, NextHeader.IPV6)

    def routing_header(self) -> bytes:
        """Type 2 routing headers, which only mobile nodes are sent."""
        return encode_packet(
            self._source(),
            plan.HOME_AGENT,
            self._rng.randbytes(24),
            self._rng.choice((NextHeader.MOBILITY, NextHeader.ICMPV6, NextHeader.NONE)),
            routing_home_address=plan.HOME_ADDRESS,
        )

    def home_address_option(self) -> bytes:
        """Data with a home address option for which there is no binding with this care-of address."""
        home_address = self._rng.choice((plan.HOME_ADDRESS, self._source()))
        payload = self._rng.randbytes(24)
        return encode_packet(
            self._source(), plan.HOME_AGENT, payload, NextHeader.NONE, home_address=home_address
        )

    def _source(self) -> IPv6Address:
        return IPv6Address(0x2001_0DB8_0666 << 80 | self._rng.getrandbits(80))

    def _ipv4_source(self) -> IPv4Address:
        return IPv4Address(0x0A66_0000 | self._rng.randrange(1, 0xFFFF))

    def _in_udp(self, carried: bytes) -> bytes:
        port = self._rng.randrange(1024, 65536)
        outer = UdpOuter(self._ipv4_source(), port, plan.HOME_AGENT_IPV4, DSMIP_PORT)
        return encapsulate_udp(carried, outer)

    def _in_ipv4(self, carried: bytes, protocol: int) -> bytes:
        header = IPv4Header(self._ipv4_source(), plan.HOME_AGENT_IPV4, protocol, len(carried))
        return header.encode() + carried


def greedy_updates(unix: float) -> list[bytes]:
    """Mallory's own authentic Binding Updates, for what belongs to the mobile router."""
    association = SecurityAssociation(MALLORY_SPI, MALLORY_KEY, MALLORY_IDENTIFIER)
    wishes: tuple[MobilityOption, ...] = (
        MobileNetworkPrefix.of(plan.MOBILE_PREFIX),
        IPv4HomeAddress(plan.IPV4_HOME_ADDRESS),
        IPv4HomeAddress(plan.IPV4_MOBILE_PREFIX.network_address, plan.IPV4_MOBILE_PREFIX.prefixlen),
    )
    return [
        binding_update(MALLORY, MALLORY_CARE_OF, association, unix + n / 1000, wish, sequence=n + 1)
        for n, wish in enumerate(wishes)
    ]


def _ipv4_checksum(header: bytes | bytearray) -> int:
    total = sum(int.from_bytes(header[n : n + 2], "big") for n in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Flood:
    """Sends packets round and round at a steady rate, as long as it is entered."""

    def __init__(self, namespace: str, interface: str, packets: Sequence[bytes], rate: int) -> None:
        """`rate` in packets a second: never more, less when the machine cannot."""
        frames = [frame(HOME_AGENT_MAC, ATTACKER_MAC, packet) for packet in packets]
        self._sender = Sender(namespace, interface, frames)
        self._rate = rate
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def _run(self) -> None:
        with closing(self._sender):
            began = time.monotonic()
            behind = 0  # what was due and could not be sent is not made up for by a burst
            while not self._stopping.is_set():
                due = int((time.monotonic() - began) * self._rate) - behind - self.sent
                if due > self._rate // 100:
                    behind += due - self._rate // 100
                    due = self._rate // 100
                while due > 0:
                    sent = self._sender.send(min(due, 64))
                    if not sent:
                        break
                    self.sent += sent
                    due -= sent
                time.sleep(0.0005)

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._thread.join()
