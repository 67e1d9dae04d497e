"""Acknowledgements and the store: nothing is promised that could be forgotten."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address

import pytest

from dsmip.core.actions import Action, Drop, ForgetBinding, SendPacket, StoreBinding, StoreReplay
from dsmip.core.types import Binding, CareOfBinding, ReplayState, TunnelFormat
from dsmip.daemon import persistence
from dsmip.daemon.conditions import Conditions
from dsmip.daemon.events import EventLog
from dsmip.daemon.persistence import Persistence
from dsmip.store.api import StoreError, StoreLost
from dsmip.store.memory import MemoryStore

HOME = IPv6Address("2001:db8:100::1")
OTHER = IPv6Address("2001:db8:100::2")
CARE_OF = CareOfBinding(0, IPv6Address("2001:db8:200::1"), TunnelFormat.IPV6, 420.0, 1.8e9, 1.8e9 + 420)
BINDING = Binding(HOME, 1, (CARE_OF,), 1, 1.8e9)
STORE = StoreBinding(BINDING, ReplayState(HOME, 1, 5, 1))
ACKNOWLEDGEMENT = SendPacket(b"acknowledgement")
DROP = Drop("replay")


class FragileStore(MemoryStore):
    """Fails as often as told."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[StoreError] = []

    def flush(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def store() -> FragileStore:
    return FragileStore()


@pytest.fixture
def events() -> EventLog:
    return EventLog()


@pytest.fixture
def conditions() -> Conditions:
    return Conditions(lambda _kind, _fields: None)


def told(events: EventLog) -> list[object]:
    return [event["event"] for event in events.recent]


def test_what_is_stored_may_be_acknowledged(
    store: FragileStore, events: EventLog, conditions: Conditions
) -> None:
    prepared = Persistence(store, events, conditions, list).prepare([STORE, ACKNOWLEDGEMENT, DROP])
    assert prepared == [ACKNOWLEDGEMENT, DROP]
    assert store.load()[0] == [BINDING]
    assert told(events) == []


def test_a_failing_store_holds_back_acknowledgements_and_recovers_by_itself(
    store: FragileStore, events: EventLog, conditions: Conditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistence, "RETRY_AFTER", 0.01)

    async def outage() -> None:
        keeper = Persistence(store, events, conditions, list)
        store.errors = [StoreError("full")] * 4
        for _ in range(2):
            assert keeper.prepare([STORE, ACKNOWLEDGEMENT, DROP]) == [DROP]
        assert told(events) == ["store-failed"], "an outage is told once, not once a Binding Update"
        assert "The store cannot be written: full." in conditions.sentences[0]
        assert keeper.prepare([DROP, ACKNOWLEDGEMENT]) == [DROP, ACKNOWLEDGEMENT], "nothing was to be stored"
        async with asyncio.timeout(30):
            while "store-recovered" not in told(events):
                await asyncio.sleep(0.01)
        assert keeper.prepare([STORE, ACKNOWLEDGEMENT]) == [ACKNOWLEDGEMENT]

    asyncio.run(outage())
    assert told(events) == ["store-failed", "store-recovered"]
    assert conditions.sentences == []


def test_a_store_that_lost_everything_gets_everything_again(
    store: FragileStore, events: EventLog, conditions: Conditions
) -> None:
    everything: list[StoreBinding | StoreReplay] = [STORE, StoreReplay(ReplayState(OTHER, 7, 8, 2))]
    store.errors = [StoreLost("empty")]
    later: list[Action] = [ForgetBinding(OTHER), ACKNOWLEDGEMENT]
    assert Persistence(store, events, conditions, lambda: everything).prepare(later) == [ACKNOWLEDGEMENT]
    assert store.load() == ([BINDING], [STORE.replay, ReplayState(OTHER, 7, 8, 2)])
    assert told(events) == ["store-lost"]


def test_a_store_that_fails_at_the_end_is_told_and_does_not_stop_the_rest(
    events: EventLog, conditions: Conditions
) -> None:
    class Unwritable(MemoryStore):
        def close(self) -> None:
            raise StoreError("full")

    Persistence(Unwritable(), events, conditions, list).close()
    assert told(events) == ["store-failed"]
