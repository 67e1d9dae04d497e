"""Bindings resumed from their records are those that would have been restored."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from ha_scenario import AHR, ENTRY, HOME, HOME4, START, Mobile, Scenario, scenario
from msgspec import DecodeError, structs

from dsmip.core.actions import Action, InstallBinding, StoreBinding
from dsmip.core.types import Instant, MobileNodeEntry
from dsmip.store.memory import MemoryStore
from dsmip.wire.constants import BAStatus
from dsmip.wire.options import IPv4HomeAddress, MobilityOption

POOL = IPv4Network("192.0.2.128/29")
SOMEBODY_ELSE = replace(ENTRY, home_address=IPv6Address("2001:db8:100::2"), identifier="mn2", prefixes=())
ANY_IPV4: tuple[MobilityOption, ...] = (IPv4HomeAddress(IPv4Address(0)),)
OWN_IPV4: tuple[MobilityOption, ...] = (IPv4HomeAddress(HOME4),)


def stored(*options: MobilityOption) -> tuple[Scenario, Mobile, MemoryStore]:
    agent, mobile = scenario(ipv4_pool=POOL)
    store = MemoryStore()
    for action in agent.receive(mobile.update(flags=AHR, options=list(options))).actions:
        if isinstance(action, StoreBinding):
            store.put(action.binding, action.replay)
    return agent, mobile, store


def next_process(config: Scenario, entries: tuple[MobileNodeEntry, ...], down: float) -> Scenario:
    agent = Scenario(replace(config.config, mobile_nodes=entries))
    agent.now = Instant(77.0, START.unix + down)
    return agent


@pytest.mark.parametrize("down", [20.0, 419.0, 421.0, -1e6])
@pytest.mark.parametrize("options", [OWN_IPV4, ANY_IPV4, ()])
@pytest.mark.parametrize(
    "entries",
    [
        (ENTRY,),
        (SOMEBODY_ELSE,),
        (replace(ENTRY, prefixes=()), SOMEBODY_ELSE),
        (replace(ENTRY, ipv4_home_address=None, allow_dynamic_ipv4=False),),
        (replace(ENTRY, identifier="another"),),
    ],
)
def test_resumed_is_what_would_have_been_restored(
    entries: tuple[MobileNodeEntry, ...], options: tuple[MobilityOption, ...], down: float
) -> None:
    before, _, store = stored(*options)
    one, other = next_process(before, entries, down), next_process(before, entries, down)
    bindings, replays = store.load()
    one.agent.resume([], replays, one.now)
    one.agent._registrar.bindings.restore(bindings, one.now)
    numbers = other.agent.resume(*store.records(), other.now)
    assert dict(one.agent.bindings) == dict(other.agent.bindings)
    ends = [[binding.next_end for binding in each.agent.bindings.values()] for each in (one, other)]
    assert ends[0] == ends[1]
    assert one.agent.timeout() is None or other.agent.timeout() is not None
    assert list(one.agent.stored()) == list(other.agent.stored())
    told = one.agent.actions()
    unsaid = [action for action in told if _is_about(action, numbers)]
    assert [action for action in told if action not in unsaid] == other.agent.actions()
    assert all(isinstance(action, InstallBinding) for action in unsaid)


def _is_about(action: Action, numbers: list[int]) -> bool:
    return isinstance(action, InstallBinding) and int(action.binding.home_address) in numbers


def test_nothing_is_said_of_a_binding_that_is_what_it_was() -> None:
    before, mobile, store = stored(*OWN_IPV4)
    agent = next_process(before, (ENTRY,), 20.0)
    assert agent.agent.resume(*store.records(), agent.now) == [int(HOME)]
    assert agent.agent.actions() == []
    assert agent.binding == before.binding
    assert agent.after(399.0).actions == []
    outcome = agent.receive(mobile.update(now=agent.now, sequence=15, flags=AHR))
    assert outcome.ba.status == BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW


def test_a_resumed_binding_ends_when_it_would_have() -> None:
    before, _, store = stored()
    agent = next_process(before, (ENTRY,), 20.0)
    agent.agent.resume(*store.records(), agent.now)
    assert agent.after(399.0).actions == []
    assert agent.after(1.0).removed.reason == "expired"


def test_several_care_of_addresses_are_restored() -> None:
    before, _, store = stored()
    (binding,), replays = store.load()
    (entry,) = binding.care_ofs
    several = structs.replace(
        binding, care_ofs=(structs.replace(entry, bid=1), structs.replace(entry, bid=2))
    )
    store.put(several, replays[0])
    agent = next_process(before, (ENTRY,), 20.0)
    assert agent.agent.resume(*store.records(), agent.now) == []
    assert agent.binding == several


def test_a_record_that_cannot_be_read_is_no_binding() -> None:
    before, _, store = stored()
    agent = next_process(before, (ENTRY,), 20.0)
    with pytest.raises(DecodeError):
        agent.agent.resume([b"\x93garbage"], store.records()[1], agent.now)
