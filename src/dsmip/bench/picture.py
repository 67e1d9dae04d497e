"""All figures with a bar in one picture: how far each is on the right side of it, or on the wrong one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from dsmip.bench.figures import Figure, Spread
from dsmip.bench.report import bar_of, told

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#57606a",
    "text.color": "#24292f",
    "svg.hashsalt": "dsmip",
    "svg.fonttype": "none",
}
_MET, _MISSED, _BAR = "#1a7f37", "#cf222e", "#24292f"
#: Of what is within the axes, in inches; the words to both sides take what they need.
_WIDTH, _ROW, _FRAME = 5.0, 0.24, 0.6
_DPI = 160
#: Drawn no farther than so many times the bar away from it.
_FARTHEST = 4.0


def margins(figure: Figure) -> Spread | None:
    """The figure in units of its bar, turned so that 1 or more is well; None where that cannot be said (no
    bar, or a bar of nothing)."""
    found = figure.ratio if figure.judged == "ratio" else figure.value
    bar = figure.bar
    if found is None or not bar:
        return None
    if figure.at_least:
        return Spread(found.median / bar, found.minimum / bar, found.maximum / bar, found.count)
    return Spread(
        _inverse(found.median, bar), _inverse(found.maximum, bar), _inverse(found.minimum, bar), found.count
    )


def _inverse(value: float, bar: float) -> float:
    """How often `value` goes into the bar; what is nothing or less goes in very often."""
    return min(_FARTHEST, bar / value) if value > 0 else _FARTHEST


def draw(figures: Sequence[Figure], paths: Iterable[Path]) -> None:
    """Draw into each path; the suffix (.png, .svg) says how."""
    rows = [(figure, found) for figure in figures if (found := margins(figure)) is not None]
    with pyplot.rc_context(_STYLE):
        drawing, axis = pyplot.subplots(figsize=(_WIDTH, _FRAME + _ROW * max(1, len(rows))))
        for place, (figure, found) in enumerate(reversed(rows)):
            colour = _MET if figure.ok else _MISSED
            low, high = (min(_FARTHEST, limit) for limit in (found.minimum, found.maximum))
            axis.plot(
                [low, high], [place, place], color=colour, linewidth=4, alpha=0.3, solid_capstyle="butt"
            )
            axis.plot([min(_FARTHEST, found.median)], [place], "o", color=colour, markersize=5)
            axis.text(_FARTHEST * 1.02, place, f"{told(figure)}   bar {bar_of(figure)}", va="center")
        axis.axvline(1, color=_BAR, linewidth=1, linestyle="--")
        axis.set_yticks(range(len(rows)), [figure.name for figure, _ in reversed(rows)])
        axis.set_xlim(0, _FARTHEST)
        axis.set_xlabel("times as good as the bar (dashed); dot: median, shade: all repetitions")
        axis.set_ylim(-0.7, len(rows) - 0.3)
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
            drawing.savefig(path, dpi=_DPI, bbox_inches="tight", metadata=metadata)
        pyplot.close(drawing)
