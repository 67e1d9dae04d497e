"""How many Binding Updates a second one core answers: through engine and store, and through the daemon."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dsmip.bench import fleet
from dsmip.core.actions import ForgetBinding, SendDatagram, SendPacket, StoreBinding, StoreReplay
from dsmip.core.home_agent import HomeAgent, HomeAgentConfig
from dsmip.core.types import Instant
from dsmip.store.api import Store

#: Packets a turn: as many as the daemon takes from its device before it writes to its store.
BATCH = 64
#: Seconds the timestamp of an update may be off: they are built long before they are sent.
TOLERANCE = 86400.0


@dataclass(frozen=True, slots=True)
class Rate:
    """Exchanges in a stretch of time; `cpu` is the processor time this process spent, in seconds."""

    exchanges: int
    seconds: float
    cpu: float

    @property
    def per_second(self) -> float:
        """By the clock on the wall."""
        return self.exchanges / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """By the processor's time: what other programs took does not count."""
        return self.exchanges / self.cpu


def engine(vehicles: Sequence[fleet.Vehicle]) -> HomeAgent:
    """A home agent engine that serves the fleet."""
    return HomeAgent(
        HomeAgentConfig(
            address=fleet.HOME_AGENT,
            ipv4_address=fleet.HOME_AGENT_IPV4,
            home_prefixes=(fleet.HOME_PREFIX,),
            ipv4_home_prefixes=(fleet.IPV4_HOME_PREFIX,),
            mobile_nodes=tuple(vehicle.entry() for vehicle in vehicles),
            timestamp_tolerance=TOLERANCE,
            max_bindings=len(vehicles),
        )
    )


def exchange(home_agent: HomeAgent, store: Store, packets: Sequence[bytes], batch: int = BATCH) -> Rate:
    """Feed Binding Updates in batches, as the daemon does: each batch is one commit, then its answers leave."""
    answered = 0
    began, began_cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(packets), batch):
        for packet in packets[start : start + batch]:
            home_agent.receive(packet, Instant(time.monotonic(), time.time()))
        for action in home_agent.actions():
            match action:
                case StoreBinding():
                    store.put(action.binding, action.replay)
                case StoreReplay():
                    store.put_replay(action.replay)
                case ForgetBinding():
                    store.forget(action.home_address)
                case SendPacket() | SendDatagram():
                    answered += 1
                case _:
                    pass
        store.flush()
    return Rate(answered, time.perf_counter() - began, time.process_time() - began_cpu)
