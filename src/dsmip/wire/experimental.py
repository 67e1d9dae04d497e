"""What RFC 5096 keeps free for experiments: one message and one option, content up to who runs them."""

from __future__ import annotations

from typing import ClassVar, Self

from dsmip.wire.constants import MHType, OptionType
from dsmip.wire.message import COMMON_SIZE, Message, Options
from dsmip.wire.option import KnownOption


class ExperimentalMessage(Message, frozen=True):
    """A message of an experiment (RFC 5096). `data` is everything after the checksum, options included."""

    MH_TYPE: ClassVar[int] = MHType.EXPERIMENTAL
    MINIMUM_LENGTH: ClassVar[int] = 0
    OPTIONS_AT: ClassVar[int] = COMMON_SIZE

    data: bytes

    @property
    def options(self) -> Options:
        return ()

    def encode_data(self) -> bytes:
        return self.data

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        return cls(header[COMMON_SIZE:])

    @classmethod
    def options_offset(cls, header: bytes) -> int:
        """Nobody but the experiment knows where options start: behind the end."""
        return len(header)


class ExperimentalOption(KnownOption, frozen=True):
    """An option of an experiment (RFC 5096)."""

    TYPE: ClassVar[int] = OptionType.EXPERIMENTAL
    LENGTH: ClassVar[tuple[int, int]] = (0, 255)

    data: bytes

    def encode_data(self) -> bytes:
        return self.data

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(data)
