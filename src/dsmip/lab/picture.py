"""The timeline of a tour: round-trip times and losses of both families over the networks passed through."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter

from dsmip.lab.result import Band, Timeline

#: Everything that would otherwise come from the user's settings, and what makes two SVGs alike.
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#57606a",
    "axes.labelcolor": "#24292f",
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
    "text.color": "#24292f",
    "svg.hashsalt": "dsmip",
    "svg.fonttype": "none",
    "path.simplify": False,
}
#: Seconds that make one point of the line.
_BIN = 0.04
_SIZE = (11.0, 5.0)
_DPI = 160

_LEGEND = (
    f"seconds   (line: median of {1000 * _BIN:.0f} ms; shade: slowest packet; "
    "red: packets lost and longest silence, both directions)"
)
_TITLES = {"v6": "IPv6", "v4": "IPv4"}
_LINES = {"v6": "#0550ae", "v4": "#953800"}
_LOSS = "#cf222e"
#: Tint of a band by the tunnel used in it.
_TINTS = {
    "home": "#dafbe1",
    "IPv6-in-IPv6": "#ddf4ff",
    "IPv6-in-IPv4": "#fff8c5",
    "UDP": "#fbefff",
}
_OTHER_TINT = "#f6f8fa"

#: Losses closer together than this, in seconds, are one event.
_APART = 1.0
_DEFAULT_FLOOR, _DEFAULT_CEILING = 0.1, 10.0

Point = tuple[float, float]


def draw(timeline: Timeline, paths: Iterable[Path]) -> None:
    """Draw the timeline into each path; the suffix (.png, .svg) says how."""
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(2, 1, figsize=_SIZE, sharex=True, gridspec_kw={"hspace": 0.12})
        floor, ceiling = _limits(timeline)
        for axis, family in zip(axes, ("v6", "v4"), strict=True):
            _draw_family(axis, timeline, family, floor, ceiling)
        _label_bands(axes[0], timeline.bands)
        axes[-1].set_xlabel(_LEGEND)
        figure.subplots_adjust(left=0.07, right=0.985, top=0.87, bottom=0.1)
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
            figure.savefig(path, dpi=_DPI, metadata=metadata)
        pyplot.close(figure)


def bins(
    points: Iterable[tuple[float, float | None]], width: float = _BIN
) -> tuple[list[Point], list[Point]]:
    """Median and maximum round trip of each `width` seconds; where all packets were lost the value is NaN, so
    that a line drawn through the points has a gap there."""
    groups: dict[int, list[float]] = {}
    for moment, trip in points:
        group = groups.setdefault(math.floor(moment / width), [])
        if trip is not None:
            group.append(trip)
    medians, maxima = [], []
    for number, group in sorted(groups.items()):
        middle = (number + 0.5) * width
        group.sort()
        medians.append((middle, group[len(group) // 2] if group else math.nan))
        maxima.append((middle, group[-1] if group else math.nan))
    return medians, maxima


def loss_events(losses: Sequence[float], apart: float = _APART) -> list[tuple[float, int]]:
    """Losses that belong together: (when the first was sent, how many)."""
    events: list[tuple[float, int]] = []
    last = -math.inf
    for moment in losses:
        if moment - last > apart:
            events.append((moment, 1))
        else:
            events[-1] = (events[-1][0], events[-1][1] + 1)
        last = moment
    return events


def _limits(timeline: Timeline) -> tuple[float, float]:
    """Half decades that hold every round trip, in milliseconds."""
    trips = sorted(
        1000 * trip
        for points in timeline.round_trips.values()
        for _, trip in points
        if trip is not None and trip > 0
    )
    if not trips:
        return _DEFAULT_FLOOR, _DEFAULT_CEILING
    low = trips[len(trips) // 1000]
    floor = 10 ** (math.floor(2 * math.log10(low)) / 2)
    # Above that, room is kept free for what was lost.
    ceiling = 10 ** (math.ceil(2 * math.log10(trips[-1])) / 2 + 0.7)
    return floor, ceiling


def _draw_family(axis: Any, timeline: Timeline, family: str, floor: float, ceiling: float) -> None:
    for band in timeline.bands:
        axis.axvspan(
            band.start, band.end, color=_TINTS.get(band.tunnel or "", _OTHER_TINT), linewidth=0, zorder=0
        )
        axis.axvline(band.start, color="#ffffff", linewidth=1.2, zorder=1)
    medians, maxima = bins(timeline.round_trips[family])
    seconds = [moment for moment, _ in medians]
    middles = [1000 * trip for _, trip in medians]
    axis.fill_between(
        seconds,
        middles,
        [1000 * trip for _, trip in maxima],
        color=_LINES[family],
        alpha=0.25,
        linewidth=0,
        zorder=2,
    )
    axis.plot(seconds, middles, color=_LINES[family], linewidth=1.0, zorder=3)
    for moment, count in loss_events(timeline.losses[family]):
        axis.axvline(moment, color=_LOSS, linewidth=1.1, zorder=4)
        _note(axis, (moment, ceiling), f"{count} lost", 0)
    for band in timeline.bands:
        if family in band.outage_ms:
            _note(axis, (band.start, ceiling), f"{band.outage_ms[family]:.0f} ms out", 1)
    axis.set_yscale("log")
    axis.set_ylim(floor, ceiling)
    axis.set_xlim(0, timeline.bands[-1].end if timeline.bands else 1)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(FuncFormatter(lambda _value, _: ""))
    axis.grid(axis="y", color="#d0d7de", linewidth=0.5, zorder=1)
    axis.set_ylabel(f"{_TITLES[family]} round trip, ms")


def _note(axis: Any, place: Point, text: str, line: int) -> None:
    axis.annotate(
        text,
        place,
        xytext=(3, -3 - 11 * line),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=8,
        color=_LOSS,
    )


def _label_bands(axis: Any, bands: Sequence[Band]) -> None:
    for band in bands:
        middle = (band.start + band.end) / 2
        tunnel = "no tunnel" if band.tunnel == "home" else band.tunnel or "-"
        for text, rise, size, weight in (
            (band.network, 16, 9.5, "bold"),
            (tunnel, 5, 7.5, "normal"),
        ):
            axis.annotate(
                text,
                (middle, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, rise),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=size,
                fontweight=weight,
            )
