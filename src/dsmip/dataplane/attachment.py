"""Programs on interfaces: which program fits, is it there, put it there, take it away.

Every attachment has the same handle and priority, so that what an earlier process attached is found by asking
the kernel; nothing has to be remembered, and nothing remembered can be wrong.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from dsmip.dataplane import libbpf
from dsmip.dataplane.api import DataPlaneError

HANDLE = 1
PRIORITY = 4191

_SIOCGIFHWADDR = 0x8927
_INTERFACE_REQUEST = struct.Struct("16sH22x")
# linux/if_arp.h
_WITH_ETHERNET = {1, 772}  # Ethernet (Wi-Fi too), loopback
_WITHOUT_HEADER = {512, 519, 768, 769, 776, 778, 823, 0xFFFE}  # PPP, raw IP, IP tunnels, none

_RTM_NEWTFILTER, _RTM_GETTFILTER = 44, 46
_DUMP_REQUEST = 0x301
_NETLINK_HEADER = struct.Struct("=IHHII")
_TC_MESSAGE = struct.Struct("=BBHiIII")
_CLSACT_INGRESS, _CLSACT_EGRESS = 0xFFFFFFF2, 0xFFFFFFF3


def has_ethernet_header(interface: str) -> bool:
    """Whether packets of this interface start with an Ethernet header. Raises DataPlaneError."""
    request = _INTERFACE_REQUEST.pack(interface.encode(), 0)
    # An ioctl, not sysfs: what is mounted at /sys may show another network namespace.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            answer = fcntl.ioctl(channel, _SIOCGIFHWADDR, request)
        except OSError as error:
            raise DataPlaneError(f"interface {interface}: {error.strerror}") from error
    kind = _INTERFACE_REQUEST.unpack(answer)[1]
    if kind in _WITH_ETHERNET:
        return True
    if kind in _WITHOUT_HEADER:
        return False
    raise DataPlaneError(f"interface {interface}: links of type {kind} (linux/if_arp.h) cannot be used")


def is_raw(ifindex: int) -> bool:
    """Whether a path through this interface goes out without an Ethernet header."""
    try:
        return not has_ethernet_header(socket.if_indextoname(ifindex))
    except OSError:
        return False  # vanished this moment: packets for it are dropped either way


class Attachments:
    """Attaches the given programs (descriptors); the directory `created` notes which qdiscs are ours."""

    def __init__(self, programs: dict[str, int], created: Path) -> None:
        self._programs = programs
        self._ids = {name: libbpf.program_id(descriptor) for name, descriptor in programs.items()}
        self._created = created

    def attach_device(self, ifindex: int) -> None:
        """Encapsulate what leaves by the tunnel device."""
        self._put(ifindex, libbpf.TC_EGRESS, "tunnel_egress")

    def attach_uplink(self, interface: str) -> None:
        """Decapsulate what arrives there. Idempotent: one question to the kernel if it is there."""
        program = "uplink_ethernet" if has_ethernet_header(interface) else "uplink_raw"
        try:
            self._put(socket.if_nametoindex(interface), libbpf.TC_INGRESS, program)
        except OSError as error:
            raise DataPlaneError(f"interface {interface}: {error.strerror or error}") from error

    def detach_uplink(self, interface: str) -> None:
        """Leave an interface alone; nothing happens when it has gone."""
        try:
            ifindex = socket.if_nametoindex(interface)
        except OSError:
            return
        self._take(ifindex, libbpf.TC_INGRESS)

    def uplinks(self) -> Iterator[tuple[int, str]]:
        """Interfaces with an attachment of any process of ours."""
        for ifindex, name in socket.if_nameindex():
            if libbpf.tc_query(ifindex, libbpf.TC_INGRESS, HANDLE, PRIORITY) is not None:
                yield ifindex, name

    def detach_all(self, device: int) -> None:
        """Every attachment goes, also those made by an earlier process."""
        for ifindex, _ in list(self.uplinks()):
            self._take(ifindex, libbpf.TC_INGRESS)
        self._take(device, libbpf.TC_EGRESS)

    def _put(self, ifindex: int, point: int, program: str) -> None:
        if libbpf.tc_query(ifindex, point, HANDLE, PRIORITY) == self._ids[program]:
            return
        if libbpf.tc_create(ifindex):
            self._mark(ifindex).mkdir(parents=True, exist_ok=True)
        libbpf.tc_attach(ifindex, point, self._programs[program], HANDLE, PRIORITY)

    def _take(self, ifindex: int, point: int) -> None:
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
