"""From the engine's actions into the store, and what happens while the store cannot be written.

A full disk or a server that does not answer stops nothing but acknowledgements: mobile nodes repeat what they
get no answer to, packets flow on, and handovers take effect. What could not be written is kept, the last word
on each mobile node, and tried again until it can be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from dsmip.core.actions import Action, ForgetBinding, SendDatagram, SendPacket, StoreBinding, StoreReplay
from dsmip.daemon.conditions import Conditions
from dsmip.daemon.events import EventLog
from dsmip.store.api import Store, StoreError, StoreLost
from dsmip.store.sqlite import SqliteStore

#: Seconds between attempts to write while nothing else would cause one.
RETRY_AFTER = 1.0
_CONDITION = "store"
_FAILED = (
    "The store cannot be written: {error}. Packets are forwarded and handovers take effect, but no Binding"
    " Update is acknowledged until it can; it is tried again every second."
)


def open_store(url: str | None, name: str, directory: Path) -> Store:
    """The store at a Redis URL, None = in the state directory. Raises StoreError."""
    if url is None:
        return SqliteStore(directory / "bindings.sqlite")
    # The client takes a tenth of a second to import.
    from dsmip.store.redis_server import RedisStore

    return RedisStore(url, name)


class Persistence:
    """Writes through to a store, and holds acknowledgements back that would promise too much."""

    def __init__(
        self,
        store: Store,
        events: EventLog,
        conditions: Conditions,
        everything: Callable[[], Iterable[StoreBinding | StoreReplay]],
    ) -> None:
        """`everything` is what has to be in the store now, for one that has lost it."""
        self._store = store
        self._events = events
        self._conditions = conditions
        self._everything = everything
        self._failing = False
        self._retry: asyncio.TimerHandle | None = None

    def prepare(self, actions: list[Action]) -> list[Action]:
        """Write a whole turn's changes in one commit; what is left to do comes back.

        Without the acknowledgements if that failed.
        """
        rest: list[Action] = []
        for action in actions:
            match action:
                case StoreBinding():
                    self._store.put(action.binding, action.replay)
                case StoreReplay():
                    self._store.put_replay(action.replay)
                case ForgetBinding():
                    self._store.forget(action.home_address)
                case _:
                    rest.append(action)
        if len(rest) == len(actions) or self._flush():
            return rest
        return [action for action in rest if not isinstance(action, SendPacket | SendDatagram)]

    def close(self) -> None:
        """Write what is left and let go of the store; what cannot be written is told."""
        if self._retry is not None:
            self._retry.cancel()
        try:
            self._store.close()
        except StoreError as error:
            self._events.event("store-failed", {"error": str(error)})

    def _flush(self) -> bool:
        try:
            try:
                self._store.flush()
            except StoreLost as error:
                self._events.event("store-lost", {"error": str(error)})
                self._write_everything()
        except StoreError as error:
            if not self._failing:
                self._failing = True
                self._events.event("store-failed", {"error": str(error)})
                self._conditions.stand(_CONDITION, _FAILED.format(error=error))
            if self._retry is None:
                self._retry = asyncio.get_running_loop().call_later(RETRY_AFTER, self._try_again)
            return False
        if self._failing:
            self._failing = False
            self._events.event("store-recovered", {})
            self._conditions.end(_CONDITION)
        return True

    def _write_everything(self) -> None:
        for action in self._everything():
            if isinstance(action, StoreBinding):
                self._store.put(action.binding, action.replay)
            else:
                self._store.put_replay(action.replay)
        self._store.flush()

    def _try_again(self) -> None:
        self._retry = None
        self._flush()
