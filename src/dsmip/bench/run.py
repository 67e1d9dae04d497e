"""One run of `dsmip bench`: which parts, how thoroughly, on what machine; and its result as JSON."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmip import __version__
from dsmip.bench.figures import Collect, Figure, Say

PARTS = ("handover", "throughput", "signalling", "scale")


@dataclass(frozen=True, slots=True)
class Effort:
    """How thoroughly to measure: repetitions, tours and rounds through known networks in each, seconds of one
    transfer, and the sizes of fleets."""

    repeat: int
    tours: int
    tour_rounds: int
    #: Handovers beside WireGuard: packets each way, packets from outside only, wireguard-go left alone.
    roaming: tuple[int, int, int]
    seconds: float
    vehicles: int
    rounds: int
    large_fleet: int
    daemon_vehicles: int
    bindings: tuple[int, ...]
    #: Throughput beside the kernel's own tunnels and nothing else.
    kernel_tunnels: bool = False
    #: Scale with so many bindings in the store of a home agent that starts, and nothing else; 0 = not so.
    restored: int = 0


FULL = Effort(
    repeat=5,
    tours=4,
    tour_rounds=3,
    roaming=(12, 5, 4),
    seconds=1.0,
    vehicles=4000,
    rounds=4,
    large_fleet=20_000,
    daemon_vehicles=5000,
    bindings=(1000, 10_000, 100_000),
)
QUICK = Effort(
    repeat=3,
    tours=2,
    tour_rounds=1,
    roaming=(4, 2, 1),
    seconds=1.0,
    vehicles=2000,
    rounds=2,
    large_fleet=20_000,
    daemon_vehicles=2000,
    bindings=(1000, 10_000),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures were measured on."""

    kernel: str
    processor: str
    cores: int
    memory: int
    python: str

    @classmethod
    def this(cls) -> Machine:
        """The one this runs on."""
        return cls(
            kernel=f"{platform.system()} {platform.release()}",
            processor=_processor(),
            cores=len(os.sched_getaffinity(0)),
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            python=platform.python_version(),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a run found. `load` is how many processes wanted to run at its beginning and end: with more
    than the bench's own, figures are too low."""

    machine: Machine
    parts: tuple[str, ...]
    seconds: float
    load: tuple[float, float]
    figures: Sequence[Figure]

    @property
    def missed(self) -> list[Figure]:
        """Figures that do not meet their bar."""
        return [figure for figure in self.figures if figure.ok is False]

    def as_json(self) -> dict[str, Any]:
        """The object `dsmip bench --json` prints."""
        machine = self.machine
        return {
            "version": __version__,
            "machine": {
                "kernel": machine.kernel,
                "processor": machine.processor,
                "cores": machine.cores,
                "memory": machine.memory,
                "python": machine.python,
            },
            "parts": list(self.parts),
            "seconds": round(self.seconds, 1),
            "load": list(self.load),
            "figures": [figure.as_json() for figure in self.figures],
        }


def run(parts: Sequence[str], effort: Effort, say: Say) -> Report:
    """Measure these parts. Raises LabError when something that is needed is missing."""
    load = os.getloadavg()[0]
    began = time.monotonic()
    found: list[Figure] = []
    for part in parts:
        _MEASURES[part](effort, found.append, say)
    return Report(
        Machine.this(), tuple(parts), time.monotonic() - began, (load, os.getloadavg()[0]), tuple(found)
    )


# The parts are imported when they are run: each brings in layers of its own.


def _handover(effort: Effort, collect: Collect, say: Say) -> None:
    from dsmip.bench import handover, roaming

    handover.measure(collect, say, repeat=effort.tours, way=handover.route(effort.tour_rounds))
    each_way, outside, alone = effort.roaming
    roaming.measure(collect, say, each_way=each_way, outside=outside, alone=alone)


def _throughput(effort: Effort, collect: Collect, say: Say) -> None:
    from dsmip.bench import flows, kernel_tunnels, throughput

    if effort.kernel_tunnels:
        kernel_tunnels.measure(collect, say, repeat=effort.repeat, seconds=effort.seconds / 2)
        return
    throughput.measure(collect, say, repeat=effort.repeat, seconds=effort.seconds)
    flows.measure(collect, say, repeat=effort.repeat, seconds=effort.seconds)


def _signalling(effort: Effort, collect: Collect, say: Say) -> None:
    from dsmip.bench import signalling

    signalling.measure(
        collect,
        say,
        repeat=effort.repeat,
        size=effort.vehicles,
        rounds=effort.rounds,
        large_size=effort.large_fleet,
        daemon_size=effort.daemon_vehicles,
    )


def _scale(effort: Effort, collect: Collect, say: Say) -> None:
    from dsmip.bench import restored, scale

    if effort.restored:
        restored.measure(collect, say, effort.restored)
        return
    scale.measure(
        collect, say, repeat=min(3, effort.repeat), sizes=effort.bindings, seconds=effort.seconds / 2
    )


_MEASURES: dict[str, Callable[[Effort, Collect, Say], None]] = {
    "handover": _handover,
    "throughput": _throughput,
    "signalling": _signalling,
    "scale": _scale,
}


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1] if named else platform.machine()
