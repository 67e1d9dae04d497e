"""Maps of the data plane that are full: status 130 for what needs room, and nothing else changes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from dsmip.bench.daemon import HomeAgentProcess
from dsmip.daemon.control import ask
from dsmip.daemon.runtime import BPF_ROOT
from dsmip.dataplane import libbpf, maps
from dsmip.dataplane.api import NoRoom
from dsmip.dataplane.bpf_object import Map
from dsmip.dataplane.bpffs import pin_directory_of
from tests.system.conftest import wait_until
from tests.system.served import PATIENCE, VEHICLES, Served, served

pytestmark = pytest.mark.root

#: Those that are bound when the map is filled, those that come then; and one of the former, in IPv6 networks.
BOUND, NEW = VEHICLES[:12], VEHICLES[12:]
STREAM = BOUND[1]
#: A binding index that nobody has.
NOBODY = 1 << 16


def sources_of(home_agent: HomeAgentProcess) -> Map:
    """The map of a home agent, whether it runs or not."""
    return Map("sources", libbpf.pinned(pin_directory_of(BPF_ROOT / home_agent.name) / "sources"))


@contextmanager
def filled(home_agent: HomeAgentProcess) -> Iterator[Map]:
    """The sources of the running home agent without room, by entries of nobody."""
    table = sources_of(home_agent)
    ballast = []
    try:
        while True:
            key = maps.encode_source_key(NOBODY, IPv6Address(len(ballast)), 0)
            try:
                table.update(key, bytes(table.value_size))
            except NoRoom:
                break
            ballast.append(key)
        yield table
    finally:
        for key in ballast:
            table.delete(key)
        table.close()


def refreshes(there: Served) -> list[bytes]:
    """From where they are: nothing new is needed for that."""
    return [vehicle.update(there.round + 1, time.time(), place=1) for vehicle in BOUND]


def test_new_bindings_and_moves_are_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    with served(tmp_path) as there:
        assert there.moved(vehicles=BOUND) == len(BOUND)
        before = there.care_ofs()
        with filled(there.home_agent):
            coming = [vehicle.update(there.round + 1, time.time()) for vehicle in NEW]
            both = [packet for pair in zip(coming, refreshes(there), strict=True) for packet in pair]
            assert there.answered(both) == len(VEHICLES), "some are refused, nobody is ignored"
            assert there.refused() == [130] * len(NEW)
            there.round += 2  # they are in one network in odd rounds and in another in even ones
            assert there.home_agent.bindings() == len(BOUND)
            # A move of somebody who is bound: he is served where he was.
            assert there.moved(vehicles=[STREAM]) == 1
            assert there.refused() == [130] * (len(NEW) + 1)
            assert there.care_ofs() == before
            assert there.forwards()
            (problem,) = there.problems()
            assert "Map sources is full with" in problem
            assert "raise max_bindings" in problem
            counted = ask(there.home_agent.name, "stats")["signalling_refused"]
            assert counted["sources-full"] == len(NEW) + 1
            # What was refused is not in the store either.
            there.home_agent.end(9)
            there.home_agent.start()
            there.home_agent.await_answer()
            assert there.home_agent.bindings() == len(BOUND)
            assert there.care_ofs() == before
            assert there.forwards()
            assert there.moved(vehicles=NEW[:1]) == 1
            assert len(there.problems()) == 1
        assert there.moved() == len(VEHICLES)
        assert there.home_agent.bindings() == len(VEHICLES)
        assert there.care_ofs().keys() == {vehicle.identifier for vehicle in VEHICLES}
        assert there.problems() == []
        assert there.forwards()


def test_bindings_that_find_no_room_at_a_restart_end_and_register_again(tmp_path: Path) -> None:
    """Maps made smaller, for one: a process that starts afresh puts in what fits."""
    with served(tmp_path) as there:
        assert there.moved() == len(VEHICLES)
        there.home_agent.end(9)
        config = tmp_path / "ha.toml"
        lines = config.read_text().replace("max_bindings = 24", "max_bindings = 8")
        config.write_text(lines)
        os.chmod(config, 0o600)
        there.home_agent.start()
        there.home_agent.await_answer()
        left = there.home_agent.bindings()
        assert 0 < left < len(VEHICLES)
        events = ask(there.home_agent.name, "events")
        assert sum(event["event"] == "not-resumed" for event in events) == len(VEHICLES) - left
        wait_until(there.forwards, PATIENCE, "those that are left are served")


def test_an_entry_of_a_binding_out_of_all_proportion_ends_no_start(tmp_path: Path) -> None:
    with served(tmp_path) as there:
        assert there.moved() == len(VEHICLES)
        before = there.care_ofs()
        with closing(sources_of(there.home_agent)) as table:
            absurd = maps.encode_source_key(0xFFFFFFFF, IPv6Address(1), 0)
            table.update(absurd, bytes(table.value_size))
            there.home_agent.end(9)
            there.home_agent.start()
            there.home_agent.await_answer()
            assert table.lookup(absurd) is None
        assert there.care_ofs() == before
        assert there.forwards()
        events = ask(there.home_agent.name, "events")
        told = [event for event in events if event["event"] == "foreign-entries-removed"]
        assert [(event["map"], event["count"]) for event in told] == [("sources", 1)]
        assert "foreign-entries-removed map=sources count=1" in (tmp_path / "ha.log").read_text()
