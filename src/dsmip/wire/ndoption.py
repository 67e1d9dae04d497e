"""What all options of neighbour discovery have in common (RFC 4861 section 4.6)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self


class NDOption(ABC):
    """One option. Its length on the wire counts units of 8 octets, type and length included."""

    __slots__ = ()

    @property
    @abstractmethod
    def type_code(self) -> int:
        """Option type to put on the wire."""

    @abstractmethod
    def encode_data(self) -> bytes:
        """The octets after type and length, which are then padded to the unit."""


class KnownNDOption(NDOption):
    """An option whose type has a class of its own."""

    __slots__ = ()

    #: Option type on the wire.
    TYPE: ClassVar[int]
    #: The legal lengths in octets without type and length, None = any.
    SIZES: ClassVar[tuple[int, ...] | None] = None

    @property
    def type_code(self) -> int:
        return self.TYPE

    @classmethod
    @abstractmethod
    def decode_data(cls, data: bytes) -> Self:
        """The option whose octets after type and length are `data`."""


@dataclass(frozen=True, slots=True)
class UnknownNDOption(NDOption):
    """An option of a type without a class here; receivers ignore it (RFC 4861 section 6.1.2)."""

    type: int
    data: bytes

    def encode_data(self) -> bytes:
        return self.data

    @property
    def type_code(self) -> int:
        return self.type
