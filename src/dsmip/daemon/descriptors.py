"""No file descriptor left: what is open goes on, what is new waits, and people are told."""

from __future__ import annotations

import asyncio
import errno
import resource
from typing import Any

from dsmip.daemon.conditions import Conditions

#: Seconds after the last time for which it stands in `dsmip status`, which cannot be asked meanwhile.
SHOWN = 60.0
_CONDITION = "descriptors"
_EXHAUSTED = (
    "There was no file descriptor left a moment ago (the limit is {limit}): packets and registrations went"
    " on, questions had to wait. Raise the limit (LimitNOFILE= of the service) if nothing else leaks them."
)


class DescriptorWatch:
    """Takes from the event loop what it says of connections it cannot accept; it tries again by itself."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._over: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on."""
        loop.set_exception_handler(self._unexpected)

    def stop(self) -> None:
        """Forget what was."""
        if self._over is not None:
            self._over.cancel()
            self._over = None

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
            loop.default_exception_handler(context)
            return
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._conditions.stand(_CONDITION, _EXHAUSTED.format(limit=limit))
        self.stop()
        self._over = loop.call_later(SHOWN, self._conditions.end, _CONDITION)
