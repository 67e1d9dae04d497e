"""The `dsmip` command: parses arguments, runs one subcommand, turns failures into exit codes.

Exit codes: 0 fine, 1 failed, 2 bad usage or configuration.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dsmip import __version__
from dsmip.cli import (
    attachments,
    bench,
    capture,
    completion,
    events,
    explain,
    init,
    lab,
    manual,
    node,
    prepare,
    provision,
    reload,
    show,
    watch,
    web,
)
from dsmip.cli.asking import add_instance
from dsmip.daemon.control import ControlError

FAILED = 1
BAD_USAGE = 2


def parser() -> argparse.ArgumentParser:
    """Every command and option: help texts, completion and the manual are made from this."""
    top = argparse.ArgumentParser(
        prog="dsmip",
        description="Dual Stack Mobile IPv6 for Linux: sessions that survive every network.",
    )
    top.add_argument("--version", action="version", version=f"dsmip {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="run the role a configuration file describes, in the foreground")
    run.add_argument("config", type=Path, metavar="CONFIG.toml")
    run.add_argument(
        "--keep-forwarding",
        action="store_true",
        help="on a stop, leave device, routes and eBPF programs: traffic goes on, the next start adopts them",
    )
    run.add_argument("-v", "--verbose", action="count", default=0, help="log more; twice for debugging")
    run.set_defaults(call=node.run)

    check = commands.add_parser("check", help="check a configuration file and report every error")
    check.add_argument("config", type=Path, metavar="CONFIG.toml")
    check.set_defaults(call=node.check)

    for name, text, call in (
        ("status", "what a running daemon is and how it is doing", show.status),
        ("bindings", "the binding cache of a running home agent", show.bindings),
        ("flows", "which flows take which care-of addresses", show.flows),
        ("stats", "counters: refused signalling and dropped packets, by reason", show.stats),
    ):
        question = commands.add_parser(name, help=text)
        add_instance(question)
        question.add_argument("--json", action="store_true", help="print JSON instead of a table")
        question.set_defaults(call=call)
        if name == "bindings":
            question.add_argument(
                "--filter", default="", metavar="TEXT", help="part of a name, an address, or a tunnel format"
            )

    attachments.add_commands(commands)
    events.add_commands(commands)
    explain.add_commands(commands)
    watch.add_commands(commands)
    web.add_commands(commands)
    capture.add_commands(commands)
    init.add_commands(commands)
    reload.add_commands(commands)
    prepare.add_commands(commands)
    provision.add_commands(commands)
    lab.add_commands(commands)
    bench.add_commands(commands)
    completion.add_commands(commands, top)
    manual.add_commands(commands, top)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.call(options)
    except ControlError as error:
        print(f"dsmip: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away: nothing is wrong
        return FAILED
    except KeyboardInterrupt:
        return 130
    return code
