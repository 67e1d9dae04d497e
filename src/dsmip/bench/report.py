"""A run as text: tables for a terminal, and the page docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dsmip.bench.figures import Figure, Spread
from dsmip.bench.measures import MEASURES, outcome
from dsmip.bench.run import PARTS, Report

_TITLES = {
    "handover": "Handover",
    "throughput": "Throughput",
    "signalling": "Signalling",
    "scale": "Scale",
}
_PROFILES = (
    "Taken in the same run, of the very thing that missed its bar: the kernel by sampling (perf), Python by "
    "its own profiler, which makes calls dearer than they are."
)
_ABOUT = {
    "handover": (
        "Tours through the lab with a packet every millisecond each way over IPv6 and IPv4; everything is "
        "timed on the wire. *Our share* starts when the message that makes the new address usable passes "
        "(router advertisement, DHCP ACK, or the answer that confirms a known network) and ends when the "
        "first packets of both families have passed over the new path in both directions. Its steps, as "
        "medians: *detection* (until the mobile router has taken notice), *update* (until the Binding "
        "Update passes), *answer* (until the acknowledgement passes), *data* (until the first packets "
        "have passed). *Beside wireguard-go*: the same moves to and fro between a public IPv4 network and "
        "one behind a NAT, with a packet every millisecond each way or from the outside only, from the new "
        "address being there until the first packets have arrived at the far ends. WireGuard is set up as "
        "`wg-quick` does it, with the recommended PersistentKeepalive of 25 s, and gets address and route by "
        "hand. It sends to where the last packet came from, so with packets from outside only it waits until "
        "the vehicle sends a keepalive of its own accord: for a peer that goes on sending every 10 s (the "
        "moves are spread evenly over these), otherwise within 25 s. Debian's wireguard-go "
        "itself sends nothing after a change of address until a handshake is due, up to 15 s (*untouched*); "
        "the kernel's WireGuard does not wait, so in the other figures wireguard-go is made to forget its "
        "old address beforehand."
    ),
    "throughput": (
        "Five namespaces in a line: correspondent, home agent, network, mobile router, host. The host has "
        "a mobile and a plain address; measurement and baseline take turns over the same nodes and "
        "cables. Small packets come from a generator that floods, and are counted where they leave the "
        "home agent; the generator works on the same core, so the time of a packet without it is given as "
        "well. They have 64 octets of room in front, as drivers of network cards leave: with less, the "
        "kernel moves every packet into a larger buffer to make room for outer headers. The time of the "
        "eBPF program alone is the kernel's own account of its runs."
    ),
    "signalling": (
        "Binding Updates of a fleet of mobile routers, half of them behind NATs, each moving to another "
        "care-of address with every update: authenticated (RFC 4285), with a mobile network prefix and an "
        "IPv4 home address. Built beforehand. Engine and store run in one process and take updates in "
        "batches, as the daemon does, with one commit a batch. Of the larger fleet, moving round by "
        "round, some thousands are kept as objects and all others as octets. *daemon* is `dsmip run` over a "
        "cable, the fleet being on the other end."
    ),
    "scale": (
        "A home agent with so many mobile routers configured and registered, every tenth of them with two "
        "care-of addresses. Memory is that of the daemon beyond one that serves nobody, plus all of the "
        "maps, divided by the mobile routers: a binding is all that is kept for one, however many care-of "
        "addresses it has. A restart is `kill -9`, a new start and the "
        "first acknowledged Binding Update, with data passing all the while."
    ),
}


def part_of(figure: Figure) -> str:
    """Which part of the bench a figure belongs to."""
    return figure.name.partition("/")[0]


def number(value: float) -> str:
    """With as many digits as say something."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 1000:
        return f"{value:,.0f}"
    if magnitude >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"


def bar_of(figure: Figure) -> str:
    """The bar in words, "" without one."""
    if figure.bar is None:
        return ""
    sign = "≥" if figure.at_least else "≤"
    what = "ratio " if figure.judged == "ratio" else ""
    return f"{what}{sign} {number(figure.bar)}"


def verdict(figure: Figure) -> str:
    """Whether the bar is met, "" without one."""
    return {None: "", True: "met", False: "missed"}[figure.ok]


def told(figure: Figure) -> str:
    """What the bar is held against, with its unit."""
    if figure.judged == "ratio" and figure.ratio is not None:
        return spread(figure.ratio)
    return f"{spread(figure.value)} {figure.unit}"


def spread(found: Spread | None) -> str:
    """Median and extremes."""
    if found is None:
        return ""
    if found.count == 1:
        return number(found.median)
    return f"{number(found.median)} ({number(found.minimum)} to {number(found.maximum)})"


