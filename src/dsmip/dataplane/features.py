"""What the data plane needs of this machine, found out without changing anything on it."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dsmip.dataplane import libbpf
from dsmip.dataplane.api import DataPlaneError
from dsmip.dataplane.bpf import LINKS_SINCE, OBJECT, kernel_version
from dsmip.dataplane.filters import HANDLE, PRIORITY
from dsmip.dataplane.tun import TUN_PATH

OLDEST_KERNEL = (5, 15)

# linux/capability.h
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_PERFMON": 38, "CAP_BPF": 39}
_CAP_SYS_ADMIN = 21
#: What it includes.
_OF_SYS_ADMIN = ("CAP_PERFMON", "CAP_BPF")

_CLONE_NEWNET = 0x40000000
_LOOPBACK_IFINDEX = 1
# r0 = 0 (TC_ACT_OK); exit
_PROBE_PROGRAM = bytes.fromhex("b7000000000000009500000000000000")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something missing, and what to do about it."""

    name: str
    mend: str


def probe() -> list[Problem]:
    """Everything that keeps the data plane from working here; empty when all is well."""
    problems = [problem for check in _CHECKS if (problem := check()) is not None]
    # bpf() and clsact can only be tried with these.
    if not problems:
        problems = [problem for check in _TRIALS if (problem := check()) is not None]
    return problems


def _kernel() -> Problem | None:
    if kernel_version() >= OLDEST_KERNEL:
        return None
    return Problem("kernel", f"Linux {os.uname().release} is too old: 5.15 or newer is needed")


def _capabilities() -> Problem | None:
    held = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
    missing = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if held >> _CAP_SYS_ADMIN & 1:
        missing = [name for name in missing if name not in _OF_SYS_ADMIN]
    if not missing:
        return None
    return Problem("capabilities", f"{' and '.join(missing)} missing: run as root, or give them to this user")


def _tun() -> Problem | None:
    try:
        os.close(os.open(TUN_PATH, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        mend = "'modprobe tun', or give the container the device"
        return Problem(TUN_PATH, f"cannot be opened ({error.strerror}): {mend}")
    return None


def _libbpf() -> Problem | None:
    try:
        libbpf.library()
    except DataPlaneError as error:
        return Problem("libbpf", str(error))
    return None


def _object() -> Problem | None:
    if OBJECT.exists():
        return None
    return Problem("eBPF program", f"not compiled: 'make -C {OBJECT.parent}' (needs clang and libbpf-dev)")


def _bpffs() -> Problem | None:
    kinds = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines() if line.split()}
    return None if "bpf" in kinds else Problem("bpffs", "the kernel has none: CONFIG_BPF_SYSCALL is needed")


def _bpf_system_call() -> Problem | None:
    try:
        os.close(libbpf.create_array())
    except DataPlaneError as error:
        return Problem("bpf()", str(error))
    return None


def _clsact() -> Problem | None:
    """Attach a program that does nothing, in a network namespace that is gone afterwards."""
    if kernel_version() >= LINKS_SINCE:
        return None  # it is not used
    found: list[Problem] = []

    def trial() -> None:
        # Of this thread only; where that is forbidden the kernel's answer comes when it is really attached.
        if ctypes.CDLL(None).unshare(_CLONE_NEWNET) != 0:
            return
        try:
            program = libbpf.load_classifier(_PROBE_PROGRAM)
            try:
                libbpf.tc_create(_LOOPBACK_IFINDEX)
                libbpf.tc_attach(_LOOPBACK_IFINDEX, libbpf.TC_INGRESS, program, HANDLE, PRIORITY)
            finally:
                os.close(program)
        except DataPlaneError as error:
            found.append(Problem("clsact", str(error)))

    thread = threading.Thread(target=trial, name="clsact-probe")
    thread.start()
    thread.join()
    return found[0] if found else None


_CHECKS: tuple[Callable[[], Problem | None], ...] = (_kernel, _capabilities, _tun, _libbpf, _object, _bpffs)
_TRIALS: tuple[Callable[[], Problem | None], ...] = (_bpf_system_call, _clsact)
