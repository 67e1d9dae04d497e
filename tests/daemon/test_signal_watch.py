"""Watching the signal of uplinks, with readings made up here."""

from __future__ import annotations

import asyncio

import pytest

from dsmip.core.signal_strength import WEAK_READINGS
from dsmip.daemon.signal_watch import SignalWatch


class Radio:
    """Readings by interface; None as a reading, or an error."""

    def __init__(self) -> None:
        self.strength: dict[str, int | OSError | None] = {}

    async def read(self, interface: str) -> int | None:
        reading = self.strength.get(interface)
        if isinstance(reading, OSError):
            raise reading
        return reading


class Scene:
    def __init__(self) -> None:
        self.radio = Radio()
        self.told: list[tuple[str, bool, int | None]] = []
        self.watch = SignalWatch(self.radio, lambda *change: self.told.append(change))

    async def look(self, times: int) -> None:
        for _ in range(times):
            await self.watch.look()


def test_only_those_with_a_threshold_are_watched_each_for_its_own() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.radio.strength = {"wlan0": -76, "wlan1": -76, "wlan2": -100}
        scene.watch.use({"wlan0": -75, "wlan1": -80})
        await scene.look(WEAK_READINGS)
        assert scene.told == [("wlan0", True, -76)]
        scene.radio.strength["wlan0"] = None
        await scene.look(1)
        assert scene.told[1:] == [("wlan0", False, None)]
        scene.watch.stop()

    asyncio.run(scenario())


def test_a_reload_changes_thresholds_and_takes_back_what_nobody_watches_any_more() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.radio.strength = {"wlan0": -70}
        scene.watch.use({"wlan0": -75})
        await scene.look(WEAK_READINGS)
        assert scene.told == []
        scene.watch.use({"wlan0": -65})
        await scene.look(WEAK_READINGS)
        assert scene.told == [("wlan0", True, -70)]
        scene.watch.use({})
        assert scene.told[1:] == [("wlan0", False, None)]
        await scene.look(WEAK_READINGS)
        assert len(scene.told) == 2

    asyncio.run(scenario())


def test_what_cannot_be_read_is_said_once_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.radio.strength = {"wlan0": OSError("not permitted"), "wlan1": -90}
        scene.watch.use({"wlan0": -75, "wlan1": -75})
        await scene.look(WEAK_READINGS)
        assert scene.told == [("wlan1", True, -90)]
        scene.watch.stop()

    asyncio.run(scenario())
    assert [record.getMessage() for record in caplog.records] == ["not permitted"]


def test_it_looks_by_itself() -> None:
    async def scenario() -> None:
        scene = Scene()
        done = asyncio.Event()
        scene.watch = SignalWatch(scene.radio, lambda *_: done.set())
        scene.radio.strength = {"wlan0": -90}
        scene.watch.use({"wlan0": -75})
        await asyncio.wait_for(done.wait(), 60)
        scene.watch.stop()

    asyncio.run(scenario())
