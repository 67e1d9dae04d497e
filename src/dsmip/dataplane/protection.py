"""Payload protection in the maps: which packets have to be under ESP, and which ESP is payload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dsmip.core.types import IPNetwork
from dsmip.dataplane import maps
from dsmip.dataplane.bpf_object import Map
from dsmip.dataplane.keys import Keys


class Protection:
    """The maps `protected` and `payload_spis`.

    `enable` tells the program whether to look at all: where nobody is protected nothing is spent on it.
    """

    def __init__(self, tables: Mapping[str, Map], enable: Callable[[bool], None]) -> None:
        self._protected, self._spis = tables["protected"], tables["payload_spis"]
        self._enable = enable
        self._correspondents, self._spi_keys = Keys(maps.PROTECTED.size), Keys(maps.U32.size)

    def recollect(self) -> None:
        """Learn from the maps what an earlier process put there."""
        for key, _ in self._protected.items():
            self._correspondents.add(maps.protected_index(key), key)
        for key, value in self._spis.items():
            self._spi_keys.add(maps.decode_index(value), key)

    def replace(self, index: int, correspondents: Iterable[IPNetwork], spis: Iterable[int]) -> None:
        """See `api.DataPlane.set_protection`. What stays is never missing from the maps."""
        wanted = frozenset(maps.encode_protected(index, network) for network in correspondents)
        known = frozenset(map(maps.encode_spi, spis)) if wanted else frozenset()
        _exchange(self._spis, self._spi_keys, index, known)
        if wanted:
            self._enable(True)
        _exchange(self._protected, self._correspondents, index, wanted)
        if not self.indexes():
            self._enable(False)

    def indexes(self) -> frozenset[int]:
        """Bindings with protection."""
        return frozenset(self._correspondents.indexes())


def _exchange(table: Map, keys: Keys, index: int, wanted: frozenset[bytes]) -> None:
    present = keys.of(index)
    for key in wanted - present:
        table.update(key, maps.encode_index(index))
        keys.add(index, key)
    for key in present - wanted:
        table.delete(key)
        keys.discard(index, key)
