"""`dsmip watch`: a screen that follows one daemon; without a terminal, one look as text."""

from __future__ import annotations

import argparse
import functools
import sys
import time

from dsmip.cli.asking import add_instance, find
from dsmip.cli.table import table
from dsmip.cli.watch_view import Watcher, is_turn, turn_line
from dsmip.daemon.control import RUN_ROOT, ask

FAILED = 1
#: Turns printed below the table.
_TURNS = 10


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    watch = commands.add_parser(
        "watch", help="a screen: bindings or paths, rates, handovers as they happen (q quits, / filters)"
    )
    add_instance(watch)
    watch.add_argument("--once", action="store_true", help="print one look as text and end")
    watch.add_argument("--filter", default="", metavar="TEXT", help="only what contains TEXT")
    watch.set_defaults(call=_watch)


def _watch(options: argparse.Namespace) -> int:
    name, _ = find(options.instance, "status")
    if options.once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(once(name, options.filter))
        return 0
    try:
        from dsmip.cli.watch_screen import WatchScreen
    except ModuleNotFoundError as error:
        print(
            f"dsmip: the screen needs the Python package {error.name}: pip install 'dsmip[watch]';"
            " dsmip watch --once does without",
            file=sys.stderr,
        )
        return FAILED
    WatchScreen(name, RUN_ROOT, options.filter).run()
    return 0


def once(name: str, wanted: str) -> str:
    """One look: summary, table and the latest turns."""
    asked = functools.partial(ask, name)
    view = Watcher(asked).look(wanted, time.monotonic())
    turns = [record for record in asked("events") if is_turn(record)][-_TURNS:]
    lines = [f"{view.title}: {view.summary}", ""]
    lines.append(table(view.headings, [row.cells for row in view.rows]) if view.rows else "nothing to show")
    if view.note:
        lines.append(view.note)
    if turns:
        lines += ["", *map(turn_line, turns)]
    return "\n".join(lines)
