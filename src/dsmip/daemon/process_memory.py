"""How the C library hands memory of large tables back."""

from __future__ import annotations

import ctypes
from typing import Final

#: `mallopt` of glibc: blocks from this size on have a mapping each, which ends when they are freed.
_M_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 128 * 1024


def keep_large_blocks_apart() -> None:
    """Give large blocks a mapping each, for good.

    glibc raises the limit by itself when such a block is freed. With a hundred thousand mobile nodes the
    tables that were outgrown, or needed to read the configuration only, then stay in the heap: two hundred
    octets for each. A C library without such a choice is left as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
