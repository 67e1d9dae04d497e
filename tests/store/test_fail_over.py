"""A replica takes the place of the Redis master: what was written is there, or is noticed to be missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dsmip.core.types import ReplayState
from dsmip.store.api import StoreError, StoreLost
from dsmip.store.redis_address import client, without_password
from dsmip.store.redis_server import RedisStore
from tests.store.fail_over import Group, free_ports, group
from tests.store.test_redis import BINDING, HOME, flush_again, put


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Group]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    with group(tmp_path, free_ports()) as running:
        yield running


def test_the_store_follows_to_the_promoted_replica(servers: Group) -> None:
    with RedisStore(servers.url, "ha") as store:
        put(store, 1)
        store.flush()
        servers.catch_up()
        servers.end_master()
        put(store, 2)
        with pytest.raises(StoreError, match="cannot be used"):
            store.flush()
        flush_again(store)
        assert servers.is_promoted()
        assert store.load() == ([BINDING], [ReplayState(HOME, 2, 5, 1)])


def test_a_replica_that_had_not_seen_the_last_writes_is_noticed(servers: Group) -> None:
    with RedisStore(servers.url, "ha") as store:
        put(store, 1)
        store.flush()
        servers.forsake_replica()
        for sequence in (2, 3):
            put(store, sequence)
            store.flush()
        servers.end_master()
        put(store, 4)
        with pytest.raises(StoreLost, match="lost data"):
            flush_again(store)
        # Whoever knows the bindings writes all of them again.
        store.put(replace(BINDING, home_address=HOME + 1), ReplayState(HOME + 1, 1, 5, 2))
        store.flush()
        assert len(store.load()[0]) == 2


def test_sentinels_that_are_not_there_and_addresses_that_are_none() -> None:
    with pytest.raises(StoreError) as caught:
        RedisStore("redis+sentinel://user:secret@127.0.0.1:1/bindings", "ha")
    assert "redis+sentinel://127.0.0.1:1/bindings cannot be used" in str(caught.value)
    assert "secret" not in str(caught.value)
    for wrong in ("redis+sentinel://127.0.0.1:1", "redis+sentinel:///x", "redis+sentinel://a:b/x"):
        with pytest.raises(StoreError, match="store redis"):
            RedisStore(wrong, "ha")


def test_what_stands_in_an_address_of_sentinels() -> None:
    found = client("redis+sentinel://me:p%40ss@one,[2001:db8::1]:5000/bindings/3", 1.0, 0.5)
    pool = found.connection_pool
    assert pool.service_name == "bindings"
    arguments = pool.connection_kwargs
    assert (arguments["username"], arguments["password"], arguments["db"]) == ("me", "p@ss", 3)
    places = [
        (each.connection_pool.connection_kwargs["host"], each.connection_pool.connection_kwargs["port"])
        for each in pool.sentinel_manager.sentinels
    ]
    assert places == [("one", 26379), ("2001:db8::1", 5000)]
    assert without_password("redis+sentinel://me:p@one/x") == "redis+sentinel://one/x"
