"""IKE inside the mobility tunnel, before there is a binding, at a home agent.

IKE runs between home address and home agent address, inside the tunnel, so that no handover and no NAT ever
touches it. Before the first Binding Update there is no binding, hence no tunnel: the data plane hands such
questions over with their outer headers, and the answers go back through the same. RFC 4877 section 4.2 has a
mobile node use its care-of address for this; that care-of address is in the outer header here.

Nothing is believed of a question: its outer source is remembered for answers to this very exchange (by the
initiator's SPI, RFC 7296 section 3.1), until authentic signalling says where the mobile node is.
"""

from __future__ import annotations

import logging
import struct
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from dsmip.core.actions import SendDatagram, SendIPv4, SendPacket
from dsmip.core.types import UdpEndpoint
from dsmip.wire.constants import NextHeader
from dsmip.wire.ip import IPV6_HEADER_SIZE, IPv4Header, IPv6Header

#: Exchanges whose answers are expected; the oldest is forgotten for a new one.
_EXCHANGES = 1024
#: Inside the tunnel there is no NAT, and no port 4500.
_PORT = 500
_UDP_HEADER = struct.Struct("!HHHH")
_SPI_SIZE = 8
_NEXT_HEADER = 6  #: where it stands in an IPv6 header
# Looking a member up in an enumeration takes as long as a whole comparison.
_UDP = int(NextHeader.UDP)
#: What an IPv6 header has next that is, or is around, a packet with IKE.
_AROUND = frozenset((_UDP, int(NextHeader.IPV6)))

log = logging.getLogger(__name__)

Reply = SendPacket | SendDatagram | SendIPv4


class _Question(NamedTuple):
    """Outer headers of a question, `ports` of UDP if any, and the packet in it."""

    source: IPv6Address | IPv4Address
    destination: IPv6Address | IPv4Address
    ports: tuple[int, int] | None
    inner: bytes


class KeyExchangeRelay:
    """Carries questions to the home agent's `address` into the kernel, and answers out of it.

    `is_peer` tells the home addresses that IKE is spoken with. `inject` hands a packet to the kernel as
    received on the tunnel device, `send` sends an action, `pass_on` leaves a packet to the data plane.
    """

    def __init__(
        self,
        address: IPv6Address,
        is_peer: Callable[[IPv6Address], bool],
        inject: Callable[[bytes], bool],
        send: Callable[[Reply], None],
        pass_on: Callable[[bytes], None],
    ) -> None:
        self._address = address
        self._is_peer = is_peer
        self._inject = inject
        self._send = send
        self._pass_on = pass_on
        self._questions: OrderedDict[tuple[IPv6Address, bytes], _Question] = OrderedDict()

    def takes(self, data: bytes) -> bool:
        """Whether this upcall is IKE, which is all dealt with here then."""
        if not _may_be(data):
            return False
        if _spi(data) is not None and data[8:24] == self._address.packed:
            self._answer(data)
            return True
        question = _question(data)
        if question is None:
            return False
        spi = _spi(question.inner)
        if spi is None or question.inner[24:40] != self._address.packed:
            return False
        home_address = IPv6Address(question.inner[8:24])
        if not self._is_peer(home_address):
            log.debug("IKE from %s, who is no peer", home_address)
            return True
        self._questions[home_address, spi] = question
        self._questions.move_to_end((home_address, spi))
        if len(self._questions) > _EXCHANGES:
            self._questions.popitem(last=False)
        self._inject(question.inner)
        return True

    def registered(self, home_address: IPv6Address) -> None:
        """Authentic signalling has come from this mobile node: answers go where data goes from now on."""
        for key in [key for key in self._questions if key[0] == home_address]:
            del self._questions[key]

    def _answer(self, packet: bytes) -> None:
        spi = _spi(packet)
        question = self._questions.get((IPv6Address(packet[24:40]), spi or b""))
        if question is not None:
            self._send(_reply(question, packet))
        else:
            self._pass_on(packet)


def _may_be(data: bytes) -> bool:
    """Whether this may be IKE, in a tunnel or not: hardly anything is, and that is seen in no time."""
    if len(data) < IPV6_HEADER_SIZE:
        return False
    if data[0] >> 4 == 6:
        return data[6] in _AROUND
    inner = (data[0] & 0x0F) * 4 + (_UDP_HEADER.size if data[9] == _UDP else 0)
    return len(data) > inner + _NEXT_HEADER and data[inner + _NEXT_HEADER] == _UDP


def _question(data: bytes) -> _Question | None:
    """A tunnelled packet taken apart, None if it is none."""
    if not data:
        return None
    source: IPv6Address | IPv4Address
    destination: IPv6Address | IPv4Address
    if data[0] >> 4 == 4 and len(data) >= 20:
        offset, protocol = (data[0] & 0x0F) * 4, data[9]
        source, destination = IPv4Address(data[12:16]), IPv4Address(data[16:20])
    elif data[0] >> 4 == 6 and len(data) >= IPV6_HEADER_SIZE:
        offset, protocol = IPV6_HEADER_SIZE, data[6]
        source, destination = IPv6Address(data[8:24]), IPv6Address(data[24:40])
    else:
        return None
    ports = None
    if protocol == NextHeader.UDP:
        if isinstance(source, IPv6Address) or len(data) < offset + _UDP_HEADER.size:
            return None
        ports = _UDP_HEADER.unpack_from(data, offset)[:2]
        offset += _UDP_HEADER.size
    elif protocol != NextHeader.IPV6:
        return None
    return _Question(source, destination, ports, data[offset:])


def _spi(packet: bytes) -> bytes | None:
    """The initiator's SPI in an IPv6 packet with IKE, None if it is none."""
    start = IPV6_HEADER_SIZE + _UDP_HEADER.size
    if len(packet) < start + _SPI_SIZE or packet[0] >> 4 != 6 or packet[6] != NextHeader.UDP:
        return None
    source, destination, _, _ = _UDP_HEADER.unpack_from(packet, IPV6_HEADER_SIZE)
    return packet[start : start + _SPI_SIZE] if _PORT in (source, destination) else None


def is_key_exchange(packet: bytes) -> bool:
    """Whether this IPv6 packet is IKE, with nothing around it."""
    return _spi(packet) is not None


def _reply(question: _Question, packet: bytes) -> Reply:
    """The packet behind the headers of the question, turned round."""
    source, destination = question.destination, question.source
    if isinstance(source, IPv6Address) and isinstance(destination, IPv6Address):
        header = IPv6Header(source, destination, NextHeader.IPV6, len(packet), 64)
        return SendPacket(header.encode() + packet)
    assert isinstance(source, IPv4Address)
    assert isinstance(destination, IPv4Address)
    if question.ports is None:
        header4 = IPv4Header(source, destination, NextHeader.IPV6, len(packet), 64)
        return SendIPv4(header4.encode() + packet)
    remote_port, local_port = question.ports
    return SendDatagram(packet, UdpEndpoint(source, local_port), UdpEndpoint(destination, remote_port))
