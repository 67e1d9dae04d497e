"""Binary traffic selectors: the description of a flow's packets (RFC 6088).

"Source" is the correspondent's side and "destination" the mobile node's: the direction of a packet that the
home agent sends to the mobile node. A field that is absent matches everything, a range includes both of its
ends.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Any, ClassVar

from dsmip.wire.cursor import Cursor
from dsmip.wire.errors import DecodeError

_HEADER = Struct(">Bx")
_FLAGS = Struct(">I")

NumberRange = tuple[int, int]
IPv4Range = tuple[IPv4Address, IPv4Address]
IPv6Range = tuple[IPv6Address, IPv6Address]


@dataclass(frozen=True, slots=True)
class _BinarySelector:
    #: TS Format on the wire.
    FORMAT: ClassVar[int]
    #: Octets of one value of each field, in the order of the fields and of their two flags each.
    SIZES: ClassVar[tuple[int, ...]]

    @property
    def alignment(self) -> int:
        """The sub-option starts at a multiple of this many octets (RFC 6088 sections 3.1 and 3.2)."""
        present = (size for size, values in zip(self.SIZES, self.ranges(), strict=True) if values is not None)
        return min(max(present, default=1), 8)

    def encode(self) -> bytes:
        """The data of a traffic selector sub-option."""
        flags, values = 0, bytearray()
        for index, (size, span) in enumerate(zip(self.SIZES, self.ranges(), strict=True)):
            if span is None:
                continue
            start, end = span
            flags |= 0x8000_0000 >> (2 * index)
            values += int(start).to_bytes(size, "big")
            if end != start:
                flags |= 0x4000_0000 >> (2 * index)
                values += int(end).to_bytes(size, "big")
        return _HEADER.pack(self.FORMAT) + _FLAGS.pack(flags) + bytes(values)

    def ranges(self) -> tuple[Any, ...]:
        """Every field in the order of the wire: start and end, or None."""
        return tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True)
class IPv4TrafficSelector(_BinarySelector):
    """TS Format 1 (RFC 6088 section 3.1). Of `dscp` the upper six bits count."""

    FORMAT: ClassVar[int] = 1
    SIZES: ClassVar[tuple[int, ...]] = (4, 4, 4, 2, 2, 1, 1)

    source: IPv4Range | None = None
    destination: IPv4Range | None = None
    spi: NumberRange | None = None
    source_port: NumberRange | None = None
    destination_port: NumberRange | None = None
    dscp: NumberRange | None = None
    protocol: NumberRange | None = None


@dataclass(frozen=True, slots=True)
class IPv6TrafficSelector(_BinarySelector):
    """TS Format 2 (RFC 6088 section 3.2). Of `traffic_class` the upper six bits count."""

    FORMAT: ClassVar[int] = 2
    SIZES: ClassVar[tuple[int, ...]] = (16, 16, 4, 4, 2, 2, 1, 1)

    source: IPv6Range | None = None
    destination: IPv6Range | None = None
    spi: NumberRange | None = None
    flow_label: NumberRange | None = None
    source_port: NumberRange | None = None
    destination_port: NumberRange | None = None
    traffic_class: NumberRange | None = None
    next_header: NumberRange | None = None


@dataclass(frozen=True, slots=True)
class UnknownTrafficSelector:
    """A format we do not know, to be refused with FlowStatus.TRAFFIC_SELECTOR_FORMAT_NOT_SUPPORTED."""

    format: int
    data: bytes

    @property
    def alignment(self) -> int:
        """No requirement is known."""
        return 1

    def encode(self) -> bytes:
        """The data of a traffic selector sub-option."""
        return _HEADER.pack(self.format) + self.data


TrafficSelector = IPv4TrafficSelector | IPv6TrafficSelector | UnknownTrafficSelector


def decode_traffic_selector(data: bytes) -> TrafficSelector:
    """The selector of a traffic selector sub-option (RFC 6089 section 4.2.1.4).

    DecodeError when fields are missing or left over, and when a range has an end without a start.
    """
    cursor = Cursor(data)
    (selector_format,) = cursor.unpack(_HEADER)
    if selector_format == IPv4TrafficSelector.FORMAT:
        return IPv4TrafficSelector(*_ranges(cursor, IPv4TrafficSelector.SIZES, IPv4Address))
    if selector_format == IPv6TrafficSelector.FORMAT:
        return IPv6TrafficSelector(*_ranges(cursor, IPv6TrafficSelector.SIZES, IPv6Address))
    return UnknownTrafficSelector(selector_format, cursor.rest())


def _ranges(
    cursor: Cursor, sizes: tuple[int, ...], address: type[IPv4Address] | type[IPv6Address]
) -> list[Any]:
    (flags,) = cursor.unpack(_FLAGS)
    spans: list[Any] = []
    for index, size in enumerate(sizes):
        has_start = flags & (0x8000_0000 >> (2 * index))
        has_end = flags & (0x4000_0000 >> (2 * index))
        if not has_start:
            if has_end:
                raise DecodeError("malformed", "a traffic selector range without a start")
            spans.append(None)
            continue
        start = int.from_bytes(cursor.take(size), "big")
        end = int.from_bytes(cursor.take(size), "big") if has_end else start
        # Source and destination address come first in both formats.
        spans.append((address(start), address(end)) if index < 2 else (start, end))
    if cursor.remaining:
        raise DecodeError("malformed", f"{cursor.remaining} octets after a traffic selector")
    return spans
