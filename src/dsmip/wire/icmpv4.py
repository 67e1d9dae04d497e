"""ICMP for IPv4: echo and destination unreachable (RFC 792, RFC 1191)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Self

from dsmip.wire.checksum import internet_checksum
from dsmip.wire.cursor import Cursor
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpmessage import CHECKSUM, HEADER, Echo, IcmpMessage, KnownIcmp, UnknownIcmp, unchecked

#: Code of a Destination Unreachable that carries an MTU (RFC 1191 section 4).
FRAGMENTATION_NEEDED = 4

_U16_AFTER_RESERVED = struct.Struct(">2xH")


class Icmpv4Message(IcmpMessage):
    """One ICMP message (RFC 792). Subclasses are frozen dataclasses."""

    __slots__ = ()


class KnownIcmpv4(KnownIcmp, Icmpv4Message):
    """A message whose type has a class of its own."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class EchoRequest(Echo, KnownIcmpv4):
    """Asks for an Echo Reply with the same content."""

    TYPE: ClassVar[int] = 8


@dataclass(frozen=True, slots=True)
class EchoReply(Echo, KnownIcmpv4):
    """Answers an Echo Request."""

    TYPE: ClassVar[int] = 0


@dataclass(frozen=True, slots=True)
class DestinationUnreachable(KnownIcmpv4):
    """The packet could not be delivered, for the reason in `code`.

    `mtu` is that of the next link, octets, when the code is FRAGMENTATION_NEEDED (RFC 1191 section 4),
    otherwise 0. `invoking` is the start of the packet.
    """

    TYPE: ClassVar[int] = 3

    code: int
    mtu: int
    invoking: bytes

    @property
    def type_code(self) -> tuple[int, int]:
        return self.TYPE, self.code

    def encode_body(self) -> bytes:
        return _U16_AFTER_RESERVED.pack(self.mtu) + self.invoking

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        (mtu,) = body.unpack(_U16_AFTER_RESERVED)
        return cls(code, mtu if code == FRAGMENTATION_NEEDED else 0, body.rest())


@dataclass(frozen=True, slots=True)
class UnknownIcmpv4(UnknownIcmp, Icmpv4Message):
    """A message of a type without a class here; `body` is everything after the checksum."""


_CLASSES: dict[int, type[KnownIcmpv4]] = {
    cls.TYPE: cls for cls in (EchoReply, DestinationUnreachable, EchoRequest)
}


def encode_icmpv4(message: Icmpv4Message) -> bytes:
    """The octets of `message`, with its checksum. EncodeError when a field is out of range."""
    octets = unchecked(message)
    octets[CHECKSUM] = internet_checksum(octets).to_bytes(2, "big")
    return bytes(octets)


def decode_icmpv4(data: bytes, verify_checksum: bool = True) -> Icmpv4Message:
    """The message in `data`. DecodeError "truncated" or "checksum"."""
    cursor = Cursor(data)
    kind, code, _ = cursor.unpack(HEADER)
    if verify_checksum and internet_checksum(data):
        raise DecodeError("checksum", "ICMP")
    cls = _CLASSES.get(kind)
    if cls is None:
        return UnknownIcmpv4(kind, code, cursor.rest())
    return cls.decode_body(code, cursor)
