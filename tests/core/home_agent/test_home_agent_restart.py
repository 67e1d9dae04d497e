"""Bindings from the store, and numbers for the data plane that stay the same."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from ha_scenario import AHR, COA2, ENTRY, HOME, HOME4, MNP1, START, Mobile, Scenario, scenario
from msgspec import structs

from dsmip.core.actions import RemoveBinding, StoreBinding, StoreReplay
from dsmip.core.types import Binding, Instant, IPv4Grant, MobileNodeEntry, ReplayState
from dsmip.store.memory import MemoryStore
from dsmip.wire.constants import BAStatus
from dsmip.wire.options import IPv4HomeAddress

POOL = IPv4Network("192.0.2.128/29")
SECOND = replace(
    ENTRY, home_address=IPv6Address("2001:db8:100::2"), identifier="mn2@example.com", prefixes=()
)
THIRD = replace(ENTRY, home_address=IPv6Address("2001:db8:100::3"), identifier="mn3@example.com", prefixes=())
DYNAMIC = MobileNodeEntry(HOME, identifier=ENTRY.identifier, spi=ENTRY.spi, key=ENTRY.key)


def bound(**changes: object) -> tuple[Scenario, Mobile, MemoryStore]:
    """A home agent with one registered mobile router, and the store as the daemon would have kept it."""
    agent, mobile = scenario(**changes)
    store = MemoryStore()
    options = [IPv4HomeAddress(HOME4), IPv4HomeAddress(IPv4Address("192.0.2.64"), 28)]
    for action in agent.receive(mobile.update(flags=AHR, options=options)).actions:
        if isinstance(action, StoreBinding):
            store.put(action.binding, action.replay)
    return agent, mobile, store


def restart(
    store: MemoryStore, *, entries: tuple[MobileNodeEntry, ...], down: float, **changes: object
) -> Scenario:
    """The next process: its monotonic clock has nothing to do with the old one's."""
    agent, _ = scenario(**changes)
    agent = Scenario(replace(agent.config, mobile_nodes=entries))
    agent.now = Instant(77.0, START.unix + down)
    agent.agent.resume(*store.records(), agent.now)
    return agent


def test_a_restored_binding_ends_when_it_would_have() -> None:
    before, _, store = bound()
    agent = restart(store, entries=(ENTRY,), down=20.0)
    assert agent.agent.actions() == []
    assert agent.binding == before.binding
    assert agent.agent.timeout() == 77.0 + 400.0
    assert agent.after(399.0).actions == []
    assert agent.after(1.0).removed.reason == "expired"


def test_a_restored_binding_can_be_moved_but_not_by_an_old_sequence_number() -> None:
    _, mobile, store = bound()
    agent = restart(store, entries=(ENTRY,), down=20.0)
    agent.agent.actions()
    outcome = agent.receive(mobile.update(now=agent.now, sequence=15, source=COA2, flags=AHR))
    assert (outcome.ba.status, outcome.ba.sequence) == (BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, 15)
    assert agent.receive(mobile.update(now=agent.now, sequence=16, source=COA2, flags=AHR)).ba.status == 0


def test_what_ended_while_nobody_was_there_is_removed() -> None:
    before, _, store = bound()
    agent = restart(store, entries=(ENTRY,), down=420.0)
    kinds = [type(action).__name__ for action in agent.agent.actions()]
    assert kinds == ["ForgetBinding", "RemoveBinding"]
    assert not agent.bound
    assert agent.agent.index_of(HOME) == before.binding.index


def test_a_mobile_node_that_is_no_longer_configured_is_removed() -> None:
    before, _, store = bound()
    agent = restart(store, entries=(SECOND,), down=20.0)
    actions = agent.agent.actions()
    assert RemoveBinding(before.binding, "not-configured", False) in actions
    assert not agent.agent.bindings


def test_a_clock_set_back_does_not_lengthen_a_lifetime() -> None:
    _, _, store = bound()
    agent = restart(store, entries=(ENTRY,), down=-100_000.0)
    assert agent.agent.timeout() == 77.0 + 420.0


def test_what_the_configuration_no_longer_grants_is_taken_out() -> None:
    _, _, store = bound()
    poorer = replace(ENTRY, prefixes=(MNP1,), ipv4_prefixes=())
    agent = restart(store, entries=(poorer,), down=20.0)
    actions = agent.agent.actions()
    assert agent.binding.prefixes == (MNP1,)
    assert agent.binding.ipv4 == (IPv4Grant.of(IPv4Network(HOME4)),)
    assert [type(action).__name__ for action in actions] == ["StoreBinding", "InstallBinding"]


