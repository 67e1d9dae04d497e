"""What all ICMPv6 messages have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from dsmip.wire.cursor import Cursor
from dsmip.wire.errors import DecodeError


class Icmpv6Message(ABC):
    """One ICMPv6 message (RFC 4443 section 2.1). Subclasses are frozen dataclasses."""

    __slots__ = ()

    @property
    @abstractmethod
    def type_code(self) -> tuple[int, int]:
        """Type and Code to put on the wire."""

    @abstractmethod
    def encode_body(self) -> bytes:
        """The octets after the checksum."""


class KnownIcmpv6(Icmpv6Message):
    """A message whose type has a class of its own."""

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


def require_code_zero(message: type[KnownIcmpv6], code: int) -> None:
    """DecodeError("malformed") unless `code` is 0, as for all messages of neighbour discovery."""
    if code:
        raise DecodeError("malformed", f"{message.__name__} with code {code}")
