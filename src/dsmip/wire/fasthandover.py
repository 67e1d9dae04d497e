"""Messages of fast handovers (RFC 5568). Lifetimes are in seconds here, unlike in a Binding Update."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.binding import AcknowledgementFields, OptionsOnly, UpdateFields
from dsmip.wire.constants import BAFlag, BUFlag, MHType
from dsmip.wire.message import COMMON_SIZE, Message, Options

_HANDOVER = Struct(">HBB")

_ASSIGN = 0x80
_BUFFER = 0x40


class FastBindingUpdate(UpdateFields, frozen=True):
    """Asks the previous access router to redirect traffic (RFC 5568 section 6.2.2); `lifetime` in seconds."""

    MH_TYPE: ClassVar[int] = MHType.FAST_BINDING_UPDATE
    FLAGS: ClassVar[int] = BUFlag.A | BUFlag.H | BUFlag.L | BUFlag.K


class FastBindingAcknowledgement(AcknowledgementFields, frozen=True):
    """The answer to a Fast Binding Update (RFC 5568 section 6.2.3); `lifetime` in seconds."""

    MH_TYPE: ClassVar[int] = MHType.FAST_BINDING_ACKNOWLEDGEMENT
    FLAGS: ClassVar[int] = BAFlag.K


class FastNeighborAdvertisement(OptionsOnly, frozen=True):
    """Announces the mobile node to its new router; RFC 5568 section 8 replaces it by an unsolicited NA."""

    MH_TYPE: ClassVar[int] = MHType.FAST_NEIGHBOR_ADVERTISEMENT


class HandoverInitiate(Message, frozen=True):
    """The previous access router announces a mobile node to the new one (RFC 5568 section 6.2.1.1).

    `assign` is the S flag (assign an address), `buffer` the U flag (keep packets until the node is there).
    """

    MH_TYPE: ClassVar[int] = MHType.HANDOVER_INITIATE
    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 10

    sequence: int
    code: int
    assign: bool = False
    buffer: bool = False
    options: Options = ()

    def encode_data(self) -> bytes:
        flags = (_ASSIGN if self.assign else 0) | (_BUFFER if self.buffer else 0)
        return _HANDOVER.pack(self.sequence, flags, self.code)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        sequence, flags, code = _HANDOVER.unpack_from(header, COMMON_SIZE)
        return cls(sequence, code, bool(flags & _ASSIGN), bool(flags & _BUFFER), options)


class HandoverAcknowledge(Message, frozen=True):
    """The answer to a Handover Initiate (RFC 5568 section 6.2.1.2)."""

    MH_TYPE: ClassVar[int] = MHType.HANDOVER_ACKNOWLEDGE
    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 10

    sequence: int
    code: int
    options: Options = ()

    def encode_data(self) -> bytes:
        return _HANDOVER.pack(self.sequence, 0, self.code)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        sequence, _, code = _HANDOVER.unpack_from(header, COMMON_SIZE)
        return cls(sequence, code, options)
