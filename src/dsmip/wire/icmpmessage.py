"""What the messages of both ICMPs have in common (RFC 792, RFC 4443): the first four octets, and echo."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from dsmip.wire.cursor import Cursor
from dsmip.wire.errors import EncodeError

#: Type, Code and Checksum.
HEADER = struct.Struct(">BBH")
CHECKSUM = slice(2, 4)

_IDENTIFIER_SEQUENCE = struct.Struct(">HH")


class IcmpMessage(ABC):
    """One message of either ICMP. Subclasses are frozen dataclasses."""

    __slots__ = ()

    @property
    @abstractmethod
    def type_code(self) -> tuple[int, int]:
        """Type and Code to put on the wire."""

    @abstractmethod
    def encode_body(self) -> bytes:
        """The octets after the checksum."""


class KnownIcmp(IcmpMessage):
    """A message whose type has a class of its own; Code 0 unless the class says otherwise."""

    __slots__ = ()

    #: Type on the wire.
    TYPE: ClassVar[int]

    @property
    def type_code(self) -> tuple[int, int]:
        return self.TYPE, 0

    @classmethod
    @abstractmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        """The message whose octets after the checksum are `body`; raises DecodeError."""


@dataclass(frozen=True, slots=True)
class Echo(KnownIcmp):
    """What request and reply share; a reply copies everything from the request."""

    identifier: int
    sequence: int
    data: bytes = b""

    def encode_body(self) -> bytes:
        return _IDENTIFIER_SEQUENCE.pack(self.identifier, self.sequence) + self.data

    @classmethod
    def decode_body(cls, code: int, body: Cursor) -> Self:
        identifier, sequence = body.unpack(_IDENTIFIER_SEQUENCE)
        return cls(identifier, sequence, body.rest())


@dataclass(frozen=True, slots=True)
class UnknownIcmp(IcmpMessage):
    """A message of a type without a class here; `body` is everything after the checksum."""

    type: int
    code: int
    body: bytes

    @property
    def type_code(self) -> tuple[int, int]:
        return self.type, self.code

    def encode_body(self) -> bytes:
        return self.body


def unchecked(message: IcmpMessage) -> bytearray:
    """The octets of `message` with a checksum of zero; EncodeError when a field is out of range."""
    try:
        return bytearray(HEADER.pack(*message.type_code, 0) + message.encode_body())
    except struct.error as error:
        raise EncodeError(f"{type(message).__name__}: {error}") from error
