"""The store in one SQLite file.

The journal is a write-ahead log with `synchronous=NORMAL`: a commit hands the log to the kernel but does not
wait for the disk. Whatever was flushed therefore survives `kill -9` and every other end of the process, and
no crash of any kind corrupts the file. A power failure may take the last commits with it. That is the better
bargain here: replay protection does not depend on them (by the time the machine is up again the timestamps of
the lost updates are older than the tolerance of RFC 4285), the lost bindings come back with their next
refresh, and a disk flush per commit would cost milliseconds of every handover. `synchronous="FULL"` makes the
other choice.

One process at a time: the file is locked while it is open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from dsmip.core.binding_record import SCHEMA_VERSION, decode_binding
from dsmip.core.types import Binding, ReplayState
from dsmip.store.api import StoreError
from dsmip.store.pending import Buffered, decode_replay

#: "dsmi": tells our files from other SQLite databases (PRAGMA application_id).
APPLICATION_ID = 0x64736D69

_SCHEMA = f"""
BEGIN;
CREATE TABLE binding (home_address BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE replay (home_address BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

_FORGET = "DELETE FROM binding WHERE home_address = ?"
_PUT = "INSERT OR REPLACE INTO binding VALUES (?, ?)"
_PUT_REPLAY = "INSERT OR REPLACE INTO replay VALUES (?, ?)"


class SqliteStore(Buffered):
    """`dsmip.store.api.Store` in a file. Raises StoreError when the file cannot be opened or is not ours."""

    def __init__(self, path: Path, *, synchronous: Literal["NORMAL", "FULL"] = "NORMAL") -> None:
        self._path = path
        super().__init__()
        self._closed = False
        with self._translated():
            # Transactions are ours to begin: each flush is one.
            self._database = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            with self._translated():
                self._open(synchronous)
        except StoreError:
            self._database.close()
            raise

    def load(self) -> tuple[list[Binding], list[ReplayState]]:
        """Flush, then everything in the store. Raises StoreError for records that cannot be read."""
        records, replays = self.records()
        try:
            return [decode_binding(record) for record in records], list(replays)
        except ValueError as error:
            raise self._error(f"holds a record that cannot be read ({error})") from error

    def records(self) -> tuple[Iterator[bytes], Iterator[ReplayState]]:
        """The same, with each binding as its record, one by one: a hundred thousand at once would leave holes
        in the memory of a process that starts with them."""
        self.flush()
        records = (record for (record,) in self._rows("SELECT record FROM binding"))
        return records, self._replays()

    def _replays(self) -> Iterator[ReplayState]:
        for row in self._rows("SELECT home_address, record FROM replay"):
            try:
                yield decode_replay(*row)
            except ValueError as error:
                raise self._error(f"holds a record that cannot be read ({error})") from error

    def _rows(self, query: str) -> Iterator[tuple[bytes, ...]]:
        with self._translated():
            yield from self._database.execute(query)

    def flush(self) -> None:
        """Commit: what was written so far survives the end of this process.

        After a StoreError nothing of it is in the file; the next call tries all of it again.
        """
        pending = self._pending
        if not pending:
            return
        with self._translated(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            if pending.forgotten:
                self._database.executemany(_FORGET, [(key,) for key in pending.forgotten])
            self._database.executemany(_PUT, pending.bindings.items())
            self._database.executemany(_PUT_REPLAY, pending.replays.items())
        pending.clear()

    def close(self) -> None:
        """Flush and let go of the file. Calling it again does nothing."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, synchronous: str) -> None:
        database = self._database
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        application_id = self._number("PRAGMA application_id")
        version = self._number("PRAGMA user_version")
        if application_id == APPLICATION_ID:
            if version != SCHEMA_VERSION:
                raise self._error(f"has schema version {version}, this program reads {SCHEMA_VERSION}")
            problem = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise self._error(f"is damaged ({problem})")
        elif application_id or version or self._number("SELECT count(*) FROM sqlite_master"):
            raise self._error("is a database of another program")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        if application_id != APPLICATION_ID:
            database.executescript(_SCHEMA)
        # Takes the lock now, so that a second home agent is told at its start.
        database.execute("BEGIN IMMEDIATE")
        database.execute("COMMIT")

    def _number(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors as StoreErrors that name the file and the mend."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StoreError(f"{self._path} is in use by another process: stop that one first") from error
            if code == sqlite3.SQLITE_NOTADB:
                raise self._error("is not a database") from error
            if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL):
                mend = "check that its directory exists, is writable and has room"
                raise StoreError(f"{self._path} cannot be written ({error}): {mend}") from error
            raise self._error(f"cannot be used ({error})") from error

    def _error(self, what: str) -> StoreError:
        return StoreError(f"{self._path} {what}: move it away, and the mobile nodes will register anew")
