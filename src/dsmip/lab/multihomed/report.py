"""The tour as text for people: live lines, and tables at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dsmip.lab.multihomed import measure
from dsmip.lab.multihomed.measure import FlowShare, Move
from dsmip.lab.multihomed.result import IN_A_ROW_BAR, SILENT_BAR_MS, Result
from dsmip.lab.multihomed.scenario import Kind
from dsmip.lab.multihomed.tour import Progress

_FIGURES = ("moved up", "moved down", "outage v6", "outage v4", "lost v6", "lost v4", "twice", "late")
_STYLES = {Kind.PLANNED: "green", Kind.PULLED: "yellow", Kind.SILENT: "magenta"}


def progress(happening: Progress) -> RenderableType:
    """One line about what goes on."""
    place = f"[{happening.number}/{happening.total}] " if happening.number else ""
    return Text.assemble((place, "dim"), (happening.text, "red" if happening.failed else ""))


def tour(result: Result) -> RenderableType:
    """A tour's result: one row a handover, then flows, sessions and the bars."""
    moves = Table(title="Handovers (times in ms)", title_justify="left", header_style="bold")
    for heading in ("kind", "from", "to", "tunnel"):
        moves.add_column(heading, overflow="fold")
    for heading in _FIGURES:
        moves.add_column(heading, justify="right")
    for move in result.moves:
        moves.add_row(*_row(move), style="red" if move.stay.failed else "")
    parts: list[RenderableType] = [moves]
    if result.flows:
        parts.append(_flows(result.flows))
    sessions = Table("session", "octets", "", title="Sessions", title_justify="left")
    for session in result.sessions:
        broken = Text(f"broken: {session.broken}", style="red")
        state = broken if session.broken else Text("unbroken", style="green")
        sessions.add_row(session.name, f"{session.octets:,}", state)
    parts.append(sessions)
    parts.append(_bars(result))
    parts += [Text(line, style="red") for line in (*result.failed, *result.missed)]
    return Group(*parts)


def _row(move: Move) -> list[RenderableType]:
    stay = move.stay
    return [
        Text(stay.kind.value, style=_STYLES[stay.kind]),
        str(stay.came_from),
        str(stay.to),
        move.tunnel or "-",
        _number(move.moved_ms["up"]),
        _number(move.moved_ms["down"]),
        _number(move.outage_ms["v6"]),
        _number(move.outage_ms["v4"]),
        _count(move.lost["v6"]),
        _count(move.lost["v4"]),
        str(sum(move.duplicates.values())),
        str(sum(move.reordered.values())),
    ]


def _flows(flows: Sequence[FlowShare]) -> RenderableType:
    table = Table("flow", "up over", "down over", "sent", "lost", "delivered twice", title_justify="left")
    table.title = "Flows on links of their own, two of which lose 5 % each"
    for flow in flows:
        ways = [
            ", ".join(f"{link} ({count:,})" for link, count in sorted(flow.links[way].items())) or "-"
            for way in ("up", "down")
        ]
        lost = f"{flow.lost:,} ({100 * flow.loss:.2f} %)"
        table.add_row(flow.flow, *ways, f"{flow.sent:,}", lost, str(flow.duplicates))
    return table


def _bars(result: Result) -> RenderableType:
    planned = result.of_kind(Kind.PLANNED)
    lost = sum(sum(move.lost.values()) for move in planned)
    lines = [
        f"{len(planned)} planned handovers lost {lost} packets; the longest row without loss is "
        f"{measure.in_a_row(result.moves)} (bar: {IN_A_ROW_BAR})"
    ]
    if result.silent_worst_ms is not None:
        lines.append(
            f"After a silent death traffic was back within {result.silent_worst_ms:.0f} ms at worst "
            f"(bar: {SILENT_BAR_MS:.0f} ms)"
        )
    return Text("\n".join(lines))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _count(value: int) -> RenderableType:
    return Text(str(value), style="red" if value else "")
