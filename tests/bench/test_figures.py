"""The arithmetic of figures, and their shape as JSON."""

from __future__ import annotations

import json

import pytest

from dsmip.bench.figures import Figure, Spread, compared, percentile


def test_a_spread_is_median_and_extremes() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)
    assert Spread.of([1.0, 2.0]).median == 1.5
    with pytest.raises(ValueError, match="no samples"):
        Spread.of([])


def test_the_ratio_is_of_samples_taken_side_by_side() -> None:
    """The machine was half as fast the second time: that shows in the values, not in the ratios."""
    figure = compared("part/name", "x/s", [(90.0, 100.0), (45.0, 50.0), (80.0, 100.0)], "plain", bar=0.9)
    assert figure.ratio == Spread(0.9, 0.8, 0.9, 3)
    assert figure.baseline == Spread(100.0, 50.0, 100.0, 3)
    assert figure.value.median == 80.0
    assert figure.ok is True


@pytest.mark.parametrize(
    ("value", "at_least", "ok"),
    [(5.0, True, True), (4.9, True, False), (5.0, False, True), (5.1, False, False)],
)
def test_a_bar_has_a_right_side(value: float, at_least: bool, ok: bool) -> None:
    assert Figure("a/b", Spread.of([value]), "ms", bar=5.0, at_least=at_least).ok is ok


def test_without_a_bar_nothing_is_judged() -> None:
    assert Figure("a/b", Spread.of([1.0]), "ms").ok is None
    assert Figure("a/b", Spread.of([1.0]), "ms", bar=1.0, judged="ratio").ok is None


def test_the_json_of_a_figure() -> None:
    entry = compared("part/name", "Gbit/s", [(1.0, 3.0)], "plain", bar=0.5, detail={"why": 1}).as_json()
    assert json.loads(json.dumps(entry)) == {
        "name": "part/name",
        "value": 1.0,
        "unit": "Gbit/s",
        "minimum": 1.0,
        "maximum": 1.0,
        "samples": 1,
        "against": "plain",
        "baseline": 3.0,
        "ratio": 0.33333,
        "ratio_minimum": 0.33333,
        "ratio_maximum": 0.33333,
        "bar": 0.5,
        "bar_on": "ratio",
        "at_least": True,
        "ok": False,
        "detail": {"why": 1},
        "why": "",
    }


def test_percentiles_by_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 1.0) == 100.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([1.0, 2.0], 0.5) == 1.0
