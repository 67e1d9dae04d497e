"""A thin binding of libbpf 1.x: the functions used here, errors as exceptions, and libbpf's own words in them.

Works with libbpf 1.1 (Debian 12) and newer. Nothing in it knows what the program does.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from dsmip.dataplane.api import DataPlaneError

LIBRARY = "libbpf.so.1"

ANY, NO_EXIST = 0, 1
"""Flags of a map update (linux/bpf.h: BPF_ANY, BPF_NOEXIST)."""

MAP_TYPE_ARRAY = 2
MAP_TYPE_PERCPU_ARRAY = 6
PROGRAM_TYPE_SCHED_CLS = 3

TC_INGRESS, TC_EGRESS = 1, 2
"""Attach points of a tc hook (libbpf.h: enum bpf_tc_attach_point)."""

_TC_REPLACE = 1
_LOG_LINES = 40
_LOG_LINE = 8192
_BATCH = 4096

_log: deque[str] = deque(maxlen=_LOG_LINES)


class TcHook(ctypes.Structure):
    """struct bpf_tc_hook."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("ifindex", ctypes.c_int),
        ("attach_point", ctypes.c_int),
        ("parent", ctypes.c_uint32),
    )


class TcOptions(ctypes.Structure):
    """struct bpf_tc_opts."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("prog_fd", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("prog_id", ctypes.c_uint32),
        ("handle", ctypes.c_uint32),
        ("priority", ctypes.c_uint32),
    )


class RunOptions(ctypes.Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_char_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_char_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


class _MapInfo(ctypes.Structure):
    """The beginning of struct bpf_map_info; the kernel fills as much as it is given room for."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
    )


# va_list is an array, or a structure larger than two registers, or a pointer: passed as a pointer everywhere.
_PrintFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


@_PrintFunction
def _remember(level: int, template: bytes, arguments: int) -> int:
    """Keep libbpf's warnings for the next error message, instead of having them on standard error."""
    if level == 0:
        line = ctypes.create_string_buffer(_LOG_LINE)
        ctypes.CDLL(None).vsnprintf(line, ctypes.c_size_t(_LOG_LINE), template, ctypes.c_void_p(arguments))
        _log.extend(line.value.decode(errors="replace").splitlines())
    return 0


_POINTER_FUNCTIONS = {
    "bpf_object__open_file": (ctypes.c_char_p, ctypes.c_void_p),
    "bpf_object__find_map_by_name": (ctypes.c_void_p, ctypes.c_char_p),
    "bpf_object__find_program_by_name": (ctypes.c_void_p, ctypes.c_char_p),
}
_NUMBER_FUNCTIONS = {
    "bpf_object__load": (ctypes.c_void_p,),
    "bpf_program__fd": (ctypes.c_void_p,),
    "bpf_map__fd": (ctypes.c_void_p,),
    "bpf_map__set_max_entries": (ctypes.c_void_p, ctypes.c_uint32),
    "bpf_map__set_pin_path": (ctypes.c_void_p, ctypes.c_char_p),
    "bpf_map__set_initial_value": (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t),
    "bpf_map_create": (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint32,
        ctypes.c_uint32,
        ctypes.c_uint32,
        ctypes.c_void_p,
    ),
    "bpf_map_update_elem": (ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64),
    "bpf_map_lookup_elem": (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p),
    "bpf_map_delete_elem": (ctypes.c_int, ctypes.c_char_p),
    "bpf_map_lookup_batch": (
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_uint32),
        ctypes.c_void_p,
    ),
    "bpf_prog_load": (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
    ),
    "bpf_prog_test_run_opts": (ctypes.c_int, ctypes.POINTER(RunOptions)),
    "bpf_obj_pin": (ctypes.c_int, ctypes.c_char_p),
    "bpf_obj_get": (ctypes.c_char_p,),
    "bpf_obj_get_info_by_fd": (ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32)),
    "bpf_tc_hook_create": (ctypes.POINTER(TcHook),),
    "bpf_tc_hook_destroy": (ctypes.POINTER(TcHook),),
    "bpf_tc_attach": (ctypes.POINTER(TcHook), ctypes.POINTER(TcOptions)),
    "bpf_tc_detach": (ctypes.POINTER(TcHook), ctypes.POINTER(TcOptions)),
    "bpf_tc_query": (ctypes.POINTER(TcHook), ctypes.POINTER(TcOptions)),
    "libbpf_num_possible_cpus": (),
}


