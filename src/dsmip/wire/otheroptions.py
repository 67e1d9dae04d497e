"""Mobility options that come alone: of RFC 5026 (DNS update), RFC 5094 (vendor specific), RFC 5149 (service
selection) and RFC 5847 (restart counter).
"""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import OptionType
from dsmip.wire.option import Alignment, KnownOption

_VENDOR = Struct(">IB")
_U32 = Struct(">I")
_STATUS_FLAGS = Struct(">BB")
_REMOVE = 0x80


class DnsUpdate(KnownOption, frozen=True):
    """Asks the home agent to put the home address into the DNS, and its answer (RFC 5026 section 8.1).

    `status` is 0 in a Binding Update; below 128 is success. `remove` is the R flag: take the entry out.
    """

    TYPE: ClassVar[int] = OptionType.DNS_UPDATE
    LENGTH: ClassVar[tuple[int, int]] = (2, 255)

    fqdn: bytes
    status: int = 0
    remove: bool = False

    def encode_data(self) -> bytes:
        return _STATUS_FLAGS.pack(self.status, _REMOVE if self.remove else 0) + self.fqdn

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        status, flags = _STATUS_FLAGS.unpack_from(data)
        return cls(data[_STATUS_FLAGS.size :], status, bool(flags & _REMOVE))


class VendorSpecific(KnownOption, frozen=True):
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


class ServiceSelection(KnownOption, frozen=True):
    """The name of the service a mobile node wants, UTF-8 (RFC 5149 section 3)."""

    TYPE: ClassVar[int] = OptionType.SERVICE_SELECTION
    LENGTH: ClassVar[tuple[int, int]] = (1, 255)

    identifier: bytes

    def encode_data(self) -> bytes:
        return self.identifier

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(data)


class RestartCounter(KnownOption, frozen=True):
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
