"""Which multicast groups a mobile node listens to, asked by its next access gateway (RFC 7161)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import MHType
from dsmip.wire.message import COMMON_SIZE, Message, Options

_FIXED = Struct(">BB")
_INFORMATION = 0x80


class SubscriptionQuery(Message, frozen=True):
    """Asks for a mobile node's subscriptions (RFC 7161). `sequence` counts modulo 256."""

    MH_TYPE: ClassVar[int] = MHType.SUBSCRIPTION_QUERY
    MINIMUM_LENGTH: ClassVar[int] = 0
    OPTIONS_AT: ClassVar[int] = 8

    sequence: int
    options: Options = ()

    def encode_data(self) -> bytes:
        return _FIXED.pack(self.sequence, 0)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        sequence, _ = _FIXED.unpack_from(header, COMMON_SIZE)
        return cls(sequence, options)


class SubscriptionResponse(Message, frozen=True):
    """The answer (RFC 7161). `information` is the I flag: the options tell of subscriptions."""

    MH_TYPE: ClassVar[int] = MHType.SUBSCRIPTION_RESPONSE
    MINIMUM_LENGTH: ClassVar[int] = 0
    OPTIONS_AT: ClassVar[int] = 8

    sequence: int
    information: bool = False
    options: Options = ()

    def encode_data(self) -> bytes:
        return _FIXED.pack(self.sequence, _INFORMATION if self.information else 0)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        sequence, flags = _FIXED.unpack_from(header, COMMON_SIZE)
        return cls(sequence, bool(flags & _INFORMATION), options)
