"""The file system that keeps programs and maps alive without a process."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from dsmip.dataplane.api import DataPlaneError

_BPF_FS_MAGIC = 0xCAFE4A11
_STATFS_ROOM = 256


def is_bpffs(path: Path) -> bool:
    """Whether an existing path lies on a bpffs."""
    buffer = ctypes.create_string_buffer(_STATFS_ROOM)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(bytes(path), buffer) != 0:
        return False
    # f_type comes first, in a register's width.
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF == _BPF_FS_MAGIC


def ensure_bpffs(path: Path) -> None:
    """Make `path` a directory on a bpffs, by mounting one there unless it is on one already.

    The mount is seen by others only if this process shares their mount namespace: a service must not have
    PrivateMounts= and the like if forwarding is to survive it. Raises DataPlaneError.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataPlaneError(f"{path}: {error.strerror}") from error
    if is_bpffs(path):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", bytes(path), b"bpf", ctypes.c_ulong(0), b"mode=0700") != 0:
        reason = os.strerror(ctypes.get_errno())
        raise DataPlaneError(
            f"{path}: a bpffs cannot be mounted there ({reason}): 'mount -t bpf bpf {path}' as root"
        )


def pin_directory_of(path: Path) -> Path:
    """`path` with a name that bpffs accepts: it refuses dots."""
    return path.with_name(path.name.replace(".", "_"))


def remove_tree(path: Path) -> None:
    """Unpin everything below `path`, and remove it. Nothing there is fine."""
    if not path.is_dir():
        return
    for entry in path.iterdir():
        if entry.is_dir():
            remove_tree(entry)
        else:
            entry.unlink(missing_ok=True)
    path.rmdir()
