"""What an earlier process left in the maps, without entries that it cannot have written.

Pinned maps are open to whoever is root. A binding's number is a place in lists here, so that one out of all
proportion would take all memory there is; other fields would be misread. Such entries are removed.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from dsmip.dataplane import maps
from dsmip.dataplane.bpf_object import Map

#: Bindings are numbered from 1 on, and a mobile node keeps its number: there may be so many mobile nodes for
#: each binding that there can be at once, and this many in any case.
_NODES_FOR_EACH: Final = 16
_LEAST: Final = 1 << 16
#: The binding of an entry that is none of ours: beyond all numbers.
_NOBODY: Final = 1 << 32
_INDEX_BITS: Final = 32


class Adoption:
    """Entries of the maps by binding. `foreign` counts by map those that were removed."""

    def __init__(self, tables: Mapping[str, Map], capacity: int) -> None:
        """`capacity` is how many bindings the maps are made for."""
        self._tables = tables
        self._last = max(_NODES_FOR_EACH * capacity, _LEAST)
        self.foreign: Counter[str] = Counter()

    def entries(self, name: str) -> Iterator[tuple[int, bytes]]:
        """Binding index and key of each entry of a map."""
        index_of, table, last = _INDEX_OF[name], self._tables[name], self._last
        foreign = []
        for key, value in table.items():
            index = index_of(key, value)
            if index <= last:
                yield index, key
            else:
                foreign.append(key)
        for key in foreign:
            table.delete(key)
        if foreign:
            self.foreign[name] += len(foreign)


def _of_network6(key: bytes, value: bytes) -> int:
    _, length, reserved = maps.NETWORK6.unpack(key)
    return maps.decode_index(value) if length <= 128 and not reserved else _NOBODY


def _of_network4(key: bytes, value: bytes) -> int:
    _, length = maps.NETWORK4.unpack(key)
    return maps.decode_index(value) if length <= 32 else _NOBODY


def _of_source(key: bytes, _: bytes) -> int:
    index, _, family, address = maps.SOURCE_KEY.unpack(key)
    sound = family == socket.AF_INET6 or (family == socket.AF_INET and not any(address[4:]))
    return int(index) if sound else _NOBODY


def _of_path(key: bytes, _: bytes) -> int:
    index, _, reserved = maps.PATH_KEY.unpack(key)
    return _NOBODY if reserved else int(index)


def _of_choice(key: bytes, _: bytes) -> int:
    return maps.decode_index(key)


def _of_protected(key: bytes, _: bytes) -> int:
    length, index, *_address = maps.PROTECTED.unpack(key)
    return int(index) if length >= _INDEX_BITS else _NOBODY


def _of_spi(_: bytes, value: bytes) -> int:
    return maps.decode_index(value)


_INDEX_OF: Final[Mapping[str, Callable[[bytes, bytes], int]]] = {
    "networks6": _of_network6,
    "networks4": _of_network4,
    "sources": _of_source,
    "paths": _of_path,
    "choices": _of_choice,
    "protected": _of_protected,
    "payload_spis": _of_spi,
}
