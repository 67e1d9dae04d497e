"""Plain tables for terminals."""

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
