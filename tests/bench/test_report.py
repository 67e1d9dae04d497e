"""A run as JSON, as a page and as a picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from dsmip.bench import picture, report
from dsmip.bench.figures import Figure, Spread, compared
from dsmip.bench.run import Machine, Report

MACHINE = Machine("Linux 6.1", "Some Processor", 2, 8 << 30, "3.11.2")
FIGURES = (
    compared("throughput/bulk", "Gbit/s", [(9.0, 10.0), (8.0, 10.0)], "plain", bar=0.95),
    Figure("signalling/in memory", Spread.of([21000.0]), "exchanges/s", bar=20000.0, detail={"a_b": 12.5}),
    Figure("scale/lost", Spread.of([0.0]), "packets", bar=0.0, at_least=False),
    Figure("scale/time", Spread.of([2.0, 4.0]), "s", bar=6.0, at_least=False),
)
REPORT = Report(MACHINE, ("throughput", "signalling", "scale"), 90.0, (0.1, 1.2), FIGURES)


def test_the_json_of_a_run() -> None:
    whole = json.loads(json.dumps(REPORT.as_json()))
    assert [entry["name"] for entry in whole["figures"]] == [figure.name for figure in FIGURES]
    assert all(
        {"name", "value", "unit", "baseline", "ratio", "bar", "ok"} <= entry.keys()
        for entry in whole["figures"]
    )
    assert whole["machine"]["kernel"] == "Linux 6.1"
    assert [entry["ok"] for entry in whole["figures"]] == [False, True, True, True]


def test_the_page_names_what_was_missed_and_where_it_was_measured() -> None:
    page = report.page(REPORT, "performance.svg")
    assert "Some Processor, 2 cores, 8 GiB; Linux 6.1; Python 3.11.2" in page
    assert "- 3 of 4 bars met, missed:\n  - throughput/bulk: 0.85 (0.80 to 0.90), bar ratio ≥ 0.95\n" in page
    assert (
        "| bulk | 8.50 (8.00 to 9.00) | Gbit/s | 10.0 | 0.85 (0.80 to 0.90) | ratio ≥ 0.95 | **missed** |"
        in page
    )
    assert "| in memory | 21,000 | exchanges/s |  |  | ≥ 20,000 | met |" in page
    assert "- in memory: a b 12.5" in page
    assert "(performance.svg)" in page
    assert "## Handover" not in page


def test_the_tables_have_every_figure() -> None:
    console = Console(width=140, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(report.tables(REPORT))
    text = console.export_text()
    for words in ("bulk", "in memory", "lost", "3 of 4 bars met, 1 missed"):
        assert words in text


def test_margins_are_one_at_the_bar_whichever_side_is_well() -> None:
    bulk, memory, lost, time = FIGURES
    found = picture.margins(bulk)
    assert found is not None
    assert (found.median, found.minimum, found.maximum) == pytest.approx(
        (0.85 / 0.95, 0.8 / 0.95, 0.9 / 0.95)
    )
    assert picture.margins(memory) == Spread(1.05, 1.05, 1.05, 1)
    assert picture.margins(time) == Spread(2.0, 1.5, 3.0, 2)
    assert picture.margins(lost) is None


def test_the_picture_is_the_same_twice(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        picture.draw(FIGURES, [tmp_path / name])
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "throughput/bulk" in (tmp_path / "a.svg").read_text()


def test_this_machine_can_be_described() -> None:
    machine = Machine.this()
    assert machine.cores >= 1
    assert machine.memory > 1 << 20
    assert machine.processor
