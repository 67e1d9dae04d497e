"""Events and refusals: counted all, logged at a limited rate, streamed as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from dsmip.daemon.events import EVENTS_VARIABLE, LINES_A_SECOND, EventLog
from dsmip.daemon.feed import TooManyReaders
from dsmip.daemon.journal import RECENT


def test_events_go_to_the_stream_with_monotonic_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS_VARIABLE, str(path))
    events = EventLog()
    events.event("handover", {"care_of": "2001:db8::1", "time": 1.0})
    events.close()
    record = json.loads(path.read_text())
    assert record["event"] == "handover"
    assert record["care_of"] == "2001:db8::1"
    assert record["time"] != 1.0


def test_every_refusal_is_counted_and_few_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    events = EventLog()
    with caplog.at_level(logging.WARNING, logger="dsmip"):
        for _ in range(1000):
            events.drop("replay", "from 2001:db8::1")
        events.drop("checksum", "")
    assert events.drops == {"replay": 1000, "checksum": 1}
    assert len(caplog.records) == 2


def test_the_ring_is_bounded() -> None:
    events = EventLog()
    for number in range(RECENT * 2):
        events.event("tick", {"number": number})
    assert len(events.recent) == RECENT
    assert events.recent[-1]["number"] == RECENT * 2 - 1


def test_a_slow_follower_loses_the_oldest_and_is_told_how_many() -> None:
    async def scene() -> tuple[int, list[object]]:
        events = EventLog()
        follower = events.follow()
        for number in range(1100):
            events.event("tick", {"number": number})
        skipped, records = await follower.take()
        return skipped, [record["number"] for record in records]

    skipped, numbers = asyncio.run(scene())
    assert skipped == 76
    assert numbers == list(range(76, 1100))


def test_a_follower_finds_the_latest_events_waiting() -> None:
    async def scene() -> list[object]:
        events = EventLog()
        for number in range(5):
            events.event("tick", {"number": number})
        _, records = await events.follow(past=2).take()
        return [record["number"] for record in records]

    assert asyncio.run(scene()) == [3, 4]


def test_followers_are_bounded_and_leave_room_when_they_go() -> None:
    async def scene() -> None:
        events = EventLog()
        followers = [events.follow() for _ in range(16)]
        with pytest.raises(TooManyReaders):
            events.follow()
        followers[0].close()
        events.follow()

    asyncio.run(scene())


def test_a_busy_second_is_not_logged_event_by_event(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("dsmip.daemon.events.time.monotonic", lambda: now)
    events = EventLog()
    with caplog.at_level(logging.INFO, logger="dsmip"):
        for number in range(LINES_A_SECOND + 50):
            events.event("moved", {"number": number})
        assert len(caplog.records) == LINES_A_SECOND
        now += 1
        events.event("moved", {"number": 0})
    assert [record.getMessage() for record in caplog.records[-2:]] == [
        "50 more events, not logged one by one",
        "moved number=0",
    ]
    assert events.counts["moved"] == LINES_A_SECOND + 51


def test_a_stream_on_a_full_disk_ends_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EVENTS_VARIABLE, "/dev/full")
    events = EventLog()
    for _ in range(3):
        events.event("moved", {})
    events.close()
    assert events.counts["moved"] == 3
