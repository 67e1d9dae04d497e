"""Programs on interfaces: which program fits, is it there, put it there, take it away."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from typing import Protocol

from dsmip.dataplane import libbpf
from dsmip.dataplane.api import DataPlaneError

_SIOCGIFHWADDR = 0x8927
_INTERFACE_REQUEST = struct.Struct("16sH22x")
# linux/if_arp.h
_WITH_ETHERNET = {1, 772}  # Ethernet (Wi-Fi too), loopback
_WITHOUT_HEADER = {512, 519, 768, 769, 776, 778, 823, 0xFFFE}  # PPP, raw IP, IP tunnels, none


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


class Hooks(Protocol):
    """The kernel's way of having a program run on what comes in to an interface, or leaves: TC_INGRESS and
    TC_EGRESS of libbpf. What an earlier process put there is found again."""

    def program_at(self, ifindex: int, point: int) -> int | None:
        """The kernel's number of our program there, None when there is none, or no such interface."""

    def put(self, ifindex: int, point: int, program: int) -> None:
        """Put a program (a descriptor) there, or in the place of ours in one step. Raises KernelRefusal."""

    def take(self, ifindex: int, point: int) -> None:
        """Take ours away; nothing happens when there is none."""


class Attachments:
    """Attaches the given programs (descriptors)."""

    def __init__(self, programs: dict[str, int], hooks: Hooks) -> None:
        self._programs = programs
        self._ids = {name: libbpf.program_id(descriptor) for name, descriptor in programs.items()}
        self._hooks = hooks

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
        self._hooks.take(ifindex, libbpf.TC_INGRESS)

    def uplinks(self) -> Iterator[tuple[int, str]]:
        """Interfaces with an attachment of any process of ours."""
        for ifindex, name in socket.if_nameindex():
            if self._hooks.program_at(ifindex, libbpf.TC_INGRESS) is not None:
                yield ifindex, name

    def detach_all(self, device: int) -> None:
        """Every attachment goes, also those made by an earlier process."""
        for ifindex, _ in list(self.uplinks()):
            self._hooks.take(ifindex, libbpf.TC_INGRESS)
        self._hooks.take(device, libbpf.TC_EGRESS)

    def _put(self, ifindex: int, point: int, program: str) -> None:
        if self._hooks.program_at(ifindex, point) != self._ids[program]:
            self._hooks.put(ifindex, point, self._programs[program])
