"""How long handovers take, and where the time goes: tours through the lab with packets every millisecond.

Each tour is in a lab of its own, so that first visits are first visits. What counts is seen on the wire; of
the mobile router's own events only the moment is taken at which it heard that an address is usable.

A tour's first move leaves the home link. There the home agent has to look for duplicates of the home address
for a second before it takes the address over (RFC 6275 section 10.3.1), so that move is a kind of its own,
and the bar does not concern it.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmip.bench.figures import Collect, Figure, Say, Spread, percentile
from dsmip.lab.lab import Lab
from dsmip.lab.result import OURS_BAR_MS, REVISIT_BAR_MS, Move
from dsmip.lab.streams import FAMILIES
from dsmip.lab.tour import Tour

#: Every kind of network, each a first time and again.
ROUTE = (
    *("wifi6", "cafe4", "nat4", "dual", "fw4", "cgn4"),
    *("cafe4", "wifi6", "nat4", "dual", "fw4", "cgn4"),
)
#: Seconds on each network: a first registration in an IPv4 network settles on its tunnel within one.
DWELL = 2.0
EVENT_TO_UPDATE_BAR_MS = 5.0
LEAVING_HOME = "IPv6, from the home link"
_IPV6, _NAT = ("wifi6", "dual"), ("nat4", "cgn4")
_ADDRESS_USABLE = "address-usable"
_PERCENTILE = 0.99


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
                detail={"median": Spread.of(waits).median},
            )
        )
    return found


def _of_kind(kind: str, samples: Sequence[Sample]) -> list[Figure]:
    trips = _known(one.round_trip for one in samples)
    if not trips:
        return []
    steps = {
        name: Spread.of(values).median
        for name in ("detection", "update", "answer", "data")
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
        detail={f"{step}_ms": round(value, 3) for step, value in steps.items()},
    )


def measure(
    collect: Collect, say: Say, *, repeat: int, route: Sequence[str] = ROUTE, dwell: float = DWELL
) -> None:
    """`repeat` tours. Raises LabError when the lab cannot be built."""
    samples: list[Sample] = []
    failed: list[str] = []
    for number in range(repeat):
        with Lab.up(f"handover{os.getpid()}") as lab:
            lab.start_daemons()
            tour = Tour(
                lab,
                route,
                dwell=dwell,
                listener=lambda progress: (
                    say(f"tour {number + 1} of {repeat}: {progress.network}")  # noqa: B023 - called at once
                    if progress.what == "moving"
                    else None
                ),
            )
            result = tour.run()
            events = _events(lab.events_file("mr"))
        samples += [
            sample(move, events, from_home=number == 0)
            for number, move in enumerate(result.moves)
            if not move.failed
        ]
        failed += result.failed
    for figure in figures(samples):
        collect(figure)
    collect(
        Figure(
            "handover/moves that failed",
            Spread.of([float(len(failed))]),
            "moves",
            bar=0.0,
            at_least=False,
            detail={"of": repeat * len(route), "failures": failed},
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
