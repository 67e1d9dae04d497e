"""A local mobility anchor tells an access gateway what has changed (RFC 7077)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import MHType
from dsmip.wire.message import COMMON_SIZE, Message, Options

_NOTIFICATION = Struct(">HHH")
_ACKNOWLEDGEMENT = Struct(">HB3x")
_ACKNOWLEDGE = 0x8000
_RETRANSMISSION = 0x4000


class UpdateNotification(Message, frozen=True):
    """Parameters of a session have changed, for `reason` (RFC 7077); A asks for an acknowledgement."""

    MH_TYPE: ClassVar[int] = MHType.UPDATE_NOTIFICATION
    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 12

    sequence: int
    reason: int
    #: Flag A.
    acknowledge: bool = False
    #: Flag D.
    retransmission: bool = False
    options: Options = ()

    def encode_data(self) -> bytes:
        flags = (_ACKNOWLEDGE if self.acknowledge else 0) | (_RETRANSMISSION if self.retransmission else 0)
        return _NOTIFICATION.pack(self.sequence, self.reason, flags)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        sequence, reason, flags = _NOTIFICATION.unpack_from(header, COMMON_SIZE)
        return cls(sequence, reason, bool(flags & _ACKNOWLEDGE), bool(flags & _RETRANSMISSION), options)


class UpdateNotificationAcknowledgement(Message, frozen=True):
    """The answer to an Update Notification (RFC 7077)."""

    MH_TYPE: ClassVar[int] = MHType.UPDATE_NOTIFICATION_ACKNOWLEDGEMENT
    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 12

    sequence: int
    status: int
    options: Options = ()

    def encode_data(self) -> bytes:
        return _ACKNOWLEDGEMENT.pack(self.sequence, self.status)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        sequence, status = _ACKNOWLEDGEMENT.unpack_from(header, COMMON_SIZE)
        return cls(sequence, status, options)
