"""What a home agent needs goes away and returns: it forwards, promises nothing it cannot keep, recovers.

`make soak` has the store away for a minute, `DSMIP_OUTAGE_SECONDS` says how long.
"""

from __future__ import annotations

import functools
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from dsmip.bench import fleet
from dsmip.bench.network import Network
from dsmip.core.types import IPAddress
from dsmip.daemon.control import ControlError, ask
from dsmip.lab import namespaces
from tests.store.conftest import RedisServer, redis, shared_redis
from tests.store.fail_over import Group, group
from tests.system.conftest import run, wait_until
from tests.system.served import PATIENCE, SILENCE, VEHICLES, Served, served

__all__ = ["redis", "shared_redis"]  # fixtures

pytestmark = pytest.mark.root

DISK = 1 << 20
#: Seconds a store stays away at least.
AWAY = float(os.environ.get("DSMIP_OUTAGE_SECONDS", "0"))


@contextmanager
def small_disk(directory: Path) -> Iterator[Path]:
    run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(directory))
    try:
        yield directory
    finally:
        run("umount", "-l", str(directory))


def filled(directory: Path) -> Path:
    """Take all the room there is."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


def outage(there: Served, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """While the store is away nobody is acknowledged and everybody is served; then all is well again."""
    assert there.moved() == len(VEHICLES)
    begin()
    back = time.monotonic() + AWAY
    while True:
        assert there.moved(SILENCE) == 0, "acknowledges what it may forget"
        assert there.forwards()
        assert there.told()[-1:] == ["store-failed"]
        assert any("The store cannot be written" in problem for problem in there.problems())
        if time.monotonic() >= back:
            break
    end()
    wait_until(lambda: there.told()[-1] == "store-recovered", PATIENCE, "the store recovers by itself")
    wait_until(there.all_move_in_the_end, PATIENCE, "everybody is acknowledged again")
    assert there.forwards()
    assert there.problems() == []


def test_a_redis_server_that_goes_away_and_comes_back(tmp_path: Path, redis: RedisServer) -> None:
    with served(tmp_path, f'store = "{redis.url}"\n') as there:
        outage(there, redis.kill, redis.start)
        assert there.told() == ["store-failed", "store-recovered"]
        # Now a server that has lost everything: it is told, and what is in the home agent is written again.
        redis.kill()
        redis.forget()
        redis.start()
        wait_until(there.all_move_in_the_end, PATIENCE, "everybody is acknowledged again")
        assert "store-lost" in there.told()
        there.home_agent.end(9)
        there.home_agent.start()
        there.home_agent.await_answer()
        assert there.home_agent.bindings() == len(VEHICLES)


@contextmanager
def watched_servers(directory: Path) -> Iterator[tuple[Served, Group]]:
    """A home agent whose store is a Redis master with a replica, beside it in its namespace."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    groups: list[Group] = []

    @contextmanager
    def store(net: Network) -> Iterator[str]:
        where = functools.partial(namespaces.command, net.namespace("ha"))
        with group(directory, (6379, 6380, 26379), where) as servers:
            groups.append(servers)
            yield servers.url

    with served(directory, store=store) as there:
        yield there, groups[0]


def test_a_redis_master_whose_replica_takes_over(tmp_path: Path) -> None:
    """What was acknowledged is in the promoted replica, and a home agent that starts finds it there."""
    with watched_servers(tmp_path) as (there, servers):
        assert there.moved() == len(VEHICLES)
        servers.end_master()
        there.moved(SILENCE)
        assert there.forwards()
        assert there.told()[:1] == ["store-failed"]
        wait_until(lambda: there.told()[-1] == "store-recovered", PATIENCE, "the store recovers by itself")
        assert servers.is_promoted()
        wait_until(there.all_move_in_the_end, PATIENCE, "everybody is acknowledged again")
        assert there.problems() == []
        acknowledged = there.care_ofs()
        there.home_agent.end(9)
        there.home_agent.start()
        there.home_agent.await_answer()
        assert there.care_ofs() == acknowledged
        assert len(acknowledged) == len(VEHICLES)


def test_a_replica_takes_over_that_had_not_seen_the_last_writes(tmp_path: Path) -> None:
    with watched_servers(tmp_path) as (there, servers):
        servers.forsake_replica()
        assert there.moved() == len(VEHICLES)
        servers.end_master()
        wait_until(there.all_move_in_the_end, PATIENCE, "everybody is acknowledged again")
        assert "store-lost" in there.told()
        acknowledged = there.care_ofs()
        there.home_agent.end(9)
        there.home_agent.start()
        there.home_agent.await_answer()
        assert there.care_ofs() == acknowledged


