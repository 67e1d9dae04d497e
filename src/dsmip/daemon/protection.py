"""Signalling under IPsec (RFC 4877, RFC 3776), with all outer headers known.

Signalling is all Mobility Headers between home address and home agent, and prefix discovery (RFC 3776 section
3.3). The kernel encrypts and decrypts; who sends what from where is told here. A protected message arrives as
an upcall, whole. Its ESP goes back into the kernel through the tunnel device as a plain packet between home
address and home agent, with a number in its flow label; the message that comes out of a socket with that
number is put back between the headers it came in, outer IPv4 source included. That is what NAT detection
compares (RFC 5555 section 4.2), and what a kernel that decrypts by itself has lost by then.

Outgoing messages take the same way back: through the socket into the kernel, as ESP out of the tunnel device,
then into the headers they were meant to have.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final, Protocol, TypeVar

from dsmip.core.actions import Action, SendDatagram, SendPacket
from dsmip.dataplane.maps import UPCALL_MARK
from dsmip.host.protected_socket import ProtectedSocket
from dsmip.host.xfrm import CipherAndMac, Direction, Policy, State, Traffic, Xfrm, one_address
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv6 import MobilePrefixAdvertisement, MobilePrefixSolicitation
from dsmip.wire.ip import IPV6_HEADER_SIZE, IPv6Header
from dsmip.wire.packet import Packet, decode_packet, encapsulate_udp, encode_packet

#: Messages under way between the two halves of their journey; the oldest is forgotten for a new one.
_UNDER_WAY = 1024
_LABELS = 1 << 20
#: Traffic classes whose ECN bits are clear, and hop limits that nobody decrements to nothing.
_CLASSES = 64
_HOP_LIMITS = range(64, 256)
#: So many messages over so many seconds without an answer: the other end may have lost its keys. Outages of
#: handovers are shorter, and no reason to negotiate.
_SILENT_MESSAGES, _SILENT_TIME = 6, 20.0

#: The ICMPv6 types of prefix discovery, which differ in the last bit.
PREFIX_DISCOVERY: Final = (MobilePrefixSolicitation.TYPE, MobilePrefixAdvertisement.TYPE)

log = logging.getLogger(__name__)

Send = SendPacket | SendDatagram
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class StaticAssociation:
    """One direction's manual keys (RFC 4301 section 4.4.2)."""

    spi: int
    algorithms: CipherAndMac


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of protected signalling, by inner addresses: home address and home agent address.

    `inbound` and `outbound` are manual security associations, None = those that IKE negotiates. `request`
    groups them, with any number of its own. `waits`: messages are held back until `ready` is called.
    """

    local: IPv6Address
    remote: IPv6Address
    request: int
    inbound: StaticAssociation | None = None
    outbound: StaticAssociation | None = None
    waits: bool = False


class Keys(Protocol):
    """Who negotiates the keys, and is told what messages tell."""

    def waiting(self, peer: Peer) -> None:
        """A message is held back for want of keys."""

    def silent(self, peer: Peer) -> None:
        """Message after message has gone unanswered."""

    def heard(self, peer: Peer) -> None:
        """An authentic message has come."""


class SignallingProtection:
    """Carries protected messages into the kernel and out of it.

    `inject` hands a packet to the kernel as received on the tunnel device; `deliver` takes a decrypted
    message with the headers it came in; `send` sends an action as it is. The constructor raises HostError
    when the kernel has no XFRM, OSError without the right to open the socket.
    """

    def __init__(
        self,
        inject: Callable[[bytes], bool],
        deliver: Callable[[bytes], None],
        send: Callable[[Send], None],
    ) -> None:
        self._inject, self._deliver, self._send = inject, deliver, send
        #: Its policies and security associations.
        self.kernel = Xfrm()
        opened = (
            ProtectedSocket.of_mobility_headers(UPCALL_MARK),
            ProtectedSocket.of_icmpv6(PREFIX_DISCOVERY, UPCALL_MARK),
        )
        self._sockets = {one.protocol: one for one in opened}
        self._peers: dict[tuple[IPv6Address, IPv6Address], Peer] = {}
        self._arriving: OrderedDict[int, Packet] = OrderedDict()
        self._leaving: OrderedDict[int, tuple[Packet, Send]] = OrderedDict()
        self._label = 0
        self._tag = 0
        #: Set by whoever negotiates.
        self.keys: Keys | None = None
        self._ready: set[tuple[IPv6Address, IPv6Address]] = set()
        self._held: dict[tuple[IPv6Address, IPv6Address], OrderedDict[str, Send]] = {}
        #: Messages since the last answer, and when the first of them was sent (CLOCK_MONOTONIC).
        self._unanswered: dict[tuple[IPv6Address, IPv6Address], tuple[int, float]] = {}

    def close(self, *, keep: bool = False) -> None:
        """Let go; `keep`: policies and associations stay."""
        if not keep:
            for peer in list(self._peers.values()):
                self.remove(peer)
        for one in self.sockets:
            one.close()
        self.kernel.close()

    @property
    def sockets(self) -> Collection[ProtectedSocket]:
        """To be watched for reading: see `decrypted`."""
        return self._sockets.values()

    # Peers -------------------------------------------------------------------------------------------------

    def add(self, peer: Peer) -> None:
        """From now on signalling with this peer is under ESP, both ways. Raises HostError."""
        # Policies first: there must be no moment at which the clear text would pass.
        for traffic, direction in _signalling(peer):
            self.kernel.set_policy(Policy(traffic, direction, peer.request))
        self._peers[peer.local, peer.remote] = peer
        if peer.outbound is not None:
            self.kernel.set_state(_state(peer.local, peer.remote, peer.outbound, peer.request))
        if peer.inbound is not None:
            self.kernel.set_state(_state(peer.remote, peer.local, peer.inbound, peer.request))

    def remove(self, peer: Peer) -> None:
        """No signalling with this peer any more."""
        self._peers.pop((peer.local, peer.remote), None)
        self.ready(peer, False)
        self._held.pop((peer.local, peer.remote), None)
        for association, destination in ((peer.outbound, peer.remote), (peer.inbound, peer.local)):
            if association is not None:
                self.kernel.remove_state(destination, association.spi)
        for traffic, direction in _signalling(peer):
            self.kernel.remove_policy(traffic, direction)

    def is_peer(self, local: IPv6Address, remote: IPv6Address) -> bool:
        """Whether signalling between these two is under ESP: the kernel lets none pass that is not."""
        return (local, remote) in self._peers

    def ready(self, peer: Peer, there_are_keys: bool) -> None:
        """Whether messages need wait no longer. Of those held back the latest of each interface leave."""
        key = (peer.local, peer.remote)
        self._unanswered.pop(key, None)
        if not there_are_keys:
            self._ready.discard(key)
            return
        self._ready.add(key)
        for action in self._held.pop(key, {}).values():
            self.protects(action)

    def held(self, peer: Peer) -> Send | None:
        """The latest message held back."""
        waiting = self._held.get((peer.local, peer.remote))
        return next(reversed(waiting.values())) if waiting else None

    # Inwards -----------------------------------------------------------------------------------------------

    def takes(self, data: bytes) -> bool:
        """Whether this upcall is ESP, which is all dealt with here then."""
        if not _may_be_esp(data):
            return False
        try:
            packet = decode_packet(data)
        except DecodeError:
            return False
        if packet.next_header != NextHeader.ESP:
            return False
        if (packet.source, packet.destination) in self._peers and packet.udp is None:
            # Otherwise it is payload that is too big for the path.
            return self._encrypted(packet)
        if (packet.recipient, packet.sender) in self._peers:
            self._arrived(packet)
        else:
            log.debug("ESP from %s, who is no peer", packet.sender)
        return True

    def _arrived(self, packet: Packet) -> None:
        self._label = self._label % (_LABELS - 1) + 1
        _remember(self._arriving, self._label, packet)
        header = IPv6Header(packet.sender, packet.recipient, NextHeader.ESP, len(packet.payload), 64)
        plain = bytearray(header.encode() + packet.payload)
        plain[1] |= self._label >> 16
        plain[2:4] = (self._label & 0xFFFF).to_bytes(2, "big")
        self._inject(bytes(plain))

    def decrypted(self, of: ProtectedSocket) -> None:
        """This socket can be read."""
        for source, destination, message, label in of.receive():
            peer = self._peers.get((destination, source))
            if peer is None:
                continue
            self._unanswered.pop((destination, source), None)
            if self.keys is not None and of.protocol == NextHeader.MOBILITY:
                self.keys.heard(peer)
            packet = self._arriving.pop(label, None) if label else None
            if packet is None:
                # It came natively, over the home link, or as data does: these are all the headers it had.
                self._deliver(encode_packet(source, destination, message, of.protocol))
            elif (packet.sender, packet.recipient) == (source, destination):
                self._deliver(_rewrapped(packet, message, of.protocol))

    # Outwards ----------------------------------------------------------------------------------------------

    def protects(self, action: Action) -> bool:
        """Whether this action is a message to a peer, which leaves by way of IPsec then."""
        if not isinstance(action, SendPacket | SendDatagram):
            return False
        packet = _clear(action)
        if not _is_signalling(packet):
            return False
        key = (packet.sender, packet.recipient)
        peer = self._peers.get(key)
        if peer is None:
            return False
        binding = packet.next_header == NextHeader.MOBILITY
        if peer.waits and key not in self._ready:
            if binding:
                waiting = self._held.setdefault(key, OrderedDict())
                waiting[action.interface] = action
                waiting.move_to_end(action.interface)
            # Otherwise it is asked again by itself, and must not take a Binding Update's place.
            if self.keys is not None:
                self.keys.waiting(peer)
            return True
        if peer.waits and binding:
            self._expect_answer(peer)
        self._tag = (self._tag + 1) % (_CLASSES * len(_HOP_LIMITS))
        traffic_class, hop_limit = divmod(self._tag, len(_HOP_LIMITS))
        tag = traffic_class << 2 << 8 | _HOP_LIMITS[hop_limit]
        _remember(self._leaving, tag, (packet, action))
        interface = socket.if_nametoindex(action.interface) if is_native(action) and action.interface else 0
        leaving = self._sockets[packet.next_header]
        leaving.send(packet.sender, packet.recipient, packet.payload, tag, interface)
        return True

    def _expect_answer(self, peer: Peer) -> None:
        key, now = (peer.local, peer.remote), time.monotonic()
        count, since = self._unanswered.get(key, (0, now))
        if count >= _SILENT_MESSAGES and now - since >= _SILENT_TIME:
            self._unanswered.pop(key)
            if self.keys is not None:
                self.keys.silent(peer)
        else:
            self._unanswered[key] = (count + 1, since)

    def _encrypted(self, packet: Packet) -> bool:
        """The kernel's half is done: ESP between inner addresses, on its way through the tunnel device."""
        traffic_class = (packet.raw[0] << 4 | packet.raw[1] >> 4) & 0xFF
        waiting = self._leaving.pop(traffic_class << 8 | packet.hop_limit, None)
        if waiting is None:
            return False
        clear, action = waiting
        octets = _rewrapped(clear, packet.payload, NextHeader.ESP)
        if isinstance(action, SendPacket):
            self._send(SendPacket(octets, action.interface))
        else:
            self._send(SendDatagram(octets, action.local, action.remote, action.interface))
        return True


