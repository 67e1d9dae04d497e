"""Uplinks whose signal falls below what the configuration says: their end is announced before it comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from dsmip.core.signal_strength import SignalStrength

#: Seconds between readings.
LOOK = 0.5

log = logging.getLogger(__name__)


class SignalReader(Protocol):
    """Where readings come from."""

    async def read(self, interface: str) -> int | None:
        """dBm; None = there is no link, or no radio. Raises OSError."""


class SignalWatch:
    """Reads the signal of each uplink that has a threshold, and tells `changed`: interface, weak or not, and
    the reading in dBm, None = there was none."""

    def __init__(self, reader: SignalReader, changed: Callable[[str, bool, int | None], None]) -> None:
        self._reader = reader
        self._changed = changed
        self._signals: dict[str, SignalStrength] = {}
        self._task: asyncio.Task[None] | None = None
        self._silenced: set[str] = set()

    def use(self, thresholds: Mapping[str, int]) -> None:
        """Watch these interfaces from now on, each for its threshold in dBm."""
        for name, signal in list(self._signals.items()):
            if name not in thresholds:
                del self._signals[name]
                if signal.weak:
                    self._changed(name, False, None)
        for name, threshold in thresholds.items():
            self._signals.setdefault(name, SignalStrength(threshold)).threshold = threshold
        if self._signals and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())
        elif not self._signals:
            self.stop()

    def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Take one reading of each."""
        for name in list(self._signals):
            try:
                strength = await self._reader.read(name)
            except OSError as error:
                if name not in self._silenced:
                    log.warning("%s", error)
                self._silenced.add(name)
                continue
            signal = self._signals.get(name)  # it may have changed meanwhile
            if signal is not None and signal.read(strength):
                self._changed(name, signal.weak, strength)
