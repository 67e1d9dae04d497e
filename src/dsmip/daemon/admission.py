"""Which of many waiting upcalls is looked at next, so that nobody keeps the others from their turn.

A home agent can look at a few thousand Binding Updates a second; anybody can send more. Each standing gets
its share of what there is time for, if it wants that much, and within it each alleged sender the same.
Whoever floods us in somebody's name delays nobody else, and not even that one where it proves who it is.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from dsmip.core.standing import Standing

#: Packets kept of one alleged sender: the latest, which are the ones it still waits for.
KEPT_EACH = 8

#: Packets kept of one standing.
KEPT = 8192

Classify = Callable[[bytes], tuple[Standing, bytes]]


class Admission:
    """Upcalls that wait. `classify` gives standing and alleged sender of a packet, "" = it names none."""

    def __init__(self, classify: Classify) -> None:
        self._classify = classify
        self._queues: tuple[OrderedDict[bytes, deque[bytes]], ...] = tuple(OrderedDict() for _ in Standing)
        self._sizes = [0 for _ in Standing]
        self._next = 0
        #: Packets that had to make room for others since this was last set to 0.
        self.dropped = 0

    def __len__(self) -> int:
        return sum(self._sizes)

    def put(self, packet: bytes) -> None:
        """Let a packet wait. The oldest of the same sender goes if there are too many."""
        standing, sender = self._classify(packet)
        queue = self._queues[standing].get(sender)
        if queue is not None and len(queue) == (KEPT_EACH if sender else KEPT):
            queue.popleft()
            self.dropped += 1
        elif self._sizes[standing] == KEPT:
            self.dropped += 1
            return
        else:
            self._sizes[standing] += 1
        if queue is None:
            self._queues[standing][sender] = deque((packet,))
        else:
            queue.append(packet)

    def take(self) -> bytes | None:
        """The next one; None when none waits."""
        for _ in self._queues:
            turn, self._next = self._next, (self._next + 1) % len(self._queues)
            if self._sizes[turn]:
                self._sizes[turn] -= 1
                sender, queue = self._queues[turn].popitem(last=False)
                packet = queue.popleft()
                if queue:
                    self._queues[turn][sender] = queue
                return packet
        return None
