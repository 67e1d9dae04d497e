"""Entries of mobile nodes as octets: a hundred thousand of them take a fifth of the room.

An entry is thawed when somebody needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, overload

import msgspec

from dsmip.core.types import MobileNodeEntry

_AUTHENTICATIONS = ("mn-ha", "ipsec", "none")
_ADDRESS_SIZE = 16


class Labels(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How a record begins: for whoever searches them. `identifier` None = the name."""

    name: str
    identifier: str | None


class Fields(Labels, array_like=True, frozen=True, gc=False):
    """A record behind its home address, in MessagePack. Networks are address and prefix length."""

    authentication: int
    spi: int
    key: bytes
    prefixes: tuple[tuple[bytes, int], ...] = ()
    ipv4_home_address: bytes | None = None
    ipv4_prefixes: tuple[tuple[bytes, int], ...] = ()
    allow_dynamic_ipv4: bool = True
    mobile_router: bool = True
    key_mobility: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Fields)
_labels = msgspec.msgpack.Decoder(Labels)


def record(home_address: bytes, fields: Fields) -> bytes:
    """The record of these fields."""
    return home_address + _encoder.encode(fields)


def authentication_number(authentication: str) -> int:
    """What stands for it in a record."""
    return _AUTHENTICATIONS.index(authentication)


def freeze(entry: MobileNodeEntry) -> bytes:
    """The record of an entry."""
    ipv4 = entry.ipv4_home_address
    fields = Fields(
        name=entry.name,
        identifier=None if entry.identifier == entry.name else entry.identifier,
        authentication=authentication_number(entry.authentication),
        spi=entry.spi,
        key=bytes(entry.key),
        prefixes=tuple((prefix.network_address.packed, prefix.prefixlen) for prefix in entry.prefixes),
        ipv4_home_address=None if ipv4 is None else ipv4.packed,
        ipv4_prefixes=tuple(
            (prefix.network_address.packed, prefix.prefixlen) for prefix in entry.ipv4_prefixes
        ),
        allow_dynamic_ipv4=entry.allow_dynamic_ipv4,
        mobile_router=entry.mobile_router,
        key_mobility=entry.key_mobility,
    )
    return record(entry.home_address.packed, fields)


def number_of(frozen: bytes) -> int:
    """The home address in a record, as a number."""
    return int.from_bytes(frozen[:_ADDRESS_SIZE])


def fields_of(frozen: bytes) -> Fields:
    """What a record says besides its home address, as it stands in it."""
    return _decoder.decode(memoryview(frozen)[_ADDRESS_SIZE:])


def labels_of(frozen: bytes) -> Labels:
    """Name and identifier in a record, in a fraction of the time of `thaw`."""
    return _labels.decode(memoryview(frozen)[_ADDRESS_SIZE:])


def thaw(frozen: bytes) -> MobileNodeEntry:
    """The entry of a record."""
    fields = fields_of(frozen)
    ipv4 = fields.ipv4_home_address
    return MobileNodeEntry(
        home_address=IPv6Address(frozen[:_ADDRESS_SIZE]),
        name=fields.name,
        identifier=fields.name if fields.identifier is None else fields.identifier,
        authentication=_AUTHENTICATIONS[fields.authentication],
        spi=fields.spi,
        key=fields.key,
        # From numbers: a network made of octets goes by way of its text.
        prefixes=tuple(IPv6Network((int.from_bytes(address), length)) for address, length in fields.prefixes),
        ipv4_home_address=None if ipv4 is None else IPv4Address(ipv4),
        ipv4_prefixes=tuple(
            IPv4Network((int.from_bytes(address), length)) for address, length in fields.ipv4_prefixes
        ),
        allow_dynamic_ipv4=fields.allow_dynamic_ipv4,
        mobile_router=fields.mobile_router,
        key_mobility=fields.key_mobility,
    )


class FrozenEntries(Sequence[MobileNodeEntry]):
    """Entries by their records; reads like a tuple of them."""

    __slots__ = ("records",)

    def __init__(self, records: Iterable[bytes]) -> None:
        self.records = tuple(records)

    @overload
    def __getitem__(self, place: int) -> MobileNodeEntry: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[MobileNodeEntry]: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return FrozenEntries(self.records[place])
        return thaw(self.records[place])

    def __iter__(self) -> Iterator[MobileNodeEntry]:
        return map(thaw, self.records)

    def __len__(self) -> int:
        return len(self.records)


def records_of(entries: Iterable[MobileNodeEntry]) -> Iterable[bytes]:
    """The records of entries, frozen or not."""
    return entries.records if isinstance(entries, FrozenEntries) else map(freeze, entries)
