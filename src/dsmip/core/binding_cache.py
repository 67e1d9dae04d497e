"""The home agent's binding cache (RFC 6275 section 9.1): bindings by home address, and when each ends.

There is no timer per binding but one heap of deadlines. A refresh leaves the heap alone: the entry that comes
up at the old deadline is put back under the new one. So a refresh costs nothing here and the heap stays as
small as the cache.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address

from dsmip.core.types import Binding

#: Outdated deadlines that are tolerated, beyond one per binding, before the heap is built anew.
_HEAP_SLACK = 64


class _Entry:
    """`deadline` is when the binding ends, `queued` the earliest time the heap has for it."""

    __slots__ = ("binding", "deadline", "queued")

    def __init__(self, binding: Binding, deadline: float) -> None:
        self.binding = binding
        self.deadline = deadline
        self.queued = deadline


class BindingCache(Mapping[IPv6Address, Binding]):
    """Read as a mapping from home address to binding. Deadlines are CLOCK_MONOTONIC seconds."""

    def __init__(self) -> None:
        # Addresses as numbers: they are found in half the time.
        self._entries: dict[int, _Entry] = {}
        self._heap: list[tuple[float, int]] = []

    def __getitem__(self, home_address: IPv6Address) -> Binding:
        return self._entries[int(home_address)].binding

    def __iter__(self) -> Iterator[IPv6Address]:
        return (entry.binding.home_address for entry in self._entries.values())

    def __contains__(self, home_address: object) -> bool:
        return isinstance(home_address, IPv6Address) and int(home_address) in self._entries

    def find(self, home_address: IPv6Address) -> Binding | None:
        """What `get` says, without the detour of a `Mapping`."""
        entry = self._entries.get(int(home_address))
        return None if entry is None else entry.binding

    def __len__(self) -> int:
        return len(self._entries)

    def store(self, binding: Binding, deadline: float) -> None:
        """Enter the binding, or replace the one of the same home address."""
        number = int(binding.home_address)
        entry = self._entries.get(number)
        if entry is None:
            self._entries[number] = _Entry(binding, deadline)
            self._queue(deadline, number)
            return
        entry.binding = binding
        entry.deadline = deadline
        if deadline < entry.queued:
            entry.queued = deadline
            self._queue(deadline, number)

    def remove(self, home_address: IPv6Address) -> Binding | None:
        """Take the binding out; None when there is none."""
        entry = self._entries.pop(int(home_address), None)
        return None if entry is None else entry.binding

    def expire(self, now: float) -> Iterator[Binding]:
        """Take out every binding whose lifetime has ended by `now`."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            queued, number = heapq.heappop(heap)
            entry = self._entries.get(number)
            if entry is None or entry.queued != queued:
                continue
            if entry.deadline <= now:
                del self._entries[number]
                yield entry.binding
            else:
                entry.queued = entry.deadline
                heapq.heappush(heap, (entry.deadline, number))

    def next_deadline(self) -> float | None:
        """When to call `expire` next. That may turn out to be too early, never too late."""
        return self._heap[0][0] if self._heap else None

    def _queue(self, deadline: float, number: int) -> None:
        if len(self._heap) > 2 * len(self._entries) + _HEAP_SLACK:
            self._heap = [(entry.queued, each) for each, entry in self._entries.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (deadline, number))
