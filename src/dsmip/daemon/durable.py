"""Files that hold keys: written whole or not at all, safe from power failures, nobody else's to read."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PRIVATE = 0o600


def write(path: Path, data: bytes, *, keep_owner: bool = False) -> None:
    """Put `data` in place of the file: readers see the old or the new one, also after a power failure.

    The file gets mode 0600 and, if root writes it, the owner of its directory, since the daemon need not be
    root; `keep_owner`: it stays that of this process. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if not keep_owner:
                _give_to_owner_of(path.parent, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def make_directory(path: Path) -> None:
    """Make a private directory; if root makes it, it is its parent's owner's. Raises OSError."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file of a directory's contents; waits for whoever has it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE)
    try:
        _give_to_owner_of(path.parent, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def anybody_reads(path: Path) -> bool:
    """Whether every user of this machine may read the file; False when it is not there."""
    return bool(_mode(path) & stat.S_IROTH)


def anybody_writes(path: Path) -> bool:
    """Whether every user of this machine may write the file; False when it is not there."""
    return bool(_mode(path) & stat.S_IWOTH)


def others_write(path: Path) -> bool:
    """Whether anybody but its owner may write the file; False when it is not there."""
    return bool(_mode(path) & (stat.S_IWOTH | stat.S_IWGRP))


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _give_to_owner_of(directory: Path, descriptor: int) -> None:
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
