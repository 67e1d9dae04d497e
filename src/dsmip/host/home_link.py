"""A home agent's physical home link: defending the home addresses of mobile nodes that are away.

The kernel answers neighbour solicitations and ARP (proxy entries survive a crash of the daemon); taking an
address over is announced, and a new home address is probed for duplicates first (RFC 6275 10.3.1 and 10.4.1).
A mobile node that is back home uses the announcements too.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from dsmip.core.types import IPAddress
from dsmip.host.icmpv6_filter import open_icmpv6
from dsmip.host.sockets import SignallingSockets
from dsmip.wire.arp import ArpPacket
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv6 import (
    NeighborAdvertisement,
    NeighborSolicitation,
    TargetLinkLayerAddress,
    decode_icmpv6,
    encode_icmpv6,
)
from dsmip.wire.packet import encode_packet

#: RetransTimer of RFC 4861 section 10: how long an objection to a duplicate may take.
DAD_WAIT = 1.0

_ALL_NODES = IPv6Address("ff02::1")
_UNSPECIFIED = IPv6Address("::")
_SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))
_ETH_P_ARP = 0x0806
_BROADCAST = b"\xff" * 6
_ARP_REQUEST = 1
_NEIGHBOUR_TYPES = (135, 136)
_IFA_F_TENTATIVE = 0x40
_SIOCGIFHWADDR = 0x8927

log = logging.getLogger(__name__)


def solicited_node(address: IPv6Address) -> IPv6Address:
    """The solicited-node multicast group of an address (RFC 4291 2.7.1)."""
    return IPv6Address(_SOLICITED_NODE | (int(address) & 0xFFFFFF))


def link_local_address(interface: str) -> IPv6Address | None:
    """A link-local address of an interface that is not tentative, None when it has none."""
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        address, _index, _length, _scope, flags, name = line.split()
        if name == interface and address.startswith("fe80") and not int(flags, 16) & _IFA_F_TENTATIVE:
            return IPv6Address(bytes.fromhex(address))
    return None


def own_addresses() -> set[tuple[IPv6Address, str]]:
    """The IPv6 addresses of this node and the interfaces they are on."""
    found = set()
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        address, _index, _length, _scope, _flags, name = line.split()
        found.add((IPv6Address(bytes.fromhex(address)), name))
    return found


class Announcer:
    """Tells the neighbours on a link where an address is now. Making one needs CAP_NET_RAW (OSError)."""

    def __init__(self, interface: str, sockets: SignallingSockets) -> None:
        self.interface = interface
        self._sockets = sockets
        # Kept open: closing a packet socket waits for all processors, which takes tens of milliseconds.
        # With protocol 0 nothing is received on it.
        self._frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)

    def close(self) -> None:
        """Announce nothing any more."""
        self._frames.close()

    def announce(self, address: IPAddress, source: IPv6Address | None, *, router: bool) -> None:
        """Unsolicited Neighbor Advertisement with Override (RFC 4861 7.2.6), or gratuitous ARP.

        `source` is the sender's own address on the link; None = the announced address.
        """
        try:
            hardware = self._hardware_address()
            if isinstance(address, IPv4Address):
                arp = ArpPacket(_ARP_REQUEST, hardware, address, bytes(6), address)
                frame = _BROADCAST + hardware + _ETH_P_ARP.to_bytes(2) + arp.encode()
                self._frames.sendto(frame, (self.interface, _ETH_P_ARP))
                return
        except OSError as error:
            log.warning("cannot announce %s on %s: %s", address, self.interface, error)
            return
        sender = source or address
        advertisement = NeighborAdvertisement(
            target=address,
            router=router,
            solicited=False,
            override=True,
            options=(TargetLinkLayerAddress(hardware),),
        )
        payload = encode_icmpv6(advertisement, sender, _ALL_NODES)
        packet = encode_packet(sender, _ALL_NODES, payload, NextHeader.ICMPV6, hop_limit=255)
        self._sockets.send_ipv6(packet, self.interface)

    def _hardware_address(self) -> bytes:
        request = struct.pack("16s24x", self.interface.encode())
        return fcntl.ioctl(self._frames, _SIOCGIFHWADDR, request)[18:24]


class DuplicateAddressDetection:
    """Probes a link for home addresses somebody else uses (RFC 4862 5.4), one probe and one second each."""

    def __init__(self, interface: str, sockets: SignallingSockets) -> None:
        self._interface = interface
        self._sockets = sockets
        self._running: dict[IPv6Address, asyncio.TimerHandle] = {}
        self._targets: dict[IPv6Address, tuple[IPv6Address, Callable[[bool], None]]] = {}
        self._socket: socket.socket | None = None

    def start(
        self, home_address: IPv6Address, addresses: Iterable[IPv6Address], finished: Callable[[bool], None]
    ) -> None:
        """Probe for `addresses`; `finished(duplicate)` is called once, at most DAD_WAIT seconds later."""
        if home_address in self._running:
            return
        loop = asyncio.get_running_loop()
        if self._socket is None:
            self._socket = self._open()
            loop.add_reader(self._socket.fileno(), self._drain)
        for address in addresses:
            self._targets[address] = (home_address, finished)
            self._join(address)
            group = solicited_node(address)
            payload = encode_icmpv6(NeighborSolicitation(target=address, options=()), _UNSPECIFIED, group)
            packet = encode_packet(_UNSPECIFIED, group, payload, NextHeader.ICMPV6, hop_limit=255)
            self._sockets.send_ipv6(packet, self._interface)
        self._running[home_address] = loop.call_later(DAD_WAIT, self._finish, home_address, False)

    def close(self) -> None:
        """Stop; probes under way are never answered."""
        for timer in self._running.values():
            timer.cancel()
        self._running.clear()
        self._targets.clear()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        listener = open_icmpv6(_NEIGHBOUR_TYPES)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode())
        return listener

    def _join(self, address: IPv6Address) -> None:
        """Hear another node's simultaneous probe for the same address."""
        assert self._socket is not None
        request = solicited_node(address).packed + socket.if_nametoindex(self._interface).to_bytes(
            4, "little"
        )
        try:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        except OSError:
            log.debug("already in the solicited-node group of %s", address)

    def _drain(self) -> None:
        while self._socket is not None:
            try:
                data, (source, *_rest) = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            try:
                message = decode_icmpv6(
                    data, IPv6Address(source.split("%")[0]), _ALL_NODES, verify_checksum=False
                )
            except DecodeError:
                continue
            objection = isinstance(message, NeighborAdvertisement) or (
                isinstance(message, NeighborSolicitation) and source == "::"
            )
            if objection and isinstance(message, NeighborAdvertisement | NeighborSolicitation):
                found = self._targets.get(message.target)
                if found is not None:
                    self._finish(found[0], True)

    def _finish(self, home_address: IPv6Address, duplicate: bool) -> None:
        timer = self._running.pop(home_address, None)
        if timer is None:
            return
        timer.cancel()
        callbacks = [
            self._targets.pop(address)[1]
            for address, (owner, _) in list(self._targets.items())
            if owner == home_address
        ]
        if callbacks:
            callbacks[0](duplicate)
