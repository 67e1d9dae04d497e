"""Raw sockets for signalling that IPsec protects: Mobility Headers, and ICMPv6 of prefix discovery.

What the kernel has decrypted arrives here without its outer headers, and what is sent here leaves the
kernel encrypted by way of the tunnel device. Which packet is which is told by marks in the IPv6 header that
transport mode leaves alone (RFC 4303 section 3.1.1): the flow label of received packets, traffic class and
hop limit of sent ones.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address
from typing import NamedTuple

from dsmip.host.icmpv6_filter import open_icmpv6
from dsmip.wire.constants import NextHeader

_IPV6_FLOWINFO = 11
_FLOW_LABEL = 0xFFFFF
_PACKET_INFO = struct.Struct("=16si")
_ROOM = 4096
#: Messages read at once, so that timers get their turn.
_AT_ONCE = 64

log = logging.getLogger(__name__)


class Decrypted(NamedTuple):
    """An upper-layer message, and the flow label of the packet it was in (0 = none)."""

    source: IPv6Address
    destination: IPv6Address
    message: bytes
    label: int


class ProtectedSocket:
    """Messages of one upper-layer protocol. Making one raises OSError without CAP_NET_RAW, CAP_NET_ADMIN."""

    def __init__(self, opened: socket.socket, protocol: int, mark: int) -> None:
        """`mark` is what the data plane takes for packets for the daemon."""
        self.protocol = protocol
        self._socket = opened
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        # So that what leaves by the tunnel device, encrypted, is known to be for the daemon.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_FLOWINFO, 1)

    @classmethod
    def of_mobility_headers(cls, mark: int) -> ProtectedSocket:
        """For all Mobility Headers."""
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        opened = socket.socket(socket.AF_INET6, kind, NextHeader.MOBILITY)
        return cls(opened, NextHeader.MOBILITY, mark)

    @classmethod
    def of_icmpv6(cls, types: Iterable[int], mark: int) -> ProtectedSocket:
        """For ICMPv6 messages of these types. The kernel writes and verifies their checksums."""
        return cls(open_icmpv6(types), NextHeader.ICMPV6, mark)

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def send(
        self, source: IPv6Address, destination: IPv6Address, message: bytes, tag: int, interface: int = 0
    ) -> bool:
        """Send a message through IPsec. `tag` (16 bits) becomes traffic class and hop limit.

        `interface` is the number of the one to leave by, 0 = by the routing table.

        False (and a line in the log) when the kernel refuses: no security association, for example.
        """
        control = [
            (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PACKET_INFO.pack(source.packed, interface)),
            (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, struct.pack("=i", tag >> 8)),
            (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("=i", tag & 0xFF)),
        ]
        try:
            self._socket.sendmsg([message], control, 0, (str(destination), 0))
        except OSError as error:
            log.warning("cannot send from %s to %s under IPsec: %s", source, destination, error.strerror)
            return False
        return True

    def receive(self) -> Iterator[Decrypted]:
        """What has arrived."""
        for _ in range(_AT_ONCE):
            try:
                message, control, _, (source, *_) = self._socket.recvmsg(_ROOM, 256)
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("the socket of protocol %d: %s", self.protocol, error.strerror)
                return
            destination, label = None, 0
            for level, kind, data in control:
                if level != socket.IPPROTO_IPV6:
                    continue
                if kind == socket.IPV6_PKTINFO:
                    destination = IPv6Address(data[:16])
                elif kind == _IPV6_FLOWINFO:
                    label = int.from_bytes(data[:4], "big") & _FLOW_LABEL
            sender = ipaddress.ip_address(source.partition("%")[0])
            if destination is not None and isinstance(sender, IPv6Address):
                yield Decrypted(sender, destination, message, label)
