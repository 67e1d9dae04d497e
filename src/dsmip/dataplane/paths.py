"""Paths, preference and flow rules in the maps, and what is counted and heard of each path."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dsmip.core.types import FlowRule, Path
from dsmip.dataplane import maps
from dsmip.dataplane.adoption import Adoption
from dsmip.dataplane.api import PathState, Traffic, checked_bids, checked_rules
from dsmip.dataplane.attachment import is_raw
from dsmip.dataplane.bpf_object import Map
from dsmip.dataplane.rules import Choice, encode_rules

#: Sequence numbers passed over when a choice is written anew, as packets may be sent with some meanwhile.
_PASSED_OVER = 1 << 16
_SEQUENCES = 1 << 32


class Paths:
    """The maps `paths`, `plain_traffic`, `traffic`, `choices`, `rules` and `windows`.

    The counters of BID 0 hold what is counted for the plain path, and for paths that have been removed.
    """

    def __init__(self, tables: Mapping[str, Map]) -> None:
        self._paths, self._traffic = tables["paths"], tables["traffic"]
        # Has an entry for every index up to its end, of bindings or not.
        self._plain_traffic = tables["plain_traffic"]
        self._choices, self._rules, self._windows = tables["choices"], tables["rules"], tables["windows"]
        # By index, 1 for those with a plain path. Most bindings have one and nothing else.
        self._plain = bytearray()
        self._bids: dict[int, tuple[int, ...]] = {}
        self._chosen: set[int] = set()
        #: Paths that are held back, and whether they lead elsewhere than those before.
        self._held: dict[bytes, tuple[bytes, bool]] | None = None

    def hold(self) -> None:
        """Keep paths back from now on."""
        self._held = {}

    def settle(self) -> None:
        """Hand the paths that were kept back to the map: with what has been heard of them up to now."""
        held, self._held = self._held or {}, None
        for key, (value, moved) in held.items():
            self._write(key, value, moved)

    def recollect(self, adoption: Adoption) -> None:
        """Learn from the maps what an earlier process put there."""
        for _, key in adoption.entries(self._paths.name):
            self._remember(*maps.decode_path_key(key))
        self._chosen = {index for index, _ in adoption.entries(self._choices.name)}

    def indexes(self) -> frozenset[int]:
        """Bindings with a path, or a choice among paths."""
        plain = (index for index, present in enumerate(self._plain) if present)
        return frozenset(plain) | self._bids.keys() | self._chosen

    def set_path(self, index: int, path: Path, bid: int, *, moved: bool = False) -> None:
        """See `api.DataPlane`."""
        raw = path.interface != 0 and is_raw(path.interface)
        key, value = maps.encode_path_key(index, bid), maps.encode_path(path, raw=raw)
        is_new = not self._has(index, bid)
        if is_new:
            self.count(index, bid)
        if self._held is not None:
            self._held[key] = value, moved
        else:
            self._write(key, value, moved)
        if is_new:
            self._remember(index, bid)

    def remove_path(self, index: int, bid: int) -> None:
        """See `api.DataPlane`."""
        key = maps.encode_path_key(index, bid)
        if self._held is not None:
            self._held.pop(key, None)
        self._paths.delete(key)
        if not bid and self._has_plain(index):
            self._plain[index] = 0
        if not bid or bid not in self._bids.get(index, ()):
            return
        remaining = tuple(other for other in self._bids.pop(index) if other != bid)
        if remaining:
            self._bids[index] = remaining
        total = self._counters(index, 0) + self._counters(index, bid)
        table, key = self._counted_in(index, 0)
        table.update(key, maps.encode_traffic(total))
        self._traffic.delete(maps.encode_path_key(index, bid))

    def set_preference(self, index: int, bids: Sequence[int]) -> None:
        """See `api.DataPlane`."""
        choice = self._choice(index)
        if choice.bids != (wanted := checked_bids(bids)):
            self._choose(index, replace(choice, bids=wanted))

    def set_flows(self, index: int, rules: Sequence[FlowRule]) -> None:
        """See `api.DataPlane`. The programs remember which rule a flow matched, under the generation: it
        changes after the rules have, so that nothing is remembered of the old ones."""
        choice = self._choice(index)
        if wanted := checked_rules(rules):
            self._rules.update(maps.encode_index(index), encode_rules(wanted))
            self._choose(index, replace(choice, generation=time.monotonic_ns()))
        elif choice.generation:
            self._choose(index, replace(choice, generation=0))
            self._rules.delete(maps.encode_index(index))

    def set_duplication(self, index: int, enabled: bool) -> None:
        """See `api.DataPlane`."""
        choice = self._choice(index)
        if choice.duplication == enabled:
            return
        self._choose(index, replace(choice, duplication=enabled))
        if not enabled:
            self._windows.delete(maps.encode_index(index))

    def states(self, index: int) -> dict[int, PathState]:
        """See `api.DataPlane.paths`."""
        now, found = time.monotonic(), {}
        for bid in self._bids_of(index):
            path = self._paths.lookup(maps.encode_path_key(index, bid))
            if path is not None:
                heard, silent_after = maps.decode_liveness(path)
                silent = silent_after is not None and now > silent_after
                mtu = maps.decode_mtu(path)
                found[bid] = PathState(self._counters(index, bid), heard, silent, mtu)
        return found

    def traffic(self, index: int) -> Traffic:
        """Counters of the binding."""
        bids = (0, *self._bids.get(index, ()))
        return sum((self._counters(index, bid) for bid in bids), Traffic())

    def count(self, index: int, bid: int = 0) -> None:
        """Give the binding counters, unless it has some; and the path."""
        for each in {0, bid}:
            table, key = self._counted_in(index, each)
            if table is self._traffic and table.lookup(key) is None:
                table.update(key, maps.NO_TRAFFIC)

    def remove(self, index: int) -> None:
        """Everything about this binding."""
        if index in self._chosen:
            self.set_duplication(index, False)
            self.set_flows(index, ())
            self.set_preference(index, ())
        for bid in self._bids_of(index):
            self.remove_path(index, bid)
        table, key = self._counted_in(index, 0)
        if table is self._traffic:
            table.delete(key)
        else:
            table.update(key, maps.NO_TRAFFIC)

    # Details -----------------------------------------------------------------------------------------------

    def _write(self, key: bytes, value: bytes, moved: bool) -> None:
        previous = None if moved else self._paths.lookup(key)
        self._paths.update(key, value if previous is None else maps.with_liveness_of(value, previous))

    def _has(self, index: int, bid: int) -> bool:
        return bid in self._bids.get(index, ()) if bid else self._has_plain(index)

    def _has_plain(self, index: int) -> bool:
        return index < len(self._plain) and bool(self._plain[index])

    def _remember(self, index: int, bid: int) -> None:
        if not bid:
            self._plain.extend(bytes(max(0, index + 1 - len(self._plain))))
            self._plain[index] = 1
        elif bid not in (bids := self._bids.get(index, ())):
            self._bids[index] = (*bids, bid)

    def _bids_of(self, index: int) -> tuple[int, ...]:
        bids = self._bids.get(index, ())
        return (0, *bids) if self._has_plain(index) else bids

    def _counted_in(self, index: int, bid: int) -> tuple[Map, bytes]:
        """Where the counters of a path are: map and key."""
        if not bid and index < self._plain_traffic.max_entries:
            return self._plain_traffic, maps.encode_index(index)
        return self._traffic, maps.encode_path_key(index, bid)

    def _counters(self, index: int, bid: int) -> Traffic:
        table, key = self._counted_in(index, bid)
        counters = table.lookup(key)
        return Traffic() if counters is None else maps.decode_traffic(counters)

    def _choice(self, index: int) -> Choice:
        found = self._choices.lookup(maps.encode_index(index)) if index in self._chosen else None
        return Choice(sequence=secrets.randbelow(_SEQUENCES)) if found is None else Choice.decode(found)

    def _choose(self, index: int, choice: Choice) -> None:
        key = maps.encode_index(index)
        if choice.is_empty:
            self._choices.delete(key)
            self._chosen.discard(index)
            return
        sequence = (choice.sequence + _PASSED_OVER) % _SEQUENCES
        self._choices.update(key, replace(choice, sequence=sequence).encode())
        self._chosen.add(index)
