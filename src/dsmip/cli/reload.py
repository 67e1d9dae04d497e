"""`dsmip reload`: have a running daemon read its configuration file again."""

from __future__ import annotations

import argparse
import json
import sys

from dsmip.daemon.control import ControlError, RefusedError, ask, instances

BAD_CONFIG = 2
#: Seconds: a large file takes a while to check.
_PATIENCE = 60.0


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    reload = commands.add_parser("reload", help="have a running daemon read its configuration file again")
    reload.add_argument("instance", nargs="?", help="name of the daemon, if several run here")
    reload.add_argument("--json", action="store_true", help="print JSON")
    reload.set_defaults(call=_reload)


def _reload(options: argparse.Namespace) -> int:
    running = instances()
    name = options.instance or (running[0] if len(running) == 1 else None)
    if name is None:
        what = (
            f"several daemons run here: name one of {', '.join(running)}"
            if running
            else "no daemon runs here"
        )
        raise ControlError(what)
    try:
        done = ask(name, "reload", timeout=_PATIENCE)
    except RefusedError as error:
        print(f"dsmip: {error}", file=sys.stderr)
        return BAD_CONFIG
    if options.json:
        print(json.dumps(done, indent=2))
    else:
        print(f"{name}: {', '.join(done['changed']) or 'nothing'} changed ({done['file']})")
    return 0
