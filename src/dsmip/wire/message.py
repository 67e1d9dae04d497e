"""What all mobility messages have in common."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from dsmip.wire.option import MobilityOption

#: Octets of the mobility header in front of the message data: up to and including the checksum.
COMMON_SIZE = 6

Options = tuple[MobilityOption, ...]


class Message(msgspec.Struct, frozen=True, gc=False):
    """One mobility message (RFC 6275 section 6.1)."""

    #: MH Type of the class.
    MH_TYPE: ClassVar[int]
    #: Smallest legal Header Len: 8-octet units after the first.
    MINIMUM_LENGTH: ClassVar[int]
    #: Offset of the first mobility option from the start of the mobility header.
    OPTIONS_AT: ClassVar[int]

    @property
    def options(self) -> Options:
        """Mobility options without the padding, in wire order."""
        raise NotImplementedError

    def encode_data(self) -> bytes:
        """The fixed message data: the octets from the checksum to the first option."""
        raise NotImplementedError

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Message:
        """The message of a whole mobility header that is at least as long as `MINIMUM_LENGTH` says."""
        raise NotImplementedError

    @classmethod
    def options_offset(cls, header: bytes) -> int:
        """Where the options of this very header start; raises DecodeError if that is past its end."""
        return cls.OPTIONS_AT

    @property
    def type_code(self) -> int:
        """MH Type to put on the wire."""
        return self.MH_TYPE
