"""How many Binding Updates a second one core answers: through engine and store, and through the daemon."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dsmip.bench import fleet, profile
from dsmip.bench.apart import apart
from dsmip.bench.daemon import HomeAgentProcess, fleet_end
from dsmip.bench.figures import Collect, Figure, Say, Spread, percentile
from dsmip.bench.network import Network
from dsmip.core.actions import ForgetBinding, SendDatagram, SendPacket, StoreBinding, StoreReplay
from dsmip.core.authentication import mn_ha_authenticator
from dsmip.core.home_agent.engine import HomeAgent, HomeAgentConfig
from dsmip.daemon import garbage
from dsmip.daemon.runtime import instant
from dsmip.lab.errors import LabError
from dsmip.store.api import Store
from dsmip.store.memory import MemoryStore
from dsmip.store.sqlite import SqliteStore

#: Exchanges a second on one core, as the design wants them.
MEMORY_BAR = 20_000.0
PERSISTED_BAR = 10_000.0
#: Milliseconds an answer may take at `_SHARE` of the highest rate, for all but one in a hundred.
ANSWER_BAR_MS = 20.0
_SHARE = 0.7

#: Packets a turn: as many as the daemon takes from its device before it writes to its store.
BATCH = 64
#: Seconds the timestamp of an update may be off: they are built long before they are sent.
TOLERANCE = 86400.0
#: Seconds without an acknowledgement after which the rest counts as unanswered.
_PATIENCE = 3.0
_HASHING = 0.2
#: Seconds until the former addresses of the moves at the highest rate are taken out of the data plane: at a
#: share of it there are as many fewer of them.
_GRACES = 4.0
#: Repetitions with the large fleet, at most.
_LARGE_REPEAT = 3
#: The finest step of a process's processor time as the kernel tells it.
_CPU_STEP = 0.01


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
    """Feed Binding Updates in batches, as the daemon does: one commit a batch, then its answers leave."""
    answered = 0
    began, began_cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(packets), batch):
        now = instant()
        for packet in packets[start : start + batch]:
            home_agent.receive(packet, now)
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


def measure(
    collect: Collect,
    say: Say,
    *,
    repeat: int,
    size: int,
    rounds: int,
    large_size: int,
    daemon_size: int,
    window: int = 256,
) -> None:
    """All of it: `size` vehicles move `rounds` times per repetition, and `large_size`, which are more than
    stay objects, once. The daemon's part needs root."""
    vehicles = fleet.vehicles(size)
    say(f"building {size * (rounds + 1)} Binding Updates")
    garbage.settle()  # as the daemon does
    now = time.time()
    packets = [fleet.updates(vehicles, number, now + number / 1000) for number in range(1, rounds + 2)]
    memory = functools.partial(_moves, vehicles, MemoryStore(), packets)
    sqlite = functools.partial(_moves_with_sqlite, vehicles, packets)
    in_memory: list[Rate] = []
    in_sqlite: list[Rate] = []
    for number in range(repeat):
        say(f"engine and store, {number + 1} of {repeat}")
        in_memory.append(apart(memory))
        in_sqlite.append(apart(sqlite))
    hashes = [_authenticators_per_second() / 2 for _ in range(repeat)]
    figure = _figure("in memory", in_memory, MEMORY_BAR, "checking and signing alone (two HMAC-SHA1)", hashes)
    collect(_with_profile(figure, memory))
    alone = [rate.per_second for rate in in_memory]
    figure = _figure("SQLite", in_sqlite, PERSISTED_BAR, "the same engine with the store in memory", alone)
    collect(_with_profile(figure, sqlite))
    collect(_large_fleet(say, large_size, in_sqlite[: min(repeat, _LARGE_REPEAT)]))
    alone = [rate.per_second for rate in in_sqlite]
    found, waits, why = _through_daemon(say, repeat, fleet.vehicles(daemon_size), window)
    figure = _figure("daemon, SQLite", found, PERSISTED_BAR, "engine and SQLite alone", alone)
    collect(replace(figure, why=why))
    rate = _SHARE * Spread.of(rate.per_second for rate in found).median
    collect(
        Figure(
            f"signalling/daemon, p99 of the answer at {_SHARE:.0%} of that rate",
            Spread.of(1000 * percentile(each, 0.99) for each in waits),
            "ms",
            bar=ANSWER_BAR_MS,
            at_least=False,
            detail={
                "updates_a_second": rate,
                "median_ms": Spread.of(1000 * wait for each in waits for wait in each).median,
                "unanswered": daemon_size * repeat - sum(len(each) for each in waits),
            },
        )
    )


