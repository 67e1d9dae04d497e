"""A mobile node on a test bench: literal times, and a home agent whose every answer the test decides."""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TypeVar

import msgspec

from dsmip.core.actions import Action, Drop, Event, SendDatagram, SendPacket
from dsmip.core.authentication import mn_ha_authenticator
from dsmip.core.mobile_node.engine import MobileNode, MobileNodeConfig
from dsmip.core.types import Attachments, CareOfAddress, HomeAttachment, Instant, IPAddress
from dsmip.wire.constants import BAFlag, BUFlag, NextHeader
from dsmip.wire.icmpv6 import decode_icmpv6, encode_icmpv6
from dsmip.wire.icmpv6message import Icmpv6Message
from dsmip.wire.messages import BindingAcknowledgement, BindingUpdate, decode_message, encode_message
from dsmip.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    IPv4CareOfAddress,
    MessageIdentifier,
    MobilityOption,
    NatDetection,
    find,
)
from dsmip.wire.packet import Packet, UdpOuter, decode_packet, encapsulate_udp, encode_packet

HOME_ADDRESS = IPv6Address("2001:db8:100::1234")
HOME_PREFIX = IPv6Network("2001:db8:100::/64")
HOME_AGENT = IPv6Address("2001:db8:100::1")
HOME_AGENT_IPV4 = IPv4Address("192.0.2.1")
MOBILE_PREFIX = IPv6Network("2001:db8:4::/64")
KEY = bytes(range(16))
SPI = 4096
UNIX = 1_800_000_000.0
NO_KEEPALIVE = 0xFFFFFFFF

CONFIG = MobileNodeConfig(
    home_address=HOME_ADDRESS,
    home_prefix=HOME_PREFIX,
    home_agent=HOME_AGENT,
    home_agent_ipv4=HOME_AGENT_IPV4,
    identifier="mn1@example.com",
    spi=SPI,
    key=KEY,
)

WIFI6 = CareOfAddress(IPv6Address("2001:db8:200::5678"), "wlan0", 3, IPv6Address("fe80::1"), "wifi6")
OTHER6 = CareOfAddress(IPv6Address("2001:db8:300::5678"), "wwan0", 4, IPv6Address("fe80::2"), "other6")
CAFE4 = CareOfAddress(IPv4Address("198.51.100.7"), "eth0", 5, IPv4Address("198.51.100.1"), "cafe4")
NAT4 = CareOfAddress(IPv4Address("192.168.1.2"), "eth0", 5, IPv4Address("192.168.1.1"), "nat4")
HOME = HomeAttachment("eth1", 6, IPv6Address("fe80::100"), None)

#: What a home agent says about the path in the NAT Detection option.
NO_NAT = NatDetection(forced=False, refresh=NO_KEEPALIVE)
NO_NAT_FORCED = NatDetection(forced=True, refresh=NO_KEEPALIVE)
BEHIND_NAT = NatDetection(forced=False, refresh=110)

T = TypeVar("T")


def at(monotonic: float) -> Instant:
    """The instant with this CLOCK_MONOTONIC value."""
    return Instant(monotonic, UNIX + monotonic)


def only(actions: list[Action], kind: type[T]) -> list[T]:
    """The actions of one class."""
    return [action for action in actions if isinstance(action, kind)]


def order(actions: list[Action], *kinds: type[Action]) -> list[type[Action]]:
    """The classes of the actions that are of one of `kinds`, in order."""
    return [type(action) for action in actions if isinstance(action, kinds)]


def drops(actions: list[Action]) -> list[str]:
    """The reasons of all drops."""
    return [drop.reason for drop in only(actions, Drop)]


def event(actions: list[Action], kind: str) -> Event:
    """The one event of this kind."""
    [found] = [event for event in only(actions, Event) if event.kind == kind]
    return found


