"""The fleet's Binding Updates are good ones: a home agent engine accepts every one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsmip.bench import daemon, fleet, signalling
from dsmip.daemon.config.schema import HomeAgentFile
from dsmip.daemon.home_agent.plan import engine_config
from dsmip.daemon.provisioned import load_complete
from dsmip.store.memory import MemoryStore
from dsmip.store.sqlite import SqliteStore

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)


def test_everybody_registers_and_then_moves() -> None:
    vehicles = fleet.vehicles(10)
    home_agent, store = signalling.engine(vehicles), MemoryStore()
    for number in (1, 2, 3):
        rate = signalling.exchange(home_agent, store, fleet.updates(vehicles, number, NOW + number), batch=3)
        assert rate.exchanges == 10
        for vehicle in vehicles:
            binding = home_agent.bindings[vehicle.home_address]
            assert binding.prefixes == (vehicle.prefix,)
            assert binding.ipv4_home_address == vehicle.ipv4_home_address
            source, port = vehicle.nat_source(number)
            if vehicle.behind_nat:
                assert binding.nat_source == (source, port)
            else:
                assert binding.care_of == vehicle.care_of(number)
    bindings, _ = store.load()
    assert len(bindings) == 10


def test_a_tenth_of_a_multihomed_fleet_moves_with_two_care_of_addresses() -> None:
    vehicles = fleet.vehicles(20, multihomed=True)
    assert [vehicle.number for vehicle in vehicles if vehicle.multihomed] == [10, 20]
    assert fleet.care_of_addresses(vehicles) == 22
    home_agent = signalling.engine(vehicles)
    for number in (1, 2, 3):
        signalling.exchange(home_agent, MemoryStore(), fleet.updates(vehicles, number, NOW + number))
        for vehicle in vehicles:
            bound = home_agent.bindings[vehicle.home_address].care_ofs
            assert [entry.bid for entry in bound] == ([1, 2] if vehicle.multihomed else [0])
            if not vehicle.behind_nat:
                assert tuple(entry.care_of for entry in bound) == vehicle.care_ofs(number)
    again = [vehicle.update(4, NOW + 4, place=3, lifetime=2) for vehicle in vehicles]
    signalling.exchange(home_agent, MemoryStore(), again)
    assert all(home_agent.bindings[v.home_address].care_ofs[-1].lifetime == 8 for v in vehicles)


def test_each_batch_is_in_the_file_when_its_answers_are_counted(tmp_path: Path) -> None:
    vehicles = fleet.vehicles(4)
    path = tmp_path / "bindings.sqlite"
    with SqliteStore(path) as store:
        signalling.exchange(signalling.engine(vehicles), store, fleet.updates(vehicles, 1, NOW))
    with SqliteStore(path) as store:
        bindings, replays = store.load()
    assert {binding.home_address for binding in bindings} == {vehicle.home_address for vehicle in vehicles}
    assert len(replays) == 4


def test_nobody_has_the_address_of_another() -> None:
    vehicles = fleet.vehicles(2000)
    for attribute in ("home_address", "ipv4_home_address", "prefix", "key", "identifier"):
        assert len({getattr(vehicle, attribute) for vehicle in vehicles}) == 2000
    last = fleet.Vehicle(fleet.LARGEST - 1)
    assert last.home_address in fleet.HOME_PREFIX
    assert last.ipv4_home_address in fleet.IPV4_HOME_PREFIX
    assert last.prefix.subnet_of(fleet.MOBILE_PREFIX)
    with pytest.raises(ValueError, match="there are addresses for"):
        fleet.vehicles(fleet.LARGEST + 1)


def test_the_daemon_takes_what_is_provisioned_and_sees_the_same_fleet(tmp_path: Path) -> None:
    vehicles = fleet.vehicles(5)
    file = tmp_path / "ha.toml"
    file.write_text(daemon.configuration("ha", tmp_path / "state", 5))
    daemon.provision(tmp_path / "state", vehicles)
    config = load_complete(file)
    assert isinstance(config, HomeAgentFile)
    served = [
        (e.home_address, e.identifier, e.spi, e.key, e.prefixes, e.ipv4_home_address)
        for e in engine_config(config).mobile_nodes
    ]
    assert served == [
        (e.home_address, e.identifier, e.spi, e.key, e.prefixes, e.ipv4_home_address)
        for e in (vehicle.entry() for vehicle in vehicles)
    ]
