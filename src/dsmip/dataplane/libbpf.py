"""A thin binding of libbpf 1.x: the functions used here, errors as exceptions, with its own words in them.

Works with libbpf 1.1 (Debian 12) and newer. Nothing in it knows what the program does.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections import deque
from pathlib import Path
from typing import Any

from dsmip.dataplane.api import DataPlaneError

LIBRARY = "libbpf.so.1"

MAP_TYPE_ARRAY = 2
PROGRAM_TYPE_SCHED_CLS = 3

TC_INGRESS, TC_EGRESS = 1, 2
"""Attach points of a tc hook (libbpf.h: enum bpf_tc_attach_point)."""

TCX_INGRESS, TCX_EGRESS = 46, 47
"""The same as links (linux/bpf.h: enum bpf_attach_type)."""

_TC_REPLACE = 1
_TEST_SKB_CHECKSUM_COMPLETE = 1 << 2
_LOG_LINES = 40
_LOG_LINE = 8192

_SHOWN_LINES = 12

_MENDS = {
    errno.EPERM: "Run as root or with CAP_BPF, CAP_NET_ADMIN; containers must allow the bpf() system call",
    errno.ENOMEM: "The kernel has no memory left for eBPF maps",
    errno.ENOSYS: "This kernel has no bpf() system call (CONFIG_BPF_SYSCALL)",
}
LOAD_MEND = (
    "The program needs Linux 5.15 or newer with CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_ACT and CONFIG_INET"
)
_TC_MEND = "Needs CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF: 'modprobe -a sch_ingress cls_bpf'"

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


class MapInfo(ctypes.Structure):
    """The beginning of struct bpf_map_info; the kernel fills as much as it is given room for."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
    )


class LinkInfo(ctypes.Structure):
    """The beginning of struct bpf_link_info of a link on an interface; `ifindex` is 0 once that is gone."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("program", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("ifindex", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
    )


# va_list is an array, or a structure larger than two registers, or a pointer: passed as a pointer everywhere.
_PrintFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


def _remember(level: int, template: bytes, arguments: int) -> int:
    """Keep libbpf's warnings for the next error message, instead of having them on standard error."""
    if level == 0:
        line = ctypes.create_string_buffer(_LOG_LINE)
        ctypes.CDLL(None).vsnprintf(line, ctypes.c_size_t(_LOG_LINE), template, ctypes.c_void_p(arguments))
        _log.extend(line.value.decode(errors="replace").splitlines())
    return 0


_print_function = _PrintFunction(_remember)  # libbpf keeps the pointer: must live as long as the library


_POINTER_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "bpf_object__open_file": (ctypes.c_char_p, ctypes.c_void_p),
    "bpf_object__find_map_by_name": (ctypes.c_void_p, ctypes.c_char_p),
    "bpf_object__find_program_by_name": (ctypes.c_void_p, ctypes.c_char_p),
}
_NUMBER_FUNCTIONS: dict[str, tuple[Any, ...]] = {
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
    "bpf_map_update_batch": (
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_uint32),
        ctypes.c_void_p,
    ),
    "bpf_map_delete_batch": (
        ctypes.c_int,
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
    "bpf_link_create": (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p),
    "bpf_link_update": (ctypes.c_int, ctypes.c_int, ctypes.c_void_p),
    "bpf_link_detach": (ctypes.c_int,),
    "libbpf_num_possible_cpus": (),
}


