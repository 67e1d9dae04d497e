"""Another configuration for a home agent that is running: which mobile nodes differ, and what that means.

Nothing that is the same in both is touched: not its binding, not its replay state, not its binding index.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
    old = {entry.home_address: entry for entry in before}
    new = {entry.home_address: entry for entry in after}
    return NodeChanges(
        added=tuple(entry for address, entry in new.items() if address not in old),
        removed=tuple(entry for address, entry in old.items() if address not in new),
        replaced=tuple(
            (old[address], entry)
            for address, entry in new.items()
            if address in old and old[address] != entry
        ),
    )
