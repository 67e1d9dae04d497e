"""How long handovers take, and where the time goes: tours through the lab with packets every millisecond.

Each tour is in a lab of its own, so that first visits are first visits. What counts is seen on the wire; of
the mobile router's own events only the moment is taken at which it heard that an address is usable.

What is learnt of a network is forgotten with its lab, so the first visits are few and the later ones many:
known networks are gone round several times in each lab.

A tour's first move leaves the home link. There the home agent has to look for duplicates of the home address
for a second before it takes the address over (RFC 6275 section 10.3.1), so that move is a kind of its own,
and the bar does not concern it.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmip.bench.figures import Collect, Figure, Say, Spread, percentile
from dsmip.lab.lab import Lab
from dsmip.lab.multihomed import scenario
from dsmip.lab.multihomed.scenario import Kind
from dsmip.lab.multihomed.tour import Tour as MultihomedTour
from dsmip.lab.result import OURS_BAR_MS, REVISIT_BAR_MS, Move, Result
from dsmip.lab.streams import FAMILIES
from dsmip.lab.tour import Progress, Tour
from dsmip.lab.uplinks import MULTIHOMED

#: Every kind of network, a first time.
FIRST_VISITS = ("wifi6", "cafe4", "nat4", "dual", "fw4", "cgn4")
#: And again, as often as wanted.
ROUND = ("cafe4", "wifi6", "nat4", "dual", "fw4", "cgn4")
#: Seconds on each network at least: a first registration in an IPv4 network settles on its tunnel within one.
DWELL = 2.0
#: Handovers between links of which the old one stays until the new one is in use.
PLANNED = 9
EVENT_TO_UPDATE_BAR_MS = 5.0
LEAVING_HOME = "IPv6, from the home link"
_IPV6, _NAT = ("wifi6", "dual"), ("nat4", "cgn4")
_ADDRESS_USABLE = "address-usable"
_STEPS = ("detection", "update", "answer", "data")
#: Upper limits of the bins of a histogram, ms.
BINS = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 50.0)
_PERCENTILE = 0.99
#: Of the slowest moves, as many as are shown.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """One move to a network of a `kind`, as the steps it consisted of: milliseconds each, None = not seen.

    `detection` is from the message that made the address usable until the mobile router had taken notice,
    `update` from there until the Binding Update passed, `answer` until its acknowledgement passed, `data`
    until the first packets of both families had passed over the new path in both directions.
    """

    kind: str
    round_trip: float | None
    detection: float | None
    update: float | None
    answer: float | None
    data: float | None
    event_to_update: float | None
    ours: float | None
    first_packet: float | None
    revisited: bool


def kind_of(network: str, *, revisited: bool, from_home: bool) -> str:
    """The kind of move, in the words of the report."""
    if from_home:
        return LEAVING_HOME
    family = "IPv6" if network in _IPV6 else "IPv4 behind a NAT" if network in _NAT else "IPv4"
    return f"{family}, {'known' if revisited else 'new'}"


def sample(move: Move, events: Iterable[Mapping[str, Any]], *, from_home: bool = False) -> Sample:
    """The steps of one move; `events` are those of the mobile router."""
    found = move.handover
    noticed = next(
        (
            1000 * (event["at"] - found.plugged)
            for event in events
            if event["event"] == _ADDRESS_USABLE
            and event["address"] == found.care_of
            and event["at"] >= found.plugged
        ),
        None,
    )
    first = _latest(found.first_packet_ms)
    return Sample(
        kind=kind_of(found.network, revisited=move.revisited, from_home=from_home),
        round_trip=move.rtt_ms,
        detection=_between(found.address_ms, noticed),
        update=_between(noticed, found.update_ms),
        answer=_between(found.update_ms, found.binding_ms),
        data=_between(found.binding_ms, first),
        event_to_update=_between(found.address_ms, found.update_ms),
        ours=_latest(found.ours_ms),
        first_packet=first,
        revisited=move.revisited,
    )


def figures(samples: Sequence[Sample]) -> list[Figure]:
    """What the samples say, by kind."""
    kinds: defaultdict[str, list[Sample]] = defaultdict(list)
    for one in samples:
        kinds[one.kind].append(one)
    found = [figure for kind in sorted(kinds) for figure in _of_kind(kind, kinds[kind])]
    waits = _known(one.event_to_update for one in samples)
    if waits:
        found.append(
            Figure(
                "handover/event to Binding Update, p99",
                # One number of many samples: the extremes are those of the samples.
                Spread(percentile(waits, _PERCENTILE), min(waits), max(waits), len(waits)),
                "ms",
                bar=EVENT_TO_UPDATE_BAR_MS,
                at_least=False,
                detail={"median": Spread.of(waits).median, "histogram": histogram(waits)},
                why=_slowest(samples),
            )
        )
    return found


def histogram(values: Iterable[float]) -> str:
    """How many values are up to each limit of BINS and beyond the one before, without the empty bins."""
    counts = Counter(bisect_left(BINS, value) for value in values)
    limits = [*(f"≤ {limit:g} ms" for limit in BINS), f"> {BINS[-1]:g} ms"]
    return "; ".join(f"{limits[place]}: {counts[place]}" for place in sorted(counts))


def _slowest(samples: Sequence[Sample]) -> str:
    """Which moves took longest from the event to the Binding Update, and in which step."""
    timed = [one for one in samples if one.event_to_update is not None]
    worst = sorted(timed, key=lambda one: -(one.event_to_update or 0.0))[:_SHOWN]
    told = []
    for one in worst:
        steps = ", ".join(
            f"{name} {value:.1f} ms"
            for name, value in (("detection", one.detection), ("update", one.update))
            if value is not None
        )
        told.append(f"{one.event_to_update:.1f} ms ({one.kind}: {steps})")
    return f"The slowest of {len(timed)}: " + "; ".join(told) + "."


def _of_kind(kind: str, samples: Sequence[Sample]) -> list[Figure]:
    trips = _known(one.round_trip for one in samples)
    if not trips:
        return []
    steps = {
        name: Spread.of(values).median
        for name in _STEPS
        if (values := _known(getattr(one, name) for one in samples))
    }
    pairs = [(one.ours, one.round_trip) for one in samples]
    over = [ours - trip for ours, trip in pairs if ours is not None and trip is not None]
    found = []
    bar = None if kind == LEAVING_HOME else OURS_BAR_MS
    if over:
        found.append(_beyond(f"handover/{kind}: our share beyond one round trip", over, trips, bar, steps))
    if samples[0].revisited:
        back = [
            one.first_packet - 2 * one.round_trip
            for one in samples
            if one.first_packet is not None and one.round_trip is not None
        ]
        if back:
            name = f"handover/{kind}: link up to first packet beyond two round trips"
            found.append(_beyond(name, back, trips, REVISIT_BAR_MS, {}))
    return found


def _beyond(
    name: str, values: Sequence[float], trips: Sequence[float], bar: float | None, steps: Mapping[str, float]
) -> Figure:
    return Figure(
        name,
        Spread.of(values),
        "ms",
        "the round trip to the home agent",
        Spread.of(trips),
        bar=bar,
        at_least=False,
        detail={
            **{f"{step}_ms": round(value, 3) for step, value in steps.items()},
            "histogram": histogram(values),
        },
    )


def route(rounds: int) -> tuple[str, ...]:
    """Every kind of network once, then all of them so many times again."""
    return (*FIRST_VISITS, *ROUND * rounds)


def measure(
    collect: Collect,
    say: Say,
    *,
    repeat: int,
    way: Sequence[str],
    dwell: float = DWELL,
    planned: int = PLANNED,
) -> None:
    """`repeat` tours from network to network this way, each in a lab of its own; then one with several
    uplinks and so many handovers between them. Raises LabError when a lab cannot be built."""
    samples: list[Sample] = []
    failed: list[str] = []
    broken: list[str] = []
    for number in range(repeat):
        with Lab.up(f"handover{os.getpid()}") as lab:
            lab.start_daemons()
            told = f"tour {number + 1} of {repeat}"
            result = _tour(lab, way, dwell, told, say)
            events = _events(lab.events_file("mr"))
        samples += [
            sample(move, events, from_home=number == 0)
            for number, move in enumerate(result.moves)
            if not move.failed
        ]
        failed += result.failed
        broken += [f"{session.name}: {session.broken}" for session in result.sessions if session.broken]
    for figure in figures(samples):
        collect(figure)
    collect(_none("moves that failed", "moves", failed, repeat * len(way)))
    collect(_none("sessions broken over a tour of all networks", "sessions", broken, repeat))
    _make_before_break(collect, say, planned)


def _tour(lab: Lab, way: Sequence[str], dwell: float, told: str, say: Say) -> Result:
    def listen(progress: Progress) -> None:
        if progress.what == "moving":
            say(f"{told}: {progress.network}, {progress.number} of {progress.total}")

    return Tour(lab, way, dwell=dwell, listener=listen).run()


def _none(what: str, unit: str, found: Sequence[str], of: int) -> Figure:
    """Something that should not happen at all: how often it did."""
    return Figure(
        f"handover/{what}",
        Spread.of([float(len(found))]),
        unit,
        bar=0.0,
        at_least=False,
        detail={"of": of, "which": "; ".join(found)},
    )


def _make_before_break(collect: Collect, say: Say, planned: int) -> None:
    """Handovers from link to link with the old one there until the new one is in use, a packet every
    millisecond each way."""
    start = scenario.START.network
    with Lab.up(f"breaks{os.getpid()}", at=start, uplinks=MULTIHOMED) as lab:
        lab.write_configs(policy=scenario.POLICY)
        lab.start_daemons()
        steps = [step for step in scenario.WHOLE if step.kind is Kind.PLANNED][:planned]
        result = MultihomedTour(
            lab, steps, flows_dwell=0.0, listener=lambda progress: say(f"several uplinks: {progress.text}")
        ).run()
    lost = [float(sum(move.lost.values())) for move in result.moves]
    collect(
        Figure(
            "handover/packets lost, make before break, 1,000 packets/s each way",
            Spread.of([sum(lost)]),
            "packets",
            bar=0.0,
            at_least=False,
            detail={"handovers": len(lost), "failures": "; ".join(result.failed)},
        )
    )


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _latest(values: Mapping[str, float | None]) -> float | None:
    """The later of both families; None when one never came."""
    known = [values[family] for family in FAMILIES]
    return None if None in known else max(value for value in known if value is not None)


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
