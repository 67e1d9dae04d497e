"""Each measure of the design is told in the report, with whether it is met."""

from __future__ import annotations

from dsmip.bench import handover, measures, report, run, throughput
from dsmip.bench.figures import Figure, Spread, compared
from dsmip.bench.measures import MEASURES, outcome
from dsmip.bench.run import Machine, Report

MACHINE = Machine("Linux 6.1", "Some Processor", 2, 8 << 30, "3.11.2")


def figure(name: str, value: float, bar: float | None = 1.0) -> Figure:
    return Figure(name, Spread.of([value]), "x", bar=bar)


def everything(value: float) -> list[Figure]:
    """A figure of every name that a whole run makes for a bar of the design."""
    names = [
        "handover/sessions broken over a tour of all networks",
        "handover/packets lost, make before break, 1,000 packets/s each way",
        "handover/IPv4, known: our share beyond one round trip",
        "handover/IPv4, known: link up to first packet beyond two round trips",
        "handover/event to Binding Update, p99",
        *(f"signalling/{what}" for what in ("in memory", "SQLite", "daemon, SQLite")),
        "scale/memory per binding, 100,000 bindings",
        "scale/memory per binding after a restart, 100,000 bindings",
        "scale/data packets lost meanwhile, 100,000 bindings",
        "scale/kill -9 to Binding Updates served, 100,000 bindings",
    ]
    for form in throughput.FORMATS:
        for direction in ("down", "up"):
            names += [f"throughput/{what} {form.name} {direction}" for what in ("bulk TCP", "64 B packets")]
    return [figure(name, value) for name in names]


def test_every_measure_has_its_figures_and_every_figure_its_measure() -> None:
    all_met = everything(1.0)
    assert [outcome(measure, all_met).partition(" ")[0] for measure in MEASURES] == ["met"] * len(MEASURES)
    assert sum(len(measure.figures(all_met)) for measure in MEASURES) == len(all_met)
    assert len(measures.MEASURES) == 10
    assert 100_000 in run.FULL.bindings
    assert handover.PLANNED > 0


def test_outcomes() -> None:
    small = next(measure for measure in MEASURES if measure.what.startswith("small packets"))
    wanted = "throughput/64 B packets IPv6-in-UDP {}"
    pairs = [figure(wanted.format("down"), 0.5), figure(wanted.format("up"), 2.0)]
    assert outcome(small, pairs) == "**missed** by 1 of 2 figures"
    assert outcome(small, pairs[:1]) == "**missed**"
    assert outcome(small, pairs[1:]) == "met"
    assert outcome(small, [figure(wanted.format("down") + ", 32 flow rules, one flow", 0.5)]) == (
        "not measured in this run"
    )


def test_the_page_tells_each_measure_and_explains_each_miss() -> None:
    missed = compared(
        "throughput/64 B packets IPv6-in-IPv6 down", "1000 packets/s", [(7.0, 10.0)], "plain", bar=0.8
    )
    explained = Figure("signalling/SQLite", Spread.of([9000.0]), "exchanges/s", bar=1e4, why="Parsing 40%.")
    page = report.page(
        Report(
            MACHINE,
            ("throughput", "signalling"),
            1.0,
            (0.0, 0.0),
            [missed, explained, figure("scale/x", 2.0)],
        )
    )
    assert all(f"| {measure.what} | {measure.bar} |" in page for measure in MEASURES)
    assert "**signalling/SQLite** 9,000 exchanges/s, bar ≥ 10,000. Parsing 40%." in page
    assert (
        "**throughput/64 B packets IPv6-in-IPv6 down** 0.70, bar ratio ≥ 0.80. no profile was taken" in page
    )
    assert "scale/x**" not in page
