"""Events and refusals: counted all, logged at a limited rate, streamed as JSON."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from dsmip.daemon.events import EVENTS_VARIABLE, KEPT, EventLog


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
    for number in range(KEPT * 2):
        events.event("tick", {"number": number})
    assert len(events.recent) == KEPT
    assert events.recent[-1]["number"] == KEPT * 2 - 1
