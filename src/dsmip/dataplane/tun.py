"""The tunnel device: packets routed to it are encapsulated by the program on its egress; what the program
lets through (signalling with all its outer headers) is read from the descriptor."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
from typing import Final

from dsmip.dataplane.api import DataPlaneError

TUN_PATH = "/dev/net/tun"

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_TUNSETOFFLOAD = 0x400454D0
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
# Checksums and TCP segments are left to the real interface: the difference between 1 and 15 Gbit/s.
_OFFLOADS = 0x01 | 0x02 | 0x04 | 0x08  # CSUM, TSO4, TSO6, TSO_ECN

_REQUEST = struct.Struct("16sH22x")
# struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
_VNET_HEADER = struct.Struct("=BBHHHH")
_NEEDS_CHECKSUM = 1
_NO_OFFLOAD = bytes(_VNET_HEADER.size)
_ROOM = 65536 + _VNET_HEADER.size

_MENDS = {
    errno.ENOENT: "the kernel module is missing: 'modprobe tun'",
    errno.EPERM: "run as root or with CAP_NET_ADMIN",
    errno.EBUSY: "another process holds it; is a second node running in this network namespace?",
    errno.EINVAL: "an interface of another kind has this name",
}

log = logging.getLogger(__name__)


class TunDevice:
    """A persistent TUN device, held open. It forwards with or without anybody holding it."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name: Final = name
        self._descriptor = descriptor
        self._complained = False
        self._buffer = bytearray(_ROOM)
        self._view = memoryview(self._buffer)

    @classmethod
    def open(cls, name: str) -> TunDevice:
        """Create the device, or take hold of the one an earlier process left. Raises DataPlaneError."""
        descriptor = -1
        try:
            descriptor = os.open(TUN_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            request = _REQUEST.pack(name.encode(), _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR)
            fcntl.ioctl(descriptor, _TUNSETIFF, request)
            fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _OFFLOADS)
            fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            mend = _MENDS.get(error.errno or 0, error.strerror)
            raise DataPlaneError(f"tunnel device {name}: {error.strerror}: {mend}") from error
        return cls(name, descriptor)

    def fileno(self) -> int:
        """For the event loop."""
        return self._descriptor

    def read(self) -> bytes | None:
        """The next IP packet, None when nothing is waiting (or the device is down: logged once)."""
        try:
            # Into one buffer: `os.read` would ask for 64 KiB anew for every packet of a few hundred octets.
            length = os.readv(self._descriptor, (self._buffer,))
        except BlockingIOError:
            return None
        except OSError as error:
            if not self._complained:
                log.warning("%s cannot be read (%s); is it up?", self.name, error.strerror)
                self._complained = True
            return None
        self._complained = False
        flags, _, _, _, start, offset = _VNET_HEADER.unpack_from(self._buffer)
        packet = bytes(self._view[_VNET_HEADER.size : length])
        if flags & _NEEDS_CHECKSUM:
            return _complete_checksum(packet, start, start + offset)
        return packet

    def write(self, packet: bytes) -> bool:
        """Hand the kernel an IP packet as received on the device; False, and a log line, if it refuses."""
        try:
            os.write(self._descriptor, _NO_OFFLOAD + packet)
        except OSError as error:
            log.warning("%s does not take a packet: %s", self.name, error.strerror)
            return False
        return True

    def close(self) -> None:
        """Let go of the device, which stays and goes on forwarding."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def destroy(self) -> None:
        """Remove the device."""
        if self._descriptor >= 0:
            fcntl.ioctl(self._descriptor, _TUNSETPERSIST, 0)
            self.close()


def _complete_checksum(packet: bytes, start: int, field: int) -> bytes:
    """Do what the sender left to a network interface: the sum from `start` on, into the two octets at
    `field`, which hold that of the pseudo-header."""
    if field + 2 > len(packet):
        return packet
    covered = packet[start:] + b"\0" * ((len(packet) - start) % 2)
    total = sum(struct.unpack(f"!{len(covered) // 2}H", covered))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    # 0xffff for 0: in UDP, 0 means that there is no checksum.
    return packet[:field] + ((~total & 0xFFFF) or 0xFFFF).to_bytes(2, "big") + packet[field + 2 :]
