"""Runs the conformance suite and writes its result as a table: `python -m tests.conformance.table`.

Arguments are handed to pytest. Exits with pytest's status.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conformance import catalogue

PATH = Path(__file__).parents[2] / "docs" / "conformance.md"

_INTRODUCTION = """\
# Conformance

What the RFCs require of each role, and the tests that prove it. Made by `make conformance`, not by hand. A
row is one requirement; variants of it (flags, kinds of addresses, ways of de-registering ...) are parameters
of its tests, and it passes when all of them do. Rows that speak of packets on a link run against the real
daemon over real interfaces, the others against the protocol engine.

A row is *not applicable* when it needs what the role does not have yet; the reason stands beside it.
"""


@dataclass(slots=True, eq=False)
class Results:
    """A pytest plugin that notes how the tests of each row ended."""

    outcomes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    reasons: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    tests: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _rows: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            ids = tuple(identifier for mark in item.iter_markers("row") for identifier in mark.args)
            self._rows[item.nodeid] = ids
            name = getattr(item, "originalname", None) or item.name
            for identifier in ids:
                if name not in self.tests[identifier]:
                    self.tests[identifier].append(name)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        outcome = report.outcome
        reason = ""
        if hasattr(report, "wasxfail"):
            outcome, reason = ("failed", report.wasxfail.removeprefix("reason: "))
        elif report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
        for identifier in self._rows.get(report.nodeid, ()):
            self.outcomes[identifier].append(outcome)
            if reason and reason not in self.reasons[identifier]:
                self.reasons[identifier].append(reason)

    def of(self, row: catalogue.Row) -> tuple[str, str]:
        """Result and remark of one row."""
        remarks: list[str] = [row.note] if row.note else []
        if row.not_applicable:
            return "not applicable", row.not_applicable
        outcomes = self.outcomes.get(row.id, [])
        remarks += self.reasons.get(row.id, [])
        for result in ("failed", "skipped"):
            if result in outcomes:
                return result, "; ".join(remarks)
        return ("passed" if outcomes else "not run"), "; ".join(remarks)


def render(results: Results) -> str:
    """The table as Markdown."""
    lines = [_INTRODUCTION]
    sections = []
    totals: Counter[str] = Counter()
    for role, rows in catalogue.load().items():
        section = [f"## {catalogue.ROLES[role]}", "", *_table(results, rows, totals), ""]
        sections.append("\n".join(section))
    summary = ", ".join(f"{count} {result}" for result, count in totals.most_common())
    lines.append(f"{totals.total()} rows: {summary}.\n")
    return "\n".join([*lines, *sections])


def _table(results: Results, rows: Iterable[catalogue.Row], totals: Counter[str]) -> list[str]:
    lines = ["| row | requirement | RFC section | test | result |", "|---|---|---|---|---|"]
    for row in rows:
        result, remark = results.of(row)
        totals[result] += 1
        tests = "<br>".join(f"`{name}`" for name in results.tests.get(row.id, ())) or "-"
        shown = f"{result}: {remark}" if remark else result
        lines.append(f"| {row.id} | {row.title} | {', '.join(row.rfc)} | {tests} | {shown} |")
    return lines


def main(arguments: list[str]) -> int:
    """Run, write, and say where."""
    results = Results()
    status = pytest.main(
        [str(Path(__file__).parent), "-q", "--deselect", "tests/conformance/test_catalogue.py", *arguments],
        plugins=[results],
    )
    PATH.write_text(render(results))
    print(f"wrote {PATH}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
