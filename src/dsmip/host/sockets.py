"""Sockets that signalling leaves through.

Whole IPv6 and IPv4 packets go out of raw sockets bound to an interface, datagrams out of UDP sockets bound to
address, port and interface. They are made anew whenever an interface comes back, so none sticks to an address
or route of the past.
"""

from __future__ import annotations

import logging
import socket
import struct

from dsmip.core.types import UdpEndpoint
from dsmip.host.xfrm import send_as_it_is

_IP_FREEBIND = 15
_IPV4_PACKET_INFO = struct.Struct("=i4s4s")
_IPV6_PACKET_INFO = struct.Struct("=16si")
_IP_PKTINFO = 8
_IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE = 10, 3
_SO_BINDTODEVICE = 25

log = logging.getLogger(__name__)


class SignallingSockets:
    """Opens sockets on demand and keeps them per interface; errors are logged and reported as False."""

    def __init__(self) -> None:
        self._raw: dict[tuple[int, str], socket.socket] = {}
        self._data: dict[int, socket.socket] = {}
        # By the octets of the address: the hash of an address object takes as long as all else here.
        self._udp: dict[tuple[bytes, int, str], socket.socket] = {}

    def send_ipv6(self, packet: bytes, interface: str = "") -> bool:
        """Send a whole IPv6 packet; `interface` "" = by the routing table."""
        # The socket address takes a scope for link-local destinations only.
        destination = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        scope = socket.if_nametoindex(interface) if interface and _is_link_scope(packet[24:40]) else 0
        return self._send_raw(socket.AF_INET6, packet, (destination, 0, 0, scope), interface)

    def send_ipv4(self, packet: bytes, interface: str = "") -> bool:
        """Send a whole IPv4 packet; the kernel fills in identification and header checksum."""
        return self._send_raw(socket.AF_INET, packet, (socket.inet_ntoa(packet[16:20]), 0), interface)

    def send_as_data(self, packet: bytes) -> bool:
        """Send a whole packet of either IP version from an address of ours as anybody's packet goes: by the
        routing table, and under IPsec where policies say so."""
        family = socket.AF_INET6 if packet[0] >> 4 == 6 else socket.AF_INET
        # Policies are asked about the source that the socket is told, not about what is in the packet.
        if family == socket.AF_INET6:
            source = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IPV6_PACKET_INFO.pack(packet[8:24], 0))
            destination = socket.inet_ntop(family, packet[24:40])
        else:
            told = _IPV4_PACKET_INFO.pack(0, packet[12:16], b"")
            source = (socket.IPPROTO_IP, _IP_PKTINFO, told)
            destination = socket.inet_ntoa(packet[16:20])
        try:
            if family not in self._data:
                kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
                self._data[family] = socket.socket(family, kind, socket.IPPROTO_RAW)
            self._data[family].sendmsg([packet], [source], 0, (destination, 0))
        except OSError as error:
            log.warning("cannot send to %s: %s", destination, error)
            return False
        return True

    def send_datagram(
        self, payload: bytes, local: UdpEndpoint, remote: UdpEndpoint, interface: str = ""
    ) -> bool:
        """Send a datagram from `local`, which is bound (and so reserved) from then on."""
        key = (local.address.packed, local.port, interface)
        for attempt in (1, 2):
            try:
                udp = self._udp.get(key) or self._open_udp(local, interface)
                udp.sendto(payload, (socket.inet_ntoa(remote.address.packed), remote.port))
            except OSError as error:
                self._forget_udp(key)
                if attempt == 2:
                    log.warning("cannot send from %s port %d: %s", local.address, local.port, error)
            else:
                return True
        return False

    def forget(self, interface: str) -> None:
        """Close what is bound to an interface that went away."""
        for raw_key in [key for key in self._raw if key[1] == interface]:
            self._raw.pop(raw_key).close()
        for udp_key in [key for key in self._udp if key[-1] == interface]:
            self._forget_udp(udp_key)

    def close(self) -> None:
        """Close everything."""
        for raw in (*self._raw.values(), *self._data.values()):
            raw.close()
        for udp in self._udp.values():
            udp.close()
        self._raw.clear()
        self._data.clear()
        self._udp.clear()

    def reserve(self, local: UdpEndpoint, interface: str = "") -> None:
        """Bind a UDP port before anything is sent. Raises OSError when somebody else has it."""
        if (local.address.packed, local.port, interface) not in self._udp:
            self._open_udp(local, interface)

    def _send_raw(self, family: int, packet: bytes, address: tuple[object, ...], interface: str) -> bool:
        key = (family, interface)
        for attempt in (1, 2):
            try:
                raw = self._raw.get(key)
                if raw is None:
                    raw = self._raw[key] = _open_raw(family, interface)
                raw.sendto(packet, address)
            except OSError as error:
                if key in self._raw:
                    self._raw.pop(key).close()
                if attempt == 2:
                    log.warning("cannot send to %s over %s: %s", address[0], interface or "any", error)
            else:
                return True
        return False

    def _open_udp(self, local: UdpEndpoint, interface: str) -> socket.socket:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # The address may be gone again by the time of the send: that is the send's error, not the bind's.
            udp.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            # Nothing is cut up on the way: a probe that is too big must not arrive.
            udp.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
            if interface:
                udp.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, interface.encode())
            udp.bind((str(local.address), local.port))
            # Nothing is read here: the data plane takes what arrives before the socket would see it.
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        except OSError:
            udp.close()
            raise
        self._udp[local.address.packed, local.port, interface] = udp
        return udp

    def _forget_udp(self, key: tuple[bytes, int, str]) -> None:
        udp = self._udp.pop(key, None)
        if udp is not None:
            udp.close()


def _open_raw(family: int, interface: str) -> socket.socket:
    raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    if interface:
        raw.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, interface.encode())
    if family == socket.AF_INET6:
        # Our own probe for a duplicate address must not come back as somebody else's.
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    send_as_it_is(raw)
    return raw


def _is_link_scope(address: bytes) -> bool:
    return address[:2] == b"\xfe\x80" or (address[0] == 0xFF and address[1] & 0x0F == 2)