def is_native(action: Send) -> bool:
    """Whether this goes from home address to home agent, or back, just like that: over the home link."""
    return isinstance(action, SendPacket) and _clear(action).payload_offset == IPV6_HEADER_SIZE


def is_signalling(action: Send) -> bool:
    """Whether this is a Mobility Header or prefix discovery, in clear."""
    return _is_signalling(_clear(action))


def _is_signalling(packet: Packet) -> bool:
    if packet.next_header == NextHeader.ICMPV6:
        return bool(packet.payload) and packet.payload[0] in PREFIX_DISCOVERY
    return packet.next_header == NextHeader.MOBILITY


def _clear(action: Send) -> Packet:
    return decode_packet(action.packet if isinstance(action, SendPacket) else action.payload)


def _may_be_esp(data: bytes) -> bool:
    """Cheap: most upcalls are not, and every one of them is asked."""
    return len(data) > 40 and (data[0] >> 4 == 4 or data[6] in (NextHeader.ESP, *_EXTENSIONS))


_EXTENSIONS = (NextHeader.DESTINATION, NextHeader.ROUTING)


def _remember(under_way: OrderedDict[int, _Item], number: int, item: _Item) -> None:
    under_way[number] = item
    if len(under_way) > _UNDER_WAY:
        under_way.popitem(last=False)


