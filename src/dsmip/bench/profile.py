"""Where the time goes, of what missed its bar: a sentence of the report out of samples, not out of opinion.

The kernel is sampled by perf (Debian: linux-perf) while packets pass, Python by the profiler it comes with.
"""

from __future__ import annotations

import cProfile
import os
import platform
import pstats
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

#: Samples a second. Odd, so as not to march in step with the timer interrupt.
_FREQUENCY = 3999
_STARTS_WITHIN = 10.0
#: The least share of anything worth a word.
_WORTH_TELLING = 0.02
_PROGRAM = "the eBPF program"
_SYSTEM_CALL = "__x64_sys_" if platform.machine() == "x86_64" else "__arm64_sys_"
_MOST = 6

#: Phases of a packet's way by a function that is on the stack; the innermost such function tells.
_PHASES: Sequence[tuple[str, str]] = (
    ("__bpf_redirect", "sending what the program redirected"),
    ("cls_bpf_classify", "calling the program"),
    ("dev_queue_xmit", "the transmit path"),
    ("ip_forward", "routing and forwarding"),
    ("ip6_forward", "routing and forwarding"),
    ("ip_rcv", "routing and forwarding"),
    ("ipv6_rcv", "routing and forwarding"),
    ("netif_receive_skb", "receiving"),
    ("process_backlog", "receiving"),
    ("sendmsg", "the generator"),
)

Stack = Sequence[str]


def available() -> bool:
    """Whether the kernel can be sampled on this machine."""
    return shutil.which("perf") is not None and os.geteuid() == 0


def stacks(
    traffic: Callable[[], object], *, everywhere: bool = False, process: int | None = None
) -> list[Stack]:
    """Stacks of a process while `traffic` runs, in the kernel too: function names, innermost first.

    `process` None = this one; `everywhere`: of all processes. Empty when perf does not work here.
    """
    with tempfile.TemporaryDirectory(prefix="dsmip-profile-") as directory:
        data = Path(directory, "perf.data")
        whose = ["-a"] if everywhere else ["-p", str(process or os.getpid())]
        argv = ["perf", "record", "-q", "-g", "-F", str(_FREQUENCY), "-o", str(data), *whose]
        recorder = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            traffic()
        finally:
            recorder.send_signal(signal.SIGINT)
            try:
                recorder.wait(_STARTS_WITHIN)
            except subprocess.TimeoutExpired:
                recorder.kill()
                recorder.wait()
        shown = subprocess.run(
            ["perf", "script", "-i", str(data), "-F", "ip,sym"], capture_output=True, text=True, check=False
        )
    return list(parse(shown.stdout.splitlines()))


def parse(lines: Iterable[str]) -> Iterator[Stack]:
    """Stacks out of what `perf script -F ip,sym` prints: a function a line, an empty line between two."""
    stack: list[str] = []
    for line in lines:
        words = line.split()
        if len(words) >= 2:
            stack.append(words[1])
        elif stack:
            yield stack
            stack = []
    if stack:
        yield stack


def phases(found: Iterable[Stack], program: str) -> dict[str, float]:
    """Shares of the time (0 to 1) by phase of a packet's way; those within `program` by what it called."""
    counts: Counter[str] = Counter()
    total = 0
    for stack in found:
        phase = _phase(stack, program)
        if phase:
            counts[phase] += 1
            total += 1
    return {phase: count / total for phase, count in counts.items()} if total else {}


def _phase(stack: Stack, program: str) -> str:
    for place, function in enumerate(stack):
        if function.endswith(f"_{program}") and function.startswith("bpf_prog"):
            return f"{_PROGRAM}: {_called(stack[:place])}"
        for part, phase in _PHASES:
            if part in function:
                return phase
    return ""


#: What a core does that does nothing.
_IDLE = ("idle", "default_idle", "pv_native_safe_halt", "acpi_safe_halt", "io_idle")

#: What the program calls, in words; the first that is part of a function's name.
_CALLS: Sequence[tuple[str, str]] = (
    ("pskb_expand_head", "moving the packet to where there is room in front"),
    ("adjust_room", "making room"),
    ("change_head", "room for the link layer"),
    ("hash_recalc", "hash of the flow"),
    ("fib_lookup", "route lookup"),
    ("htab", "map lookups"),
    ("map_lookup", "map lookups"),
    ("find_binding", "map lookups"),
    ("load_bytes", "reading and writing the packet"),
    ("store_bytes", "reading and writing the packet"),
    ("change_proto", "making room"),
)


def _called(inside: Stack) -> str:
    """In words, what the program had called; `inside` are the functions within it, innermost first."""
    for part, words in _CALLS:
        if any(part in function for function in inside):
            return words
    return "its own instructions" if not inside else "other helpers"


def busiest(found: Iterable[Stack]) -> str:
    """The functions in which most of the time is spent, themselves and not in what they call."""
    counts = Counter(stack[0] for stack in found if not any(idle in stack[0] for idle in _IDLE))
    total = counts.total() or 1
    return ", ".join(f"{name} {count / total:.0%}" for name, count in counts.most_common(_MOST))


def system_calls(found: Iterable[Stack]) -> str:
    """How much time each system call takes, and how much the program itself."""
    counts: Counter[str] = Counter()
    for stack in found:
        called = [function for function in stack if function.startswith(_SYSTEM_CALL)]
        counts[called[-1].removeprefix(_SYSTEM_CALL) if called else "the program itself"] += 1
    total = counts.total() or 1
    told = [f"{name} {share / total:.0%}" for name, share in counts.most_common(_MOST)]
    return "Time by system call, from samples: " + ", ".join(told) + "."


def beyond(
    through: Mapping[str, float], plain: Mapping[str, float], ns_through: float, ns_plain: float
) -> str:
    """What a packet costs more than plain forwarding, by phase; `through` and `plain` are shares of the
    nanoseconds given."""
    extra = {
        phase: through.get(phase, 0.0) * ns_through - plain.get(phase, 0.0) * ns_plain
        for phase in {*through, *plain}
    }
    worst = sorted(extra.items(), key=lambda item: -item[1])
    told = [f"{phase} {ns:.0f} ns" for phase, ns in worst if ns >= _WORTH_TELLING * ns_plain]
    return (
        f"{ns_through:.0f} ns a packet, {ns_plain:.0f} ns when plainly forwarded. Of the difference: "
        + "; ".join(told[: 2 * _MOST])
        + "."
    )


def python(call: Callable[[], object]) -> str:
    """The functions in which `call` spends most of its time, themselves and not in what they call."""
    profiler = cProfile.Profile()
    profiler.runcall(call)
    stats = pstats.Stats(profiler)
    rows: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = stats.stats  # type: ignore[attr-defined]
    total = sum(row[2] for row in rows.values()) or 1.0
    by_file: Counter[str] = Counter()
    for (file, _, function), row in rows.items():
        by_file[_module(file, function)] += row[2] / total  # type: ignore[assignment]
    told = [f"{name} {share:.0%}" for name, share in by_file.most_common(_MOST) if share >= _WORTH_TELLING]
    return "Time by module, as the profiler saw it: " + ", ".join(told) + "."


def _module(file: str, function: str) -> str:
    if file == "~":
        return function.strip("<>").removeprefix("built-in method ").removeprefix("method ")
    parts = Path(file).with_suffix("").parts
    if "dsmip" in parts:
        return ".".join(parts[len(parts) - 1 - parts[::-1].index("dsmip") :])
    return parts[-1]
