"""A disk that remembers what was flushed and nothing else, and that is full at times."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from pathlib import Path

from dsmip.core.types import Binding, ReplayState
from dsmip.store.api import Store, StoreError
from dsmip.store.memory import MemoryStore
from dsmip.store.sqlite import SqliteStore


class Disk:
    """Implements `dsmip.store.api.Store`: writes wait for `flush`, and until then go with the process."""

    def __init__(self, *, sqlite: bool) -> None:
        self._store: Store = SqliteStore(Path(":memory:")) if sqlite else MemoryStore()
        self._waiting: list[Callable[[], None]] = []
        self.full = False

    @property
    def dirty(self) -> bool:
        """Something is not on disk yet."""
        return bool(self._waiting)

    def put(self, binding: Binding, replay: ReplayState) -> None:
        self._waiting.append(lambda: self._store.put(binding, replay))

    def put_replay(self, replay: ReplayState) -> None:
        self._waiting.append(lambda: self._store.put_replay(replay))

    def forget(self, home_address: IPv6Address) -> None:
        self._waiting.append(lambda: self._store.forget(home_address))

    def load(self) -> tuple[list[Binding], list[ReplayState]]:
        return self._store.load()

    def records(self) -> tuple[Iterable[bytes], Iterable[ReplayState]]:
        return self._store.records()

    def flush(self) -> None:
        if not self._waiting:
            return
        if self.full:
            raise StoreError("no space left on device")
        for write in self._waiting:
            write()
        self._waiting.clear()
        self._store.flush()

    def crash(self) -> None:
        """The process is gone, and what it had not flushed."""
        self._waiting.clear()

    def close(self) -> None:
        self._store.close()
