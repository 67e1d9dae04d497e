"""The measures of the design, section 9, and which figures of a run say whether they are met."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dsmip.bench.figures import Figure


@dataclass(frozen=True, slots=True)
class Measure:
    """What is asked for, the bar in the design's words, and a pattern for the names of the figures."""

    what: str
    bar: str
    pattern: str

    def figures(self, figures: Sequence[Figure]) -> list[Figure]:
        """Those of a run that are held against this bar."""
        return [
            figure
            for figure in figures
            if figure.bar is not None and re.fullmatch(self.pattern, figure.name) is not None
        ]


MEASURES = (
    Measure(
        "sessions broken over a tour of all network kinds", "0", r"handover/sessions broken over a tour .*"
    ),
    Measure(
        "packets lost in a make-before-break handover, 1,000 packets/s each way",
        "0",
        r"handover/packets lost, make before break, .*",
    ),
    Measure(
        "our share of a break-before-make handover: new address usable to first data packet over the "
        "new path",
        "one round trip to the home agent + 10 ms",
        r"handover/.*: our share beyond one round trip",
    ),
    Measure(
        "back into a network seen before: link up to first data packet",
        "two round trips + 20 ms",
        r"handover/.*: link up to first packet beyond two round trips",
    ),
    Measure("interface event to BU on the wire, p99", "5 ms", r"handover/event to Binding Update, p99"),
    Measure(
        "bulk TCP through each tunnel format / plain forwarding over the same path",
        "≥ 0.95",
        r"throughput/bulk TCP IPv.-in-\S+ (up|down)",
    ),
    Measure(
        "small packets (64 B) through the home agent / plain forwarding",
        "≥ 0.80",
        r"throughput/64 B packets IPv.-in-\S+ (up|down)",
    ),
    Measure(
        "BU/BA exchanges per second, one core, RFC 4285 checked, bindings persisted",
        "≥ 10,000 (in-memory store 20,000)",
        r"signalling/(in memory|SQLite|daemon, SQLite)",
    ),
    Measure(
        "memory per binding with 100,000 bindings, daemon and maps together",
        "≤ 2 KiB",
        r"scale/memory per binding(| after a restart), 100,000 bindings",
    ),
    Measure(
        "restart with 100,000 bindings: data packets lost / time until BUs are served",
        "0 / < 5 s",
        r"scale/(data packets lost meanwhile|kill -9 to Binding Updates served), 100,000 bindings",
    ),
)


def outcome(measure: Measure, figures: Sequence[Figure]) -> str:
    """Whether this run meets the bar, in a few words."""
    found = measure.figures(figures)
    missed = [figure for figure in found if not figure.ok]
    if not found:
        return "not measured in this run"
    if not missed:
        return "met" if len(found) == 1 else f"met by all {len(found)} figures"
    return "**missed**" if len(found) == 1 else f"**missed** by {len(missed)} of {len(found)} figures"
