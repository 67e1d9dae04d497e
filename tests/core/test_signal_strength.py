"""When a radio link counts as about to end, and when no longer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dsmip.core.signal_strength import GOOD_READINGS, MARGIN, WEAK_READINGS, SignalStrength

BELOW = -75


def changes(signal: SignalStrength, *readings: int | None) -> list[bool]:
    return [signal.read(one) for one in readings]


def test_one_bad_reading_is_nothing_and_two_in_a_row_are_the_end() -> None:
    signal = SignalStrength(BELOW)
    assert changes(signal, -60, -90, BELOW, -90, -60) == [False] * 5
    assert changes(signal, *[-76] * WEAK_READINGS) == [False] * (WEAK_READINGS - 1) + [True]
    assert signal.weak


def test_the_way_back_wants_more_than_the_way_out() -> None:
    signal = SignalStrength(BELOW)
    changes(signal, *[-80] * WEAK_READINGS)
    good = BELOW + MARGIN
    assert changes(signal, *[good - 1] * 50) == [False] * 50
    assert changes(signal, *[good] * (GOOD_READINGS - 1), -80) == [False] * GOOD_READINGS
    assert changes(signal, *[good] * GOOD_READINGS) == [False] * (GOOD_READINGS - 1) + [True]
    assert not signal.weak


def test_without_a_link_nothing_is_announced() -> None:
    signal = SignalStrength(BELOW)
    assert changes(signal, -80, None, -80, None) == [False] * 4
    changes(signal, *[-80] * WEAK_READINGS)
    assert signal.read(None)
    assert not signal.weak
    assert not signal.read(None)


@given(st.lists(st.none() | st.integers(-110, -20), max_size=80))
def test_what_is_said_is_what_the_last_readings_say(readings: list[int | None]) -> None:
    signal = SignalStrength(BELOW)
    for number, reading in enumerate(readings):
        before = signal.weak
        assert signal.read(reading) is (signal.weak is not before)
        if signal.weak and not before:
            last = readings[number + 1 - WEAK_READINGS : number + 1]
            assert all(one is not None and one < BELOW for one in last)
        if before and not signal.weak and reading is not None:
            last = readings[number + 1 - GOOD_READINGS : number + 1]
            assert all(one is not None and one >= BELOW + MARGIN for one in last)
