"""Payload protection in the maps: which packets have to be under ESP, and which ESP is payload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dsmip.core.types import IPNetwork
from dsmip.dataplane import maps
from dsmip.dataplane.adoption import Adoption
from dsmip.dataplane.bpf_object import Map
from dsmip.dataplane.keys import PROTECTED, SPIS, Keys


class Protection:
    """The maps `protected` and `payload_spis`.

    `enable` tells the program whether to look at all: where nobody is protected nothing is spent on it.
    """

    def __init__(self, tables: Mapping[str, Map], enable: Callable[[bool], None]) -> None:
        self._protected, self._spis = tables["protected"], tables["payload_spis"]
        self._enable = enable
        self._keys = Keys()

    def recollect(self, adoption: Adoption) -> None:
        """Learn from the maps what an earlier process put there."""
        for table, kind in ((self._protected, PROTECTED), (self._spis, SPIS)):
            for index, key in adoption.entries(table.name):
                self._keys.add(index, kind, key)

    def replace(self, index: int, correspondents: Iterable[IPNetwork], spis: Iterable[int]) -> None:
        """See `api.DataPlane.set_protection`. What stays is never missing from the maps."""
        wanted = frozenset(maps.encode_protected(index, network) for network in correspondents)
        known = frozenset(map(maps.encode_spi, spis)) if wanted else frozenset()
        self._exchange(self._spis, SPIS, index, known)
        if wanted:
            self._enable(True)
        self._exchange(self._protected, PROTECTED, index, wanted)
        if not self.indexes():
            self._enable(False)

    def indexes(self) -> frozenset[int]:
        """Bindings with protection."""
        return frozenset(self._keys.indexes(PROTECTED))

    def _exchange(self, table: Map, kind: int, index: int, wanted: frozenset[bytes]) -> None:
        present = self._keys.of(index, kind)
        for key in wanted - present:
            table.update(key, maps.encode_index(index))
            self._keys.add(index, kind, key)
        for key in present - wanted:
            table.delete(key)
            self._keys.discard(index, kind, key)
