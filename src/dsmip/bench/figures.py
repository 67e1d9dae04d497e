"""Figures: one measured quantity each, its spread over repetitions, its baseline and its bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, extremes and number of the samples of one quantity."""

    median: float
    minimum: float
    maximum: float
    count: int

    @classmethod
    def of(cls, samples: Iterable[float]) -> Spread:
        """Raises ValueError when there are none."""
        values = sorted(samples)
        if not values:
            raise ValueError("no samples")
        return cls(median(values), values[0], values[-1], len(values))


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a report.

    `value` is in `unit`; `baseline` the same quantity of what it is compared with, from the same run, and
    `against` what that is. `ratio` is of samples taken side by side. The bar concerns the median of `judged`,
    "value" or "ratio"; `at_least` says on which side of it is well. `detail` has what explains the figure, as
    JSON; `why` is a paragraph on where the time or the memory goes, of a figure that missed its bar.
    """

    name: str
    value: Spread
    unit: str
    against: str = ""
    baseline: Spread | None = None
    ratio: Spread | None = None
    bar: float | None = None
    judged: str = "value"
    at_least: bool = True
    detail: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        found = self.ratio if self.judged == "ratio" else self.value
        if self.bar is None or found is None:
            return None
        return found.median >= self.bar if self.at_least else found.median <= self.bar

    def as_json(self) -> dict[str, Any]:
        """The figure's entry in `figures`."""
        return {
            "name": self.name,
            "value": _rounded(self.value.median),
            "unit": self.unit,
            "minimum": _rounded(self.value.minimum),
            "maximum": _rounded(self.value.maximum),
            "samples": self.value.count,
            "against": self.against,
            "baseline": _rounded(self.baseline.median) if self.baseline else None,
            "ratio": _rounded(self.ratio.median) if self.ratio else None,
            "ratio_minimum": _rounded(self.ratio.minimum) if self.ratio else None,
            "ratio_maximum": _rounded(self.ratio.maximum) if self.ratio else None,
            "bar": self.bar,
            "bar_on": self.judged if self.bar is not None else None,
            "at_least": self.at_least,
            "ok": self.ok,
            "detail": dict(self.detail),
            "why": self.why,
        }


#: Where finished figures go while a measurement runs, and what is told to people who wait.
Collect = Callable[[Figure], None]
Say = Callable[[str], None]


def compared(
    name: str,
    unit: str,
    pairs: Sequence[tuple[float, float]],
    against: str,
    *,
    bar: float | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Figure:
    """A figure out of (measured, baseline) pairs, each taken side by side; the bar is on their ratio."""
    return Figure(
        name,
        Spread.of(measured for measured, _ in pairs),
        unit,
        against,
        Spread.of(baseline for _, baseline in pairs),
        Spread.of(measured / baseline for measured, baseline in pairs),
        bar,
        "ratio",
        detail=detail or {},
    )


def percentile(samples: Iterable[float], share: float) -> float:
    """The smallest sample that at least `share` (0 to 1) of all samples do not exceed (nearest rank)."""
    values = sorted(samples)
    if not values:
        raise ValueError("no samples")
    return values[max(0, math.ceil(share * len(values)) - 1)]


def _rounded(value: float) -> float:
    """Five significant digits: more than any of this is good for."""
    return float(f"{value:.5g}")
