"""A bpffs of its own for each test session."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bpf_directory() -> Iterator[Path]:
    for path in Path("/run").glob("dsmip-dp-*"):
        if not Path("/proc", path.name.removeprefix("dsmip-dp-")).exists():  # a session that was killed
            _unmount(path)
    path = Path(f"/run/dsmip-dp-{os.getpid()}")
    yield path
    _unmount(path)


def _unmount(path: Path) -> None:
    ctypes.CDLL(None).umount2(bytes(path), 2)  # MNT_DETACH
    if path.is_dir():
        path.rmdir()


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Token buckets are per CPU: stay on one."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)
