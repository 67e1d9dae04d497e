"""Which of a great many things stay thawed because they were heard of lately, in a room too small for all.

A fleet refreshes its bindings round by round. If whoever is heard of were let in, and whoever is in for
longest put out, each of a fleet larger than the room would be put out just before its next turn, and nobody
would ever be found in it. So a full room lets one in eight in: most of those inside are there when their turn
comes, and who is heard of often is soon among them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_ONE_IN = 8


class Lately(Generic[T]):
    """Calls `put_out` with what does not stay thawed any more."""

    def __init__(self, put_out: Callable[[T], None]) -> None:
        self._put_out = put_out
        self._inside: deque[T] = deque()
        self._refused = 0

    def let_in(self, one: T, room: int) -> bool:
        """Whether this one stays, in a room for so many."""
        if len(self._inside) >= room:
            self._refused = (self._refused + 1) % _ONE_IN
            if self._refused:
                return False
            self._put_out(self._inside.popleft())
        self._inside.append(one)
        return True
