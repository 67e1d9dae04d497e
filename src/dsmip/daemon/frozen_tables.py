"""The mobile nodes of a home agent's configuration as octets: see `core.frozen_entries`.

Reads like a tuple of tables. A hundred thousand of them are gone through in a second, so whoever looks for
one does so by its labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address
from typing import Any, cast, overload

from dsmip.core.frozen_entries import (
    FrozenEntries,
    authentication_number,
    fields_of,
    freeze,
    labels_of,
    thaw,
)
from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.schema import Authentication, MobileNodeTable
from dsmip.daemon.served_entry import entry_of


class FrozenTables(Sequence[MobileNodeTable]):
    """Tables by their records. `esp` has those with keys for ESP as they are, by record: they are few."""

    __slots__ = ("esp", "records")

    def __init__(self, records: Iterable[bytes], esp: Mapping[bytes, MobileNodeTable]) -> None:
        self.records = tuple(records)
        self.esp = esp

    @classmethod
    def of(cls, tables: Sequence[MobileNodeTable]) -> FrozenTables:
        """These tables, frozen already or not."""
        if isinstance(tables, FrozenTables):
            return tables
        records = [freeze(entry_of(table)) for table in tables]
        pairs = zip(records, tables, strict=True)
        return cls(records, {record: table for record, table in pairs if _has_keys(table)})

    @property
    def entries(self) -> FrozenEntries:
        """The same for the engine."""
        return FrozenEntries(self.records)

    def under_esp(self) -> dict[IPv6Address, MobileNodeTable]:
        """Those whose signalling or payload is protected by ESP, by home address."""
        return {table.home_address: table for table in self.esp.values()}

    def unauthenticated(self) -> list[str]:
        """Names of those that anybody can pretend to be."""
        none = authentication_number("none")
        found = (fields_of(record) for record in self.records)
        return [fields.name for fields in found if fields.authentication == none]

    def besides(self, others: FrozenTables) -> dict[str, MobileNodeTable]:
        """By name, the tables that are not among those others."""
        known = set(others.records)
        return {
            (table := self.table(record)).name: table
            for record in self.records
            if record not in known or self.esp.get(record) != others.esp.get(record)
        }

    def table(self, record: bytes) -> MobileNodeTable:
        """The table of one of the records."""
        if record in self.esp:
            return self.esp[record]
        entry = thaw(record)
        return MobileNodeTable(
            name=entry.name,
            home_address=entry.home_address,
            identifier="" if entry.identifier == entry.name else entry.identifier,
            ipv4_home_address=entry.ipv4_home_address,
            mobile_network_prefixes=entry.prefixes,
            ipv4_prefixes=entry.ipv4_prefixes,
            allow_dynamic_ipv4=entry.allow_dynamic_ipv4,
            authentication=cast(Authentication, entry.authentication),
            spi=entry.spi,
            key=Key(entry.key) if entry.key else None,
        )

    @overload
    def __getitem__(self, place: int) -> MobileNodeTable: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[MobileNodeTable]: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self.table(record) for record in self.records[place]]
        return self.table(self.records[place])

    def __iter__(self) -> Iterator[MobileNodeTable]:
        return map(self.table, self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrozenTables):
            return NotImplemented
        return self.records == other.records and self.esp == other.esp

    __hash__ = None  # type: ignore[assignment]


def _has_keys(table: MobileNodeTable) -> bool:
    return table.authentication == "ipsec" or any((table.ipsec, table.payload, table.ike))


class TablesByAddress(Mapping[IPv6Address, MobileNodeTable]):
    """Tables by home address. `record_of` finds the record of a configured home address."""

    def __init__(self, tables: FrozenTables, record_of: Callable[[IPv6Address], bytes | None]) -> None:
        self.tables = tables
        self._record_of = record_of

    def __getitem__(self, home_address: IPv6Address) -> MobileNodeTable:
        record = self._record_of(home_address)
        if record is None:
            raise KeyError(home_address)
        return self.tables.table(record)

    def __iter__(self) -> Iterator[IPv6Address]:
        return (IPv6Address(record[:16]) for record in self.tables.records)

    def __len__(self) -> int:
        return len(self.tables)

    def labels(self) -> Iterator[tuple[bytes, str, str]]:
        """Record, name and identifier of each."""
        for record in self.tables.records:
            labels = labels_of(record)
            yield record, labels.name, labels.name if labels.identifier is None else labels.identifier
