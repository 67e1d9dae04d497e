"""A whole fleet at once: refreshes after an outage, a tunnel that everybody leaves, bindings that all end."""

from __future__ import annotations

import time
from collections.abc import Sequence

from dsmip.bench import fleet
from dsmip.bench.daemon import FleetEnd, HomeAgentProcess
from dsmip.bench.figures import Collect, Figure, Say, Spread, percentile
from dsmip.lab.errors import LabError

#: Milliseconds an answer may take, for all but one in a hundred.
ANSWER_BAR_MS = 20.0
#: Seconds within which everybody refreshes, and for how long of them that is watched.
_OUTAGE = 60.0
_WATCHED = 5.0
#: Of a larger fleet so many are taken for all.
_MOST = 100_000
#: Vehicles that leave a tunnel together, and that are cut off together.
_MOVING = 10_000
_ENDING = 20_000
#: Seconds of the bindings that end: as few as a home agent grants, in units of 4 seconds.
_SHORT = 2
#: Refreshes a second of those that stay.
_OTHERS = 200.0
_PATIENCE = 3.0
_TOO_LONG = 60.0
_UNIT = 4


def measure(
    collect: Collect,
    say: Say,
    home_agent: HomeAgentProcess,
    end: FleetEnd,
    vehicles: Sequence[fleet.Vehicle],
    number: int,
) -> None:
    """All of it, with a fleet that is registered. `number` is of a round not used yet."""
    size, movers = len(vehicles), vehicles[:_MOST]
    say(f"{size} bindings: {len(movers)} of them move, then all of them refresh")
    updates = fleet.updates(movers, number, time.time())
    arrivals, began, unanswered = end.exchange(updates, 256, _PATIENCE)
    if unanswered:
        raise LabError(f"{unanswered} of {len(movers)} Binding Updates were not answered")
    # Where a fleet that grows comes to an end first.
    largest = round(_OUTAGE * len(movers) / (arrivals[-1] - began))
    beside = f" of {size:,}" if len(movers) < size else ""
    collect(
        Figure(
            f"scale/fleet that can move within a minute, by what {len(movers):,}{beside} take",
            Spread.of([largest]),
            "vehicles",
        )
    )
    rate = size / _OUTAGE
    some = vehicles[: max(1, int(rate * _WATCHED))]
    waits = end.paced(_refreshes(some, number), rate, _PATIENCE)
    collect(_figure(f"answer to a refresh, all {size:,} within a minute, p99", waits, len(some)))
    moving = vehicles[:_MOVING]
    say(f"{size} bindings: {len(moving)} handovers at once")
    seconds, sent = end.storm(fleet.updates(moving, number + 2, time.time()), 1.0, _TOO_LONG)
    collect(
        Figure(
            f"scale/{len(moving):,} handovers at once, until the last one is answered",
            Spread.of([seconds]),
            "s",
            detail={"updates_sent": sent, "answers_a_second": round(len(moving) / seconds)},
        )
    )
    _ends(collect, say, home_agent, end, vehicles, number + 3)


def _refreshes(vehicles: Sequence[fleet.Vehicle], number: int) -> list[bytes]:
    """From where they were in that round, with the sequence number after it."""
    now = time.time()
    return [vehicle.update(number + 1, now, place=number) for vehicle in vehicles]


def _ends(
    collect: Collect,
    say: Say,
    home_agent: HomeAgentProcess,
    end: FleetEnd,
    vehicles: Sequence[fleet.Vehicle],
    number: int,
) -> None:
    """Bindings end, all within a moment, while others refresh."""
    ending = vehicles[: min(_ENDING, len(vehicles) // 2)]
    staying = vehicles[len(ending) :]
    say(f"{len(vehicles)} bindings: {len(ending)} of them end")
    now = time.time()
    end.exchange([vehicle.update(number, now, lifetime=_SHORT) for vehicle in ending], 256, _PATIENCE)
    time.sleep(max(0.0, _SHORT * _UNIT - 1 - (time.time() - now)))
    others = staying[: int(_OTHERS * _WATCHED)]
    waits = end.paced(fleet.updates(others, number, time.time()), _OTHERS, _PATIENCE)
    left = home_agent.bindings()
    name = f"answer while {len(ending):,} bindings end, p99"
    collect(_figure(name, waits, len(others), ended=len(vehicles) - left))


def _figure(name: str, waits: Sequence[float], asked: int, **detail: float) -> Figure:
    return Figure(
        f"scale/{name}",
        Spread.of([1000 * percentile(waits, 0.99)]),
        "ms",
        bar=ANSWER_BAR_MS,
        at_least=False,
        detail={
            "median_ms": 1000 * Spread.of(waits).median,
            "unanswered": asked - len(waits),
            **detail,
        },
    )
