"""What the air does to packets, with literal times; and how a person writes it down."""

from __future__ import annotations

import itertools
import random

import pytest

from dsmip.lab import uplinks
from dsmip.lab.errors import LabError
from dsmip.lab.relay import QUEUE, Way
from dsmip.lab.uplinks import Shape, Uplink

VIRTIO = bytes(10)


def way(**shape: float | bool) -> Way:
    return Way(Shape(**shape), random.Random(5648))  # type: ignore[arg-type]


def test_a_frame_comes_out_after_the_delay_and_not_before() -> None:
    air = way(delay=0.02)
    air.enter(b"one", 1.0)
    air.enter(b"two", 1.001)
    assert air.due(1.0199) == []
    assert air.due(1.0201) == [b"one"]
    assert air.due(2.0) == [b"two"]
    assert air.due(3.0) == []


def test_jitter_delays_and_never_reorders() -> None:
    air = way(delay=0.01, jitter=0.005)
    frames = [bytes([number]) for number in range(200)]
    for number, frame in enumerate(frames):
        air.enter(frame, number / 1000)
    dues = [due for due, _ in air.waiting]
    extra = [due - number / 1000 - 0.01 for number, due in enumerate(dues)]
    assert dues == sorted(dues)
    assert all(-1e-9 <= more <= 0.005 + 1e-9 for more in extra)
    assert max(extra) - min(extra) > 0.002
    assert air.due(10.0) == frames


def test_a_rate_paces_queues_and_then_drops() -> None:
    air = way(rate=8e6)  # an octet a microsecond
    frame = VIRTIO + bytes(1000)
    for _ in range(1000):
        air.enter(frame, 5.0)
    dues = [due for due, _ in air.waiting]
    assert dues[0] == pytest.approx(5.001)
    assert dues[9] == pytest.approx(5.010)
    assert len(dues) == pytest.approx(QUEUE / 0.001, abs=2)


def test_losses_are_as_many_as_asked_for_and_at_random() -> None:
    air = way(loss=0.05)
    for number in range(20000):
        air.enter(number.to_bytes(2, "big"), 0.0)
    came = {int.from_bytes(frame, "big") for frame in air.due(1.0)}
    lost = [number for number in range(20000) if number not in came]
    assert len(lost) == pytest.approx(1000, abs=150)
    assert any(later - number == 1 for number, later in itertools.pairwise(lost))


def test_a_silent_link_loses_what_is_on_its_way_too() -> None:
    air = way(delay=0.02)
    air.enter(b"in the air", 1.0)
    air.shape = Shape(delay=0.02, silent=True)
    air.enter(b"later", 1.01)
    assert air.due(2.0) == []
    air.shape = Shape(delay=0.02)
    air.enter(b"alive", 3.0)
    assert air.due(4.0) == [b"alive"]


@pytest.mark.parametrize(
    ("what", "text", "value"),
    [
        ("delay", "50ms", 0.05),
        ("delay", "50", 0.05),
        ("delay", "1.5 s", 1.5),
        ("jitter", "5ms", 0.005),
        ("loss", "5%", 0.05),
        ("loss", "0 %", 0.0),
        ("rate", "20mbit", 20e6),
        ("rate", "1.5Gbit/s", 1.5e9),
        ("rate", "9600", 9600.0),
    ],
)
def test_properties_are_read_as_a_person_writes_them(what: str, text: str, value: float) -> None:
    assert uplinks.parsed(what, text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("what", "text"),
    [("delay", "-5ms"), ("loss", "5"), ("loss", "101%"), ("rate", "fast"), ("delay", ""), ("colour", "5%")],
)
def test_what_is_no_property_is_refused_with_examples(what: str, text: str) -> None:
    with pytest.raises(LabError, match="examples"):
        uplinks.parsed(what, text)


def test_an_uplink_is_found_by_name_the_first_one_without() -> None:
    pair = (Uplink("a", "02:00:00:00:00:01"), Uplink("b", "02:00:00:00:00:02"))
    assert uplinks.find(pair, "b") is pair[1]
    assert uplinks.find(pair, "") is pair[0]
    with pytest.raises(LabError, match="no uplink 'c'; there are: a, b"):
        uplinks.find(pair, "c")
