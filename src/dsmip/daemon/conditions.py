"""What is wrong for the time being, one sentence each: told when it begins and when it is over, shown in
`dsmip status` meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from dsmip.daemon.records import Told


class Conditions:
    """Standing problems by a short key. A sentence says what is wrong and what mends it."""

    def __init__(self, event: Callable[[str, Told], None]) -> None:
        self._event = event
        self._standing: dict[str, str] = {}

    @property
    def sentences(self) -> list[str]:
        """What is wrong now."""
        return list(self._standing.values())

    def stand(self, key: str, sentence: str) -> None:
        """This is wrong from now on; the same sentence again says nothing new."""
        if self._standing.get(key) != sentence:
            self._standing[key] = sentence
            self._event("problem", {"about": key, "problem": sentence})

    def end(self, key: str) -> None:
        """This is in order."""
        if self._standing.pop(key, None) is not None:
            self._event("problem-over", {"about": key})
