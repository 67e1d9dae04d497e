"""Plain tables and durations for terminals."""

from __future__ import annotations

from collections.abc import Sequence


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under headings, columns as wide as they need to be."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]
    return "\n".join(lines)


def pairs(values: Sequence[tuple[str, str]]) -> str:
    """One "name: value" a line, values aligned."""
    width = max((len(name) for name, _ in values), default=0)
    return "\n".join(f"{name + ':':<{width + 1}} {value}" for name, value in values)


def duration(seconds: float) -> str:
    """A time span the way people say it: 42 s, 3 min 10 s, 2 h 5 min, 4 d 3 h."""
    whole = max(0, round(seconds))
    for unit, size, smaller, smaller_size in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def octets(count: int) -> str:
    """A number of octets with a decimal unit."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
