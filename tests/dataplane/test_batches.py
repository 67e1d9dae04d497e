"""Changes of a map that are held back, against a kernel that is a dictionary."""

from __future__ import annotations

import ctypes
import errno
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsmip.dataplane.api import NoRoom
from dsmip.dataplane.bpf_object import Map


class Kernel:
    """A hash map of one-octet keys and values with room for so many entries; batches stop at an error."""

    def __init__(self, room: int) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.room = room
        self.calls = 0
        #: Where in memory the keys of each batch of removals stood.
        self.places: list[int] = []

    def bpf_map_lookup_elem(self, _descriptor: int, key: bytes, value: Any) -> int:
        if key not in self.entries:
            return -errno.ENOENT
        value.raw = self.entries[key]
        return 0

    def bpf_map_update_elem(self, _descriptor: int, key: bytes, value: bytes, _flags: int) -> int:
        if key not in self.entries and len(self.entries) == self.room:
            return -errno.E2BIG
        self.entries[key] = value
        return 0

    def bpf_map_delete_elem(self, _descriptor: int, key: bytes) -> int:
        return 0 if self.entries.pop(key, None) is not None else -errno.ENOENT

    def bpf_map_update_batch(self, _descriptor: int, keys: Any, values: Any, count: Any, _: None) -> int:
        self.calls += 1
        entries = zip(_octets(keys, count), _octets(values, count), strict=True)
        for number, (key, value) in enumerate(entries):
            if result := self.bpf_map_update_elem(0, octet(key), octet(value), 0):
                count._obj.value = number
                return result
        return 0

    def bpf_map_delete_batch(self, _descriptor: int, keys: Any, count: Any, _: None) -> int:
        self.calls += 1
        self.places.append(_address(keys))
        for number, key in enumerate(_octets(keys, count)):
            if result := self.bpf_map_delete_elem(0, octet(key)):
                count._obj.value = number
                return result
        return 0

    def bpf_obj_get_info_by_fd(self, _descriptor: int, info: Any, _size: Any) -> int:
        info._obj.key_size = info._obj.value_size = 1
        info._obj.max_entries = self.room
        return 0


def _address(octets: Any) -> int:
    return ctypes.cast(octets, ctypes.c_void_p).value or 0


def _octets(octets: Any, count: Any) -> bytes:
    return ctypes.string_at(_address(octets), count._obj.value)


def table(monkeypatch: pytest.MonkeyPatch, room: int) -> tuple[Map, Kernel]:
    kernel = Kernel(room)
    monkeypatch.setattr("dsmip.dataplane.bpf_object.library", lambda: kernel)
    return Map("fleet", 3), kernel


def octet(number: int) -> bytes:
    return bytes((number,))


steps = st.lists(
    st.tuples(st.sampled_from(["update", "delete", "lookup"]), st.integers(0, 7), st.integers(0, 9))
)


@given(steps, steps)
def test_the_outcome_is_that_of_one_by_one(
    before: list[tuple[str, int, int]], held: list[tuple[str, int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        slow, one_by_one = table(monkeypatch, 8)
        quick, batched = table(monkeypatch, 8)
    for number, step in enumerate((*before, *held)):
        if number == len(before):
            quick.hold()
        _do(slow, *step)
        assert _do(quick, *step) == (slow.lookup(octet(step[1])) if step[0] == "lookup" else None)
    if held:
        assert quick.release_updates() == []
        quick.release_deletions()
    assert batched.entries == one_by_one.entries


def _do(target: Map, what: str, key: int, value: int) -> bytes | None:
    match what:
        case "update":
            target.update(octet(key), octet(value))
        case "delete":
            target.delete(octet(key))
        case _:
            return target.lookup(octet(key))
    return None


def test_a_full_map_takes_what_fits_and_says_so_for_each_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet, kernel = table(monkeypatch, 3)
    fleet.update(octet(7), octet(7))
    fleet.hold()
    for key in (0, 1, 2, 7, 3):
        fleet.update(octet(key), octet(9))
    refused = fleet.release_updates()
    assert [(key, value) for key, value, _ in refused] == [(octet(2), octet(9)), (octet(3), octet(9))]
    for _, _, why in refused:
        assert isinstance(why, NoRoom)
        assert (why.table, why.full) == ("fleet", True)
        assert "full with 3 entries" in str(why)
    assert kernel.entries == dict.fromkeys(map(octet, (7, 0, 1)), octet(9))


def test_what_is_spared_is_not_set_and_goes_the_next_time_unless_it_is_set_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet, kernel = table(monkeypatch, 8)
    for key in (0, 1, 2):
        fleet.update(octet(key), octet(5))

    def spared(key: bytes, _: bytes | None) -> bool:
        return key != octet(2)

    fleet.hold()
    for key in (0, 1, 2):
        fleet.delete(octet(key))
    fleet.update(octet(3), octet(5))
    assert fleet.release_updates(spared) == []
    fleet.release_deletions(spared)
    assert kernel.entries == dict.fromkeys(map(octet, (0, 1)), octet(5))
    fleet.hold()
    assert fleet.lookup(octet(0)) is None
    fleet.update(octet(1), octet(6))
    assert fleet.release_updates() == []
    fleet.release_deletions()
    assert kernel.entries == {octet(1): octet(6)}
    fleet.hold()
    assert fleet.lookup(octet(1)) == octet(6)


def test_a_kernel_without_memory_is_told_from_a_full_map(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, kernel = table(monkeypatch, 3)
    monkeypatch.setattr(kernel, "bpf_map_update_elem", lambda *_: -errno.ENOMEM)
    with pytest.raises(NoRoom, match="no memory for another entry of map fleet") as caught:
        fleet.update(octet(0), octet(0))
    assert not caught.value.full


def test_a_thousand_changes_are_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, kernel = table(monkeypatch, 256)
    fleet.hold()
    for number in range(1000):
        fleet.update(octet(number % 256), octet(number % 7))
    assert kernel.entries == {}
    assert fleet.release_updates() == []
    assert (kernel.calls, len(kernel.entries)) == (1, 256)


def test_removals_of_what_is_not_there_go_on_where_they_are_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Copying what is left each time would be quadratic in a batch of a hundred thousand."""
    fleet, kernel = table(monkeypatch, 8)
    fleet.update(octet(4), octet(0))
    fleet.hold()
    for key in range(8):
        fleet.delete(octet(key))
    fleet.release_deletions()
    assert kernel.entries == {}
    assert [place - kernel.places[0] for place in kernel.places] == [0, 1, 2, 3, 4, 6, 7]
