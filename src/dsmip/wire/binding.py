"""The messages of a registration (RFC 6275 section 6.1), and what those of fast handovers have from them."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import ClassVar, Self

from dsmip.wire.constants import BAFlag, BUFlag, MHType
from dsmip.wire.message import COMMON_SIZE, Message, Options

_UPDATE = struct.Struct(">HHH")
_ACKNOWLEDGEMENT = struct.Struct(">BBHH")
_ERROR = struct.Struct(">Bx16s")

# Making an IntFlag from an integer takes longer than the rest of a message: the ones seen are kept. Reserved
# bits are masked off first, which bounds the tables.
_BU_FLAGS: dict[int, BUFlag] = {}
_BA_FLAGS: dict[int, BAFlag] = {value: BAFlag(value & sum(BAFlag)) for value in range(256)}


class OptionsOnly(Message, frozen=True):
    """A message that says nothing but what it is, and has its options."""

    MINIMUM_LENGTH: ClassVar[int] = 0
    OPTIONS_AT: ClassVar[int] = 8

    options: Options = ()

    def encode_data(self) -> bytes:
        return bytes(2)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        return cls(options)


class UpdateFields(Message, frozen=True):
    """The layout of a Binding Update; flags outside FLAGS are reserved, and not seen on receipt."""

    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 12
    FLAGS: ClassVar[int]

    sequence: int
    flags: BUFlag
    lifetime: int
    options: Options = ()

    def encode_data(self) -> bytes:
        return _UPDATE.pack(self.sequence, self.flags, self.lifetime)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        sequence, flags, lifetime = _UPDATE.unpack_from(header, COMMON_SIZE)
        return cls(sequence, _bu_flags(flags & cls.FLAGS), lifetime, options)


class AcknowledgementFields(Message, frozen=True):
    """The layout of a Binding Acknowledgement; flags as in `UpdateFields`."""

    MINIMUM_LENGTH: ClassVar[int] = 1
    OPTIONS_AT: ClassVar[int] = 12
    FLAGS: ClassVar[int]

    status: int
    flags: BAFlag
    sequence: int
    lifetime: int
    options: Options = ()

    def encode_data(self) -> bytes:
        return _ACKNOWLEDGEMENT.pack(self.status, self.flags, self.sequence, self.lifetime)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        status, flags, sequence, lifetime = _ACKNOWLEDGEMENT.unpack_from(header, COMMON_SIZE)
        return cls(status, _BA_FLAGS[flags & cls.FLAGS], sequence, lifetime, options)


class BindingRefreshRequest(OptionsOnly, frozen=True):
    """A correspondent or home agent asks the mobile node to register again (RFC 6275 section 6.1.2)."""

    MH_TYPE: ClassVar[int] = MHType.BINDING_REFRESH_REQUEST


class BindingUpdate(UpdateFields, frozen=True):
    """A mobile node tells where it is (RFC 6275 section 6.1.7). `lifetime` is in units of 4 seconds."""

    MH_TYPE: ClassVar[int] = MHType.BINDING_UPDATE
    FLAGS: ClassVar[int] = sum(BUFlag)


class BindingAcknowledgement(AcknowledgementFields, frozen=True):
    """The answer to a Binding Update (RFC 6275 section 6.1.8). `lifetime` is in units of 4 seconds.

    `status` is a BAStatus or a number that has no name yet.
    """

    MH_TYPE: ClassVar[int] = MHType.BINDING_ACKNOWLEDGEMENT
    FLAGS: ClassVar[int] = sum(BAFlag)


class BindingError(Message, frozen=True):
    """A packet could not be accepted as it came (RFC 6275 section 6.1.9).

    `home_address` is copied from the home address option of the offending packet, :: if it had none.
    """

    MH_TYPE: ClassVar[int] = MHType.BINDING_ERROR
    MINIMUM_LENGTH: ClassVar[int] = 2
    OPTIONS_AT: ClassVar[int] = 24

    status: int
    home_address: IPv6Address
    options: Options = ()

    def encode_data(self) -> bytes:
        return _ERROR.pack(self.status, self.home_address.packed)

    @classmethod
    def decode_data(cls, header: bytes, options: Options) -> Self:
        status, home_address = _ERROR.unpack_from(header, COMMON_SIZE)
        return cls(status, IPv6Address(home_address), options)


def _bu_flags(value: int) -> BUFlag:
    flags = _BU_FLAGS.get(value)
    if flags is None:
        flags = _BU_FLAGS[value] = BUFlag(value)
    return flags
