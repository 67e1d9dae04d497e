"""Which keys of the maps belong to which binding, for a hundred thousand of them.

A binding's keys of all maps are one string of octets, each behind its kind: sets of strings take five times
as much. Indices are handed out from 1 on, so the strings stand in a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsmip.dataplane import maps

#: Kinds, and how long their keys are.
NETWORKS6, NETWORKS4, SOURCES, PROTECTED, SPIS = range(5)
_SIZES = (
    maps.NETWORK6.size,
    maps.NETWORK4.size,
    maps.SOURCE_KEY.size,
    maps.PROTECTED.size,
    maps.U32.size,
)
_KINDS = tuple(bytes((kind,)) for kind in range(len(_SIZES)))


class Keys:
    """Sets of keys by binding index and kind."""

    def __init__(self) -> None:
        self._octets: list[bytes] = []

    def of(self, index: int, kind: int) -> frozenset[bytes]:
        """The keys of a binding."""
        return frozenset(key for each, key in self._walk(index) if each == kind)

    def add(self, index: int, kind: int, key: bytes) -> None:
        """One more, unless it is there."""
        if (kind, key) not in self._walk(index):
            self.append(index, kind, key)

    def append(self, index: int, kind: int, key: bytes) -> None:
        """One more that is known not to be there."""
        self._put(index, self._of(index) + _KINDS[kind] + key)

    def put(self, index: int, kind: int, keys: Iterable[bytes]) -> None:
        """Exactly these of the kind, which are all different."""
        others = [(each, key) for each, key in self._walk(index) if each != kind]
        self._write(index, [*others, *((kind, key) for key in keys)])

    def discard(self, index: int, kind: int, key: bytes) -> None:
        """One less, if it is there."""
        self._write(index, [one for one in self._walk(index) if one != (kind, key)])

    def indexes(self, *kinds: int) -> Iterator[int]:
        """Bindings that have any of these kinds."""
        return (
            index
            for index, octets in enumerate(self._octets)
            if octets and any(kind in kinds for kind, _ in self._walk(index))
        )

    def _walk(self, index: int) -> Iterator[tuple[int, bytes]]:
        octets = self._of(index)
        start = 0
        while start < len(octets):
            kind = octets[start]
            end = start + 1 + _SIZES[kind]
            yield kind, octets[start + 1 : end]
            start = end

    def _write(self, index: int, keys: list[tuple[int, bytes]]) -> None:
        self._put(index, b"".join(_KINDS[kind] + key for kind, key in keys))

    def _of(self, index: int) -> bytes:
        return self._octets[index] if index < len(self._octets) else b""

    def _put(self, index: int, octets: bytes) -> None:
        missing = index + 1 - len(self._octets)
        if missing > 0:
            self._octets.extend([b""] * missing)
        self._octets[index] = octets
