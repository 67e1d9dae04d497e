"""When is a radio link about to end? The strength of its signal tells, some readings in a row.

What is announced for a weak signal is taken back later than it was said: on the border of a cell readings go
up and down by some dB from one second to the next.
"""

from __future__ import annotations

#: Readings in a row below the threshold that tell of the end.
WEAK_READINGS = 2

#: Readings in a row that take it back, each at least so many dB above the threshold.
GOOD_READINGS = 10
MARGIN = 5


class SignalStrength:
    """One radio link. `weak`: it is about to end, because the signal is below `threshold` (dBm)."""

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold
        self.weak = False
        self._in_a_row = 0

    def read(self, strength: int | None) -> bool:
        """One more reading in dBm, None = there is no link: the next one starts afresh.

        True when `weak` is not what it was.
        """
        if strength is None:
            before, self.weak, self._in_a_row = self.weak, False, 0
            return before
        if self.weak:
            contradicts, needed = strength >= self.threshold + MARGIN, GOOD_READINGS
        else:
            contradicts, needed = strength < self.threshold, WEAK_READINGS
        self._in_a_row = self._in_a_row + 1 if contradicts else 0
        if self._in_a_row < needed:
            return False
        self.weak, self._in_a_row = not self.weak, 0
        return True
