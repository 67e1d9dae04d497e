"""The heartbeat message (RFC 5847)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import MHType
from dsmip.wire.message import COMMON_SIZE, Message, Options

_FIXED = Struct(">HI")
_UNSOLICITED = 0x0002
_RESPONSE = 0x0001


class Heartbeat(Message, frozen=True):
    """Asks whether the peer is alive, or answers with the same sequence number (RFC 5847 section 3.3)."""

    MH_TYPE: ClassVar[int] = MHType.HEARTBEAT
    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 12

    sequence: int
    response: bool = False
    unsolicited: bool = False
    options: Options = ()

    def encode_data(self) -> bytes:
        flags = (_RESPONSE if self.response else 0) | (_UNSOLICITED if self.unsolicited else 0)
        return _FIXED.pack(flags, self.sequence)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        flags, sequence = _FIXED.unpack_from(header, COMMON_SIZE)
        return cls(sequence, bool(flags & _RESPONSE), bool(flags & _UNSOLICITED), options)
