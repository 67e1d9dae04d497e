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
        self._entries: dict[IPv6Address, _Entry] = {}
        self._heap: list[tuple[float, IPv6Address]] = []

    def __getitem__(self, home_address: IPv6Address) -> Binding:
        return self._entries[home_address].binding

    def __iter__(self) -> Iterator[IPv6Address]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def store(self, binding: Binding, deadline: float) -> None:
        """Enter the binding, or replace the one of the same home address."""
        entry = self._entries.get(binding.home_address)
        if entry is None:
            self._entries[binding.home_address] = _Entry(binding, deadline)
            self._queue(deadline, binding.home_address)
            return
        entry.binding = binding
        entry.deadline = deadline
        if deadline < entry.queued:
            entry.queued = deadline
            self._queue(deadline, binding.home_address)

    def remove(self, home_address: IPv6Address) -> Binding | None:
        """Take the binding out; None when there is none."""
        entry = self._entries.pop(home_address, None)
        return None if entry is None else entry.binding

    def expire(self, now: float) -> Iterator[Binding]:
        """Take out every binding whose lifetime has ended by `now`."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            queued, home_address = heapq.heappop(heap)
            entry = self._entries.get(home_address)
            if entry is None or entry.queued != queued:
                continue
            if entry.deadline <= now:
                del self._entries[home_address]
                yield entry.binding
            else:
                entry.queued = entry.deadline
                heapq.heappush(heap, (entry.deadline, home_address))

    def next_deadline(self) -> float | None:
        """When to call `expire` next. That may turn out to be too early, never too late."""
        return self._heap[0][0] if self._heap else None

    def _queue(self, deadline: float, home_address: IPv6Address) -> None:
        if len(self._heap) > 2 * len(self._entries) + _HEAP_SLACK:
            self._heap = [(entry.queued, address) for address, entry in self._entries.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (deadline, home_address))
