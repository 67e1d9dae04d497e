"""Many bindings that end at once."""

from __future__ import annotations

import pytest

from dsmip.bench import fleet, signalling
from dsmip.core.actions import RemoveBinding
from dsmip.core.binding_cache import BindingCache
from dsmip.core.home_agent.registrar import EXPIRED_AT_ONCE
from dsmip.core.types import Binding, Instant

BEGIN = Instant(1000.25, 1_800_000_000.0)
SIZE = 3 * EXPIRED_AT_ONCE + 1


def test_they_end_bit_by_bit_and_without_delay() -> None:
    vehicles = fleet.vehicles(SIZE)
    agent = signalling.engine(vehicles)
    for packet in fleet.updates(vehicles, 1, BEGIN.unix):
        agent.receive(packet, BEGIN)
    agent.actions()
    end = Instant(BEGIN.monotonic + 4 * fleet.LIFETIME, BEGIN.unix + 4 * fleet.LIFETIME)
    ended = []
    while agent.bindings:
        due = agent.timeout()
        assert due is not None
        assert due <= end.monotonic
        agent.tick(end)
        ended.append(sum(isinstance(action, RemoveBinding) for action in agent.actions()))
    assert ended == [EXPIRED_AT_ONCE] * 3 + [1]
    assert agent.timeout() is None


def test_what_is_not_heard_of_for_long_is_octets_and_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsmip.core.binding_cache.THAWED", 2)
    vehicles = fleet.vehicles(6)
    agent = signalling.engine(vehicles)
    for packet in fleet.updates(vehicles, 1, BEGIN.unix):
        agent.receive(packet, BEGIN)
    cache = agent.bindings
    assert isinstance(cache, BindingCache)
    before = dict(cache)
    assert sum(isinstance(entry, Binding) for entry in cache._entries.values()) == 2
    for vehicle in vehicles:
        binding = cache.find(int(vehicle.home_address), vehicle.entry())
        assert binding == before[vehicle.home_address]
        assert binding is not None
        assert binding.next_end == BEGIN.monotonic + 4 * fleet.LIFETIME
        assert list(cache.containing(binding.care_of)).count(binding) == 1
    for packet in fleet.updates(vehicles, 2, BEGIN.unix + 1):
        agent.receive(packet, BEGIN)
    assert all(binding != before[home] for home, binding in cache.items())
    assert len(cache) == 6
