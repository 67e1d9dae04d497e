"""Which keys of the maps belong to which binding, for a hundred thousand of them.

A binding's keys of all maps are one string of octets, without what is the same in all of them or follows from
the index: sets of strings take eight times as much. Each key stands behind an octet that says what it is, and
of a network also how long its prefix is. Indices are handed out from 1 on, so the strings stand in a list.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Iterator
from typing import Final

from dsmip.dataplane import maps

NETWORKS6, NETWORKS4, SOURCES, PROTECTED, SPIS = range(5)

# First octets. Those below are prefix lengths of IPv6 networks, then come those of IPv4 networks.
_FIRST4: Final = 129
_SOURCE6, _SOURCE4, _PROTECTED, _SPI = range(_FIRST4 + 33, _FIRST4 + 37)
_KINDS: Final = (*(NETWORKS6,) * _FIRST4, *(NETWORKS4,) * 33, SOURCES, SOURCES, PROTECTED, SPIS)
#: How long a key is, its first octet included.
_SIZES: Final = (*(17,) * _FIRST4, *(5,) * 33, 19, 7, 18, 5)
_FIRST: Final = tuple(bytes((number,)) for number in range(len(_KINDS)))

_IPV6_FAMILY: Final = int(socket.AF_INET6)
_IPV4_FAMILY: Final = int(socket.AF_INET)
_IPV6_OCTETS: Final = _IPV6_FAMILY.to_bytes(2, sys.byteorder)


class Keys:
    """Sets of keys by binding index and kind."""

    def __init__(self) -> None:
        self._octets: list[bytes] = []

    def of(self, index: int, kind: int) -> frozenset[bytes]:
        """The keys of a binding."""
        return frozenset(_whole(index, one) for one in self._walk(index) if _KINDS[one[0]] == kind)

    def add(self, index: int, kind: int, key: bytes) -> None:
        """One more, unless it is there."""
        short = _short(kind, key)
        octets = self._of(index)
        if _place(octets, short) < 0:
            self._put(index, octets + short)

    def append(self, index: int, kind: int, key: bytes) -> None:
        """One more that is known not to be there."""
        self._put(index, self._of(index) + _short(kind, key))

    def put(self, index: int, kind: int, keys: Iterable[bytes]) -> None:
        """Exactly these of the kind, which are all different."""
        others = [one for one in self._walk(index) if _KINDS[one[0]] != kind]
        self._put(index, b"".join((*others, *(_short(kind, key) for key in keys))))

    def discard(self, index: int, kind: int, key: bytes) -> None:
        """One less, if it is there."""
        gone = _short(kind, key)
        octets = self._of(index)
        if (place := _place(octets, gone)) >= 0:
            self._put(index, octets[:place] + octets[place + len(gone) :])

    def indexes(self, *kinds: int) -> Iterator[int]:
        """Bindings that have any of these kinds."""
        return (
            index
            for index, octets in enumerate(self._octets)
            if octets and any(_KINDS[one[0]] in kinds for one in self._walk(index))
        )

    def _walk(self, index: int) -> Iterator[bytes]:
        octets = self._of(index)
        start = 0
        while start < len(octets):
            end = start + _SIZES[octets[start]]
            yield octets[start:end]
            start = end

    def _of(self, index: int) -> bytes:
        return self._octets[index] if index < len(self._octets) else b""

    def _put(self, index: int, octets: bytes) -> None:
        missing = index + 1 - len(self._octets)
        if missing > 0:
            self._octets.extend([b""] * missing)
        self._octets[index] = octets


def _place(octets: bytes, short: bytes) -> int:
    """Where this key stands among the keys of a binding, -1 = nowhere."""
    if short not in octets:
        return -1  # most often
    place = 0
    while not octets.startswith(short, place):
        place += _SIZES[octets[place]]
        if place == len(octets):
            return -1
    return place


def _short(kind: int, key: bytes) -> bytes:
    """A key without what follows from kind and index."""
    if kind == NETWORKS6:
        return _FIRST[maps.version_and_length(key)[1]] + key[:16]
    if kind == NETWORKS4:
        return _FIRST[_FIRST4 + maps.version_and_length(key)[1]] + key[:4]
    if kind == SOURCES:
        if key[6:8] == _IPV6_OCTETS:
            return _FIRST[_SOURCE6] + key[4:6] + key[8:]
        return _FIRST[_SOURCE4] + key[4:6] + key[8:12]
    if kind == PROTECTED:
        return _FIRST[_PROTECTED] + maps.protected_short(key)
    return _FIRST[_SPI] + key


def _whole(index: int, short: bytes) -> bytes:
    """Inverse of `_short`."""
    first, rest = short[0], short[1:]
    kind = _KINDS[first]
    if kind == NETWORKS6:
        return maps.NETWORK6.pack(rest, first, 0)
    if kind == NETWORKS4:
        return maps.NETWORK4.pack(rest, first - _FIRST4)
    if kind == SOURCES:
        family = _IPV6_FAMILY if first == _SOURCE6 else _IPV4_FAMILY
        return maps.SOURCE_KEY.pack(index, rest[:2], family, rest[2:])
    if kind == PROTECTED:
        return maps.protected_whole(index, rest)
    return rest
