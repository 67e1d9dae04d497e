"""The home agent's binding cache (RFC 6275 section 9.1): bindings by home address, and when each ends.

Most of a large fleet is idle most of the time. The bindings of the mobile nodes heard of lately are objects,
all others octets, which take a quarter of the room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address

import msgspec

from dsmip.core.binding_record import freeze, thaw
from dsmip.core.calendar import Calendar
from dsmip.core.types import Binding

#: Bindings that stay objects.
THAWED = 6144


class _Entry(msgspec.Struct, gc=False, eq=False):
    """A binding as an object or as octets. `deadline` is when it ends, `queued` the earliest time that the
    calendar has for it."""

    deadline: float
    queued: float
    binding: Binding | None = None
    record: bytes = b""


class BindingCache(Mapping[IPv6Address, Binding]):
    """Read as a mapping from home address to binding. Deadlines are CLOCK_MONOTONIC seconds."""

    def __init__(self) -> None:
        # Addresses as numbers: they are found in half the time.
        self._entries: dict[int, _Entry] = {}
        self._thawed: deque[_Entry] = deque()
        self._calendar = Calendar(self._queued)

    def __getitem__(self, home_address: IPv6Address) -> Binding:
        binding = self.peek(int(home_address))
        if binding is None:
            raise KeyError(home_address)
        return binding

    def __iter__(self) -> Iterator[IPv6Address]:
        return map(IPv6Address, self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, home_address: object) -> bool:
        return isinstance(home_address, IPv6Address) and int(home_address) in self._entries

    def has(self, number: int) -> bool:
        """Whether there is a binding of the home address with this number."""
        return number in self._entries

    def containing(self, octets: bytes) -> Iterator[Binding]:
        """Bindings in whose records these octets may be: an address, or the name of a tunnel format."""
        for entry in self._entries.values():
            if entry.binding is not None:
                yield entry.binding
            elif octets in entry.record:
                yield thaw(entry.record)

    def peek(self, number: int) -> Binding | None:
        """The binding of the home address with this number, of which perhaps nothing more will be heard."""
        entry = self._entries.get(number)
        return None if entry is None else entry.binding or thaw(entry.record)

    def find(self, number: int) -> Binding | None:
        """The binding of the home address with this number, of which more will be heard soon."""
        entry = self._entries.get(number)
        if entry is None:
            return None
        if entry.binding is None:
            self._keep_thawed(entry, thaw(entry.record))
        return entry.binding

    def store(self, binding: Binding, deadline: float, number: int | None = None) -> None:
        """Enter the binding, or replace the one of the same home address.

        `number` is the address as a number: the very object that others have, so that it is kept once.
        """
        if number is None:
            number = int(binding.home_address)
        entry = self._entries.get(number)
        if entry is None:
            entry = self._entries[number] = _Entry(deadline, deadline)
            self._queue(entry, number)
        entry.deadline = deadline
        if deadline < entry.queued:
            entry.queued = deadline
            self._queue(entry, number)
        if entry.binding is None:
            self._keep_thawed(entry, binding)
        else:
            entry.binding = binding

    def store_frozen(self, number: int, record: bytes, deadline: float) -> None:
        """Enter a binding as octets (`binding_record.freeze`), of a home address that has none."""
        entry = self._entries[number] = _Entry(deadline, deadline, None, record)
        self._queue(entry, number)

    def remove(self, home_address: IPv6Address) -> Binding | None:
        """Take the binding out; None when there is none."""
        entry = self._entries.pop(int(home_address), None)
        return None if entry is None else self._taken(entry)

    def expire(self, now: float) -> Iterator[Binding]:
        """Take out every binding whose lifetime has ended by `now`."""
        for queued, number in self._calendar.due(now):
            entry = self._entries.get(number)
            if entry is None or entry.queued != queued:
                continue
            if entry.deadline <= now:
                del self._entries[number]
                yield self._taken(entry)
            else:
                # A refresh has left the calendar alone.
                entry.queued = entry.deadline
                self._queue(entry, number)

    def next_deadline(self) -> float | None:
        """When to call `expire` next. That may turn out to be too early, never too late."""
        return self._calendar.next_time()

    def _queue(self, entry: _Entry, number: int) -> None:
        self._calendar.enter(entry.queued, number)
        if self._calendar.is_untidy(len(self._entries)):
            self._calendar = Calendar(self._queued)
            for each, other in self._entries.items():
                self._calendar.enter(other.queued, each)

    def _queued(self, number: int) -> float | None:
        entry = self._entries.get(number)
        return None if entry is None else entry.queued

    def _keep_thawed(self, entry: _Entry, binding: Binding) -> None:
        entry.binding, entry.record = binding, b""
        self._thawed.append(entry)
        if len(self._thawed) > THAWED:
            oldest = self._thawed.popleft()
            if oldest.binding is not None:
                oldest.record, oldest.binding = freeze(oldest.binding), None

    def _taken(self, entry: _Entry) -> Binding:
        binding = entry.binding or thaw(entry.record)
        entry.binding = None
        return binding
