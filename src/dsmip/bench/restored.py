"""A home agent that comes up with a very large fleet in its store: where does growth come to an end first?

The fleet is registered beforehand by the engine itself, straight into the store that the program will read:
over a cable that would take minutes, and tell nothing new. So the first start is that of a machine that has
lost its power, with a full store and empty maps.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from dsmip.bench import fleet, frames, network, scale, signalling, waves
from dsmip.bench.daemon import FleetEnd, HomeAgentProcess, fleet_end, provision
from dsmip.bench.figures import Collect, Figure, Say, Spread
from dsmip.bench.network import Network
from dsmip.daemon.persistence import open_store
from dsmip.lab.errors import LabError

#: Vehicles that register at a time: their Binding Updates are in memory.
_PORTION = 50_000
_UPDATES = 256
#: Seconds between two data packets, and between two Binding Updates, while a start is watched.
_DATA_EVERY = 0.01
_UPDATE_EVERY = 0.05
_TOO_LONG = 900.0


def measure(collect: Collect, say: Say, size: int) -> None:
    """Start, memory, start after a crash and waves with `size` mobile routers. Raises LabError."""
    vehicles = fleet.vehicles(size, multihomed=True)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        register(place / "state", vehicles, say)
        watch(collect, say, place, vehicles)


def register(state: Path, vehicles: Sequence[fleet.Vehicle], say: Say) -> None:
    """Provision the fleet in this directory and put its bindings, as of the first round, into the store."""
    provision(state, vehicles)
    home_agent = signalling.engine(vehicles)
    with closing(open_store(None, "", state)) as store:
        for start in range(0, len(vehicles), _PORTION):
            say(f"{len(vehicles)} bindings: {start} are in the store")
            packets = fleet.updates(vehicles[start : start + _PORTION], 1, time.time())
            answered = signalling.exchange(home_agent, store, packets).exchanges
            if answered != len(packets):
                raise LabError(f"{answered} acknowledgements to {len(packets)} Binding Updates")


def watch(collect: Collect, say: Say, place: Path, vehicles: Sequence[fleet.Vehicle]) -> None:
    """Everything about the home agent, whose state is in `place` already. Raises LabError."""
    size = len(vehicles)
    with Network() as net, fleet_end(net) as end:
        empty, empty_maps = scale.empty_memory(net, place / "none", size)
        with HomeAgentProcess(net, place, [], capacity=size) as home_agent:
            say(f"{size} bindings: a home agent starts with empty maps")
            served, flowing = _start(home_agent, net, end, vehicles, say)
            name = f"start with empty maps to Binding Updates served, {size:,} bindings"
            collect(_seconds(name, served, processor_seconds=home_agent.cpu()))
            collect(_seconds(f"start with empty maps to data for the last, {size:,} bindings", flowing))
            began = time.monotonic()
            home_agent.await_rest()
            name = f"start with empty maps to all bindings in them, {size:,} bindings"
            filled = served + time.monotonic() - began
            collect(_seconds(name, filled, processor_seconds=home_agent.cpu()))
            bound = home_agent.bindings()
            if bound != size:
                raise LabError(f"{bound} bindings of {size} are there after a start")
            collect(scale.memory_figure(home_agent, vehicles, empty, empty_maps, bar=None))
            say(f"{size} bindings: killed and started again")
            packets = fleet.updates(vehicles[:_UPDATES], 3, time.time())
            served, lost = scale.restart(home_agent, net, end, vehicles, packets)
            home_agent.await_rest()
            collect(_seconds(f"kill -9 to Binding Updates served, {size:,} bindings", served))
            name = f"scale/data packets lost meanwhile, {size:,} bindings"
            collect(Figure(name, Spread.of([float(lost)]), "packets"))
            waves.measure(collect, say, home_agent, end, vehicles, 4)


def _start(
    home_agent: HomeAgentProcess,
    net: Network,
    end: FleetEnd,
    vehicles: Sequence[fleet.Vehicle],
    say: Say,
) -> tuple[float, float]:
    """Start it; seconds until it serves a Binding Update, and until data gets to the last vehicle there is in
    an IPv6 network without having sent one."""
    last = next(one for one in reversed(vehicles) if not (one.behind_nat or one.multihomed))
    data = frames.packet(network.CORRESPONDENT, last.home_address)
    octets = [frames.frame(network.mac("ha", "c0"), network.mac("cn", "c0"), data)]
    packets = fleet.updates(vehicles[:_UPDATES], 2, time.time())
    served = flowing = 0.0
    with (
        closing(frames.Sender(net.namespace("cn"), "c0", octets)) as stream,
        closing(end.watch(packets)) as seen,
    ):
        began = data_due = update_due = time.monotonic()
        home_agent.start()
        while not (served and flowing):
            now = time.monotonic()
            if now > began + _TOO_LONG or home_agent.child.poll() is not None:
                raise LabError(f"not everything is served {_TOO_LONG:g} s after a start")
            if now >= update_due and not served:
                update_due = now + _UPDATE_EVERY
                seen.send_update()
            if now >= data_due:
                data_due = now + _DATA_EVERY
                stream.send(1)
            seen.drain()
            if seen.acknowledged and not served:
                served = now - began
                say(f"{len(vehicles)} bindings: serves after {served:.1f} s")
            flowing = flowing or (now - began if seen.tunnelled else 0.0)
            time.sleep(_DATA_EVERY / 4)
    home_agent.await_answer()
    return served, flowing


def _seconds(what: str, value: float, **detail: float) -> Figure:
    return Figure(f"scale/{what}", Spread.of([value]), "s", detail=detail)