@functools.cache
def library() -> ctypes.CDLL:
    """libbpf, loaded at first use. Raises DataPlaneError when it is not installed."""
    try:
        bound = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError as error:
        raise DataPlaneError(
            f"{LIBRARY} cannot be loaded ({error}): install Debian's package libbpf1"
        ) from None
    for name, arguments in _POINTER_FUNCTIONS.items():
        function = getattr(bound, name)
        function.argtypes, function.restype = arguments, ctypes.c_void_p
    for name, arguments in _NUMBER_FUNCTIONS.items():
        function = getattr(bound, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    bound.bpf_object__close.argtypes, bound.bpf_object__close.restype = (ctypes.c_void_p,), None
    bound.libbpf_set_print.argtypes, bound.libbpf_set_print.restype = (_PrintFunction,), ctypes.c_void_p
    bound.libbpf_set_print(_print_function)
    return bound


class KernelRefusal(DataPlaneError):
    """libbpf returned -errno (`number`). The message has what was tried, libbpf's own words and the mend."""

    def __init__(self, number: int, what: str, mend: str = "") -> None:
        self.number = number
        said = [line for line in _log if line.strip()]
        _log.clear()
        parts = [f"{what}: {os.strerror(number)}", *said[-_SHOWN_LINES:]]
        if mend := mend or _MENDS.get(number, ""):
            parts.append(mend)
        super().__init__("\n  ".join(parts))


def checked(result: int, what: str, mend: str = "") -> int:
    """Raise KernelRefusal for a result below zero, return any other."""
    if result < 0:
        raise KernelRefusal(-result, what, mend)
    _log.clear()
    return result


def pointer(result: int | None, what: str) -> int:
    """Raise KernelRefusal for a null pointer, return any other."""
    if not result:
        raise KernelRefusal(ctypes.get_errno() or errno.EINVAL, what)
    return result


def possible_cpus() -> int:
    """Number of values in one entry of a per-CPU map."""
    return checked(library().libbpf_num_possible_cpus(), "number of CPUs")


def pin(descriptor: int, path: Path) -> None:
    """Keep a program, map or link at a path of a bpffs."""
    checked(library().bpf_obj_pin(descriptor, bytes(path)), f"pinning {path}")


def program_id(descriptor: int) -> int:
    """The kernel's number of a program: what `tc_query` returns where it is attached."""
    # struct bpf_prog_info begins like struct bpf_map_info: type, id.
    info, size = MapInfo(), ctypes.c_uint32(8)
    result = library().bpf_obj_get_info_by_fd(descriptor, ctypes.byref(info), ctypes.byref(size))
    checked(result, "program")
    return int(info.id)


def pinned(path: Path) -> int:
    """Open what is pinned at a path."""
    return checked(library().bpf_obj_get(bytes(path)), f"opening {path}")


def create_array() -> int:
    """A map with one entry, to find out whether bpf() is allowed; close the descriptor."""
    return checked(library().bpf_map_create(MAP_TYPE_ARRAY, b"probe", 4, 4, 1, None), "bpf()")


def load_classifier(instructions: bytes) -> int:
    """A tc program out of raw instructions."""
    count = len(instructions) // 8
    loaded = library().bpf_prog_load(PROGRAM_TYPE_SCHED_CLS, b"probe", b"GPL", instructions, count, None)
    return checked(loaded, "loading a program")


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
    checked(result, f"clsact on interface {ifindex}", _TC_MEND if result == -errno.ENOENT else "")
    return True


def tc_destroy(ifindex: int) -> None:
    """Take the clsact qdisc and all that hangs on it."""
    result = library().bpf_tc_hook_destroy(ctypes.byref(_hook(ifindex, TC_INGRESS | TC_EGRESS)))
    checked(result, f"clsact on interface {ifindex}")


def tc_attach(ifindex: int, point: int, program: int, handle: int, priority: int) -> int:
    """Attach a program, or replace the one at this handle and priority in one step. Returns its id."""
    options = _options(handle, priority, prog_fd=program, flags=_TC_REPLACE)
    result = library().bpf_tc_attach(ctypes.byref(_hook(ifindex, point)), ctypes.byref(options))
    checked(result, f"attaching to interface {ifindex}", _TC_MEND if result == -errno.ENOENT else "")
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
    checked(result, f"tc on interface {ifindex}")
    return True


def link_create(program: int, ifindex: int, kind: int) -> int:
    """Attach a program to an interface for as long as the link lives whose descriptor this is."""
    created = library().bpf_link_create(program, ifindex, kind, None)
    mend = ""
    if created == -errno.EEXIST:
        mend = (
            "the program is there by another link, which somebody holds: find it with 'bpftool link show'"
            " and end it with 'bpftool link detach id ...'"
        )
    return checked(created, f"attaching to interface {ifindex}", mend)


def link_update(link: int, program: int) -> None:
    """Put another program in place of the link's, in one step."""
    checked(library().bpf_link_update(link, program, None), "replacing a program")


def link_detach(link: int) -> None:
    """End a link at once, whoever else has it open."""
    checked(library().bpf_link_detach(link), "detaching a program")


def link_info(link: int) -> LinkInfo:
    """What the link stands for."""
    info, size = LinkInfo(), ctypes.c_uint32(ctypes.sizeof(LinkInfo))
    checked(library().bpf_obj_get_info_by_fd(link, ctypes.byref(info), ctypes.byref(size)), "link")
    return info


def run_program(
    program: int, packet: bytes, context: bytes = b"", room: int = 512, *, summed: bool = False
) -> tuple[int, bytes, bytes]:
    """Run a tc program on a packet that starts with an Ethernet header, without sending anything.

    `context` is a struct __sk_buff or empty. `summed` (Linux 6.11 and newer): the packet comes with the sum
    over all of it, as from many a network card, and EBADMSG is raised if the program does not keep it right.
    Returns the verdict, and packet and context after it.
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
        flags=_TEST_SKB_CHECKSUM_COMPLETE if summed else 0,
    )
    if context:
        options.ctx_in, options.ctx_size_in = context, len(context)
        options.ctx_out, options.ctx_size_out = ctypes.addressof(after), len(context)
    checked(library().bpf_prog_test_run_opts(program, ctypes.byref(options)), "running the program")
    return int(options.retval), data.raw[: options.data_size_out], after.raw[: options.ctx_size_out]
