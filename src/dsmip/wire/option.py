"""What all mobility options have in common, and how a list of them is searched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self, TypeVar

import msgspec

#: (x, y): the type octet stands x*n + y octets from the start of the mobility header (RFC 6275 section
#: 6.2.1).
Alignment = tuple[int, int]

_Option = TypeVar("_Option", bound="MobilityOption")


class MobilityOption(msgspec.Struct, frozen=True, gc=False):
    """One mobility option (RFC 6275 section 6.2).

    Options and messages are msgspec's structures, not dataclasses: a home agent makes a dozen of them for
    every Binding Update, and a frozen dataclass takes seven times as long to make.
    """

    @property
    def type_code(self) -> int:
        """Option type to put on the wire."""
        raise NotImplementedError

    @property
    def alignment(self) -> Alignment:
        """Where the option has to start."""
        raise NotImplementedError

    def encode_data(self) -> bytes:
        """The octets after the Option Length field."""
        raise NotImplementedError


class KnownOption(MobilityOption, frozen=True):
    """An option whose type has a class of its own."""

    #: Option type on the wire.
    TYPE: ClassVar[int]
    #: Smallest and largest legal Option Length, which counts the data alone.
    LENGTH: ClassVar[tuple[int, int]]
    #: Where the option has to start, unless that depends on its content.
    ALIGNMENT: ClassVar[Alignment] = (1, 0)

    @property
    def type_code(self) -> int:
        return self.TYPE

    @property
    def alignment(self) -> Alignment:
        return self.ALIGNMENT

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        """The option whose data is `data`, of a length within `LENGTH`; raises DecodeError."""
        raise NotImplementedError


class AuthenticatingOption(KnownOption, frozen=True):
    """An option that ends with an authenticator over the mobility header in front of it.

    As the last option it is placed so that the header ends with it and no padding follows (RFC 6275
    section 6.2.7). Of its own octets the type, the length and the first `COVERED` octets of data are covered.
    """

    COVERED: ClassVar[int]

    @property
    def authenticator(self) -> bytes:
        """What proves the message; empty = to be filled in."""
        raise NotImplementedError

    def with_authenticator(self, authenticator: bytes) -> Self:
        """The same option with another authenticator."""
        raise NotImplementedError


class UnknownOption(MobilityOption, frozen=True):
    """An option of a type without a class here: skipped by receivers, not lost (RFC 6275 section 6.2.1)."""

    type: int
    data: bytes

    @property
    def type_code(self) -> int:
        return self.type

    @property
    def alignment(self) -> Alignment:
        return 1, 0

    def encode_data(self) -> bytes:
        return self.data


class MalformedOption(UnknownOption, frozen=True):
    """An option of a known type with impossible content, to which its RFC wants an answer instead of silence.

    These are binding identifiers (RFC 5648 section 6.2) and flow identifications (RFC 6089 section 4.2), both
    of which begin with their identifier.
    """

    @property
    def identifier(self) -> int:
        """The BID or FID, 0 where not even that is there."""
        return int.from_bytes(self.data[:2]) if len(self.data) > 1 else 0


def find(options: Iterable[MobilityOption], cls: type[_Option]) -> _Option | None:
    """The first option of the class, or None."""
    for option in options:
        if type(option) is cls:  # a quarter of `isinstance` with an abstract base class
            return option
    return None


def find_all(options: Iterable[MobilityOption], cls: type[_Option]) -> tuple[_Option, ...]:
    """All options of the class, in their order."""
    return tuple(option for option in options if type(option) is cls)
