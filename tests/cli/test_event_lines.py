"""Events for people: one line each."""

from __future__ import annotations

from dsmip.cli.events import line


def test_a_line_names_the_node_before_the_details() -> None:
    record = {
        "home_address": "2001:db8::17",
        "care_of": "192.0.2.1",
        "nat": "none",
        "previous": "",
        "name": "bus-17",
        "event": "moved",
        "time": 1.0,
        "unix": 2.0,
    }
    clock, rest = line(record).split(" ", 1)
    assert clock.count(":") == 2
    assert rest.split() == ["moved", "name=bus-17", "care_of=192.0.2.1", "nat=none"]


def test_what_was_skipped_is_told() -> None:
    assert line({"event": "skipped", "count": 3}).split() == ["--:--:--", "skipped", "count=3"]
