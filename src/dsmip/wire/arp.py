"""Address resolution for IPv4 on Ethernet (RFC 826)."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from dsmip.wire.cursor import Cursor
from dsmip.wire.errors import DecodeError, EncodeError

_HARDWARE_ETHERNET = 1
_PROTOCOL_IPV4 = 0x0800
_MAC_SIZE = 6
_IPV4_SIZE = 4
_FIXED = struct.Struct(">HHBBH")


class ArpOperation(enum.IntEnum):
    """What an ARP packet is."""

    REQUEST = 1
    REPLY = 2


@dataclass(frozen=True, slots=True)
class ArpPacket:
    """An ARP packet without its Ethernet header: 28 octets. `operation` is an ArpOperation or any number."""

    operation: int
    sender_mac: bytes
    sender: IPv4Address
    target_mac: bytes
    target: IPv4Address

    def encode(self) -> bytes:
        """The 28 octets. EncodeError when a MAC address is not 6 octets long."""
        if len(self.sender_mac) != _MAC_SIZE or len(self.target_mac) != _MAC_SIZE:
            raise EncodeError("a MAC address that is not 6 octets long")
        try:
            fixed = _FIXED.pack(_HARDWARE_ETHERNET, _PROTOCOL_IPV4, _MAC_SIZE, _IPV4_SIZE, self.operation)
        except struct.error as error:
            raise EncodeError(f"ARP: {error}") from error
        return fixed + self.sender_mac + self.sender.packed + self.target_mac + self.target.packed

    @classmethod
    def decode(cls, data: bytes) -> ArpPacket:
        """The packet at the start of `data`; an Ethernet frame may have padding after it.

        DecodeError "truncated", or "malformed" when it is not about IPv4 on Ethernet.
        """
        cursor = Cursor(data)
        *kinds, operation = cursor.unpack(_FIXED)
        if kinds != [_HARDWARE_ETHERNET, _PROTOCOL_IPV4, _MAC_SIZE, _IPV4_SIZE]:
            raise DecodeError("malformed", "ARP for other than IPv4 on Ethernet")
        return cls(operation, cursor.take(_MAC_SIZE), cursor.ipv4(), cursor.take(_MAC_SIZE), cursor.ipv4())
