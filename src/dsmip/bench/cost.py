"""What the eBPF programs cost a packet, by the kernel's own clock.

The kernel adds up how long every run of a program took, when told to. That is asked for while a flood passes:
`BPF_PROG_TEST_RUN` with its `repeat` would run an encapsulating program on what it made the time before, and
cannot give a packet to the tunnel device's program at all, since that device has no Ethernet header.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

_SWITCH = Path("/proc/sys/kernel/bpf_stats_enabled")


@contextlib.contextmanager
def _counting() -> Iterator[None]:
    """The kernel takes the time of eBPF programs within this block."""
    before = _SWITCH.read_text(encoding="ascii")
    _SWITCH.write_text("1\n", encoding="ascii")
    try:
        yield
    finally:
        _SWITCH.write_text(before, encoding="ascii")


def _counters(program: int) -> tuple[int, int]:
    """Nanoseconds and runs so far of a program (a descriptor)."""
    text = Path(f"/proc/self/fdinfo/{program}").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in text.splitlines())
    return int(fields["run_time_ns"]), int(fields["run_cnt"])


def nanoseconds(program: int, traffic: Callable[[], object]) -> float:
    """The mean time of a run of this program (a descriptor) while `traffic` goes on; 0.0 when it never ran.

    Reading the clock twice a run, some tens of nanoseconds, is part of it.
    """
    with _counting():
        time_before, runs_before = _counters(program)
        traffic()
        time_after, runs_after = _counters(program)
    runs = runs_after - runs_before
    return (time_after - time_before) / runs if runs else 0.0
