"""When Python looks for garbage that its reference counts do not find, once a daemon serves."""

from __future__ import annotations

import gc

#: Containers made and not freed before the youngest are looked through, and how often that happens for each
#: look at the older ones. A Binding Update leaves some dozens behind that live for long and are no garbage:
#: by the defaults (700, 10, 10) a tenth of a busy home agent's time goes into looking at them again.
_THRESHOLDS = (50_000, 20, 100)


def settle() -> None:
    """What there is now stays: look at it never again, and at what comes seldom."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()
