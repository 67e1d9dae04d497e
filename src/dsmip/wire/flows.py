"""Flow bindings: which flows go to which care-of address (RFC 6089)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from dsmip.wire.constants import OptionType
from dsmip.wire.errors import DecodeError
from dsmip.wire.option import Alignment, KnownOption
from dsmip.wire.tlv import PADDING, walk
from dsmip.wire.trafficselectors import TrafficSelector, decode_traffic_selector

_FIXED = Struct(">HHxB")

#: Octets of option type and length in front of the data that sub-options are aligned from.
_TLV = 2

#: Sub-option types (RFC 6089 sections 4.2.1.3 and 4.2.1.4).
BID_REFERENCE = 2
TRAFFIC_SELECTOR = 3


class FlowSummary(KnownOption, frozen=True):
    """The flow bindings to keep as they are (RFC 6089 section 4.2.2)."""

    TYPE: ClassVar[int] = OptionType.FLOW_SUMMARY
    LENGTH: ClassVar[tuple[int, int]] = (2, 254)
    ALIGNMENT: ClassVar[Alignment] = (2, 0)

    fids: tuple[int, ...]

    def encode_data(self) -> bytes:
        return _pack_u16s(self.fids)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        return cls(_unpack_u16s(data))


class FlowIdentification(KnownOption, frozen=True):
    """One flow binding (RFC 6089 section 4.2).

    `fid` and `priority` are 1 to 65535, and the lower priority wins. `bids` are the bindings that the flow
    uses, `selector` describes its packets. `status` is a FlowStatus and means something in an
    acknowledgement only. `unknown` holds sub-options without a field here, as (type, data).
    """

    TYPE: ClassVar[int] = OptionType.FLOW_IDENTIFICATION
    LENGTH: ClassVar[tuple[int, int]] = (6, 255)
    # The RFC asks for 2n, and for sub-options aligned from the start of the mobility header. With the option
    # on 8n, both are met wherever the option stands.
    ALIGNMENT: ClassVar[Alignment] = (8, 0)

    fid: int
    priority: int
    status: int = 0
    bids: tuple[int, ...] = ()
    selector: TrafficSelector | None = None
    unknown: tuple[tuple[int, bytes], ...] = ()

    def encode_data(self) -> bytes:
        data = bytearray(_FIXED.pack(self.fid, self.priority, self.status))
        if self.bids:
            _append(data, BID_REFERENCE, _pack_u16s(self.bids), 2)
        if self.selector is not None:
            _append(data, TRAFFIC_SELECTOR, self.selector.encode(), self.selector.alignment)
        for kind, content in self.unknown:
            _append(data, kind, content, 1)
        return bytes(data)

    @classmethod
    def decode_data(cls, data: bytes) -> Self:
        fid, priority, status = _FIXED.unpack_from(data)
        bids: tuple[int, ...] = ()
        selector = None
        unknown = []
        for kind, start, end in walk(data, _FIXED.size, len(data)):
            content = data[start:end]
            if kind == BID_REFERENCE:
                if bids or not content:
                    raise DecodeError("malformed", "more than one BID reference, or an empty one")
                bids = _unpack_u16s(content)
            elif kind == TRAFFIC_SELECTOR:
                if selector is not None:
                    raise DecodeError("malformed", "more than one traffic selector")
                selector = decode_traffic_selector(content)
            else:
                unknown.append((kind, content))
        return cls(fid, priority, status, bids, selector, tuple(unknown))


def _append(data: bytearray, kind: int, content: bytes, alignment: int) -> None:
    data += PADDING[-(len(data) + _TLV) % alignment]
    data.append(kind)
    data.append(len(content))
    data += content


def _pack_u16s(values: tuple[int, ...]) -> bytes:
    return Struct(f">{len(values)}H").pack(*values)


def _unpack_u16s(data: bytes) -> tuple[int, ...]:
    if len(data) % 2:
        raise DecodeError("option-length", f"16-bit numbers in {len(data)} octets")
    return Struct(f">{len(data) // 2}H").unpack(data)
