"""`dsmip bench`: figures, each beside its baseline measured in the same run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsmip.bench.run import Report

FAILED = 1
MISUSED = 2
_PARTS = ("handover", "throughput", "signalling", "scale")
_WIDTH = 140


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    bench = commands.add_parser("bench", help="measure speed and scale, beside baselines from the same run")
    bench.add_argument("part", choices=(*_PARTS, "all"), nargs="?", default="all", help="what (default: all)")
    bench.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    bench.add_argument("--out", type=Path, metavar="DIR", help="write performance.md, .json and .svg there")
    bench.add_argument("--repeat", type=_positive, metavar="N", help="repetitions of every measurement")
    bench.add_argument(
        "--baseline",
        choices=("plain", "kernel"),
        default="plain",
        help="what throughput is compared with: plain forwarding (default), or the kernel's own tunnels "
        "(ip6tnl, sit, ipip, fou), which it must have",
    )
    bench.add_argument(
        "--bindings",
        type=_positive,
        metavar="N",
        help="scale with a home agent that starts with so many bindings in its store, such as 1000000, and "
        "nothing else",
    )
    bench.add_argument("--quick", action="store_true", help="fewer repetitions and smaller fleets")
    bench.set_defaults(call=_bench)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _bench(options: argparse.Namespace) -> int:
    from dsmip.bench import report
    from dsmip.bench.fleet import LARGEST, LEAST
    from dsmip.bench.run import FULL, QUICK, run
    from dsmip.lab import requirements
    from dsmip.lab.errors import LabError
    from dsmip.lab.lab import ended_in_order

    if os.geteuid() != 0:
        print("dsmip: the bench needs root (network namespaces and eBPF)", file=sys.stderr)
        return FAILED
    if options.baseline == "kernel" and options.part != "throughput":
        print("dsmip: --baseline kernel is for throughput", file=sys.stderr)
        return MISUSED
    if options.bindings and options.part != "scale":
        print("dsmip: --bindings is for scale", file=sys.stderr)
        return MISUSED
    if options.bindings and not LEAST <= options.bindings <= LARGEST:
        print(f"dsmip: --bindings: from {LEAST} to {LARGEST}", file=sys.stderr)
        return MISUSED
    parts = _PARTS if options.part == "all" else (options.part,)
    effort = QUICK if options.quick else FULL
    kernel_tunnels = options.baseline == "kernel"
    effort = replace(effort, kernel_tunnels=kernel_tunnels, restored=options.bindings or 0)
    if options.repeat:
        effort = replace(effort, repeat=options.repeat, tours=options.repeat)
    console = _console(stderr=options.json)
    try:
        with ended_in_order():
            requirements.check()
            found = run(parts, effort, lambda text: console.print(text, style="dim", highlight=False))
    except LabError as error:
        print(f"dsmip: {error}", file=sys.stderr)
        return FAILED
    if options.out is not None:
        for path in _write(found, options.out):
            console.print(f"wrote {path}")
    if options.json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        console.print(report.tables(found))
    return 0


def _console(*, stderr: bool) -> Any:
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_WIDTH)


def _write(found: Report, directory: Path) -> list[Path]:
    """The page, the figures and the picture."""
    from dsmip.bench import picture, report

    directory.mkdir(parents=True, exist_ok=True)
    page, figures, drawing = (directory / f"performance.{suffix}" for suffix in ("md", "json", "svg"))
    page.write_text(report.page(found, drawing.name), encoding="utf-8")
    figures.write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")
    picture.draw(found.figures, [drawing])
    return [page, figures, drawing]
