"""What is special about the server: it goes away, comes back with less, or belongs to somebody else."""

from __future__ import annotations

import time
from ipaddress import IPv6Address

import pytest
from redis import Redis

from dsmip.core.types import Binding, CareOfBinding, ReplayState, TunnelFormat
from dsmip.store.api import StoreError, StoreLost
from dsmip.store.redis_server import RedisStore

from .conftest import RedisServer

HOME = IPv6Address("2001:db8:100::1234")
CARE_OF = CareOfBinding(0, IPv6Address("2001:db8:200::1"), TunnelFormat.IPV6, 420.0, 1.8e9, 1.8e9 + 420)
BINDING = Binding(HOME, 1, (CARE_OF,), 1, 1.8e9)


def put(store: RedisStore, sequence: int) -> None:
    store.put(BINDING, ReplayState(HOME, sequence, 5, 1))


def flush_again(store: RedisStore) -> None:
    """Until the server is asked again and answers."""
    deadline = time.monotonic() + 30
    while True:
        try:
            store.flush()
        except StoreLost:
            raise
        except StoreError:
            assert time.monotonic() < deadline, "the store does not recover"
            time.sleep(0.05)
        else:
            return


def test_a_server_that_goes_away_and_comes_back_gets_what_was_written_meanwhile(redis: RedisServer) -> None:
    with RedisStore(redis.url, "ha") as store:
        put(store, 1)
        store.flush()
        redis.kill()
        put(store, 2)
        with pytest.raises(StoreError, match="is the server running"):
            store.flush()
        put(store, 3)
        began = time.monotonic()
        with pytest.raises(StoreError, match="a moment ago"):
            store.flush()
        assert time.monotonic() - began < 0.2, "waits for a server that was not there"
        redis.start()
        flush_again(store)
        assert store.load() == ([BINDING], [ReplayState(HOME, 3, 5, 1)])


def test_a_server_that_lost_its_data_is_noticed_once(redis: RedisServer) -> None:
    with RedisStore(redis.url, "ha") as store:
        for sequence in (1, 2, 3):
            put(store, sequence)
            store.flush()
        redis.kill()
        redis.forget()
        redis.start()
        put(store, 4)
        with pytest.raises(StoreLost, match="lost data"):
            flush_again(store)
        put(store, 5)
        store.flush()


def test_a_server_that_others_took_over_from_is_an_outage_until_there_is_a_master_again(
    redis: RedisServer,
) -> None:
    """A failover leaves the name leading to a replica for a while: it answers, but refuses every write."""
    with RedisStore(redis.url, "ha") as store:
        put(store, 1)
        store.flush()
        redis.follow(redis)
        put(store, 2)
        with pytest.raises(StoreError, match="read only"):
            store.flush()
        redis.follow(None)
        flush_again(store)
        assert store.load() == ([BINDING], [ReplayState(HOME, 2, 5, 1)])


def test_a_second_home_agent_of_the_same_name_is_noticed(redis: RedisServer) -> None:
    with RedisStore(redis.url, "ha") as first, RedisStore(redis.url, "ha") as second:
        for store in (first, second):
            store.load()
        put(first, 1)
        first.flush()
        put(second, 1)
        with pytest.raises(StoreLost, match="same name"):
            second.flush()


def test_home_agents_of_different_names_share_a_server(redis: RedisServer) -> None:
    with RedisStore(redis.url, "one") as first, RedisStore(redis.url, "two") as second:
        put(first, 1)
        first.flush()
        assert second.load() == ([], [])


def test_records_of_another_program_are_left_alone(redis: RedisServer) -> None:
    RedisStore(redis.url, "ha").close()
    with Redis.from_url(redis.url) as client:
        client.set("dsmip:{ha}:schema", "99")
        with pytest.raises(StoreError, match="schema version b'99'"):
            RedisStore(redis.url, "ha")
        client.flushall()
        RedisStore(redis.url, "ha").close()
        client.hset("dsmip:{ha}:bindings", HOME.packed, b"nonsense")
        with RedisStore(redis.url, "ha") as store, pytest.raises(StoreError, match="cannot be read"):
            store.load()


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(StoreError) as caught:
        RedisStore("redis://user:secret@127.0.0.1:1/0", "ha")
    assert "127.0.0.1:1/0 cannot be used" in str(caught.value)
    assert "secret" not in str(caught.value)
