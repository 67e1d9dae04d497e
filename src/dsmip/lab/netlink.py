"""The few rtnetlink messages a move needs, without starting a program for each: linux/rtnetlink.h.

The time between two of these calls is part of every outage the lab measures, so they go straight to the
kernel.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator

from dsmip.lab import namespaces
from dsmip.lab.errors import LabError

_NETLINK_ROUTE = 0
_RTMGRP_LINK = 1
_NLMSG_DONE = 3
_RTM_NEWLINK = 16
_RTM_GETLINK = 18
_NLM_F_REQUEST = 1
_NLM_F_ACK = 4
_NLM_F_DUMP = 0x300
_IFLA_MASTER = 10
_IFF_UP = 0x1
_IFF_RUNNING = 0x40
_IFF_LOWER_UP = 0x10000

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ATTRIBUTE = struct.Struct("=HHI")  # length, type, value


def index_of(namespace: str, interface: str) -> int:
    """The interface's index. Raises LabError when there is none."""
    try:
        return namespaces.call(namespace, lambda: socket.if_nametoindex(interface))
    except OSError as error:
        raise LabError(f"{namespace} has no interface {interface}") from error


def settled(namespace: str) -> bool:
    """Whether every interface of a namespace that is set up also runs.

    The kernel may take up to a second until it acts on a carrier (net/core/link_watch.c).
    """
    asked = _HEADER.pack(_HEADER.size + _LINK.size, _RTM_GETLINK, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0)
    with namespaces.open_socket(namespace, socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as link:
        link.send(asked + _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        while True:
            for kind, _, flags in _links(link.recv(65536)):
                if kind == _NLMSG_DONE:
                    return True
                if flags & _IFF_UP and not flags & _IFF_RUNNING:
                    return False


def _links(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Message type, interface index and flags of each message in a datagram (zeros where it has no link)."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind = _HEADER.unpack_from(data, offset)[:2]
        if kind == _RTM_NEWLINK:
            _, _, index, flags, _ = _LINK.unpack_from(data, offset + _HEADER.size)
            yield kind, index, flags
        else:
            yield kind, 0, 0
        offset += max(_HEADER.size, (length + 3) & ~3)


class LinkControl:
    """Changes one interface of a namespace."""

    def __init__(self, namespace: str, interface: str) -> None:
        self.index = index_of(namespace, interface)
        self._socket = namespaces.open_socket(namespace, socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE)
        self._sequence = 0

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def up(self) -> None:
        """Set the interface up."""
        self._change(_IFF_UP, _IFF_UP)

    def down(self) -> None:
        """Set the interface down: its peer loses its carrier."""
        self._change(0, _IFF_UP)

    def put_into(self, bridge: int) -> None:
        """Make the interface a port of the bridge with this index; 0 = of none."""
        self._change(0, 0, _ATTRIBUTE.pack(_ATTRIBUTE.size, _IFLA_MASTER, bridge))

    def _change(self, flags: int, mask: int, attributes: bytes = b"") -> None:
        self._sequence += 1
        body = _LINK.pack(socket.AF_UNSPEC, 0, self.index, flags, mask) + attributes
        header = _HEADER.pack(
            _HEADER.size + len(body), _RTM_NEWLINK, _NLM_F_REQUEST | _NLM_F_ACK, self._sequence, 0
        )
        self._socket.send(header + body)
        answer = self._socket.recv(65536)
        code = -struct.unpack_from("=i", answer, _HEADER.size)[0]
        if code:
            raise LabError(f"changing interface {self.index} failed: {os.strerror(code)}")


class CarrierWatch:
    """Follows the carrier of one interface, as any program in its namespace can."""

    def __init__(self, namespace: str, interface: str) -> None:
        self._index = index_of(namespace, interface)
        self._socket = namespaces.open_socket(namespace, socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE)
        self._socket.bind((0, _RTMGRP_LINK))

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def wait(self, carrier: bool, timeout: float) -> float | None:
        """Wait until the kernel tells that the carrier is there (or gone).

        Returns the time of the news (CLOCK_MONOTONIC seconds), None when it did not come within `timeout`
        seconds. The state at the call does not count: only news do.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                return None
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # news were lost: there will be more
                    raise
                continue
            if any(
                kind == _RTM_NEWLINK and index == self._index and bool(flags & _IFF_LOWER_UP) is carrier
                for kind, index, flags in _links(data)
            ):
                return time.monotonic()
        return None
