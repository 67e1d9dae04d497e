"""Kernel receive times on the monotonic clock, and a place in the queue for those who measure.

The kernel stamps packets with CLOCK_REALTIME. The two clocks are compared each time sockets are read, so a
step of the wall clock spoils at most what was waiting at that moment.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Sequence

#: asm-generic/socket.h: ask for struct timespec stamps; the control message has the same number.
SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
ANCILLARY_SIZE = socket.CMSG_SPACE(_TIMESPEC.size)

_SAMPLES = 3
#: Above everything ordinary, below what the kernel needs.
_PRIORITY = 10


def offset() -> float:
    """CLOCK_MONOTONIC minus CLOCK_REALTIME, in seconds, now."""
    # The process may be set aside between two readings: the tightest of a few samples tells the truth.
    _, found = min(_sample() for _ in range(_SAMPLES))
    return found / 1e9


def _sample() -> tuple[int, int]:
    """How long it took to read both clocks, and their difference, in nanoseconds."""
    before = time.monotonic_ns()
    wall = time.time_ns()
    after = time.monotonic_ns()
    return after - before, (before + after) // 2 - wall


def stamp(ancillary: Sequence[tuple[int, int, bytes]], clocks: float) -> float:
    """The receive time of a packet in CLOCK_MONOTONIC seconds; now, if the kernel gave none.

    `clocks` is what `offset` returned when the packet was read.
    """
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return float(seconds + nanoseconds / 1e9 + clocks)
    return time.monotonic()


def prefer_this_process() -> None:
    """Ask the kernel to run this process as soon as it is due: an instrument must not wait for its object.

    Where that is not allowed the process runs as any other, and a busy machine shows as jitter.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
