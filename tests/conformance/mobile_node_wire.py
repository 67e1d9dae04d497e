"""The other end of a mobile node's cable, in the test's hands: every frame seen, any frame sent."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TypeVar

from dsmip.lab import namespaces
from dsmip.lab.netlink import LinkControl
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv6 import decode_icmpv6, encode_icmpv6
from dsmip.wire.icmpv6message import Icmpv6Message
from dsmip.wire.messages import Message, decode_message
from dsmip.wire.packet import Packet, decode_packet, encode_packet

ETH_P_ALL = 3
IPV6_TYPE = b"\x86\xdd"
PACKET_OUTGOING = 4
ALL_NODES = IPv6Address("ff02::1")
ALL_NODES_MAC = bytes.fromhex("333300000001")

M = TypeVar("M")


@dataclass(frozen=True)
class Frame:
    """An IPv6 packet as it came off the cable. `message` is the ICMPv6 or mobility message in it, if any."""

    time: float
    source_mac: bytes
    destination_mac: bytes
    packet: Packet
    message: Icmpv6Message | Message | None

    @property
    def inner(self) -> Frame | None:
        """The IPv6 packet in an IPv6-in-IPv6 tunnel."""
        if self.packet.next_header != NextHeader.IPV6:
            return None
        packet = decode_packet(self.packet.payload)
        return Frame(self.time, self.source_mac, self.destination_mac, packet, read(packet))


def read(packet: Packet) -> Icmpv6Message | Message | None:
    """What a packet carries; checksums are verified, so a message with a wrong one is none."""
    try:
        if packet.next_header == NextHeader.ICMPV6:
            return decode_icmpv6(packet.payload, packet.sender, packet.recipient)
        if packet.next_header == NextHeader.MOBILITY:
            return decode_message(packet.payload, packet.sender, packet.recipient)
    except DecodeError:
        return None
    return None


class Wire:
    """The test's end of the cable: a packet socket in a namespace of its own.

    `handlers` see every frame as it comes in; `frames` keeps all of them. Nothing runs in the background:
    frames are taken in while the test waits.
    """

    def __init__(self, namespace: str, interface: str, mac_of_node: bytes) -> None:
        self.frames: list[Frame] = []
        self.handlers: list[Callable[[Frame], None]] = []
        self.node_mac = mac_of_node
        self.link = LinkControl(namespace, interface)
        self._socket = namespaces.open_socket(namespace, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.setblocking(False)

    def close(self) -> None:
        self.link.close()
        self._socket.close()

    def mark(self) -> int:
        """A place in `frames`: everything before it has been seen."""
        self.pump(0.0)
        return len(self.frames)

    def pump(self, seconds: float) -> None:
        """Take in what comes, for so long."""
        end = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self._socket], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return
            self._take()

    def find(self, wanted: Callable[[Frame], M | None], since: int = 0) -> M | None:
        """The first thing `wanted` makes of a frame after `since`."""
        for frame in self.frames[since:]:
            found = wanted(frame)
            if found is not None:
                return found
        return None

    def wait(
        self, wanted: Callable[[Frame], M | None], since: int, seconds: float = 5.0, what: str = ""
    ) -> M:
        """As `find`, and wait for it."""
        end = time.monotonic() + seconds
        seen = since
        while True:
            here = len(self.frames)
            found = self.find(wanted, seen)
            if found is not None:
                return found
            seen = here
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {seconds:g} s: {what or wanted}\n{self.tell(since)}")
            self.pump(min(left, 0.02))

    def tell(self, since: int) -> str:
        """The frames after `since`, for people."""
        return "\n".join(
            f"  {f.time:.3f} {f.packet.source} > {f.packet.destination} {f.message or f.packet.next_header}"
            for f in self.frames[since:]
        )

    def send(self, packet: bytes, source_mac: bytes, destination_mac: bytes | None = None) -> None:
        """Put an IPv6 packet on the cable, to the mobile node unless it says otherwise.

        It is lost when the cable is not plugged in: what is answered may have been sent before it was pulled.
        """
        with contextlib.suppress(OSError):
            self._socket.send((destination_mac or self.node_mac) + source_mac + IPV6_TYPE + packet)

    def icmpv6(
        self,
        message: Icmpv6Message,
        source: IPv6Address,
        destination: IPv6Address,
        source_mac: bytes,
        destination_mac: bytes | None = None,
    ) -> None:
        """Send an ICMPv6 message with the hop limit of neighbour discovery."""
        body = encode_icmpv6(message, source, destination)
        packet = encode_packet(source, destination, body, NextHeader.ICMPV6, hop_limit=255)
        if destination.is_multicast and destination_mac is None:
            destination_mac = b"\x33\x33" + destination.packed[-4:]
        self.send(packet, source_mac, destination_mac)

    def _take(self) -> None:
        while True:
            try:
                data, address = self._socket.recvfrom(65536)
            except (BlockingIOError, OSError):
                return
            if address[2] == PACKET_OUTGOING or data[12:14] != IPV6_TYPE:
                continue
            try:
                packet = decode_packet(data[14:])
            except DecodeError:
                continue
            frame = Frame(time.monotonic(), data[6:12], data[:6], packet, read(packet))
            self.frames.append(frame)
            for handler in self.handlers:
                handler(frame)


def icmp(kind: type, **fields: object) -> Callable[[Frame], Frame | None]:
    """Frames with an ICMPv6 message of this class and these fields."""

    def match(frame: Frame) -> Frame | None:
        message = frame.message
        if not isinstance(message, kind):
            return None
        return frame if all(getattr(message, name) == value for name, value in fields.items()) else None

    return match
