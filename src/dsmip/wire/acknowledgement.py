"""Binding Acknowledgements by the thousand: encoded once for each set of options, then filled in.

What `encode_message` makes of a message is the pattern, and where its options are is read from it: no rule of
alignment or length is written down a second time here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import NamedTuple

from dsmip.wire.binding import BindingAcknowledgement
from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import BAFlag, NextHeader
from dsmip.wire.messages import encode_message
from dsmip.wire.option import MobilityOption
from dsmip.wire.options import (
    Authentication,
    BindingRefreshAdvice,
    IPv4AddressAcknowledgement,
    MessageIdentifier,
    NatDetection,
)
from dsmip.wire.tlv import walk

_UNSPECIFIED = IPv6Address(0)
_AUTHENTICATOR = bytes(12)
_MOBILITY = int(NextHeader.MOBILITY)

_CHECKSUM_AT = 4
_FIELDS_AT = 6
_FIELDS = Struct(">BBHH")
_U16 = Struct(">H")
_U64 = Struct(">Q")
_SUBTYPE_SPI = Struct(">BI")


class Shape(NamedTuple):
    """Which options there are: so many IPv4 address acknowledgements first, then the others in this order."""

    ipv4: int
    nat: bool
    advice: bool
    timestamp: bool
    signed: bool


class AcknowledgementPattern:
    """The mobility header of a Binding Acknowledgement from `source`, with the options of `shape`."""

    def __init__(self, source: IPv6Address, shape: Shape) -> None:
        options: list[MobilityOption] = [IPv4AddressAcknowledgement(0, IPv4Address(0), 0)] * shape.ipv4
        if shape.nat:
            options.append(NatDetection(False, 0))
        if shape.advice:
            options.append(BindingRefreshAdvice(0))
        if shape.timestamp:
            options.append(MessageIdentifier(0))
        if shape.signed:
            options.append(Authentication(0, _AUTHENTICATOR))
        message = BindingAcknowledgement(0, BAFlag(0), 0, 0, tuple(options))
        header = bytearray(encode_message(message, _UNSPECIFIED, _UNSPECIFIED))
        _U16.pack_into(header, _CHECKSUM_AT, 0)
        places = [place for _, *place in walk(bytes(header), BindingAcknowledgement.OPTIONS_AT, len(header))]
        self._shape = shape
        self._source = source
        self._header = header
        self._ipv4 = places[: shape.ipv4]
        rest = iter(places[shape.ipv4 :])
        self._nat, self._advice, self._timestamp, self._signed = (
            next(rest)[0] if present else 0 for present in shape[1:]
        )

    def fill(
        self,
        home_address: IPv6Address,
        fields: tuple[int, int, int, int],
        *,
        ipv4: Sequence[IPv4AddressAcknowledgement] = (),
        nat: bytes = b"",
        advice: int = 0,
        timestamp: int = 0,
        spi: int = 0,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> bytes:
        """The header with its checksum. `fields` are status, flags, sequence number and lifetime; `nat` is
        the data of the NAT Detection option; `sign` as for `encode_message`, 12 octets.

        What the shape does not have is ignored.
        """
        header = self._header[:]
        _FIELDS.pack_into(header, _FIELDS_AT, *fields)
        for option, (start, stop) in zip(ipv4, self._ipv4, strict=True):
            header[start:stop] = option.encode_data()
        if self._nat:
            header[self._nat : self._nat + len(nat)] = nat
        if self._advice:
            _U16.pack_into(header, self._advice, advice)
        if self._timestamp:
            _U64.pack_into(header, self._timestamp, timestamp)
        if self._signed and sign is not None:
            _SUBTYPE_SPI.pack_into(header, self._signed, 1, spi)
            start = self._signed + _SUBTYPE_SPI.size
            header[start : start + len(_AUTHENTICATOR)] = sign(bytes(header[:start]))
        checksum = pseudo_checksum_v6(self._source, home_address, _MOBILITY, header)
        _U16.pack_into(header, _CHECKSUM_AT, checksum)
        return bytes(header)
