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
        octets = self._octets.get(index)
        if octets is None:
            self._octets[index] = key
        elif octets != key and key not in self.of(index):
            self._octets[index] = octets + key

    def put(self, index: int, keys: Iterable[bytes]) -> None:
        """Exactly these, which are all different."""
        octets = b"".join(keys)
        if octets:
            self._octets[index] = octets
        else:
            self._octets.pop(index, None)

    def discard(self, index: int, key: bytes) -> None:
        """One less, if it is there."""
        self.put(index, self.of(index) - {key})

    def indexes(self) -> KeysView[int]:
        """Bindings that have any."""
        return self._octets.keys()
