"""`dsmip explain`: the story of one mobile node, in plain words."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable, Mapping

from dsmip.cli.asking import question

_WIDTH = 100
#: What stands before a sentence, by what the sentence is there for.
_MARKS = {"state": "", "fact": "  ", "problem": "! ", "mend": "  -> ", "moment": "    "}


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    explain = commands.add_parser(
        "explain", help="the story of one mobile node: where it is, what was refused and why, what to do"
    )
    explain.add_argument(
        "node",
        nargs="?",
        default="",
        metavar="NAME",
        help="name, identifier or address of a mobile node (home agent); nothing: this mobile node itself",
    )
    explain.add_argument("--daemon", metavar="INSTANCE", help="which daemon to ask, if several run here")
    explain.add_argument("--json", action="store_true", help="print JSON instead of text")
    explain.set_defaults(call=_explain)


def _explain(options: argparse.Namespace) -> int:
    told = question(options.daemon, "explain", node=options.node)
    print(json.dumps(told, indent=2) if options.json else text(told["story"]))
    return 0


def text(story: Iterable[Mapping[str, str]]) -> str:
    """The sentences as lines; problems are marked, mends point, and the latest turns come last."""
    lines: list[str] = []
    last = ""
    for sentence in story:
        if sentence["kind"] == "moment" and last != "moment":
            lines.append("  Lately:")
        mark = _MARKS[sentence["kind"]]
        lines += textwrap.wrap(
            sentence["text"], _WIDTH, initial_indent=mark, subsequent_indent=" " * len(mark)
        )
        last = sentence["kind"]
    return "\n".join(lines)
