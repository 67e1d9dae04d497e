"""Mobility options of RFC 5094 (vendor specific), 5149 (service selection) and 5847 (restart counter)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import OptionType
from dsmip.wire.option import Alignment, KnownOption

_VENDOR = Struct(">IB")
_U32 = Struct(">I")


@dataclass(frozen=True, slots=True)
class VendorSpecific(KnownOption):
    """Data of a vendor, named by its IANA enterprise number (RFC 5094)."""

    TYPE: ClassVar[int] = OptionType.VENDOR_SPECIFIC
    LENGTH: ClassVar[tuple[int, int]] = (5, 255)
    ALIGNMENT: ClassVar[Alignment] = (4, 2)

    vendor: int
    subtype: int
    data: bytes

    def encode_data(self) -> bytes:
        return _VENDOR.pack(self.vendor, self.subtype) + self.data

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        vendor, subtype = _VENDOR.unpack_from(data)
        return cls(vendor, subtype, data[_VENDOR.size :])


@dataclass(frozen=True, slots=True)
class ServiceSelection(KnownOption):
    """The name of the service a mobile node wants, UTF-8 (RFC 5149 section 3)."""

    TYPE: ClassVar[int] = OptionType.SERVICE_SELECTION
    LENGTH: ClassVar[tuple[int, int]] = (1, 255)

    identifier: bytes

    def encode_data(self) -> bytes:
        return self.identifier

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(data)


@dataclass(frozen=True, slots=True)
class RestartCounter(KnownOption):
    """How often the sender of a heartbeat response has restarted (RFC 5847 section 3.4)."""

    TYPE: ClassVar[int] = OptionType.RESTART_COUNTER
    LENGTH: ClassVar[tuple[int, int]] = (4, 4)
    ALIGNMENT: ClassVar[Alignment] = (4, 2)

    counter: int

    def encode_data(self) -> bytes:
        return _U32.pack(self.counter)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(*_U32.unpack(data))
