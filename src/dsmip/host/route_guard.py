"""Hears when another program takes out rules or routes of ours, and has them put back.

systemd-networkd does that to every rule it did not put in, whenever it starts, unless it is told not to
(packaging/systemd/networkd.conf); `ip rule flush` does it, too. Without its rules a mobile node would send
from its home address into whatever network it visits.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

from dsmip.host import rtnetlink as nl
from dsmip.host.routing import ROUTE_PROTOCOL

#: Seconds from the first thing missed until all is put back: who takes out one takes out more.
PAUSE: Final = 0.02
#: Whoever takes them out again at once is not fought with: the pause doubles up to this, s, and is short
#: again when nothing was missed for as long.
LONGEST_PAUSE: Final = 10.0

_RTNLGRP_IPV4_ROUTE, _RTNLGRP_IPV4_RULE, _RTNLGRP_IPV6_ROUTE, _RTNLGRP_IPV6_RULE = 7, 8, 11, 19
_GROUPS = (_RTNLGRP_IPV4_ROUTE, _RTNLGRP_IPV4_RULE, _RTNLGRP_IPV6_ROUTE, _RTNLGRP_IPV6_RULE)
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_RTM_PROTOCOL_OFFSET, _FRA_PROTOCOL = 5, 21


class RouteGuard:
    """From construction until `close`. `restore` is called with the number of removals noticed.

    `own_port`: removals by the netlink socket with this port number are ours. Raises OSError.
    """

    def __init__(self, own_port: int, restore: Callable[[int], None]) -> None:
        self._own_port = own_port
        self._restore = restore
        self._missed = 0
        self._pause = PAUSE
        self._restored = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, nl.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        for group in _GROUPS:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        self._loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Watch no more."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if self._timer is not None:
            self._timer.cancel()

    def _readable(self) -> None:
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                self._missed += 1  # there were too many: one of them may have been about us
                continue
            self._missed += sum(1 for _ in losses(data, self._own_port))
        if self._missed and self._timer is None:
            if self._loop.time() - self._restored > LONGEST_PAUSE:
                self._pause = PAUSE
            self._timer = self._loop.call_later(self._pause, self._put_back)

    def _put_back(self) -> None:
        missed, self._missed, self._timer = self._missed, 0, None
        self._restored = self._loop.time()
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._restore(missed)


def losses(data: bytes, own_port: int) -> Iterator[int]:
    """The kinds (RTM_DELROUTE, RTM_DELRULE) of messages that tell of a removal of ours by another program.

    What the kernel removes by itself, with an interface for instance, has no port and is none.
    """
    while len(data) >= _HEADER.size:
        length, kind, _, _, port = _HEADER.unpack_from(data)
        if length < _HEADER.size + nl.RTMSG.size:
            return
        body = data[_HEADER.size : length]
        if port not in (0, own_port) and (
            (kind == nl.RTM_DELROUTE and body[_RTM_PROTOCOL_OFFSET] == ROUTE_PROTOCOL)
            or (kind == nl.RTM_DELRULE and _protocol_of_rule(body) == ROUTE_PROTOCOL)
        ):
            yield kind
        data = data[length + (-length % 4) :]


def _protocol_of_rule(body: bytes) -> int | None:
    at = nl.RTMSG.size
    while at + _ATTRIBUTE.size < len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length <= _ATTRIBUTE.size:
            return None
        if kind == _FRA_PROTOCOL:
            return body[at + _ATTRIBUTE.size]
        at += length + (-length % 4)
    return None
