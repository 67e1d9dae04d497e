"""Changes of several maps that were held back: made together, or for one binding not at all.

A map may be full, or the kernel may have no memory. Then the binding whose entry was refused gets none of
those that would still come, and loses none that it had, until the caller has said what is to become of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dsmip.dataplane import maps
from dsmip.dataplane.api import DataPlaneError, NotInstalled
from dsmip.dataplane.bpf_object import Map, Spared

#: Maps whose changes can be held back, in the order in which new entries are set: a range of addresses comes
#: after the path that its packets take. Old ones are removed the other way round.
HELD = ("traffic", "sources", "paths", "networks6", "networks4")


def release(tables: Sequence[Map]) -> NotInstalled | None:
    """Make the changes that the maps in `HELD` hold back. What the kernel refused comes back."""
    refusals: dict[int, DataPlaneError] = {}
    for table in tables:
        for key, value, refusal in table.release_updates(_of(table, refusals)):
            refusals.setdefault(_index(table, key, value), refusal)
    for table in reversed(tables):
        table.release_deletions(_of(table, refusals))
    return NotInstalled(refusals) if refusals else None


def _of(table: Map, indexes: Collection[int]) -> Spared | None:
    """Whether a change is of one of these bindings; None where there are none."""
    return (lambda key, value: _index(table, key, value) in indexes) if indexes else None


def _index(table: Map, key: bytes, value: bytes | None) -> int:
    """The binding that an entry of one of these maps is of; 0 = of none, there is no such entry."""
    match table.name:
        case "traffic" | "paths":
            return maps.decode_path_key(key)[0]
        case "sources":
            return maps.source_index(key)
        case _:
            owner = table.lookup(key) if value is None else value
            return 0 if owner is None else maps.decode_index(owner)
