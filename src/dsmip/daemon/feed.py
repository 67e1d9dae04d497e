"""From one producer to readers of any speed: nobody waits, nothing piles up.

The daemon publishes without blocking. Each reader has a bounded queue of its own; one that is too slow loses
the oldest items and is told how many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

#: Items that wait for one reader.
QUEUE = 1024
#: Readers at once; a further one is refused.
MAX_READERS = 16


class TooManyReaders(RuntimeError):
    """No further reader is served."""


class Subscription(Generic[T]):
    """One reader's queue. Used from one event loop only."""

    def __init__(self, feed: Feed[T], past: Iterable[T], limit: int) -> None:
        self._feed = feed
        self._waiting: deque[T] = deque(past, maxlen=limit)
        self._skipped = 0
        self._news = asyncio.Event()
        if self._waiting:
            self._news.set()

    def offer(self, item: T) -> None:
        """Put an item in, and the oldest one out if there is no room."""
        if len(self._waiting) == self._waiting.maxlen:
            self._skipped += 1
        self._waiting.append(item)
        self._news.set()

    async def take(self) -> tuple[int, list[T]]:
        """Wait for items: how many were skipped before the first of them, and all that wait."""
        await self._news.wait()
        self._news.clear()
        skipped, self._skipped = self._skipped, 0
        items = list(self._waiting)
        self._waiting.clear()
        return skipped, items

    def close(self) -> None:
        """Take no more."""
        self._feed.forget(self)


class Feed(Generic[T]):
    """Where items are published."""

    def __init__(self, *, limit: int = QUEUE, readers: int = MAX_READERS) -> None:
        self._limit = limit
        self._most = readers
        self._readers: list[Subscription[T]] = []

    @property
    def followed(self) -> bool:
        """Whether anybody reads: without readers there is nothing to prepare."""
        return bool(self._readers)

    def publish(self, item: T) -> None:
        """Hand an item to every reader; never waits."""
        for reader in self._readers:
            reader.offer(item)

    def subscribe(self, past: Iterable[T] = ()) -> Subscription[T]:
        """A new reader, which finds the items `past` waiting. Raises TooManyReaders."""
        if len(self._readers) >= self._most:
            raise TooManyReaders(f"{self._most} readers follow already")
        reader = Subscription(self, past, self._limit)
        self._readers.append(reader)
        return reader

    def forget(self, reader: Subscription[T]) -> None:
        """Serve this reader no more."""
        if reader in self._readers:
            self._readers.remove(reader)
