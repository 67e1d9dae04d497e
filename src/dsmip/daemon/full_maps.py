"""Maps without room, and policies of IPsec that the kernel refuses: counted, logged at a limited rate, and
shown in `dsmip status` for as long as somebody waits for an entry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from dsmip.daemon.conditions import Conditions
from dsmip.daemon.events import EventLog
from dsmip.dataplane.api import DataPlaneError, NoRoom
from dsmip.host.routing import HostError

#: Why the kernel does not have a binding.
Refusal = DataPlaneError | HostError

#: Seconds after which a mobile node that was refused, and has not asked again, is taken to wait no more. They
#: ask at least every 32 seconds (RFC 6275 section 12, MAX_BINDACK_TIMEOUT).
PATIENCE = 60.0
_SENTENCE = (
    "{error}. Binding Updates that need an entry are refused with status 130; what is bound stays bound, and"
    " is forwarded. Each further update is tried."
)


class FullMaps:
    """What has been refused, and by which map. Mobile nodes are known by their binding index."""

    def __init__(self, events: EventLog, conditions: Conditions) -> None:
        self._events = events
        self._conditions = conditions
        #: Who waits for room, and in what.
        self._waiting: dict[int, str] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def refused(self, index: int, error: Refusal) -> None:
        """A binding was refused for this reason."""
        reason = _reason(error)
        self._events.drop(reason, str(error))
        self._waiting[index] = reason
        text = str(error)
        self._conditions.stand(reason, _SENTENCE.format(error=text[:1].upper() + text[1:]))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._give_up)

    def settled(self, indexes: Iterable[int]) -> None:
        """These have what they want."""
        found = [reason for index in indexes if (reason := self._waiting.pop(index, None)) is not None]
        if found:
            for reason in set(found).difference(self._waiting.values()):
                self._conditions.end(reason)

    def _give_up(self) -> None:
        self._timer = None
        self.settled(list(self._waiting))


def _reason(error: Refusal) -> str:
    """In the counters: "sources-full" or "sources-without-memory", by the map's name."""
    if isinstance(error, HostError):
        return "policy-refused"
    if isinstance(error, NoRoom):
        return f"{error.table}-full" if error.full else f"{error.table}-without-memory"
    return "not-installed"
