"""Files that Wireshark and tcpdump read: pcap with raw IP packets."""

from __future__ import annotations

import struct
from typing import BinaryIO

#: LINKTYPE_RAW: the packet begins with an IPv4 or IPv6 header.
LINKTYPE_RAW = 101
_MAGIC = 0xA1B2C3D4
_SNAPLEN = 262144
_FILE = struct.Struct("=IHHiIII")
_PACKET = struct.Struct("=IIII")


class PcapWriter:
    """Writes packets as they come; the file is complete after each of them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.write(_FILE.pack(_MAGIC, 2, 4, 0, 0, _SNAPLEN, LINKTYPE_RAW))
        file.flush()

    def write(self, unix: float, packet: bytes) -> None:
        """One packet at `unix`, seconds since 1970."""
        microseconds = round(unix * 1_000_000)
        seconds, rest = divmod(microseconds, 1_000_000)
        self._file.write(_PACKET.pack(seconds, rest, len(packet), len(packet)) + packet)
        self._file.flush()
