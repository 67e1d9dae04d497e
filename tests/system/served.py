"""A home agent with a registered fleet, from which something is taken away that it needs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from dsmip.bench import fleet, frames, network
from dsmip.bench.daemon import FleetEnd, HomeAgentProcess, fleet_end
from dsmip.bench.network import Network
from dsmip.daemon.control import ask

VEHICLES = fleet.vehicles(24)
#: Seconds to wait for acknowledgements that must not come, and for those that must.
SILENCE = 1.5
PATIENCE = 20.0
#: Updates on their way at a time.
WINDOW = 8


class Served:
    """A home agent with a registered fleet on the other end of a cable."""

    def __init__(self, net: Network, home_agent: HomeAgentProcess, end: FleetEnd) -> None:
        self.net, self.home_agent, self.end = net, home_agent, end
        self.round = 0
        self._told: list[tuple[float, str]] = []

    def moved(self, patience: float = PATIENCE, vehicles: list[fleet.Vehicle] = VEHICLES) -> int:
        """How many vehicles get an acknowledgement when all of them move."""
        self.round += 1
        return self.answered(fleet.updates(vehicles, self.round, time.time()), patience)

    def answered(self, packets: list[bytes], patience: float = PATIENCE) -> int:
        """How many of these Binding Updates get an acknowledgement, with whatever status."""
        arrivals, _, _ = self.end.exchange(packets, max(WINDOW, len(packets)), patience)
        return len(arrivals)

    def all_move_in_the_end(self) -> bool:
        return self.moved(SILENCE) == len(VEHICLES)

    def forwards(self, packets: int = 50) -> bool:
        """Whether data to a vehicle goes through, to the network it is in by now, without a loss."""
        reached = next(vehicle for vehicle in VEHICLES if not vehicle.behind_nat)
        data = frames.packet(network.CORRESPONDENT, reached.home_address)
        octets = [frames.frame(network.mac("ha", "c0"), network.mac("cn", "c0"), data)]
        with (
            closing(self.end.watch([data])) as watch,
            closing(frames.Sender(self.net.namespace("cn"), "c0", octets)) as stream,
        ):
            for _ in range(packets):
                stream.send(1)
            deadline = time.monotonic() + PATIENCE
            while watch.tunnelled < packets and time.monotonic() < deadline:
                watch.drain()
                time.sleep(0.01)
            return watch.tunnelled == packets

    def problems(self) -> list[str]:
        """What `dsmip status` says is wrong."""
        return [str(problem) for problem in ask(self.home_agent.name, "status")["problems"]]

    def refused(self) -> list[int]:
        """The statuses of the Binding Updates that were refused, as far as the events go back."""
        events = ask(self.home_agent.name, "events")
        return [int(event["status"]) for event in events if event["event"] == "refused"]

    def care_ofs(self) -> dict[str, str]:
        """Where the home agent has each mobile node, by name."""
        rows = ask(self.home_agent.name, "bindings")
        return {str(row["name"]): str(row["care_of"]) for row in rows}

    def told(self) -> list[str]:
        """The kinds of the events about the store, in order, also of those that others pushed out since."""
        events = [
            (float(event["time"]), str(event["event"])) for event in ask(self.home_agent.name, "events")
        ]
        latest = self._told[-1][0] if self._told else 0.0
        self._told += [(at, kind) for at, kind in events if kind.startswith("store-") and at > latest]
        return [kind for _, kind in self._told]


@contextmanager
def served(
    directory: Path,
    settings: str = "",
    capacity: int = 0,
    store: Callable[[Network], AbstractContextManager[str]] | None = None,
) -> Iterator[Served]:
    """`store` makes one in the network and gives its URL."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with ExitStack() as there:
        net = there.enter_context(Network())
        if store is not None:
            settings += f'store = "{there.enter_context(store(net))}"\n'
        home_agent = there.enter_context(
            HomeAgentProcess(net, directory, VEHICLES, capacity=capacity, settings=settings)
        )
        end = there.enter_context(fleet_end(net))
        home_agent.start()
        home_agent.await_answer()
        yield Served(net, home_agent, end)
        assert "Traceback" not in (directory / "ha.log").read_text()
