"""`dsmip attachments`: networks in reach of a mobile node, its paths, and leaving one in good time."""

from __future__ import annotations

import argparse
import json
from typing import Any

from dsmip.cli.asking import question
from dsmip.cli.table import table
from dsmip.daemon.control import ControlError
from dsmip.daemon.words import octets

_LEAVING = {
    "leave": "traffic leaves {}: it may go down now",
    "return": "{} may be used again",
}


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    attachments = commands.add_parser(
        "attachments",
        help="networks a running mobile node is attached to, and its paths; leave one before it goes down",
        usage="dsmip attachments [-h] [--json] [leave IFACE | return IFACE] [INSTANCE]",
    )
    attachments.add_argument(
        "words",
        nargs="*",
        metavar="leave IFACE | return IFACE | INSTANCE",
        help="move traffic away from an interface, or let it come back; the daemon, if several run",
    )
    attachments.add_argument("--json", action="store_true", help="print JSON instead of a table")
    attachments.set_defaults(call=_attachments)


def _attachments(options: argparse.Namespace) -> int:
    words: list[str] = options.words
    command = "attachments"
    arguments: dict[str, str] = {}
    if words and words[0] in _LEAVING:
        if len(words) < 2:
            raise ControlError(f"{words[0]} needs the name of an interface")
        command, arguments, words = words[0], {"interface": words[1]}, words[2:]
    if len(words) > 1:
        raise ControlError(f"not understood: {' '.join(words[1:])}")
    result = question(words[0] if words else None, command, **arguments)
    if options.json:
        print(json.dumps(result, indent=2))
    elif arguments:
        print(_LEAVING[command].format(arguments["interface"]))
    else:
        print(render(result))
    return 0


def render(result: dict[str, Any]) -> str:
    """The tables of `dsmip attachments`."""
    paths = result.get("paths") or []
    parts = [_networks(result), _paths(paths) if paths else "", "\n".join(_cut_off(result))]
    return "\n\n".join(part for part in parts if part)


def _cut_off(result: dict[str, Any]) -> list[str]:
    return [
        f"{row['interface']}: nothing gets from {row['address']} to the home agent"
        + (f"; log in at {row['portal']}" if row["portal"] else "")
        for row in result["care_of"]
        if row["cut_off"]
    ]


def _networks(result: dict[str, Any]) -> str:
    rows = []
    for name, interface in result["interfaces"].items():
        state = interface["state"] + ("" if interface["managed"] else " (watched)")
        found = [
            (row["address"], row["gateway"] or "-", row["network"])
            for row in result["care_of"]
            if row["interface"] == name
        ]
        if result["home"] == name:
            routers = [router["address"] for router in interface["routers"]]
            found.insert(0, ("home link", ", ".join(routers) or "-", "-"))
        for address, gateway, network in found or [("-", "-", "-")]:
            rows.append((name, state, address, gateway, network))
    return table(("INTERFACE", "STATE", "ADDRESS", "GATEWAY", "NETWORK"), rows) if rows else "no interfaces"


def _paths(paths: list[dict[str, Any]]) -> str:
    lines = [
        (
            str(path["bid"]),
            path["interface"],
            _state(path),
            path["care_of"] or "-",
            path["tunnel"] or "-",
            "-" if path["delay_ms"] is None else f"{path['delay_ms']:.1f} ms",
            f"{100 * path['loss']:.1f} %",
            octets(path["sent_bytes"]),
            octets(path["received_bytes"]),
        )
        for path in paths
    ]
    headings = ("BID", "PATH", "STATE", "CARE-OF ADDRESS", "TUNNEL", "DELAY", "LOSS", "SENT", "RECEIVED")
    return table(headings, lines)


def _state(path: dict[str, Any]) -> str:
    words = [path["state"]]
    words += [word for word, said in (("in use", path["in_use"]), ("metered", path["metered"])) if said]
    if path["fallback_only"]:
        words.append("fallback")
    return ", ".join(words)
