"""The store in a Redis server: for a home agent whose machine may be lost, or replaced by another one.

Two hashes hold bindings and replay states by home address, under the name of the home agent; every flush is
one transaction (MULTI, EXEC). What the server does with it then is its own configuration: with `appendonly
yes` a flush survives the end of the server too, with `appendfsync everysec` all but the last second of it
survives a power failure. Nothing else of Redis is used, so any server that speaks its protocol will do.

A server that does not answer costs `TIMEOUT` seconds once, then a moment of refusal at once before the next
attempt, so that a home agent without its store goes on with everything but acknowledgements. What was written
meanwhile is kept, the last word on each home address, and flushed when the server is back.

The server may come back without all that was in it: restarted without its files, or a replica that had not
seen the last writes took over. Each flush counts up a number there that has to be one more than the time
before; otherwise `flush` raises StoreLost, and whoever knows the bindings writes all of them again. Two home
agents of the same name would notice each other in the same way: there must not be two.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from redis.exceptions import AuthenticationError, RedisError

from dsmip.core.binding_record import SCHEMA_VERSION, decode_binding
from dsmip.core.types import Binding, ReplayState
from dsmip.store.api import StoreError, StoreLost
from dsmip.store.pending import Buffered, decode_replay
from dsmip.store.redis_address import client, without_password

#: Seconds to wait for the server: at the start, where nothing else can be done, and later; and for how long
#: it is left alone after it did not answer.
PATIENCE = 30.0
TIMEOUT = 0.25
RETRY_AFTER = 1.0

_Result = TypeVar("_Result")


class RedisStore(Buffered):
    """`dsmip.store.api.Store` in a server. Raises StoreError when that cannot be reached."""

    def __init__(self, url: str, name: str) -> None:
        """`url` is "redis://[user:password@]host[:port][/number]", "rediss://...", "unix://path", or names
        sentinels: see `redis_address`.

        `name` is that of the home agent.
        """
        super().__init__()
        self._closed = False
        #: What the counter of flushes has to be, and how many more were sent without an answer.
        self._flushes = 0
        self._unanswered = 0
        self._not_before = 0.0
        base = f"dsmip:{{{name}}}"
        self._schema, self._counter = f"{base}:schema", f"{base}:flushes"
        self._bindings, self._replays = f"{base}:bindings", f"{base}:replays"
        self._where = without_password(url)
        try:
            self._server, self._patient = client(url, TIMEOUT, TIMEOUT), client(url, PATIENCE, TIMEOUT)
        except ValueError as error:
            raise StoreError(f"store {self._where}: {error}") from error
        self._check_schema()

    def load(self) -> tuple[list[Binding], list[ReplayState]]:
        """Flush, then everything in the store. Raises StoreError for records that cannot be read."""
        records, replays = self.records()
        try:
            return [decode_binding(record) for record in records], replays
        except ValueError as error:
            raise self._error(f"holds a record that cannot be read ({error})") from error

    def records(self) -> tuple[list[bytes], list[ReplayState]]:
        """The same, with each binding as its record."""
        self.flush()

        def read() -> tuple[bytes | None, Mapping[bytes, bytes], Mapping[bytes, bytes]]:
            with self._patient.pipeline(transaction=True) as transaction:
                transaction.get(self._counter)
                transaction.hgetall(self._bindings)
                transaction.hgetall(self._replays)
                counter, bindings, replays = transaction.execute()
            return counter, bindings, replays

        counter, records, replays = self._asked(read)
        try:
            self._flushes, self._unanswered = int(counter or 0), 0
            return list(records.values()), [decode_replay(key, record) for key, record in replays.items()]
        except ValueError as error:
            raise self._error(f"holds a record that cannot be read ({error})") from error

    def flush(self) -> None:
        """What was written so far is in the server.

        Raises StoreError when that is not certain: the next call tries all of it again. Raises StoreLost when
        it is, but the server has lost earlier flushes, or somebody else has written.
        """
        pending = self._pending
        if not pending:
            return

        def write() -> int:
            with self._server.pipeline(transaction=True) as transaction:
                transaction.incr(self._counter)
                if pending.forgotten:
                    transaction.hdel(self._bindings, *pending.forgotten)
                if pending.bindings:
                    transaction.hset(self._bindings, items=_flat(pending.bindings))
                if pending.replays:
                    transaction.hset(self._replays, items=_flat(pending.replays))
                return int(transaction.execute()[0])

        try:
            counter = self._asked(write)
        except StoreError:
            # It may have been carried out all the same.
            self._unanswered += 1
            raise
        pending.clear()
        expected, latest = self._flushes + 1, self._flushes + 1 + self._unanswered
        self._flushes, self._unanswered = counter, 0
        if not expected <= counter <= latest:
            raise StoreLost(
                f"{self._where} is at flush {counter} instead of {expected}: it has lost data, or another"
                " home agent of the same name writes to it"
            )

    def close(self) -> None:
        """Flush and let go of the server. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._not_before = 0.0
        try:
            self.flush()
        finally:
            self._server.close()
            self._patient.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_schema(self) -> None:
        """Say which layout is in use, unless it is another one."""
        wanted = str(SCHEMA_VERSION).encode()

        def claim() -> object:
            self._patient.set(self._schema, wanted, nx=True)
            return self._patient.get(self._schema)

        found = self._asked(claim)
        if found != wanted:
            raise self._error(f"has schema version {found!r}, this program reads {wanted!r}")

    def _asked(self, question: Callable[[], _Result]) -> _Result:
        """The server's answer; its errors as StoreErrors."""
        if time.monotonic() < self._not_before:
            raise StoreError(f"{self._where} did not answer a moment ago")
        try:
            return question()
        except AuthenticationError as error:
            self._leave_alone()
            raise StoreError(f"{self._where} wants another password ({error})") from error
        except (RedisError, OSError) as error:
            self._leave_alone()
            raise StoreError(f"{self._where} cannot be used ({error}): is the server running?") from error

    def _leave_alone(self) -> None:
        """Whatever comes next begins with a new connection: the name may lead to another server by then."""
        self._server.connection_pool.disconnect()
        self._not_before = time.monotonic() + RETRY_AFTER

    def _error(self, what: str) -> StoreError:
        return StoreError(
            f"{self._where} {what}: delete {self._bindings}, {self._replays} and {self._schema}, and the"
            " mobile nodes will register anew"
        )


def _flat(records: Mapping[bytes, bytes]) -> list[bytes]:
    return [octets for pair in records.items() for octets in pair]
