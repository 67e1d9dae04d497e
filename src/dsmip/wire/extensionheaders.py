"""IPv6 extension headers: those that carry home addresses are built and understood, others passed over."""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import Struct

import msgspec

from dsmip.wire.constants import HOME_ADDRESS_OPTION, ROUTING_TYPE_2, NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.ip import is_unicast_routable
from dsmip.wire.tlv import PADDING, walk

_ADDRESS_SIZE = 16

#: Next header, and 2 = 24 octets in all.
_FIXED = Struct(">BB")
_HOME_ADDRESS_OPTION = Struct(">BB16s")
_ROUTING_TYPE_2 = Struct(">BBBB4x16s")
_FRAGMENT = Struct(">BxHI")

_FRAGMENT_OFFSET_OR_MORE = 0xFFF9

#: The bits of an option type that say what to do with an option that is not understood: zero is to skip it.
_UNRECOGNIZED_ACTION = 0xC0

# As plain numbers: looking a member up in an enumeration takes as long as a whole comparison.
_HOP_BY_HOP = int(NextHeader.HOP_BY_HOP)
_ROUTING = int(NextHeader.ROUTING)
_FRAGMENT_HEADER = int(NextHeader.FRAGMENT)
_DESTINATION = int(NextHeader.DESTINATION)
#: Those that are understood, or passed over.
EXTENSION_HEADERS = frozenset((_HOP_BY_HOP, _ROUTING, _FRAGMENT_HEADER, _DESTINATION))

#: What a destination options header begins with, behind its next header, when a home address option on its
#: alignment is all there is in it.
_HOME_ADDRESS_ONLY = b"\x02" + PADDING[4] + bytes((HOME_ADDRESS_OPTION, _ADDRESS_SIZE))


class ExtensionHeaders(msgspec.Struct, frozen=True, gc=False):
    """What the extension headers of a packet said, and where the upper-layer header starts."""

    next_header: int
    offset: int
    home_address: IPv6Address | None
    routing_home_address: IPv6Address | None


def encode_home_address_option(home_address: IPv6Address, next_header: int) -> bytes:
    """A Destination Options header with a Home Address option at 8n+6, 24 octets (RFC 6275 section 6.3)."""
    option = _HOME_ADDRESS_OPTION.pack(HOME_ADDRESS_OPTION, _ADDRESS_SIZE, home_address.packed)
    return _FIXED.pack(next_header, 2) + PADDING[4] + option


def encode_type_2_routing_header(home_address: IPv6Address, next_header: int) -> bytes:
    """A type 2 routing header with one segment left, 24 octets (RFC 6275 section 6.4.1)."""
    return _ROUTING_TYPE_2.pack(next_header, 2, ROUTING_TYPE_2, 1, home_address.packed)


def walk_extension_headers(data: bytes, next_header: int, offset: int) -> ExtensionHeaders:
    """Go through the extension headers from `offset`, the first of type `next_header`, to the end of `data`.

    Ends at the first header that is not hop-by-hop options, routing, destination options, or the fragment
    header of an unfragmented packet. Every one of these takes at least 8 octets, so this ends. DecodeError:

    - "truncated" when a header or an option runs past the end;
    - "home-address" for a home address that is not unicast routable (RFC 6275 section 6.3), or two of them;
    - "routing-header" for a type 2 routing header with other than one segment (6.4.1), a second one, or one
      of another type that is to go on to somewhere else (RFC 8200 section 4.4);
    - "fragment" for a piece of a packet;
    - "unrecognized-option" for an option that must not be skipped (RFC 8200 section 4.2);
    - "malformed" for hop-by-hop options after another header (RFC 8200 section 4.1).
    """
    home_address: IPv6Address | None = None
    routing_home_address: IPv6Address | None = None
    first = offset
    while next_header in EXTENSION_HEADERS:
        kind = next_header
        end = _end(data, kind, offset)
        next_header = data[offset]
        if kind == _ROUTING:
            address = _type_2_home_address(data, offset)
            if address is not None:
                if routing_home_address is not None:
                    raise DecodeError("routing-header", "two type 2 routing headers")
                routing_home_address = address
        elif kind == _FRAGMENT_HEADER:
            _, fragment, _ = _FRAGMENT.unpack_from(data, offset)
            if fragment & _FRAGMENT_OFFSET_OR_MORE:
                raise DecodeError("fragment", "IPv6 fragment")
        else:
            if kind == _HOP_BY_HOP and offset != first:
                raise DecodeError("malformed", "hop-by-hop options are not the first header")
            address = _home_address(data, kind, offset, end)
            if address is not None:
                if home_address is not None:
                    raise DecodeError("home-address", "two home address options")
                home_address = address
        offset = end
    return ExtensionHeaders(next_header, offset, home_address, routing_home_address)


def _end(data: bytes, kind: int, offset: int) -> int:
    """Where the header at `offset` ends; the octet of the length is reserved in a fragment header."""
    if offset + 8 > len(data):
        raise DecodeError("truncated", f"extension header {kind} at offset {offset}")
    end = offset + 8
    if kind != _FRAGMENT_HEADER:
        end += 8 * data[offset + 1]
    if end > len(data):
        raise DecodeError(
            "truncated", f"extension header {kind} ends {end - len(data)} octets past the packet"
        )
    return end


def _home_address(data: bytes, kind: int, start: int, end: int) -> IPv6Address | None:
    """The home address among the options of a destination or hop-by-hop options header."""
    if kind == _DESTINATION and data[start + 1 : start + 8] == _HOME_ADDRESS_ONLY:
        return _routable(data[start + 8 : end])  # what nearly everybody sends
    found: IPv6Address | None = None
    for option, first, last in walk(data, start + _FIXED.size, end):
        if option == HOME_ADDRESS_OPTION and kind == _DESTINATION:
            if found is not None:
                raise DecodeError("home-address", "two home address options")
            if last - first != _ADDRESS_SIZE:
                raise DecodeError("option-length", f"home address option of length {last - first}")
            found = _routable(data[first:last])
        elif option & _UNRECOGNIZED_ACTION:
            raise DecodeError("unrecognized-option", f"option {option} in header {kind}")
    return found


def _routable(octets: bytes) -> IPv6Address:
    address = IPv6Address(octets)
    if not is_unicast_routable(address):
        raise DecodeError("home-address", f"{address} is not unicast routable")
    return address


def _type_2_home_address(data: bytes, offset: int) -> IPv6Address | None:
    """The home address of a type 2 routing header, None for another type that has been fully used up."""
    routing_type, segments_left = data[offset + 2], data[offset + 3]
    if routing_type != ROUTING_TYPE_2:
        if segments_left:
            raise DecodeError("routing-header", f"type {routing_type} with {segments_left} segments left")
        return None
    if data[offset + 1] != 2 or segments_left != 1:
        raise DecodeError(
            "routing-header", f"type 2 of length {data[offset + 1]}, {segments_left} segments left"
        )
    address = IPv6Address(data[offset + 8 : offset + 24])
    if not is_unicast_routable(address):
        raise DecodeError("routing-header", f"{address} is not unicast routable")
    return address