def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with small_disk(tmp_path / "state") as disk, served(tmp_path) as there:
        ballast: list[Path] = []
        outage(there, lambda: ballast.append(filled(disk)), lambda: ballast.pop().unlink())
        there.home_agent.end(9)
        there.home_agent.start()
        there.home_agent.await_answer()
        assert there.home_agent.bindings() == len(VEHICLES)


def test_no_file_descriptor_left(tmp_path: Path) -> None:
    """What is open goes on working; questions are answered again when there are descriptors again."""
    with served(tmp_path) as there:
        assert there.moved() == len(VEHICLES)
        child = there.home_agent.child.pid
        before = resource.prlimit(child, resource.RLIMIT_NOFILE)
        open_now = {int(number) for number in os.listdir(f"/proc/{child}/fd")}
        lowest_free = next(number for number in count() if number not in open_now)
        resource.prlimit(child, resource.RLIMIT_NOFILE, (lowest_free, before[1]))
        assert there.moved() == len(VEHICLES)
        assert there.forwards()
        with pytest.raises(ControlError):
            ask(there.home_agent.name, "status", timeout=SILENCE)
        resource.prlimit(child, resource.RLIMIT_NOFILE, before)
        wait_until(lambda: there.home_agent.bindings() == len(VEHICLES), PATIENCE, "answers questions")
        assert any("file descriptor" in problem for problem in there.problems())


def test_more_mobile_nodes_than_there_is_room_for(tmp_path: Path) -> None:
    """Those that are bound go on, the others are told that there is no room (status 130)."""
    with served(tmp_path, capacity=16) as there:
        assert there.moved() == len(VEHICLES), "some are refused, nobody is ignored"
        assert there.home_agent.bindings() == 16
        assert there.forwards()
        assert there.refused() == [130] * 8
        assert there.moved(vehicles=VEHICLES[:16]) == 16


CLOCK = '''"""The time of day of this process, as somebody has set it."""

import pathlib
import time

_unix, _set = time.time, pathlib.Path(__file__).with_name("set")


def _time():
    return _unix() + (float(_set.read_text()) if _set.exists() else 0.0)


time.time = _time
'''


def test_the_time_of_day_is_set_back_and_forth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set back, everybody is served as before; set ahead, bindings keep their lifetimes and are forwarded."""
    clock = tmp_path / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(CLOCK)
    monkeypatch.setenv("PYTHONPATH", str(clock))

    def set_clock(seconds: float) -> None:
        # In one step, like a clock.
        (clock / "next").write_text(str(seconds))
        (clock / "next").replace(clock / "set")

    with served(tmp_path) as there:
        there.home_agent.end(15)
        config = tmp_path / "ha.toml"
        config.write_text(
            config.read_text().replace("timestamp_tolerance = 86400.0", "timestamp_tolerance = 7.0")
        )
        there.home_agent.start()
        there.home_agent.await_answer()
        assert there.moved() == len(VEHICLES)
        for seconds in (-3600.0, -7 * 86400.0):
            set_clock(seconds)
            assert there.moved() == len(VEHICLES)
            assert there.care_ofs() == {
                vehicle.identifier: str(_place(vehicle, there.round)) for vehicle in VEHICLES
            }
            assert there.forwards()
            (problem,) = there.problems()
            assert "The clock of this machine is" in problem
        # A process that starts meanwhile goes on with the bindings, and by the time before.
        there.home_agent.end(9)
        there.home_agent.start()
        there.home_agent.await_answer()
        assert there.home_agent.bindings() == len(VEHICLES)
        assert there.forwards()
        assert any("The clock of this machine is" in problem for problem in there.problems())
        set_clock(0.0)
        assert there.moved() == len(VEHICLES)
        assert there.problems() == []
        set_clock(7 * 86400.0)
        # These mobile nodes do not follow what status 144 tells them; those of the simulation do.
        assert there.moved() == len(VEHICLES)
        assert there.home_agent.bindings() == len(VEHICLES)
        assert ask(there.home_agent.name, "stats")["signalling_refused"]["replay"] == len(VEHICLES)
        assert there.forwards()


def _place(vehicle: fleet.Vehicle, number: int) -> IPAddress:
    """The care-of address that the home agent has to show."""
    return vehicle.nat_source(number)[0] if vehicle.behind_nat else vehicle.care_of(number)
