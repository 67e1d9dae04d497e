"""Garbage that reference counts do not find is found all the same."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from dsmip.daemon import garbage


class Cycle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collector() -> Iterator[None]:
    """As it was, afterwards."""
    thresholds, enabled = gc.get_threshold(), gc.isenabled()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    if not enabled:
        gc.disable()


@pytest.mark.usefixtures("collector")
def test_what_is_new_is_looked_through_soon() -> None:
    garbage.settle()
    lost = weakref.ref(Cycle())
    kept = [[number] for number in range(100_000)]
    assert lost() is None
    assert len(kept) == 100_000


@pytest.mark.usefixtures("collector")
def test_what_is_old_is_looked_through_every_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        cycle = Cycle()
        collection = garbage.Collection()
        later = Cycle()
        gc.collect(1)  # no longer new
        lost = weakref.ref(later)
        del later
        async with asyncio.timeout(30):
            while lost() is not None:
                await asyncio.sleep(0.01)
        collection.stop()
        assert cycle.itself is cycle

    monkeypatch.setattr(garbage, "_INTERVAL", 0.05)
    asyncio.run(scenario())
