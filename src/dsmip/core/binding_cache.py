"""The home agent's binding cache (RFC 6275 section 9.1): bindings by home address, and when each ends.

Most of a large fleet is idle most of the time. The bindings of the mobile nodes heard of lately are objects,
all others octets, which take a tenth of the room.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from ipaddress import IPv6Address

from dsmip.core.calendar import Calendar
from dsmip.core.frozen_bindings import formats_of, freeze, next_end, thaw
from dsmip.core.lately import Lately
from dsmip.core.types import Binding, IPAddress, MobileNodeEntry, TunnelFormat

#: Bindings that stay objects.
THAWED = 6144


class BindingCache(Mapping[IPv6Address, Binding]):
    """Read as a mapping from home address to binding. A binding's time is over when its first care-of address
    ends."""

    def __init__(self) -> None:
        # Addresses as numbers: they are found in half the time. Octets: see `frozen_bindings`.
        self._entries: dict[int, Binding | bytes] = {}
        self._lately = Lately(self._freeze)
        self._calendar = Calendar(self._deadline)

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

    def containing(self, address: IPAddress) -> Iterator[Binding]:
        """Bindings in which this address may be."""
        number, octets = int(address), address.packed
        for home_address, entry in self._entries.items():
            if not isinstance(entry, bytes):
                yield entry
            elif octets in entry or home_address == number:
                yield thaw(entry, home_address)

    def through(self, formats: Container[TunnelFormat]) -> Iterator[Binding]:
        """Bindings with such a tunnel."""
        for home_address, entry in self._entries.items():
            if not isinstance(entry, bytes):
                if any(care_of.format in formats for care_of in entry.care_ofs):
                    yield entry
            elif any(one in formats for one in formats_of(entry)):
                yield thaw(entry, home_address)

    def peek(self, number: int) -> Binding | None:
        """The binding of the home address with this number."""
        entry = self._entries.get(number)
        return thaw(entry, number) if isinstance(entry, bytes) else entry

    def find(self, number: int, configured: MobileNodeEntry) -> Binding | None:
        """The same, of a mobile node that is configured like this: see `frozen_bindings`."""
        entry = self._entries.get(number)
        return thaw(entry, number, configured) if isinstance(entry, bytes) else entry

    def store(self, binding: Binding, number: int | None = None) -> None:
        """Enter the binding, or replace the one of the same home address.

        `number` is the address as a number: the very object that others have, so that it is kept once.
        """
        if number is None:
            number = int(binding.home_address)
        entry = self._entries.get(number)
        stays = isinstance(entry, Binding) or self._lately.let_in(number, THAWED)
        self._entries[number] = binding if stays else freeze(binding)
        deadline = binding.next_end
        if entry is None or deadline < _end_of(entry):
            self._queue(deadline, number)

    def store_frozen(self, number: int, frozen: bytes) -> None:
        """Enter a binding as octets, of a home address that has none."""
        self._entries[number] = frozen
        self._queue(next_end(frozen), number)

    def remove(self, home_address: IPv6Address) -> Binding | None:
        """Take the binding out; None when there is none."""
        number = int(home_address)
        binding = self.peek(number)
        self._entries.pop(number, None)
        return binding

    def expire(self, now: float) -> Iterator[Binding]:
        """Take out every binding whose time is over at `now`, in CLOCK_MONOTONIC seconds."""
        for number in self._calendar.due(now):
            binding = self.peek(number)
            if binding is not None:
                del self._entries[number]
                yield binding

    def next_deadline(self) -> float | None:
        """When to call `expire` next. That may turn out to be too early, never too late."""
        return self._calendar.next_time()

    def _queue(self, deadline: float, number: int) -> None:
        self._calendar.enter(deadline, number)
        if self._calendar.is_untidy(len(self._entries)):
            self._calendar = Calendar(self._deadline)
            for each, entry in self._entries.items():
                self._calendar.enter(_end_of(entry), each)

    def _deadline(self, number: int) -> float | None:
        entry = self._entries.get(number)
        return None if entry is None else _end_of(entry)

    def _freeze(self, number: int) -> None:
        entry = self._entries.get(number)
        if isinstance(entry, Binding):
            self._entries[number] = freeze(entry)


def _end_of(entry: Binding | bytes) -> float:
    return next_end(entry) if isinstance(entry, bytes) else entry.next_end
