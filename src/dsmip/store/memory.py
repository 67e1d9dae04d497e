"""A store that lives as long as the process: for tests, and for a home agent that may forget."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address
from types import TracebackType
from typing import Self

from dsmip.core.binding_record import encode_binding
from dsmip.core.types import Binding, ReplayState


class MemoryStore:
    """`dsmip.store.api.Store` in two dictionaries."""

    def __init__(self) -> None:
        self._bindings: dict[IPv6Address, Binding] = {}
        self._replays: dict[IPv6Address, ReplayState] = {}

    def put(self, binding: Binding, replay: ReplayState) -> None:
        """Write a new or changed binding together with its replay state."""
        self._bindings[binding.home_address] = binding
        self.put_replay(replay)

    def put_replay(self, replay: ReplayState) -> None:
        """Write replay state alone."""
        self._replays[replay.home_address] = replay

    def forget(self, home_address: IPv6Address) -> None:
        """Delete a binding; its replay state stays."""
        self._bindings.pop(home_address, None)

    def load(self) -> tuple[list[Binding], list[ReplayState]]:
        """Everything in the store."""
        return list(self._bindings.values()), list(self._replays.values())

    def records(self) -> tuple[Iterable[bytes], Iterable[ReplayState]]:
        """The same, with each binding as its record."""
        return [encode_binding(binding) for binding in self._bindings.values()], list(self._replays.values())

    def flush(self) -> None:
        """Nothing to do: there is no slower medium behind."""

    def close(self) -> None:
        """Nothing to let go of; what was written can still be loaded."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
