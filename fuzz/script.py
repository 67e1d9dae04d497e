"""Decisions read off a fuzzer's octets: the same octets always tell the same story."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_Choice = TypeVar("_Choice")


class Script:
    """A cursor that reads zeros behind the end: a story may be cut short, never refused."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def ended(self) -> bool:
        """Whether only zeros would follow."""
        return self._position >= len(self._data)

    def octets(self, length: int) -> bytes:
        """So many octets, fewer at the end."""
        piece = self._data[self._position : self._position + length]
        self._position += length
        return piece

    def number(self, size: int = 1) -> int:
        """An unsigned number of `size` octets."""
        return int.from_bytes(self.octets(size).ljust(size, b"\0"), "big")

    def flag(self) -> bool:
        return bool(self.number() & 1)

    def choice(self, choices: Sequence[_Choice]) -> _Choice:
        """One of the choices."""
        return choices[self.number() % len(choices)]

    def some(self) -> bytes:
        """Up to 255 octets."""
        return self.octets(self.number())
