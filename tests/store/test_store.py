"""Every store keeps what it is given: the same tests for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from msgspec.structs import replace

from dsmip.core.types import (
    Binding,
    CareOfBinding,
    FlowBinding,
    IPv4Grant,
    Nat,
    ReplayState,
    TunnelFormat,
    UdpEndpoint,
)
from dsmip.store.api import Store
from dsmip.store.memory import MemoryStore
from dsmip.store.redis_server import RedisStore
from dsmip.store.sqlite import SqliteStore
from dsmip.wire.extensions import Extensions
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector

from .conftest import RedisServer

HOME = IPv6Address("2001:db8:100::1234")
OTHER_HOME = IPv6Address("2001:db8:100::5678")

PLAIN = Binding(
    home_address=HOME,
    index=7,
    care_ofs=(
        CareOfBinding(
            bid=0,
            care_of=IPv6Address("2001:db8:200::1"),
            format=TunnelFormat.IPV6,
            lifetime=420.0,
            updated=1_800_000_100.5,
            expires=1_800_000_520.5,
        ),
    ),
    sequence=65535,
    created=1_800_000_000.25,
)
FULL = Binding(
    home_address=OTHER_HOME,
    index=0xFFFF_FFFF,
    care_ofs=(
        CareOfBinding(
            bid=65535,
            care_of=IPv4Address("198.51.100.7"),
            format=TunnelFormat.UDP4,
            lifetime=262140.0,
            updated=1_800_000_000.0,
            expires=1_800_262_140.0,
            priority=127,
            nat_source=UdpEndpoint(IPv4Address("198.51.100.7"), 40000),
            nat=Nat.DETECTED,
            home_agent_ipv4=IPv4Address("192.0.2.1"),
        ),
        CareOfBinding(
            bid=1,
            care_of=OTHER_HOME,
            format=TunnelFormat.LINK,
            lifetime=60.0,
            updated=1_800_000_010.0,
            expires=1_800_000_070.0,
            at_home=True,
        ),
    ),
    sequence=0,
    created=1_800_000_000.0,
    identifier="mr1@example.com",
    mobile_router=True,
    link_local=True,
    prefixes=(IPv6Network("2001:db8:1000::/64"), IPv6Network("2001:db8:2000::/56")),
    ipv4=(IPv4Grant.of(IPv4Network("203.0.113.5/32"), True), IPv4Grant.of(IPv4Network("203.0.113.16/28"))),
    authentication="none",
    flows=(
        FlowBinding(7, 1, IPv4TrafficSelector(destination_port=(5060, 5061), protocol=(17, 17)), (65535, 1)),
        FlowBinding(65535, 65535, IPv6TrafficSelector(source=(HOME, OTHER_HOME), flow_label=(0, 9)), (3,)),
    ),
    extensions=Extensions.DUPLICATION | Extensions.PROBES,
)
#: A timestamp with the top bit set, as all are until 2036.
REPLAY = ReplayState(HOME, 65535, 0xE5A1_B2C3_0000_0001, 7)
OTHER_REPLAY = ReplayState(OTHER_HOME, 0, 0, 8)

#: Makes a store; a second call gives what is left after the first one's process has ended.
Opener = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    opened: list[Store] = []

    def memory() -> Store:
        return opened[0] if opened else MemoryStore()

    def sqlite() -> Store:
        return SqliteStore(tmp_path / "bindings.sqlite")

    def redis() -> Store:
        return RedisStore(server.url, "ha")

    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis")
    make = {"memory": memory, "sqlite": sqlite, "redis": redis}[request.param]

    def opener() -> Store:
        if opened:
            opened[-1].close()
        opened.append(make())
        return opened[-1]

    yield opener
    opened[-1].close()


def test_a_new_store_is_empty(open_store: Opener) -> None:
    assert open_store().load() == ([], [])


@pytest.mark.parametrize(("binding", "replay"), [(PLAIN, REPLAY), (FULL, OTHER_REPLAY)])
def test_a_binding_comes_back_field_by_field(
    open_store: Opener, binding: Binding, replay: ReplayState
) -> None:
    store = open_store()
    store.put(binding, replay)
    store.flush()
    assert open_store().load() == ([binding], [replay])


def test_what_was_put_is_loaded_before_it_is_flushed(open_store: Opener) -> None:
    store = open_store()
    store.put(PLAIN, REPLAY)
    assert store.load() == ([PLAIN], [REPLAY])


def test_the_latest_put_counts(open_store: Opener) -> None:
    store = open_store()
    store.put(PLAIN, REPLAY)
    care_of = replace(PLAIN.care_ofs[0], care_of=IPv6Address("2001:db8:300::1"))
    moved = replace(PLAIN, care_ofs=(care_of,), sequence=1)
    newer = ReplayState(HOME, 1, REPLAY.timestamp + 1, 7)
    store.put(moved, newer)
    store.flush()
    assert open_store().load() == ([moved], [newer])


def test_forget_keeps_the_replay_state(open_store: Opener) -> None:
    store = open_store()
    store.put(PLAIN, REPLAY)
    store.put(FULL, OTHER_REPLAY)
    store.flush()
    store.forget(HOME)
    store.flush()
    bindings, replays = open_store().load()
    assert bindings == [FULL]
    assert sorted(replays, key=lambda state: int(state.home_address)) == [REPLAY, OTHER_REPLAY]


def test_forget_of_an_unknown_binding_does_nothing(open_store: Opener) -> None:
    store = open_store()
    store.forget(HOME)
    store.flush()
    assert store.load() == ([], [])


def test_put_replay_leaves_the_binding_alone(open_store: Opener) -> None:
    store = open_store()
    store.put(PLAIN, REPLAY)
    newer = ReplayState(HOME, 3, 2**64 - 1, 7)
    store.put_replay(newer)
    store.flush()
    assert open_store().load() == ([PLAIN], [newer])


def test_close_flushes(open_store: Opener) -> None:
    store = open_store()
    store.put(PLAIN, REPLAY)
    store.close()
    store.close()
    assert open_store().load() == ([PLAIN], [REPLAY])


def test_a_with_statement_closes(open_store: Opener) -> None:
    with open_store() as store:
        store.put(FULL, OTHER_REPLAY)
    assert open_store().load() == ([FULL], [OTHER_REPLAY])
