"""`dsmip web`: where the status page of a home agent is."""

from __future__ import annotations

import argparse
import json

from dsmip.cli.asking import add_instance, question


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    web = commands.add_parser("web", help="the address of the home agent's status page, with its token")
    add_instance(web)
    web.add_argument("--json", action="store_true", help="print JSON")
    web.set_defaults(call=_web)


def _web(options: argparse.Namespace) -> int:
    answer = question(options.instance, "web")
    print(json.dumps(answer) if options.json else answer["url"])
    return 0
