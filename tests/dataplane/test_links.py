"""Programs attached by links whose pins somebody else removed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsmip.dataplane import libbpf
from dsmip.dataplane.api import DataPlaneError
from dsmip.dataplane.bpf import LINKS_SINCE, BpfDataPlane, kernel_version
from tests.dataplane.loading import load
from tests.dataplane.namespaces import Namespace

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(kernel_version() < LINKS_SINCE, reason="this kernel has no links for tc programs"),
]


@pytest.fixture
def unpinned(node: Namespace, pins: Path) -> Iterator[tuple[BpfDataPlane, int]]:
    """A program on u0 by a link without a pin, which lives as long as the descriptor given with it."""
    plane = load(pins, by_links=True)
    plane.attach("u0")
    pin = pins / "links" / f"{socket.if_nametoindex('u0')}-in"
    link = libbpf.pinned(pin)
    pin.unlink()
    yield plane, link
    plane.close(keep=False)


def test_a_link_whose_pin_was_removed_is_given_time_to_end(
    unpinned: tuple[BpfDataPlane, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plane, link = unpinned
    held, pause = [link], time.sleep

    def let_go(seconds: float) -> None:
        for descriptor in held:
            os.close(descriptor)
        held.clear()
        pause(seconds)

    monkeypatch.setattr(time, "sleep", let_go)
    plane.attach("u0")
    assert not held
    assert list(plane.attached()) == ["u0"]


def test_a_link_that_somebody_holds_is_named(unpinned: tuple[BpfDataPlane, int]) -> None:
    plane, link = unpinned
    with pytest.raises(DataPlaneError, match=r"File exists\n .*bpftool link detach"):
        plane.attach("u0")
    os.close(link)
    plane.attach("u0")
    assert list(plane.attached()) == ["u0"]
