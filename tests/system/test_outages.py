"""What a home agent needs goes away and returns: it forwards, promises nothing it cannot keep, recovers.

`make soak` has the store away for a minute, `DSMIP_OUTAGE_SECONDS` says how long.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from dsmip.daemon.control import ControlError, ask
from tests.store.conftest import RedisServer, redis, shared_redis
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
