"""Measurements in processes of their own."""

from __future__ import annotations

import os

import pytest

from dsmip.bench.apart import apart


def test_a_measurement_sees_what_there_is_and_changes_nothing() -> None:
    seen: list[int] = [1]

    def measure() -> tuple[int, list[int]]:
        seen.append(2)
        return os.getpid(), seen

    process, result = apart(measure)
    assert process != os.getpid()
    assert (result, seen) == ([1, 2], [1])


def test_one_that_fails_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    def measure() -> None:
        raise ValueError("there is no vehicle")

    with pytest.raises(RuntimeError, match="ended without a result"):
        apart(measure)
    assert "there is no vehicle" in capfd.readouterr().err
