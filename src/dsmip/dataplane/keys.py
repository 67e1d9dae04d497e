"""Which keys of a map belong to which binding, for a hundred thousand of them.

A binding's keys are one string of octets: a set of strings takes three times as much.
"""

from __future__ import annotations

from collections.abc import Iterable, KeysView


class Keys:
    """Sets of keys of `size` octets each, by binding index."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._octets: dict[int, bytes] = {}

    def of(self, index: int) -> frozenset[bytes]:
        """The keys of a binding."""
        octets, size = self._octets.get(index, b""), self._size
        return frozenset(octets[start : start + size] for start in range(0, len(octets), size))

    def add(self, index: int, key: bytes) -> None:
        """One more, unless it is there."""
        octets = self._octets.get(index, b"")
        if not self._has(octets, key):
            self._octets[index] = octets + key

    def _has(self, octets: bytes, key: bytes) -> bool:
        place = octets.find(key)
        while place % self._size and place > 0:
            place = octets.find(key, place + 1)
        return place >= 0

    def put(self, index: int, keys: Iterable[bytes]) -> None:
        """Exactly these, which are all different."""
        octets = b"".join(keys)
        if octets:
            self._octets[index] = octets
        else:
            self._octets.pop(index, None)

    def discard(self, index: int, key: bytes) -> None:
        """One less, if it is there."""
        octets, size = self._octets.get(index, b""), self._size
        left = [octets[start : start + size] for start in range(0, len(octets), size)]
        if key in left:
            left.remove(key)
            self.put(index, left)

    def indexes(self) -> KeysView[int]:
        """Bindings that have any."""
        return self._octets.keys()
