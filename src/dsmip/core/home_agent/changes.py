"""Another configuration for a home agent that is running: which mobile nodes differ, and what that means.

Nothing that is the same in both is touched: not its binding, not its replay state, not its binding index.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dsmip.core.frozen_entries import number_of, records_of, thaw
from dsmip.core.types import MobileNodeEntry


@dataclass(frozen=True, slots=True)
class NodeChanges:
    """Entries of one configuration against another, told apart by home address.

    `replaced` has the old and the new entry of mobile nodes that are in both and differ.
    """

    added: tuple[MobileNodeEntry, ...] = ()
    removed: tuple[MobileNodeEntry, ...] = ()
    replaced: tuple[tuple[MobileNodeEntry, MobileNodeEntry], ...] = ()

    @property
    def gone(self) -> tuple[MobileNodeEntry, ...]:
        """Entries that hold no longer."""
        return (*self.removed, *(old for old, _ in self.replaced))

    @property
    def new(self) -> tuple[MobileNodeEntry, ...]:
        """Entries that hold from now on."""
        return (*self.added, *(new for _, new in self.replaced))


def compare(before: Iterable[MobileNodeEntry], after: Iterable[MobileNodeEntry]) -> NodeChanges:
    """What has to be done to get from one set of mobile nodes to another."""
    old = {number_of(record): record for record in records_of(before)}
    new = {number_of(record): record for record in records_of(after)}
    return NodeChanges(
        added=tuple(thaw(record) for number, record in new.items() if number not in old),
        removed=tuple(thaw(record) for number, record in old.items() if number not in new),
        replaced=tuple(
            (thaw(old[number]), thaw(record))
            for number, record in new.items()
            if number in old and old[number] != record
        ),
    )