@functools.cache
def library() -> ctypes.CDLL:
    """libbpf, loaded at first use. Raises DataPlaneError when it is not installed."""
    try:
        bound = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError as error:
        raise DataPlaneError(f"{LIBRARY} cannot be loaded ({error}): install Debian's package libbpf1") from None
    for name, arguments in _POINTER_FUNCTIONS.items():
        function = getattr(bound, name)
        function.argtypes, function.restype = arguments, ctypes.c_void_p
    for name, arguments in _NUMBER_FUNCTIONS.items():
        function = getattr(bound, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    bound.bpf_object__close.argtypes, bound.bpf_object__close.restype = (ctypes.c_void_p,), None
    bound.libbpf_set_print.argtypes, bound.libbpf_set_print.restype = (_PrintFunction,), ctypes.c_void_p
    bound.libbpf_set_print(_remember)
    return bound


class KernelRefusal(OSError):
    """libbpf returned -errno; `log` holds what it said about it."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(number, f"{what}: {os.strerror(number)}")
        self.log = tuple(_log)
        _log.clear()


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise KernelRefusal(-result, what)
    _log.clear()
    return result


def _pointer(result: int | None, what: str) -> int:
    if not result:
        raise KernelRefusal(ctypes.get_errno() or errno.EINVAL, what)
    return result


class Map:
    """A map by its descriptor. Keys and values are bytes of exactly the map's sizes."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self._library = library()
        info, size = _MapInfo(), ctypes.c_uint32(ctypes.sizeof(_MapInfo))
        _checked(
            self._library.bpf_obj_get_info_by_fd(descriptor, ctypes.byref(info), ctypes.byref(size)),
            f"map {name}",
        )
        self.key_size = int(info.key_size)
        self.value_size = int(info.value_size)
        self.max_entries = int(info.max_entries)
        self._value_room = self.value_size
        if info.type == MAP_TYPE_PERCPU_ARRAY:
            self._value_room = (self.value_size + 7) // 8 * 8 * possible_cpus()
        self._value = ctypes.create_string_buffer(self._value_room)

    def update(self, key: bytes, value: bytes, flags: int = ANY) -> None:
        """Set an entry. Raises KernelRefusal: E2BIG or ENOSPC when the map is full."""
        result = self._library.bpf_map_update_elem(self.descriptor, key, value, flags)
        if result < 0:
            raise KernelRefusal(-result, f"map {self.name}")

    def lookup(self, key: bytes) -> bytes | None:
        """The value (of a per-CPU map: of all possible CPUs, each rounded up to 8 octets), None if absent."""
        result = self._library.bpf_map_lookup_elem(self.descriptor, key, self._value)
        if result == -errno.ENOENT:
            return None
        _checked(result, f"map {self.name}")
        return self._value.raw

    def delete(self, key: bytes) -> bool:
        """Remove an entry; False when there was none."""
        result = self._library.bpf_map_delete_elem(self.descriptor, key)
        if result == -errno.ENOENT:
            return False
        _checked(result, f"map {self.name}")
        return True

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
            for number in range(count.value):
                yield (
                    keys[number * self.key_size : (number + 1) * self.key_size],
                    values[number * self.value_size : (number + 1) * self.value_size],
                )
            if result == -errno.ENOENT:
                return
            start = position

    def close(self) -> None:
        """Give the descriptor back; the map lives on while pinned or used."""
        os.close(self.descriptor)


class Object:
    """An opened object file: settle maps first, then `load`, then take descriptors."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DataPlaneError(f"{path} is missing: run 'make -C {path.parent}' (needs clang and libbpf-dev)")
        self._library = library()
        self._object = _pointer(self._library.bpf_object__open_file(bytes(path), None), str(path))

    def _map(self, name: str) -> int:
        return _pointer(self._library.bpf_object__find_map_by_name(self._object, name.encode()), f"map {name}")

    def set_max_entries(self, name: str, entries: int) -> None:
        """Size a map, before loading."""
        _checked(self._library.bpf_map__set_max_entries(self._map(name), entries), f"map {name}")

    def set_pin_path(self, name: str, path: Path) -> None:
        """Have `load` take the map pinned there, or pin the new one there."""
        _checked(self._library.bpf_map__set_pin_path(self._map(name), bytes(path)), f"map {name}")

    def set_constants(self, value: bytes) -> None:
        """Set the program's read-only data, before loading."""
        _checked(self._library.bpf_map__set_initial_value(self._map(".rodata"), value, len(value)), "constants")

    def load(self) -> None:
        """Hand programs and maps to the kernel. Raises KernelRefusal."""
        _checked(self._library.bpf_object__load(self._object), "loading the eBPF program")

    def map(self, name: str) -> Map:
        """A loaded map, with a descriptor that outlives this object."""
        descriptor = _checked(self._library.bpf_map__fd(self._map(name)), f"map {name}")
        return Map(name, os.dup(descriptor))

    def program(self, name: str) -> int:
        """A descriptor of a loaded program, that outlives this object."""
        found = self._library.bpf_object__find_program_by_name(self._object, name.encode())
        program = _pointer(found, f"program {name}")
        return os.dup(_checked(self._library.bpf_program__fd(program), f"program {name}"))

    def close(self) -> None:
        """Free what libbpf keeps in memory; what is pinned or dup'ed stays."""
        self._library.bpf_object__close(self._object)


def possible_cpus() -> int:
    """Number of values in one entry of a per-CPU map."""
    return _checked(library().libbpf_num_possible_cpus(), "number of CPUs")


def pin(descriptor: int, path: Path) -> None:
    """Keep a program or map at a path of a bpffs."""
    _checked(library().bpf_obj_pin(descriptor, bytes(path)), f"pinning {path}")


def pinned(path: Path) -> int:
    """Open what is pinned at a path."""
    return _checked(library().bpf_obj_get(bytes(path)), f"opening {path}")


def create_array() -> int:
    """A map with one entry, to find out whether bpf() is allowed; close the descriptor."""
    return _checked(library().bpf_map_create(MAP_TYPE_ARRAY, b"probe", 4, 4, 1, None), "bpf()")


def load_classifier(instructions: bytes) -> int:
    """A tc program out of raw instructions."""
    count = len(instructions) // 8
    loaded = library().bpf_prog_load(PROGRAM_TYPE_SCHED_CLS, b"probe", b"GPL", instructions, count, None)
    return _checked(loaded, "loading a program")


def _hook(ifindex: int, point: int) -> TcHook:
    return TcHook(sz=ctypes.sizeof(TcHook), ifindex=ifindex, attach_point=point)


def _options(handle: int, priority: int, **fields: int) -> TcOptions:
    return TcOptions(sz=ctypes.sizeof(TcOptions), handle=handle, priority=priority, **fields)


def tc_create(ifindex: int) -> bool:
    """Give the interface a clsact qdisc; False when it had one."""
    result = library().bpf_tc_hook_create(ctypes.byref(_hook(ifindex, TC_INGRESS)))
    if result == -errno.EEXIST:
        _log.clear()
        return False
    _checked(result, f"clsact on interface {ifindex}")
    return True


def tc_destroy(ifindex: int) -> None:
    """Take the clsact qdisc and all that hangs on it."""
    result = library().bpf_tc_hook_destroy(ctypes.byref(_hook(ifindex, TC_INGRESS | TC_EGRESS)))
    _checked(result, f"clsact on interface {ifindex}")


def tc_attach(ifindex: int, point: int, program: int, handle: int, priority: int) -> int:
    """Attach a program, or replace the one at this handle and priority in one step. Returns the program's id."""
    options = _options(handle, priority, prog_fd=program, flags=_TC_REPLACE)
    result = library().bpf_tc_attach(ctypes.byref(_hook(ifindex, point)), ctypes.byref(options))
    _checked(result, f"attaching to interface {ifindex}")
    return int(options.prog_id)


def tc_detach(ifindex: int, point: int, handle: int, priority: int) -> bool:
    """Remove what is at this handle and priority; False when there is nothing, or no such interface."""
    options = _options(handle, priority)
    result = library().bpf_tc_detach(ctypes.byref(_hook(ifindex, point)), ctypes.byref(options))
    return _absent_is_false(result, ifindex)


def tc_query(ifindex: int, point: int, handle: int, priority: int) -> int | None:
    """The id of the program at this handle and priority, None when there is nothing."""
    options = _options(handle, priority)
    result = library().bpf_tc_query(ctypes.byref(_hook(ifindex, point)), ctypes.byref(options))
    return int(options.prog_id) if _absent_is_false(result, ifindex) else None


def _absent_is_false(result: int, ifindex: int) -> bool:
    # EINVAL is what the kernel says to a missing qdisc.
    if -result in (errno.ENOENT, errno.EINVAL, errno.ENODEV):
        _log.clear()
        return False
    _checked(result, f"tc on interface {ifindex}")
    return True


def run_program(program: int, packet: bytes, context: bytes = b"", room: int = 512) -> tuple[int, bytes, bytes]:
    """Run a tc program on a packet that starts with an Ethernet header, without sending anything.

    `context` is a struct __sk_buff or empty. Returns the program's verdict, the packet and the context after it.
    """
    data = ctypes.create_string_buffer(len(packet) + room)
    after = ctypes.create_string_buffer(max(len(context), 1))
    options = RunOptions(
        sz=ctypes.sizeof(RunOptions),
        data_in=packet,
        data_out=ctypes.addressof(data),
        data_size_in=len(packet),
        data_size_out=len(data),
        repeat=1,
    )
    if context:
        options.ctx_in, options.ctx_size_in = context, len(context)
        options.ctx_out, options.ctx_size_out = ctypes.addressof(after), len(context)
    _checked(library().bpf_prog_test_run_opts(program, ctypes.byref(options)), "running the program")
    return int(options.retval), data.raw[: options.data_size_out], after.raw[: options.ctx_size_out]


