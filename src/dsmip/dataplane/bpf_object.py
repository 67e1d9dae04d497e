"""Loaded maps and the object file they come from."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dsmip.dataplane.api import DataPlaneError, NoRoom
from dsmip.dataplane.libbpf import LOAD_MEND, KernelRefusal, MapInfo, checked, library, pointer, possible_cpus

# linux/bpf.h
_ANY = 0
_MAP_TYPE_PERCPU_ARRAY = 6

_BATCH = 4096
_FULL = (-errno.E2BIG, -errno.ENOSPC)

#: Whether a change that is held back is to be left alone, by key and value, None = a removal.
Spared = Callable[[bytes, bytes | None], bool]


class Map:
    """A map by its descriptor. Keys and values are bytes of exactly the map's sizes."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self._library = library()
        info, size = MapInfo(), ctypes.c_uint32(ctypes.sizeof(MapInfo))
        checked(
            self._library.bpf_obj_get_info_by_fd(descriptor, ctypes.byref(info), ctypes.byref(size)),
            f"map {name}",
        )
        self.key_size = int(info.key_size)
        self.value_size = int(info.value_size)
        self.max_entries = int(info.max_entries)
        self._value_room = self.value_size
        if info.type == _MAP_TYPE_PERCPU_ARRAY:
            self._value_room = (self.value_size + 7) // 8 * 8 * possible_cpus()
        self._value = ctypes.create_string_buffer(self._value_room)
        #: Changes that are held back, None as value = deletion; None = none are.
        self._held: dict[bytes, bytes | None] | None = None
        #: Removals that were put off to the next time that changes are held back.
        self._put_off: dict[bytes, bytes | None] = {}

    def update(self, key: bytes, value: bytes) -> None:
        """Set an entry. Raises NoRoom or KernelRefusal."""
        if self._held is not None:
            self._held[key] = value
            return
        result = self._library.bpf_map_update_elem(self.descriptor, key, value, _ANY)
        if result < 0:
            raise self._refusal(result)

    def lookup(self, key: bytes) -> bytes | None:
        """The value (of a per-CPU map: of all possible CPUs, each rounded up to 8 octets), None if absent."""
        if self._held is not None and key in self._held:
            return self._held[key]
        result = self._library.bpf_map_lookup_elem(self.descriptor, key, self._value)
        if result == -errno.ENOENT:
            return None
        checked(result, f"map {self.name}")
        return self._value.raw

    def delete(self, key: bytes) -> bool:
        """Remove an entry; False when there was none, as far as that is known already."""
        if self._held is not None:
            self._held[key] = None
            return True
        result = self._library.bpf_map_delete_elem(self.descriptor, key)
        if result == -errno.ENOENT:
            return False
        checked(result, f"map {self.name}")
        return True

    def hold(self) -> None:
        """Keep changes back from now on; `lookup` sees them already."""
        self._held, self._put_off = self._put_off, {}

    def release_updates(self, spared: Spared | None = None) -> list[tuple[bytes, bytes, DataPlaneError]]:
        """Set the entries that were held back, in as few system calls as possible, but for the `spared` ones.
        Those that the kernel refused come back, and why. Deletions still wait for `release_deletions`."""
        updates = [(key, value) for key, value in (self._held or {}).items() if value is not None]
        if spared is not None:
            updates = [one for one in updates if not spared(*one)]
        keys = _buffer(key for key, _ in updates)
        values = _buffer(value for _, value in updates)
        refused = []
        done = 0
        while done < len(updates):
            count = ctypes.c_uint32(len(updates) - done)
            result = self._library.bpf_map_update_batch(
                self.descriptor,
                ctypes.byref(keys, done * self.key_size),
                ctypes.byref(values, done * self.value_size),
                ctypes.byref(count),
                None,
            )
            done += count.value
            if result < 0:
                refused.append((*updates[done], self._refusal(result)))
                done += 1
        return refused

    def release_deletions(self, spared: Spared | None = None) -> None:
        """Remove the entries whose removal was held back, and hold nothing back any more. What is `spared` is
        removed the next time, unless it is set anew by then."""
        held, self._held = self._held or {}, None
        keys = [key for key, value in held.items() if value is None]
        if spared is not None:
            self._put_off = {key: None for key in keys if spared(key, None)}
            keys = [key for key in keys if key not in self._put_off]
        octets = _buffer(keys)
        done = 0
        while done < len(keys):
            count = ctypes.c_uint32(len(keys) - done)
            result = self._library.bpf_map_delete_batch(
                self.descriptor, ctypes.byref(octets, done * self.key_size), ctypes.byref(count), None
            )
            # It stops at an entry that is not there.
            done += count.value + (result < 0)

    def _refusal(self, result: int) -> DataPlaneError:
        if result in _FULL or result == -errno.ENOMEM:
            return NoRoom(self.name, self.max_entries, full=result in _FULL)
        return KernelRefusal(-result, f"map {self.name}")

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries, in batches. Not of per-CPU maps."""
        keys = ctypes.create_string_buffer(self.key_size * _BATCH)
        values = ctypes.create_string_buffer(self.value_size * _BATCH)
        # The position is an u32 for hash maps, a key for the others.
        position = ctypes.create_string_buffer(max(self.key_size, 8))
        start: ctypes.Array[ctypes.c_char] | None = None
        while True:
            count = ctypes.c_uint32(_BATCH)
            result = self._library.bpf_map_lookup_batch(
                self.descriptor, start, position, keys, values, ctypes.byref(count), None
            )
            if result not in (0, -errno.ENOENT):
                raise KernelRefusal(-result, f"map {self.name}")
            found_keys, found_values = keys.raw, values.raw
            for number in range(count.value):
                yield (
                    found_keys[number * self.key_size : (number + 1) * self.key_size],
                    found_values[number * self.value_size : (number + 1) * self.value_size],
                )
            if result == -errno.ENOENT:
                return
            start = position

    def close(self) -> None:
        """Give the descriptor back; the map lives on while pinned or used."""
        os.close(self.descriptor)


def _buffer(parts: Iterable[bytes]) -> ctypes.Array[ctypes.c_char]:
    """For a batch that may have to go on behind an entry that was refused: from there it is not copied."""
    octets = b"".join(parts)
    return (ctypes.c_char * len(octets)).from_buffer_copy(octets)


class Object:
    """An opened object file: settle maps first, then `load`, then take descriptors."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DataPlaneError(
                f"{path} is missing: run 'make -C {path.parent}' (needs clang and libbpf-dev)"
            )
        self._library = library()
        self._object = pointer(self._library.bpf_object__open_file(bytes(path), None), str(path))

    def _map(self, name: str) -> int:
        found = self._library.bpf_object__find_map_by_name(self._object, name.encode())
        return pointer(found, f"map {name} (the compiled program is outdated: `make setup` builds it anew)")

    def set_max_entries(self, name: str, entries: int) -> None:
        """Size a map, before loading."""
        checked(self._library.bpf_map__set_max_entries(self._map(name), entries), f"map {name}")

    def set_pin_path(self, name: str, path: Path) -> None:
        """Have `load` take the map pinned there, or pin the new one there."""
        checked(self._library.bpf_map__set_pin_path(self._map(name), bytes(path)), f"map {name}")

    def set_constants(self, value: bytes) -> None:
        """Set what the program has in .rodata.loader, before loading."""
        found = self._map(".rodata.loader")
        checked(
            self._library.bpf_map__set_initial_value(found, value, len(value)), "constants of the program"
        )

    def load(self) -> None:
        """Hand programs and maps to the kernel. Raises KernelRefusal."""
        checked(self._library.bpf_object__load(self._object), "loading the eBPF program", LOAD_MEND)

    def map(self, name: str) -> Map:
        """A loaded map, with a descriptor that outlives this object."""
        descriptor = checked(self._library.bpf_map__fd(self._map(name)), f"map {name}")
        return Map(name, os.dup(descriptor))

    def program(self, name: str) -> int:
        """A descriptor of a loaded program, that outlives this object."""
        found = self._library.bpf_object__find_program_by_name(self._object, name.encode())
        program = pointer(found, f"program {name}")
        return os.dup(checked(self._library.bpf_program__fd(program), f"program {name}"))

    def close(self) -> None:
        """Free what libbpf keeps in memory; what is pinned or dup'ed stays."""
        self._library.bpf_object__close(self._object)
