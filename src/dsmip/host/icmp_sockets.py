"""ICMP messages that the kernel delivers to sockets: errors, router advertisements, discovery.

The data plane takes signalling and tunnel packets away before the kernel sees them; plain ICMP to one of our
addresses goes the ordinary way, and these sockets get a copy.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address

from dsmip.host.icmpv6_filter import open_icmpv6
from dsmip.wire.icmpv6 import (
    DestinationUnreachable,
    HomeAgentAddressDiscoveryRequest,
    MobilePrefixSolicitation,
    PacketTooBig,
    RouterAdvertisement,
    TimeExceeded,
)

_WANTED = (
    DestinationUnreachable.TYPE,
    PacketTooBig.TYPE,
    TimeExceeded.TYPE,
    RouterAdvertisement.TYPE,
    HomeAgentAddressDiscoveryRequest.TYPE,
    MobilePrefixSolicitation.TYPE,
)
_WANTED_IPV4 = (3, 11)  # destination unreachable, time exceeded

_SOL_RAW, _ICMP_FILTER = 255, 1
_IPV6_JOIN_ANYCAST = 27
_PACKET_INFO = struct.Struct("=16sI")
_INT = struct.Struct("=i")
_LARGEST = 65536

#: Messages read at once, and the pause after so many, in seconds: what comes faster stays in the kernel's
#: buffer, and is lost there at no cost when that is full.
_BATCH = 64
_PAUSE = 0.02

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReceivedIcmpv6:
    """A message, whose checksum is right, with what its IPv6 header said and where it came in."""

    data: bytes
    source: IPv6Address
    destination: IPv6Address
    interface: int
    hop_limit: int


class IcmpSockets:
    """Two raw sockets. Making one needs CAP_NET_RAW, anycast addresses need CAP_NET_ADMIN (OSError)."""

    def __init__(
        self, received: Callable[[ReceivedIcmpv6], None], received_ipv4: Callable[[bytes], None]
    ) -> None:
        self._received = received
        self._received_ipv4 = received_ipv4
        self._ipv6 = open_icmpv6(_WANTED)
        self._ipv6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self._ipv6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        self._ipv4 = socket.socket(
            socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP
        )
        wanted = sum(1 << kind for kind in _WANTED_IPV4)
        self._ipv4.setsockopt(_SOL_RAW, _ICMP_FILTER, (~wanted & 0xFFFF_FFFF).to_bytes(4, "little"))
        self._timers: dict[socket.socket, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Deliver messages from now on."""
        self._listen(self._ipv6)
        self._listen(self._ipv4)

    def join_anycast(self, address: IPv6Address, interface: int) -> None:
        """Receive what is sent to an anycast address, as long as this is open (RFC 3493 has no call for it;
        Linux has). Neighbours on the interface find it, too."""
        request = address.packed + interface.to_bytes(4, "little")
        self._ipv6.setsockopt(socket.IPPROTO_IPV6, _IPV6_JOIN_ANYCAST, request)

    def close(self) -> None:
        """Receive nothing any more."""
        loop = asyncio.get_running_loop()
        for timer in self._timers.values():
            timer.cancel()
        for listener in (self._ipv6, self._ipv4):
            loop.remove_reader(listener.fileno())
            listener.close()

    def _listen(self, listener: socket.socket) -> None:
        self._timers.pop(listener, None)
        asyncio.get_running_loop().add_reader(listener.fileno(), self._drain, listener)

    def _drain(self, listener: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                if listener is self._ipv6:
                    self._read_ipv6()
                else:
                    self._read_ipv4()
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("cannot read ICMP: %s", error)
                return
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.fileno())
        self._timers[listener] = loop.call_later(_PAUSE, self._listen, listener)

    def _read_ipv6(self) -> None:
        data, ancillary, _, address = self._ipv6.recvmsg(_LARGEST, 128)
        destination, interface, hop_limit = None, 0, 0
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                packed, interface = _PACKET_INFO.unpack(value)
                destination = IPv6Address(packed)
            elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT:
                (hop_limit,) = _INT.unpack(value)
        if destination is not None:
            source = IPv6Address(address[0].split("%")[0])
            self._received(ReceivedIcmpv6(data, source, destination, interface, hop_limit))

    def _read_ipv4(self) -> None:
        packet = self._ipv4.recv(_LARGEST)
        if packet:
            self._received_ipv4(packet[(packet[0] & 0x0F) * 4 :])