def _figure(what: str, rates: Sequence[Rate], bar: float, against: str, baseline: Sequence[float]) -> Figure:
    """The bar is on the value; ratios are of samples taken one after the other."""
    values = [rate.per_second for rate in rates]
    return Figure(
        f"signalling/{what}",
        Spread.of(values),
        "exchanges/s",
        against,
        Spread.of(baseline),
        Spread.of(value / base for value, base in zip(values, baseline, strict=True)),
        bar,
        detail={"per_cpu_second": Spread.of(rate.per_cpu_second for rate in rates).median},
    )


def _with_profile(figure: Figure, call: Callable[[], object]) -> Figure:
    """With where the time goes, if the bar is missed."""
    return figure if figure.ok else replace(figure, why=profile.python(call))


def _moves(vehicles: Sequence[fleet.Vehicle], store: Store, packets: Sequence[Sequence[bytes]]) -> Rate:
    """The first round registers and is not counted; in the others everybody moves."""
    home_agent = engine(vehicles)
    exchange(home_agent, store, packets[0])
    rates = [exchange(home_agent, store, later) for later in packets[1:]]
    wanted, done = len(vehicles) * (len(packets) - 1), sum(rate.exchanges for rate in rates)
    if done != wanted:
        raise RuntimeError(f"{done} acknowledgements to {wanted} Binding Updates")
    return Rate(done, sum(rate.seconds for rate in rates), sum(rate.cpu for rate in rates))


def _moves_with_sqlite(vehicles: Sequence[fleet.Vehicle], packets: Sequence[Sequence[bytes]]) -> Rate:
    with (
        tempfile.TemporaryDirectory() as directory,
        SqliteStore(Path(directory) / "bench.sqlite") as store,
    ):
        return _moves(vehicles, store, packets)


def _large_fleet(say: Say, size: int, smaller: Sequence[Rate]) -> Figure:
    """The same with a fleet of which a part only is kept as objects, beside what was measured of a smaller
    one."""
    vehicles = fleet.vehicles(size)
    now = time.time()
    packets = [fleet.updates(vehicles, number, now + number / 1000) for number in (1, 2)]
    found = []
    for number in range(len(smaller)):
        say(f"engine and SQLite with {size:,} mobile nodes, {number + 1} of {len(smaller)}")
        found.append(apart(functools.partial(_moves_with_sqlite, vehicles, packets)))
    against = "the same with a smaller fleet"
    alone = [rate.per_second for rate in smaller]
    return _figure(f"SQLite, {size:,} mobile nodes", found, PERSISTED_BAR, against, alone)


def _authenticators_per_second() -> float:
    vehicle = fleet.Vehicle(1)
    covered = bytes(120)
    count, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < _HASHING:
        for _ in range(BATCH):
            mn_ha_authenticator(vehicle.key, vehicle.home_address, vehicle.home_address, covered)
        count += BATCH
    return count / passed


def _through_daemon(
    say: Say, repeat: int, vehicles: Sequence[fleet.Vehicle], window: int
) -> tuple[list[Rate], list[list[float]], str]:
    """`dsmip run` in a namespace, asked over a cable by a generator on the other core.

    Its rates when asked as fast as it answers; the seconds every answer took at a share of that; and where
    its time goes.
    """
    rates = []
    waits = []
    why = ""
    with (
        Network() as net,
        tempfile.TemporaryDirectory() as directory,
        HomeAgentProcess(net, Path(directory), vehicles) as home_agent,
        fleet_end(net) as end,
    ):
        home_agent.start()
        home_agent.await_answer()
        for number in range(repeat + 1):  # the first round registers and is not counted
            say(f"through the daemon, {number} of {repeat}")
            packets = fleet.updates(vehicles, number + 1, time.time())
            cpu = home_agent.cpu()
            arrivals, began, unanswered = end.exchange(packets, window, _PATIENCE)
            if unanswered > len(packets) // 100:
                raise LabError(f"{unanswered} of {len(packets)} Binding Updates were not answered")
            if number:
                used = max(home_agent.cpu() - cpu, _CPU_STEP)
                rates.append(Rate(len(arrivals), arrivals[-1] - began, used))
        rate = _SHARE * Spread.of(rate.per_second for rate in rates).median
        time.sleep(_GRACES)
        for number in range(repeat):
            say(f"through the daemon at {rate:.0f} updates a second, {number + 1} of {repeat}")
            packets = fleet.updates(vehicles, repeat + number + 2, time.time())
            waits.append(end.paced(packets, rate, _PATIENCE))
        if profile.available():
            packets = fleet.updates(vehicles, 2 * repeat + 2, time.time())
            asked = functools.partial(end.exchange, packets, window, _PATIENCE)
            why = profile.system_calls(profile.stacks(asked, process=home_agent.child.pid))
    return rates, waits, why