def detail(values: Mapping[str, object]) -> str:
    """What explains a figure, in one line."""
    parts = []
    for name, value in values.items():
        shown = number(float(value)) if isinstance(value, int | float) else str(value)
        if shown not in ("", "[]"):
            parts.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def tables(report: Report) -> RenderableType:
    """For people at a terminal."""
    groups: list[RenderableType] = []
    for part in report.parts:
        table = Table(title=_TITLES[part], title_justify="left", header_style="bold")
        for heading in ("figure", "median (min to max)", "unit", "baseline", "ratio", "bar", ""):
            table.add_column(
                heading, overflow="fold", justify="left" if heading in ("figure", "unit") else "right"
            )
        for figure in _figures(report, part):
            style = {None: "", True: "green", False: "red"}[figure.ok]
            table.add_row(
                figure.name.partition("/")[2],
                spread(figure.value),
                figure.unit,
                number(figure.baseline.median) if figure.baseline else "",
                number(figure.ratio.median) if figure.ratio else "",
                bar_of(figure),
                Text(verdict(figure), style=style),
            )
        groups.append(table)
    missed = report.missed
    judged = sum(figure.ok is not None for figure in report.figures)
    groups.append(
        Text(
            f"{judged - len(missed)} of {judged} bars met, {len(missed)} missed",
            style="red" if missed else "green",
        )
    )
    return Group(*groups)


def page(report: Report, picture: str = "") -> str:
    """docs/performance.md; `picture` is the name of the image beside it, "" = none."""
    machine = report.machine
    missed = report.missed
    judged = [figure for figure in report.figures if figure.ok is not None]
    lines = [
        "# Performance",
        "",
        "Made by `dsmip bench` (`make bench`); do not edit. Every figure stands beside its baseline from the",
        "same run and, where the design sets one, its bar. Values are medians with the extremes of all",
        "repetitions.",
        "",
        f"- {machine.processor}, {machine.cores} cores, {machine.memory / 2**30:.0f} GiB; {machine.kernel};"
        f" Python {machine.python}",
        f"- took {report.seconds / 60:.1f} minutes; load average {report.load[0]:.1f} before,"
        f" {report.load[1]:.1f} after",
        f"- {len(judged) - len(missed)} of {len(judged)} bars met" + (", missed:" if missed else ""),
        *(f"  - {figure.name}: {told(figure)}, bar {bar_of(figure)}" for figure in missed),
        "",
    ]
    lines += ["## The measures of the design", "", "| what | bar | in this run |", "|---|---|---|"]
    lines += [f"| {one.what} | {one.bar} | {outcome(one, report.figures)} |" for one in MEASURES]
    lines.append("")
    if picture:
        lines += [f"![Each figure in relation to its bar]({picture})", ""]
    for part in (part for part in PARTS if part in report.parts):
        lines += [f"## {_TITLES[part]}", "", _ABOUT[part], "", *_table(_figures(report, part)), ""]
    lines += _explanations(missed)
    return "\n".join(lines)


def _explanations(missed: Sequence[Figure]) -> list[str]:
    """A paragraph for each figure that missed its bar, from the profile taken of it."""
    if not missed:
        return []
    lines = ["## What was missed, and where it goes", "", _PROFILES, ""]
    for figure in missed:
        why = figure.why or detail(figure.detail) or "no profile was taken"
        lines += [f"**{figure.name}** {told(figure)}, bar {bar_of(figure)}. {why}", ""]
    return lines


def _table(figures: Iterable[Figure]) -> list[str]:
    lines = [
        "| figure | median (min to max) | unit | baseline | ratio | bar | |",
        "|---|---:|---|---:|---:|---:|---|",
    ]
    notes = []
    against = set()
    for figure in figures:
        name = figure.name.partition("/")[2]
        baseline = number(figure.baseline.median) if figure.baseline else ""
        cells = (
            name,
            spread(figure.value),
            figure.unit,
            baseline,
            spread(figure.ratio),
            bar_of(figure),
            f"**{verdict(figure)}**" if figure.ok is False else verdict(figure),
        )
        lines.append("| " + " | ".join(cells) + " |")
        if figure.detail and (explained := detail(figure.detail)):
            notes.append(f"- {name}: {explained}")
        if figure.against:
            against.add(figure.against)
    if against:
        lines += ["", f"Baselines: {'; '.join(sorted(against))}."]
    if notes:
        lines += ["", *notes]
    return lines


def _figures(report: Report, part: str) -> Sequence[Figure]:
    return [figure for figure in report.figures if part_of(figure) == part]