def test_a_dynamic_address_stays_with_its_restored_binding() -> None:
    agent, mobile = scenario(DYNAMIC, ipv4_pool=POOL)
    store = MemoryStore()
    for action in agent.receive(mobile.update(options=[IPv4HomeAddress(IPv4Address(0))])).actions:
        if isinstance(action, StoreBinding):
            store.put(action.binding, action.replay)
    second = replace(DYNAMIC, home_address=SECOND.home_address, identifier=SECOND.identifier)
    again = restart(store, entries=(DYNAMIC, second), down=20.0, ipv4_pool=POOL)
    assert again.binding.ipv4 == (IPv4Grant.of(IPv4Network("192.0.2.129/32"), dynamic=True),)
    again.agent.actions()
    theirs = Mobile(second).update(
        now=again.now, identifier=SECOND.identifier, options=[IPv4HomeAddress(IPv4Address(0))]
    )
    address = again.receive(theirs).installed.binding.ipv4_home_address
    assert address is not None
    assert address in POOL
    assert address != IPv4Address("192.0.2.129")


# Indices ----------------------------------------------------------------------------------------------------


def test_indices_start_at_one_and_never_change() -> None:
    agent = Scenario(replace(Scenario().config, mobile_nodes=(ENTRY, SECOND, THIRD)))
    assert [agent.agent.index_of(entry.home_address) for entry in (THIRD, ENTRY, SECOND)] == [1, 2, 3]
    agent.agent.actions()
    mobile = Mobile(ENTRY)
    assert agent.receive(mobile.update()).installed.binding.index == 2
    agent.receive(mobile.update(sequence=16, lifetime=0))
    assert agent.agent.index_of(HOME) == 2
    assert agent.receive(mobile.update(sequence=17)).installed.binding.index == 2


def test_a_new_index_is_stored_at_once() -> None:
    agent, _ = scenario()
    agent.agent.index_of(HOME)
    assert agent.agent.actions() == [StoreReplay(ReplayState(HOME, 0, 0, 1))]
    agent.agent.index_of(HOME)
    assert agent.agent.actions() == []


def test_indices_survive_a_restart_without_a_binding() -> None:
    entries = (ENTRY, SECOND, THIRD)
    agent = Scenario(replace(Scenario().config, mobile_nodes=entries))
    store = MemoryStore()
    for entry in reversed(entries):
        agent.agent.index_of(entry.home_address)
    for action in agent.agent.actions():
        assert isinstance(action, StoreReplay)
        store.put_replay(action.replay)
    again = restart(store, entries=entries, down=5.0)
    assert [again.agent.index_of(entry.home_address) for entry in entries] == [3, 2, 1]


def test_a_mobile_node_new_to_the_configuration_gets_the_smallest_free_index() -> None:
    store = MemoryStore()
    store.put_replay(ReplayState(HOME, 0, 0, 1))
    store.put_replay(ReplayState(THIRD.home_address, 0, 0, 3))
    again = restart(store, entries=(ENTRY, SECOND, THIRD), down=5.0)
    assert again.agent.index_of(SECOND.home_address) == 2
    assert again.agent.index_of(THIRD.home_address) == 3


def test_two_stored_bindings_never_share_an_index() -> None:
    store = MemoryStore()
    agent, mobile = scenario()
    binding = agent.receive(mobile.update()).installed.binding
    store.put(binding, ReplayState(HOME, 15))
    store.put(
        structs.replace(binding, home_address=SECOND.home_address), ReplayState(SECOND.home_address, 15)
    )
    again = restart(store, entries=(ENTRY, SECOND), down=5.0)
    assert sorted(entry.index for entry in again.agent.bindings.values()) == [1, 2]
    assert sum(isinstance(action, StoreBinding) for action in again.agent.actions()) == 1


def test_index_of_an_unknown_home_address_is_an_error() -> None:
    agent, _ = scenario()
    with pytest.raises(KeyError):
        agent.agent.index_of(IPv6Address("2001:db8:100::99"))


def test_bindings_can_be_read_but_not_written() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update())
    assert list(agent.agent.bindings) == [HOME]
    assert len(agent.agent.bindings) == 1
    binding = agent.agent.bindings[HOME]
    assert isinstance(binding, Binding)
    assert IPv6Network(HOME) in binding.networks
    assert not hasattr(agent.agent.bindings, "__setitem__")
