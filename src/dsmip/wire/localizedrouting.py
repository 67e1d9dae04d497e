"""Localized routing between the agents of Proxy Mobile IPv6 (RFC 6705). Lifetimes are in seconds."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import MHType
from dsmip.wire.message import COMMON_SIZE, Message, Options

_INITIATION = Struct(">H2xH")
_ACKNOWLEDGMENT = Struct(">HBBH")
_UNSOLICITED = 0x80

#: Lifetime that does not end.
INFINITE_LIFETIME = 0xFFFF


class LocalizedRoutingInitiation(Message, frozen=True):
    """An agent wants two mobile nodes' traffic to go the short way (RFC 6705); a `lifetime` of 0 stops it."""

    MH_TYPE: ClassVar[int] = MHType.LOCALIZED_ROUTING_INITIATION
    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 12

    sequence: int
    lifetime: int
    options: Options = ()

    def encode_data(self) -> bytes:
        return _INITIATION.pack(self.sequence, self.lifetime)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        sequence, lifetime = _INITIATION.unpack_from(header, COMMON_SIZE)
        return cls(sequence, lifetime, options)


class LocalizedRoutingAcknowledgment(Message, frozen=True):
    """The answer (RFC 6705): status 0 success, 128 not allowed, 129 the mobile node is not attached."""

    MH_TYPE: ClassVar[int] = MHType.LOCALIZED_ROUTING_ACKNOWLEDGEMENT
    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 12

    sequence: int
    status: int
    lifetime: int
    unsolicited: bool = False
    options: Options = ()

    def encode_data(self) -> bytes:
        flags = _UNSOLICITED if self.unsolicited else 0
        return _ACKNOWLEDGMENT.pack(self.sequence, flags, self.status, self.lifetime)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        sequence, flags, status, lifetime = _ACKNOWLEDGMENT.unpack_from(header, COMMON_SIZE)
        return cls(sequence, status, lifetime, bool(flags & _UNSOLICITED), options)
