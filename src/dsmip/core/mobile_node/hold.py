"""Times at which a mobile node sends no Binding Updates, because there is no point in it."""

from __future__ import annotations

_NEVER = float("inf")


class Hold:
    """Until when, in CLOCK_MONOTONIC seconds, and whether from here only."""

    def __init__(self) -> None:
        self._until: float | None = None
        self._here_only = False

    def __bool__(self) -> bool:
        return self._until is not None

    @property
    def ends_at(self) -> float | None:
        """When it ends by itself; None = there is none, or it does not."""
        return None if self._until == _NEVER else self._until

    @property
    def is_for_good(self) -> bool:
        """Nothing but a new start, or the home link, ends it."""
        return self._until == _NEVER

    def begin(self, until: float | None, *, here_only: bool = False) -> None:
        """Send nothing until then (None = for good), or until the next care-of address if `here_only`."""
        self._until = _NEVER if until is None else until
        self._here_only = here_only

    def moved(self) -> None:
        """Another care-of address."""
        if self._here_only:
            self.end()

    def end(self) -> None:
        """Go on."""
        self._until = None
        self._here_only = False
