"""Binding revocation (RFC 5846): one MH Type, told apart by the Binding Revocation Type."""

from __future__ import annotations

import enum
from struct import Struct
from typing import ClassVar

from dsmip.wire.constants import MHType
from dsmip.wire.errors import DecodeError
from dsmip.wire.message import COMMON_SIZE, Message, Options

_FIXED = Struct(">BBHH")


class RevocationFlag(enum.IntFlag):
    """Flags of both messages (RFC 5846 section 5.1); an acknowledgement copies them."""

    P = 0x8000  #: proxy binding
    V = 0x4000  #: the IPv4 home address binding only
    G = 0x2000  #: global: all bindings of the peer


NO_FLAGS = RevocationFlag(0)

_FLAGS_MASK = 0xE000


class BindingRevocation(Message, frozen=True):
    """What indication and acknowledgement share (RFC 5846 section 5); `code` is the trigger or the status."""

    MH_TYPE: ClassVar[int] = MHType.BINDING_REVOCATION
    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 12
    #: Binding Revocation Type; no message has that of the base.
    REVOCATION_TYPE: ClassVar[int] = 0

    code: int
    sequence: int
    flags: RevocationFlag = NO_FLAGS
    options: Options = ()

    def encode_data(self) -> bytes:
        return _FIXED.pack(self.REVOCATION_TYPE, self.code, self.sequence, self.flags)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> BindingRevocation:
        kind, code, sequence, flags = _FIXED.unpack_from(header, COMMON_SIZE)
        message = _MESSAGES.get(kind)
        if message is None:
            raise DecodeError("malformed", f"binding revocation type {kind}")
        return message(code, sequence, RevocationFlag(flags & _FLAGS_MASK), options)


class BindingRevocationIndication(BindingRevocation, frozen=True):
    """A binding is revoked, for the RevocationTrigger in `code` (RFC 5846 section 5.1)."""

    REVOCATION_TYPE: ClassVar[int] = 1


class BindingRevocationAcknowledgement(BindingRevocation, frozen=True):
    """The answer, with a RevocationStatus in `code` (RFC 5846 section 5.2)."""

    REVOCATION_TYPE: ClassVar[int] = 2


_MESSAGES: dict[int, type[BindingRevocation]] = {
    BindingRevocationIndication.REVOCATION_TYPE: BindingRevocationIndication,
    BindingRevocationAcknowledgement.REVOCATION_TYPE: BindingRevocationAcknowledgement,
}
