"""All neighbour discovery options of one message, to octets and back."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from dsmip.wire import captiveportal, fastndoptions, ndoptions
from dsmip.wire.cursor import Cursor
from dsmip.wire.errors import DecodeError, EncodeError
from dsmip.wire.ndoption import KnownNDOption, NDOption, UnknownNDOption

NDOptions = tuple[NDOption, ...]

#: Every option with a class of its own.
ND_OPTION_CLASSES: tuple[type[KnownNDOption], ...] = (
    ndoptions.SourceLinkLayerAddress,
    ndoptions.TargetLinkLayerAddress,
    ndoptions.PrefixInformation,
    ndoptions.Mtu,
    ndoptions.AdvertisementInterval,
    ndoptions.HomeAgentInformation,
    captiveportal.CaptivePortal,
    fastndoptions.IPAddressPrefix,
    fastndoptions.LinkLayerAddress,
    fastndoptions.NeighborAdvertisementAcknowledgment,
)

_CLASSES: dict[int, type[KnownNDOption]] = {cls.TYPE: cls for cls in ND_OPTION_CLASSES}

_TLV = Struct(">BB")
_UNIT = 8
_MAX_UNITS = 255


def encode_nd_options(options: Iterable[NDOption]) -> bytes:
    """The options one after the other, padded to multiples of 8 octets; EncodeError if one is too long."""
    octets = bytearray()
    for option in options:
        data = option.encode_data()
        size = _TLV.size + len(data)
        units = -(-size // _UNIT)
        if units > _MAX_UNITS:
            raise EncodeError(f"{len(data)} octets do not fit into a neighbour discovery option")
        octets += _TLV.pack(option.type_code, units) + data + bytes(-size % _UNIT)
    return bytes(octets)


def decode_nd_options(cursor: Cursor) -> NDOptions:
    """All options that are left to read.

    DecodeError "option-length" for a length of zero or one that the option cannot have, "truncated" when one
    runs past the end, "malformed" when its content is impossible.
    """
    found: list[NDOption] = []
    while cursor.remaining:
        kind, units = cursor.unpack(_TLV)
        if not units:
            raise DecodeError("option-length", f"neighbour discovery option {kind} of length 0")
        data = cursor.take(units * _UNIT - _TLV.size)
        cls = _CLASSES.get(kind)
        if cls is None:
            found.append(UnknownNDOption(kind, data))
            continue
        if cls.SIZES is not None and len(data) not in cls.SIZES:
            raise DecodeError("option-length", f"neighbour discovery option {kind} of {units} units")
        found.append(cls.decode_data(data))
    return tuple(found)
