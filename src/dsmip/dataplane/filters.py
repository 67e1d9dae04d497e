"""Programs as tc filters, for kernels that know nothing better.

Every filter has the same handle and priority, so that what an earlier process attached is found by asking the
kernel; nothing has to be remembered, and nothing remembered can be wrong.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from dsmip.dataplane import libbpf

HANDLE = 1
PRIORITY = 4191

_RTM_NEWTFILTER, _RTM_GETTFILTER = 44, 46
_DUMP_REQUEST = 0x301
_NETLINK_HEADER = struct.Struct("=IHHII")
_TC_MESSAGE = struct.Struct("=BBHiIII")
_CLSACT_INGRESS, _CLSACT_EGRESS = 0xFFFFFFF2, 0xFFFFFFF3


class Filters:
    """Implements `attachment.Hooks`. The directory `created` notes which qdiscs are ours."""

    def __init__(self, created: Path) -> None:
        self._created = created

    def program_at(self, ifindex: int, point: int) -> int | None:
        """See `attachment.Hooks`."""
        return libbpf.tc_query(ifindex, point, HANDLE, PRIORITY)

    def put(self, ifindex: int, point: int, program: int) -> None:
        """See `attachment.Hooks`."""
        if libbpf.tc_create(ifindex):
            self._mark(ifindex).mkdir(parents=True, exist_ok=True)
        libbpf.tc_attach(ifindex, point, program, HANDLE, PRIORITY)

    def take(self, ifindex: int, point: int) -> None:
        """See `attachment.Hooks`."""
        libbpf.tc_detach(ifindex, point, HANDLE, PRIORITY)
        if self._mark(ifindex).is_dir():
            if not _has_filters(ifindex):
                libbpf.tc_destroy(ifindex)
            self._mark(ifindex).rmdir()

    def _mark(self, ifindex: int) -> Path:
        return self._created / str(ifindex)


def _has_filters(ifindex: int) -> bool:
    """Whether anything hangs on the interface's clsact qdisc."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as channel:
        for parent in (_CLSACT_INGRESS, _CLSACT_EGRESS):
            question = _TC_MESSAGE.pack(socket.AF_UNSPEC, 0, 0, ifindex, 0, parent, 0)
            length = _NETLINK_HEADER.size + len(question)
            channel.send(_NETLINK_HEADER.pack(length, _RTM_GETTFILTER, _DUMP_REQUEST, 1, 0) + question)
            found, kind = False, _RTM_NEWTFILTER
            while kind == _RTM_NEWTFILTER:  # each datagram starts with a filter, or with the end of them
                kind = _NETLINK_HEADER.unpack_from(channel.recv(65536))[1]
                found |= kind == _RTM_NEWTFILTER
            if found:
                return True
    return False
