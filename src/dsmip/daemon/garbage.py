"""When Python looks for garbage that its reference counts do not find, once a daemon serves.

There is hardly any: signalling makes no cycles, a connection to the control socket makes a few. Looking for
it takes a microsecond for each object there is, and nobody is answered meanwhile. So what is new is looked
through soon and in small portions, and all the rest seldom.
"""

from __future__ import annotations

import asyncio
import gc

#: Containers made and not freed before those are looked through: some milliseconds.
_YOUNG = 5_000
#: Never by counting.
_OLD = 1_000_000
#: Seconds between two looks at everything made since the start: some 40 ms with a hundred thousand bindings.
_INTERVAL = 600.0


def settle() -> None:
    """What there is now stays: it is never looked at again. What comes is looked at once."""
    gc.freeze()
    gc.set_threshold(_YOUNG, _OLD, _OLD)
    gc.enable()


class Collection:
    """Looks through everything every now and then, as long as the event loop runs. Begins at once."""

    def __init__(self) -> None:
        settle()
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._collect)

    def stop(self) -> None:
        """No more."""
        self._timer.cancel()

    def _collect(self) -> None:
        gc.collect()
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._collect)