def _rewrapped(packet: Packet, payload: bytes, next_header: int) -> bytes:
    """The packet with another payload behind the same headers."""
    octets = encode_packet(
        packet.source,
        packet.destination,
        payload,
        next_header,
        home_address=packet.home_address,
        routing_home_address=packet.routing_home_address,
    )
    return octets if packet.udp is None else encapsulate_udp(octets, packet.udp)


def _signalling(peer: Peer) -> Iterator[tuple[Traffic, Direction]]:
    """What has to be under ESP. Of prefix discovery both types in both directions, where RFC 4877 section 6.3
    has one in each: nothing depends on it."""
    local, remote = one_address(peer.local), one_address(peer.remote)
    for source, destination, direction in ((local, remote, Direction.OUT), (remote, local, Direction.IN)):
        yield Traffic(source, destination, NextHeader.MOBILITY), direction
        yield Traffic(source, destination, NextHeader.ICMPV6, PREFIX_DISCOVERY[0], pair=True), direction


def _state(
    source: IPv6Address, destination: IPv6Address, association: StaticAssociation, request: int
) -> State:
    # For both protocols: policies say for which packets. No replay window: sequence numbers of Binding
    # Updates and identifiers of solicitations are what is left (RFC 3776 section 4.3).
    traffic = Traffic(one_address(source), one_address(destination))
    return State(source, destination, association.spi, association.algorithms, request, traffic)
