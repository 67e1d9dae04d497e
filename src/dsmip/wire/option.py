"""What all mobility options have in common, and how a list of them is searched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Self, TypeVar

#: (x, y): the type octet stands x*n + y octets from the start of the mobility header (RFC 6275 section
#: 6.2.1).
Alignment = tuple[int, int]

_Option = TypeVar("_Option", bound="MobilityOption")


class MobilityOption(ABC):
    """One mobility option (RFC 6275 section 6.2). Subclasses are frozen dataclasses."""

    __slots__ = ()

    #: Option type on the wire.
    TYPE: ClassVar[int]
    #: Smallest and largest legal Option Length, which counts the data alone.
    LENGTH: ClassVar[tuple[int, int]] = (0, 255)
    ALIGNMENT: ClassVar[Alignment] = (1, 0)

    @abstractmethod
    def encode_data(self) -> bytes:
        """The octets after the Option Length field."""

    @classmethod
    @abstractmethod
    def decode_data(cls, data: bytes) -> Self:
        """The option whose data is `data`, of a length within `LENGTH`; raises DecodeError."""

    @property
    def type_code(self) -> int:
        """Option type to put on the wire."""
        return self.TYPE

    @property
    def alignment(self) -> Alignment:
        """Where the option has to start; some depend on their content."""
        return self.ALIGNMENT


class AuthenticatingOption(MobilityOption):
    """An option that ends with an authenticator over the mobility header in front of it.

    As the last option it is placed so that the header ends with it and no padding follows (RFC 6275
    section 6.2.7). Of its own octets the type, the length and the first `COVERED` octets of data are covered.
    """

    __slots__ = ()

    COVERED: ClassVar[int]

    authenticator: bytes

    @abstractmethod
    def with_authenticator(self, authenticator: bytes) -> Self:
        """The same option with another authenticator."""


@dataclass(frozen=True, slots=True)
class UnknownOption(MobilityOption):
    """An option of a type without a class here: skipped by receivers, not lost (RFC 6275 section 6.2.1)."""

    type: int
    data: bytes

    def encode_data(self) -> bytes:
        return self.data

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        raise NotImplementedError("an unknown option is made from its type and its data")

    @property
    def type_code(self) -> int:
        return self.type


def find(options: Iterable[MobilityOption], cls: type[_Option]) -> _Option | None:
    """The first option of the class, or None."""
    for option in options:
        if isinstance(option, cls):
            return option
    return None


def find_all(options: Iterable[MobilityOption], cls: type[_Option]) -> tuple[_Option, ...]:
    """All options of the class, in their order."""
    return tuple(option for option in options if isinstance(option, cls))
