"""Ethernet frames, built beforehand and sent by the thousand with one system call per batch."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from dsmip.core.types import DSMIP_PORT, IPAddress, TunnelFormat
from dsmip.lab import namespaces
from dsmip.wire.constants import NextHeader
from dsmip.wire.ip import IPv4Header, IPv6Header, encode_udp

#: Octets of a small packet, from its IP header on.
SMALL = 64
_BATCH = 64
_IPV4_SIZE, _IPV6_SIZE, _UDP_SIZE = 20, 40, 8
_DISCARD = 9  #: the UDP port of RFC 863
_ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
_SOL_PACKET, _PACKET_QDISC_BYPASS = 263, 20
_MSG_DONTWAIT = 0x40


class _IoVector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _MessageHeader(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_IoVector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _MessageHeader), ("sent", ctypes.c_uint32))


def packet(
    source: IPAddress,
    destination: IPAddress,
    size: int = SMALL,
    ports: tuple[int, int] = (_DISCARD, _DISCARD),
) -> bytes:
    """A UDP packet of so many octets."""
    payload = bytes(size - _UDP_SIZE - (_IPV4_SIZE if source.version == 4 else _IPV6_SIZE))
    datagram = encode_udp(source, ports[0], destination, ports[1], payload)
    return _header(source, destination, NextHeader.UDP, len(datagram)) + datagram


def tunnelled(
    inner: bytes, tunnel: TunnelFormat, source: IPAddress, destination: IPAddress, port: int = DSMIP_PORT
) -> bytes:
    """`inner` with the outer headers of a tunnel format; UDP from and to this port."""
    if tunnel in (TunnelFormat.UDP4, TunnelFormat.UDP6):
        inner = encode_udp(source, port, destination, port, inner)
        return _header(source, destination, NextHeader.UDP, len(inner)) + inner
    carried = NextHeader.IPV6 if inner[0] >> 4 == 6 else NextHeader.IPV4
    return _header(source, destination, carried, len(inner)) + inner


def frame(destination: bytes, source: bytes, carried: bytes) -> bytes:
    """`carried` behind an Ethernet header."""
    return destination + source + _ETHERTYPES[carried[0] >> 4] + carried


def _header(source: IPAddress, destination: IPAddress, protocol: int, length: int) -> bytes:
    if isinstance(source, IPv4Address) and isinstance(destination, IPv4Address):
        return IPv4Header(source, destination, protocol, length).encode()
    assert isinstance(source, IPv6Address)
    assert isinstance(destination, IPv6Address)
    return IPv6Header(source, destination, protocol, length).encode()


class Sender:
    """Sends the same frames round and round out of an interface of a namespace. Close it after use."""

    def __init__(self, namespace: str, interface: str, frames: Sequence[bytes]) -> None:
        self._socket = namespaces.open_socket(namespace, socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        self._socket.bind((interface, 0))
        self._buffers = [ctypes.create_string_buffer(octets, len(octets)) for octets in frames]
        self._vectors = (_IoVector * len(frames))(
            *(_IoVector(ctypes.addressof(buffer), len(buffer)) for buffer in self._buffers)
        )
        self._messages = (_Message * len(frames))()
        for message, vector in zip(self._messages, self._vectors, strict=True):
            message.header.vectors = ctypes.pointer(vector)
            message.header.vector_count = 1
        self._next = 0
        self._sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg

    def send(self, most: int) -> int:
        """Send up to `most` frames (and never past the end of the list); how many left."""
        count = min(most, len(self._buffers) - self._next)
        start = ctypes.byref(self._messages, self._next * ctypes.sizeof(_Message))
        sent = int(self._sendmmsg(self._socket.fileno(), start, count, _MSG_DONTWAIT))
        if sent < 0:
            code = ctypes.get_errno()
            if code not in (errno.EAGAIN, errno.ENOBUFS):
                raise OSError(code, os.strerror(code))
            return 0
        self._next = (self._next + sent) % len(self._buffers)
        return sent

    def flood(self, seconds: float) -> tuple[int, float]:
        """Send as fast as it goes; how many frames left, and the seconds that took."""
        began = time.perf_counter()
        sent = 0
        while (passed := time.perf_counter() - began) < seconds:
            sent += self.send(_BATCH)
        return sent, passed

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
