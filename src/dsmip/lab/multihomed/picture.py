"""The timeline of the tour: a lane a link, with the flows that go over it, its round trips, the handovers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dsmip.lab.multihomed.measure import Move
from dsmip.lab.multihomed.result import Lane, Timeline
from dsmip.lab.multihomed.scenario import VIDEO, VOICE, Kind
from dsmip.lab.picture import STYLE, bins, loss_events

_BIN = 0.1
_WIDTH, _LANE_HEIGHT = 15.0, 1.75
_DPI = 110

_PLUGGED = "#f2f4f7"
_FLOWS: dict[str, tuple[str, str]] = {
    "v6": ("IPv6", "#0550ae"),
    "v4": ("IPv4", "#bc4c00"),
    "tcp": ("TCP", "#8c959f"),
    VIDEO.name: (VIDEO.name, "#1a7f37"),
    VOICE.name: (VOICE.name, "#8250df"),
}
_KINDS: dict[Kind, tuple[str, str, str]] = {
    Kind.PLANNED: ("planned", "#1a7f37", "o"),
    Kind.PULLED: ("cable pulled", "#bf8700", "X"),
    Kind.SILENT: ("silent death", "#cf222e", "v"),
}
_LOSS = "#cf222e"
#: Losses closer together than this, in seconds, are one event.
_APART = 0.8


def draw(timeline: Timeline, paths: Sequence[Path]) -> None:
    """Draw the timeline into files; the name's ending says which kind."""
    with matplotlib.rc_context(STYLE):
        count = len(timeline.lanes)
        figure, axes = pyplot.subplots(
            count + 1,
            1,
            sharex=True,
            figsize=(_WIDTH, _LANE_HEIGHT * count + 1.3),
            layout="constrained",
            gridspec_kw={"height_ratios": [*([1.0] * count), 0.45]},
        )
        ceiling = _ceiling(timeline.lanes)
        for axis, lane in zip(axes, timeline.lanes, strict=False):
            _draw_lane(axis, lane, ceiling)
            _mark_moves(axis, lane.link, timeline.moves, ceiling)
        _draw_losses(axes[-1], timeline)
        axes[-1].set_xlim(0, timeline.end)
        axes[-1].set_xlabel("seconds")
        figure.legend(handles=_legend(), loc="outside upper center", ncols=9, frameon=False, fontsize=8)
        for path in paths:
            figure.savefig(path, dpi=_DPI, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(figure)


def _ceiling(lanes: Sequence[Lane]) -> float:
    """The top of every lane in ms: all but the slowest few packets are below it."""
    found = (point for lane in lanes for trips in lane.round_trips.values() for point in trips)
    trips = sorted(1000 * trip for _, trip in found if trip is not None)
    return max(20.0, 1.25 * trips[int(0.995 * (len(trips) - 1))]) if trips else 100.0


def _draw_lane(axis: Any, lane: Lane, ceiling: float) -> None:
    row = ceiling / 9
    depth = len(_FLOWS) * row
    for visit in lane.visits:
        axis.axvspan(visit.start, visit.end, color=_PLUGGED, linewidth=0, zorder=0)
        axis.annotate(
            visit.network,
            (visit.start, ceiling),
            xytext=(2, -1),
            textcoords="offset points",
            ha="left",
            va="top",
            fontsize=7,
            color="#57606a",
        )
    for place, (flow, (_, color)) in enumerate(_FLOWS.items()):
        bars = [(start, end - start) for start, end in lane.flows.get(flow, ())]
        axis.broken_barh(bars, (-row * (place + 1), 0.8 * row), color=color, linewidth=0, zorder=2)
    for family, trips in lane.round_trips.items():
        medians, maxima = bins(trips, _BIN)
        seconds = [moment for moment, _ in medians]
        middles = [1000 * trip for _, trip in medians]
        slowest = [1000 * trip for _, trip in maxima]
        color = _FLOWS[family][1]
        axis.fill_between(seconds, middles, slowest, color=color, alpha=0.2, linewidth=0, zorder=1)
        axis.plot(seconds, middles, color=color, linewidth=0.9, zorder=3)
    axis.axhline(0, color="#d0d7de", linewidth=0.6, zorder=1)
    axis.set_ylim(-depth, ceiling)
    axis.set_yticks([tick for tick in (0, 20, 40, 60, 80, 100, 150, 200) if tick < ceiling])
    axis.set_ylabel(f"{lane.link}\nround trip, ms", fontsize=8)


def _mark_moves(axis: Any, link: str, moves: Sequence[tuple[float, Move]], ceiling: float) -> None:
    """A handover stands on the lane of the link that came to its end, and its line runs through all lanes."""
    for moment, move in moves:
        _, color, marker = _KINDS[move.stay.kind]
        axis.axvline(moment, color=color, linewidth=0.6, alpha=0.6, zorder=1)
        if move.stay.came_from.link == link:
            axis.plot([moment], [0.62 * ceiling], marker=marker, color=color, markersize=6, zorder=5)


def _draw_losses(axis: Any, timeline: Timeline) -> None:
    """Packets lost, both directions together, and the longest silence of each handover that had one."""
    tallest = 1
    for family, shift in (("v6", -0.12), ("v4", 0.12)):
        for moment, count in loss_events(timeline.losses[family], _APART):
            axis.bar(moment + shift, count, width=0.25, color=_FLOWS[family][1], zorder=3)
            tallest = max(tallest, count)
    for moment, move in timeline.moves:
        _, color, _ = _KINDS[move.stay.kind]
        axis.axvline(moment, color=color, linewidth=0.6, alpha=0.6, zorder=1)
        if any(move.lost.values()):
            worst = max(move.outage_ms.values())
            axis.annotate(
                f"{worst:.0f} ms",
                (moment, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, -1),
                textcoords="offset points",
                ha="left",
                va="top",
                fontsize=6.5,
                color=_LOSS,
            )
    axis.set_ylim(0, 1.35 * tallest)
    axis.set_ylabel("lost", fontsize=8)


def _legend() -> list[Any]:
    flows = [Patch(color=color, label=name) for name, color in _FLOWS.values()]
    kinds = [
        Line2D([], [], color=color, marker=marker, linewidth=0.8, label=name)
        for name, color, marker in _KINDS.values()
    ]
    return [*flows, *kinds, Patch(color=_PLUGGED, label="plugged in")]