@dataclass(frozen=True)
class Sent:
    """One Binding Update as the home agent sees it."""

    time: float
    action: SendPacket | SendDatagram
    packet: Packet
    update: BindingUpdate

    @property
    def timestamp(self) -> int:
        option = find(self.update.options, MessageIdentifier)
        assert option is not None
        return option.timestamp

    @property
    def care_of(self) -> IPAddress:
        """The care-of address asked for, which the authenticators cover."""
        ipv4 = find(self.update.options, IPv4CareOfAddress)
        if ipv4 is not None:
            return ipv4.address
        alternate = find(self.update.options, AlternateCareOfAddress)
        assert alternate is not None
        return alternate.address


class Bench:
    """A mobile node, everything it did so far, and the home agent's part by hand."""

    def __init__(self, config: MobileNodeConfig = CONFIG, seed: int = 1) -> None:
        self.config = config
        self.node = MobileNode(config, at(0.0), random.Random(seed))
        self.time = 0.0
        self.sent: list[Sent] = []

    # Input ------------------------------------------------------------------------------------------------

    def attach(
        self, time: float, *care_of: CareOfAddress, home: HomeAttachment | None = None
    ) -> list[Action]:
        """The attachments from `time` on."""
        self.run(time)
        self.node.attachments_changed(Attachments(home, care_of), at(time))
        return self.drain()

    def run(self, until: float) -> list[Action]:
        """Let time pass up to and including `until`; the mobile node's timer fires exactly when due."""
        actions: list[Action] = []
        for _ in range(10_000):
            due = self.node.timeout()
            if due is None or due > until:
                break
            self.time = max(due, self.time)
            self.node.tick(at(self.time))
            actions += self.drain()
        else:
            raise AssertionError("the timer does not move on")
        self.time = until
        return actions

    def receive(self, data: bytes, time: float | None = None, *, protected: bool = False) -> list[Action]:
        """A packet for the mobile node."""
        if time is not None:
            self.run(time)
        self.node.receive(data, at(self.time), protected=protected)
        return self.drain()

    def icmpv6(
        self, message: Icmpv6Message, source: IPv6Address = HOME_AGENT, time: float | None = None
    ) -> list[Action]:
        """An ICMPv6 message that the kernel passes on, to the care-of address."""
        if time is not None:
            self.run(time)
        destination = self.last.packet.source if self.sent else WIFI6.address
        assert isinstance(destination, IPv6Address)
        data = encode_icmpv6(message, source, destination)
        self.node.icmpv6(data, source, destination, at(self.time))
        return self.drain()

    def prefix_advertisement(
        self,
        message: Icmpv6Message,
        source: IPv6Address = HOME_AGENT,
        time: float | None = None,
        *,
        protected: bool = False,
    ) -> list[Action]:
        """A mobile prefix advertisement as a home agent sends it."""
        home_address = self.last.packet.sender
        octets = encode_icmpv6(message, source, home_address)
        packet = encode_packet(
            source,
            self.last.packet.source,
            octets,
            NextHeader.ICMPV6,
            routing_home_address=home_address,
        )
        return self.receive(packet, time, protected=protected)

    def echo_reply(self, identifier: int, sequence: int, time: float | None = None) -> list[Action]:
        """An answered path probe."""
        if time is not None:
            self.run(time)
        self.node.echo_reply(identifier, sequence, at(self.time))
        return self.drain()

    # Output -----------------------------------------------------------------------------------------------

    def drain(self) -> list[Action]:
        """The pending actions; Binding Updates among them are added to `sent`."""
        actions = self.node.actions()
        for action in actions:
            if isinstance(action, (SendPacket, SendDatagram)):
                sent = self._read(action)
                if sent is not None:
                    self.sent.append(sent)
        return actions

    def _read(self, action: SendPacket | SendDatagram) -> Sent | None:
        packet = decode_packet(action.packet if isinstance(action, SendPacket) else action.payload)
        if packet.next_header != 135:
            return None
        message = decode_message(packet.payload, packet.sender, packet.recipient)
        return Sent(self.time, action, packet, message) if isinstance(message, BindingUpdate) else None

    @property
    def last(self) -> Sent:
        """The last Binding Update sent."""
        return self.sent[-1]

    # The home agent ---------------------------------------------------------------------------------------

    def answer(
        self,
        sent: Sent | None = None,
        *,
        time: float | None = None,
        options: tuple[MobilityOption, ...] = (),
        **fields: int,
    ) -> list[Action]:
        """Acknowledge `sent` (by default the last one): see `acknowledgement` for `fields`."""
        if time is not None:
            self.run(time)
        return self.receive(self.acknowledgement(sent or self.last, options, **fields))

    def acknowledgement(
        self,
        sent: Sent,
        options: tuple[MobilityOption, ...] = (),
        *,
        status: int = 0,
        lifetime: int | None = None,
        sequence: int | None = None,
        flags: int | None = None,
        timestamp: int | None = None,
        key: bytes = KEY,
        care_of: IPAddress | None = None,
        spi: int = SPI,
        after: tuple[MobilityOption, ...] = (),
    ) -> bytes:
        """The packet that acknowledges `sent`, on the way back that `sent` came.

        `options` come before the authentication option and `after` behind it, where nothing belongs.
        """
        home_address = sent.packet.sender
        if flags is None:
            flags = BAFlag.R if sent.update.flags & BUFlag.R else 0
        sign = None
        if self.config.authentication == "mn-ha":
            options = (
                *options,
                MessageIdentifier(sent.timestamp if timestamp is None else timestamp),
                Authentication(spi, bytes(12)),
            )
            covered_address = care_of or sent.care_of

            def sign(covered: bytes) -> bytes:
                return mn_ha_authenticator(key, covered_address, home_address, covered)

        message = BindingAcknowledgement(
            status,
            BAFlag(flags),
            sent.update.sequence if sequence is None else sequence,
            sent.update.lifetime if lifetime is None else lifetime,
            options,
        )
        home_agent = sent.packet.destination
        octets = encode_message(message, home_agent, home_address, sign)
        if after:
            signed = decode_message(octets, home_agent, home_address)
            assert isinstance(signed, BindingAcknowledgement)
            message = msgspec.structs.replace(message, options=(*signed.options, *after))
            octets = encode_message(message, home_agent, home_address)
        return self.wrap(octets, sent)

    def wrap(self, message: bytes, sent: Sent) -> bytes:
        """Put a message of the home agent on the way back that `sent` came."""
        home_address = sent.packet.sender
        if isinstance(sent.action, SendDatagram):
            action = sent.action
            inner = encode_packet(sent.packet.destination, home_address, message)
            outer = UdpOuter(
                action.remote.address, action.remote.port, action.local.address, action.local.port
            )
            return encapsulate_udp(inner, outer)
        if sent.packet.home_address is None:
            return encode_packet(sent.packet.destination, home_address, message)
        return encode_packet(
            sent.packet.destination, sent.packet.source, message, routing_home_address=home_address
        )


def registered(config: MobileNodeConfig = CONFIG, care_of: CareOfAddress = WIFI6) -> Bench:
    """A mobile node that attached at 0 s and was acknowledged at 0.02 s."""
    bench = Bench(config)
    bench.attach(0.0, care_of)
    options = (NO_NAT_FORCED,) if care_of.address.version == 4 else ()
    bench.answer(time=0.02, options=options)
    return bench


def asked(actions: list[Action], kind: type[T]) -> list[tuple[Packet, T]]:
    """The ICMPv6 messages of one class among what was sent, each with its packet."""
    found = []
    for action in only(actions, SendPacket):
        packet = decode_packet(action.packet)
        if packet.next_header == NextHeader.ICMPV6:
            message = decode_icmpv6(packet.payload, packet.sender, packet.recipient)
            if isinstance(message, kind):
                found.append((packet, message))
    return found
