"""`dsmip events`: what happened lately, and what happens now."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from typing import Any

from dsmip.cli.asking import add_instance, find
from dsmip.daemon.control import follow
from dsmip.daemon.journal import RECENT

#: Told first, in this order; what is not told at all is in the line in another form.
_FIRST = ("name", "home_address", "interface", "care_of", "previous")
_NOT_TOLD = ("event", "time", "unix", "at", "wire")


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    events = commands.add_parser("events", help="what happened lately, and what happens now")
    add_instance(events)
    events.add_argument("-f", "--follow", action="store_true", help="go on with events as they happen")
    events.add_argument("--json", action="store_true", help="one JSON object a line")
    events.set_defaults(call=_events)


def _events(options: argparse.Namespace) -> int:
    name, past = find(options.instance, "events")
    # With the past in the same stream nothing is missed between the two.
    for record in follow(name, "events", past=RECENT) if options.follow else past:
        _print(record, as_json=options.json)
    return 0


def _print(record: Mapping[str, Any], *, as_json: bool) -> None:
    # At once, whoever reads: a stream that waits for a full buffer is none.
    print(json.dumps(record) if as_json else line(record), flush=True)


def line(record: Mapping[str, Any]) -> str:
    """One event for people: when, what, who, and the rest."""
    names = [*(name for name in _FIRST if name in record), *(n for n in record if n not in _FIRST)]
    if record.get("name") and "home_address" in names:
        names.remove("home_address")
    told = (f"{name}={record[name]}" for name in names if name not in _NOT_TOLD and record[name] != "")
    clock = time.strftime("%H:%M:%S", time.localtime(record["unix"])) if "unix" in record else "--:--:--"
    return f"{clock} {record['event']:<22} {' '.join(told)}".rstrip()
