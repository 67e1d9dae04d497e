"""Inner address ranges in the maps: hash tables with the prefix lengths in use, longest first.

Memory matters here: keys are kept as octets, as they stand in the maps, because there are many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from dsmip.core.types import IPNetwork
from dsmip.dataplane import maps
from dsmip.dataplane.adoption import Adoption
from dsmip.dataplane.bpf_object import Map
from dsmip.dataplane.keys import NETWORKS4, NETWORKS6, Keys

#: (IP version, prefix length)
_Length = tuple[int, int]
_KINDS = {6: NETWORKS6, 4: NETWORKS4}


class Networks:
    """Which ranges belong to which binding. What stays is never missing from the maps, not even while the
    order of lengths changes."""

    def __init__(self, tables: Mapping[str, Map], keys: Keys) -> None:
        self._ranges = {6: tables["networks6"], 4: tables["networks4"]}
        self._listed = {6: tables["lengths6"], 4: tables["lengths4"]}
        self._keys = keys
        self._in_use: Counter[_Length] = Counter()
        self._lengths: dict[int, list[int]] = {6: [], 4: []}

    def recollect(self, adoption: Adoption) -> None:
        """Learn from the maps what an earlier process put there."""
        for version, table in self._ranges.items():
            for index, key in adoption.entries(table.name):
                self._keys.append(index, _KINDS[version], key)
                self._in_use[maps.version_and_length(key)] += 1
            self._lengths[version] = list(self._read_lengths(version))
            for length in list(self._lengths[version]):  # of a process that was killed between two steps
                if not self._in_use[version, length]:
                    self._unlist(version, length)

    def replace(self, index: int, networks: Iterable[IPNetwork]) -> bool:
        """See `api.DataPlane.set_networks`. First what is new is added, then what has gone is removed.
        Returns whether anything changed."""
        wanted = frozenset(map(maps.encode_network, networks))
        present = self._keys.of(index, NETWORKS6) | self._keys.of(index, NETWORKS4)
        for key in wanted - present:
            self._take(index, key)
            # At once: it must be found again even if the next one is refused.
            self._keys.add(index, _KINDS[maps.version_and_length(key)[0]], key)
        for key in present - wanted:
            version, length = maps.version_and_length(key)
            self._ranges[version].delete(key)
            self._in_use[version, length] -= 1
            if not self._in_use[version, length]:
                self._unlist(version, length)
            self._keys.discard(index, _KINDS[version], key)
        return wanted != present

    def indexes(self) -> frozenset[int]:
        """Bindings with at least one range."""
        return frozenset(self._keys.indexes(NETWORKS6, NETWORKS4))

    def _take(self, index: int, key: bytes) -> None:
        version, length = maps.version_and_length(key)
        table = self._ranges[version]
        found = table.lookup(key)
        if not self._in_use[version, length]:
            self._list(version, length)
        table.update(key, maps.encode_index(index))
        if found is None:
            self._in_use[version, length] += 1
        else:  # of another binding, which no longer has it
            self._keys.discard(maps.decode_index(found), _KINDS[version], key)

    # Lengths -----------------------------------------------------------------------------------------------
    # Programs read the list while it is changed: each step leaves a list in which nothing is missing.

    def _read_lengths(self, version: int) -> Iterable[int]:
        for place in range(maps.LENGTHS[version]):
            value = self._listed[version].lookup(maps.encode_index(place))
            if value is None or not maps.decode_index(value):
                return
            yield maps.decode_index(value) - 1

    def _list(self, version: int, length: int) -> None:
        lengths = sorted([*self._lengths[version], length], reverse=True)
        for place in range(len(lengths) - 1, lengths.index(length) - 1, -1):
            self._write(version, place, lengths[place] + 1)
        self._lengths[version] = lengths

    def _unlist(self, version: int, length: int) -> None:
        lengths = self._lengths[version]
        start = lengths.index(length)
        del lengths[start]
        for place in range(start, len(lengths)):
            self._write(version, place, lengths[place] + 1)
        self._write(version, len(lengths), 0)
        del self._in_use[version, length]

    def _write(self, version: int, place: int, value: int) -> None:
        self._listed[version].update(maps.encode_index(place), maps.encode_index(value))
