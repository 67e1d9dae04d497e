"""Neighbour discovery and ARP on one link, below the kernel's own: packet sockets.

The frame's link-layer source is needed (RFC 6059 5.7.1 and RFC 4436 2.1.1 compare it), probes go to
link-layer addresses of networks the node may not be in, and their source addresses are not configured yet.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from dsmip.host.home_link import solicited_node
from dsmip.wire.arp import ArpOperation, ArpPacket
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv6 import (
    NeighborAdvertisement,
    NeighborSolicitation,
    RouterAdvertisement,
    RouterSolicitation,
    SourceLinkLayerAddress,
    decode_icmpv6,
    encode_icmpv6,
)

LOG = logging.getLogger(__name__)

ALL_NODES = IPv6Address("ff02::1")
ALL_ROUTERS = IPv6Address("ff02::2")

_ETH_P_IPV6 = 0x86DD
_ETH_P_ARP = 0x0806
_SO_ATTACH_FILTER = 26
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_BROADCAST = b"\xff" * 6
_PACKET_OUTGOING = 4
_IPV6 = struct.Struct("!IHBB16s16s")
_HOP_LIMIT = 255
_ICMPV6 = 58

# Classic BPF on the network header: (code, jump if true, jump if false, k).
_LOAD_BYTE, _LOAD_HALF, _EQUAL, _RETURN = 0x30, 0x28, 0x15, 0x06
_ADVERTISEMENTS = (
    (_LOAD_BYTE, 0, 0, 6),
    (_EQUAL, 0, 4, _ICMPV6),
    (_LOAD_BYTE, 0, 0, 40),
    (_EQUAL, 1, 0, 134),
    (_EQUAL, 0, 1, 136),
    (_RETURN, 0, 0, 0xFFFF),
    (_RETURN, 0, 0, 0),
)
_ARP_REPLIES = (
    (_LOAD_HALF, 0, 0, 6),
    (_EQUAL, 0, 1, 2),
    (_RETURN, 0, 0, 0xFFFF),
    (_RETURN, 0, 0, 0),
)

#: Called with the message, its IPv6 source, the frame's source, and when the kernel received it (seconds
#: since 1970).
OnAdvertisement = Callable[[RouterAdvertisement | NeighborAdvertisement, IPv6Address, bytes, float], None]
#: Called with the sender's protocol and hardware address and when the kernel received it.
OnArpReply = Callable[[IPv4Address, bytes, float], None]


class LinkSockets:
    """Open from the constructor (OSError when the interface with this index is gone) until `close`."""

    def __init__(
        self, ifindex: int, mac: bytes, on_advertisement: OnAdvertisement, on_arp_reply: OnArpReply
    ) -> None:
        self.ifindex = ifindex
        self.mac = mac
        self._on_advertisement = on_advertisement
        self._on_arp_reply = on_arp_reply
        self._loop = asyncio.get_running_loop()
        self._ipv6 = _open(ifindex, _ETH_P_IPV6, _ADVERTISEMENTS)
        try:
            self._arp = _open(ifindex, _ETH_P_ARP, _ARP_REPLIES)
        except OSError:
            self._ipv6.close()
            raise
        self._loop.add_reader(self._ipv6, self._read, self._ipv6, self._advertisement)
        self._loop.add_reader(self._arp, self._read, self._arp, self._arp_reply)

    def close(self) -> None:
        """Listen no more."""
        for sock in (self._ipv6, self._arp):
            self._loop.remove_reader(sock)
            sock.close()

    def solicit_routers(self, source: IPv6Address | None) -> None:
        """Router Solicitation to all routers, without link-layer address option (RFC 6059 5.6.2)."""
        sender = source or IPv6Address(0)
        self._send_icmpv6(RouterSolicitation(), sender, ALL_ROUTERS, b"\x33\x33\x00\x00\x00\x02")

    def probe_router(self, source: IPv6Address, router: IPv6Address, mac: bytes) -> None:
        """Unicast Neighbor Solicitation with link-layer address option (RFC 6059 5.6.1)."""
        message = NeighborSolicitation(router, (SourceLinkLayerAddress(self.mac),))
        self._send_icmpv6(message, source, router, mac)

    def solicit_neighbor(self, target: IPv6Address, source: IPv6Address | None) -> None:
        """Multicast Neighbor Solicitation; without a source it comes from the unspecified address and has no
        link-layer address option (RFC 4861 4.3)."""
        group = solicited_node(target)
        options = () if source is None else (SourceLinkLayerAddress(self.mac),)
        mac = b"\x33\x33" + group.packed[-4:]
        self._send_icmpv6(NeighborSolicitation(target, options), source or IPv6Address(0), group, mac)

    def probe_gateway(self, source: IPv4Address, gateway: IPv4Address, mac: bytes | None) -> None:
        """ARP request, unicast when `mac` is known (RFC 4436 2.1.1)."""
        request = ArpPacket(ArpOperation.REQUEST, self.mac, source, bytes(6), gateway)
        self._send(self._arp, request.encode(), _ETH_P_ARP, mac or _BROADCAST)

    def _send_icmpv6(
        self,
        message: RouterSolicitation | NeighborSolicitation,
        source: IPv6Address,
        destination: IPv6Address,
        mac: bytes,
    ) -> None:
        body = encode_icmpv6(message, source, destination)
        header = _IPV6.pack(6 << 28, len(body), _ICMPV6, _HOP_LIMIT, source.packed, destination.packed)
        self._send(self._ipv6, header + body, _ETH_P_IPV6, mac)

    def _send(self, sock: socket.socket, packet: bytes, protocol: int, mac: bytes) -> None:
        try:
            sock.sendto(packet, (_name(self.ifindex), protocol, 0, 0, mac))
        except OSError as error:
            LOG.info("interface %d: cannot send a probe: %s", self.ifindex, error)

    def _read(self, sock: socket.socket, take: Callable[[bytes, bytes, float], None]) -> None:
        """Take everything that is waiting."""
        while True:
            try:
                data, control, _, address = sock.recvmsg(65535, socket.CMSG_SPACE(_TIMESPEC.size))
            except BlockingIOError:
                return
            except OSError as error:
                LOG.info("interface %d: %s", self.ifindex, error)
                return
            if address[2] != _PACKET_OUTGOING:
                take(data, bytes(address[4]), _received(control))

    def _advertisement(self, packet: bytes, mac: bytes, received: float) -> None:
        """Check as RFC 4861 6.1.2 and 7.1.2 say; what does not pass is ignored."""
        if len(packet) < _IPV6.size:
            return
        _, length, next_header, hop_limit, source_bytes, destination_bytes = _IPV6.unpack_from(packet)
        source, destination = IPv6Address(source_bytes), IPv6Address(destination_bytes)
        if hop_limit != _HOP_LIMIT or next_header != _ICMPV6:
            return
        try:
            message = decode_icmpv6(packet[_IPV6.size : _IPV6.size + length], source, destination)
        except DecodeError as error:
            LOG.debug("interface %d: advertisement from %s: %s", self.ifindex, source, error)
            return
        match message:
            case RouterAdvertisement() if source.is_link_local:
                self._on_advertisement(message, source, mac, received)
            case NeighborAdvertisement() if not message.target.is_multicast and not (
                message.solicited and destination.is_multicast
            ):
                self._on_advertisement(message, source, mac, received)

    def _arp_reply(self, packet: bytes, mac: bytes, received: float) -> None:
        try:
            reply = ArpPacket.decode(packet)
        except DecodeError as error:
            LOG.debug("interface %d: ARP from %s: %s", self.ifindex, mac.hex(":"), error)
            return
        if reply.operation == ArpOperation.REPLY:
            self._on_arp_reply(reply.sender, reply.sender_mac, received)


def _name(ifindex: int) -> str:
    return socket.if_indextoname(ifindex)


def _open(ifindex: int, protocol: int, program: tuple[tuple[int, int, int, int], ...]) -> socket.socket:
    """A packet socket that hears only what passes the filter, from the first packet on."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    try:
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
        buffer = ctypes.create_string_buffer(code, len(code))
        header = struct.pack("@HL", len(program), ctypes.addressof(buffer))
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind((_name(ifindex), protocol))
    except OSError:
        sock.close()
        raise
    return sock


def _received(control: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return float(seconds + nanoseconds / 1e9)
    return 0.0
