"""A bpffs of its own for each test session, and what tests of the loader are in."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsmip.dataplane.bpffs import remove_tree
from dsmip.dataplane.tun import TunDevice
from tests.dataplane.namespaces import Namespace


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


@pytest.fixture
def node() -> Iterator[Namespace]:
    """Inside a namespace with an interface u0 and the device dsmip0."""
    namespace = Namespace("loader")
    namespace.ip("link add u0 type veth peer name u1")
    with namespace.inside():
        device = TunDevice.open("dsmip0")
        yield namespace
        device.close()
    namespace.delete()


@pytest.fixture
def pins(bpf_directory: Path) -> Iterator[Path]:
    """Where the test pins things. What a failing test leaves there is no other test's."""
    directory = bpf_directory / "loader"
    yield directory
    remove_tree(directory)
