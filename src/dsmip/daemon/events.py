"""What happened, for people and programs: one log line an event, a ring of recent ones, a JSON stream."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections import Counter, deque
from typing import IO

from dsmip.daemon.feed import Feed, Subscription
from dsmip.daemon.journal import RECENT, Journal
from dsmip.daemon.records import Record, Told, Value, readable

#: Lines a second that events may fill the log with: beyond that a busy home agent would do little else. The
#: others are counted, and are in the JSON stream and on the control socket all the same.
LINES_A_SECOND = 100
#: Refused packets are counted all, but logged at most this often per reason.
DROP_LOG_INTERVAL = 10.0
#: Environment variable naming a file that gets one JSON object per event.
EVENTS_VARIABLE = "DSMIP_EVENTS"

#: Events somebody should look into.
_WARNINGS = frozenset(
    (
        "problem",
        "host-error",
        "store-failed",
        "store-lost",
        "reload-refused",
        "refused",
        "binding-refused",
        "single-binding",
        "flow-refused",
        "flows-not-supported",
        "clock-corrected",
        "ipv4-refused",
        "routes-restored",
        "not-resumed",
        "keys-refused",
        "foreign-entries-removed",
    )
)

log = logging.getLogger("dsmip")


class EventLog:
    """Records events and refusals."""

    def __init__(self) -> None:
        self._recent: deque[Told] = deque(maxlen=RECENT)
        self.drops: Counter[str] = Counter()
        #: Events so far by kind.
        self.counts: Counter[str] = Counter()
        self.journal = Journal()
        self.feed: Feed[Record] = Feed()
        self._logged: dict[str, tuple[float, int]] = {}
        #: The second that is being logged, how many lines it has, and how many were left out.
        self._second, self._lines, self._left_out = 0, 0, 0
        self._stream: IO[str] | None = None
        path = os.environ.get(EVENTS_VARIABLE)
        if path:
            self._stream = open(path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - lives as long as we do

    @property
    def recent(self) -> list[Record]:
        """The latest events of any kind, oldest first."""
        return [readable(told) for told in self._recent]

    def event(self, kind: str, fields: Told) -> None:
        """Record one event now."""
        now = time.monotonic()
        told: Told = {**fields, "event": kind, "time": now, "unix": time.time()}
        self._recent.append(told)
        self.counts[kind] += 1
        self.journal.event(kind, told)
        if self.feed.followed:
            self.feed.publish(readable(told))
        if self._stream is not None:
            self._write(json.dumps(readable(told)) + "\n")
        level = logging.WARNING if kind in _WARNINGS else logging.INFO
        if self._has_room(now, level) and log.isEnabledFor(level):
            line = " ".join(f"{name}={_text(value)}" for name, value in readable(fields).items())
            log.log(level, "%s %s", kind, line)

    def _has_room(self, now: float, level: int) -> bool:
        """Whether one more line may be logged in this second; for a warning there always is."""
        if (second := int(now)) != self._second:
            if self._left_out:
                log.info("%d more events, not logged one by one", self._left_out)
            self._second, self._lines, self._left_out = second, 0, 0
        self._lines += 1
        if self._lines <= LINES_A_SECOND or level > logging.INFO:
            return True
        self._left_out += 1
        return False

    def _write(self, line: str) -> None:
        """Into the JSON stream. One that cannot be written, on a full disk, ends; the daemon goes on."""
        assert self._stream is not None
        try:
            self._stream.write(line)
        except OSError as error:
            log.warning("events are not written any more: %s", error)
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None

    def drop(self, reason: str, detail: str, node: str | None = None, *, count: int = 1) -> None:
        """Count a refused packet; log the first of its kind and then at a limited rate.

        `node` is the home address of the configured mobile node in whose name it came, None = no such; "" =
        it is about this mobile node itself. `count` packets at once are told as one.
        """
        self.drops[reason] += count
        self.journal.drop(reason, detail, node, time.time())
        now = time.monotonic()
        last, told_of = self._logged.get(reason, (float("-inf"), 0))
        if now - last < DROP_LOG_INTERVAL:
            return
        more = self.drops[reason] - told_of - 1
        self._logged[reason] = (now, self.drops[reason])
        told: Record = {
            "reason": reason,
            "detail": detail,
            "home_address": node or "",
            "count": self.drops[reason],
        }
        self.feed.publish({**told, "event": "dropped", "time": now, "unix": time.time()})
        log.warning(
            "refused reason=%s %s%s", reason, detail, f" (and {more} more like it)" if more > 0 else ""
        )

    def follow(self, past: int = 0) -> Subscription[Record]:
        """Every event from now on, after the `past` latest. Raises TooManyReaders."""
        return self.feed.subscribe(self.recent[-past:] if past > 0 else ())

    def close(self) -> None:
        """Close the JSON stream."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None


def _text(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    return f'"{text}"' if " " in text else text
