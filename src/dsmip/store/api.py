"""What the home agent needs of a store: bindings and replay state that outlive the process.

Writes are collected; `flush` makes everything written so far survive the end of the process. The daemon calls
it before it lets an acknowledgement leave, once for all the Binding Updates it took in one turn, so that the
price of a commit is shared.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address
from types import TracebackType
from typing import Protocol, Self

from dsmip.core.types import Binding, ReplayState


class StoreError(RuntimeError):
    """The store cannot be used: the message names the cause and the mend."""


class StoreLost(StoreError):
    """What was just flushed is safe, but earlier flushes are not there any more: write everything again."""


class Store(Protocol):
    """Bindings and replay states, one of each per home address.

    `load` and `flush` raise StoreError when the store cannot be read or written.
    """

    def put(self, binding: Binding, replay: ReplayState) -> None:
        """Write a new or changed binding together with its replay state."""

    def put_replay(self, replay: ReplayState) -> None:
        """Write replay state alone."""

    def forget(self, home_address: IPv6Address) -> None:
        """Delete a binding. Its replay state stays: an old Binding Update must not bring the binding back."""

    def load(self) -> tuple[list[Binding], list[ReplayState]]:
        """Everything in the store, in no particular order; what was written so far is flushed first."""

    def records(self) -> tuple[Iterable[bytes], Iterable[ReplayState]]:
        """As `load`, with each binding as its record (`core.binding_record`), which nobody has looked at.

        To be read once, before anything else is done with the store; StoreError may come while they are.
        """

    def flush(self) -> None:
        """Make everything written so far survive the end of this process."""

    def close(self) -> None:
        """Flush and let go. Calling it again does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
