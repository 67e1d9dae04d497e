"""Questions to a running daemon: status, bindings, stats."""

from __future__ import annotations

import argparse
import json
from typing import Any

from dsmip.cli.asking import question
from dsmip.cli.table import pairs, table
from dsmip.daemon.words import duration, octets

FAILED = 1

#: Keys of `status` with a sentence for each thing that is wrong.
_SENTENCES = ("refused", "problems")
#: What `status` shows first and how; everything else follows under its own name.
_DURATIONS = ("uptime", "lifetime", "expires_in", "lifetime_left", "registered_for", "asks_again_in")
_OCTETS = ("sent_bytes", "received_bytes")


def status(options: argparse.Namespace) -> int:
    """`dsmip status`: fails when something is wrong with the daemon that answers."""
    result = question(options.instance, "status")
    print(json.dumps(result, indent=2) if options.json else _status(result))
    return FAILED if result.get("problems") else 0


def bindings(options: argparse.Namespace) -> int:
    """`dsmip bindings`."""
    return _print(options, "bindings", _bindings, filter=options.filter)


def flows(options: argparse.Namespace) -> int:
    """`dsmip flows`."""
    return _print(options, "flows", _flows)


def stats(options: argparse.Namespace) -> int:
    """`dsmip stats`."""
    return _print(options, "stats", _stats)


def _print(options: argparse.Namespace, command: str, render: Any, **arguments: str) -> int:
    result = question(options.instance, command, **arguments)
    print(json.dumps(result, indent=2) if options.json else render(result))
    return 0


def _status(result: dict[str, Any]) -> str:
    """Values first, then what is wrong, a line each."""
    known = {key: result[key] for key in result if key not in _SENTENCES}
    lines = [pairs([(_label(key), _text(key, value)) for key, value in known.items()])]
    for key in _SENTENCES:
        lines += [f"{key.rstrip('s')}: {sentence}" for sentence in result.get(key, ())]
    return "\n".join(lines)


def _bindings(rows: list[dict[str, Any]]) -> str:
    """A line a care-of address, the preferred one first and with the name."""
    if not rows:
        return "no bindings"
    several = any(place["bid"] for row in rows for place in row["care_of_bindings"])
    protected = any(row["payload"] != "clear" for row in rows)
    lines = []
    for row in rows:
        for number, place in enumerate(row["care_of_bindings"]):
            first = number == 0
            lines.append(
                (
                    row["name"] if first else "",
                    row["home_address"] if first else "",
                    *((str(place["bid"]) if place["bid"] else "-",) if several else ()),
                    _care_of(place),
                    place["tunnel"] + (", silent" if place["silent"] else ""),
                    row["signalling"] if first else "",
                    *((row["payload"] if first else "",) if protected else ()),
                    duration(place["expires_in"]),
                    octets(place["received_bytes"]),
                    octets(place["sent_bytes"]),
                )
            )
    headings = (
        "NAME",
        "HOME ADDRESS",
        *(("BID",) if several else ()),
        "CARE-OF ADDRESS",
        "TUNNEL",
        "SIGNALLING",
        *(("PAYLOAD",) if protected else ()),
        "EXPIRES IN",
        "FROM IT",
        "TO IT",
    )
    return table(headings, lines)


def _care_of(place: dict[str, Any]) -> str:
    if place["at_home"]:
        return "home link"
    if place["nat_source"] and place["nat"] == "detected":
        return f"{place['nat_source']} (NAT)"
    return str(place["care_of"])


def _flows(rows: list[dict[str, Any]]) -> str:
    lines = [
        (
            row["name"],
            str(row["fid"]),
            str(row["priority"]),
            row["selector"],
            _paths(row["bids"], row.get("interfaces") or []),
            "active" if row["active"] else "inactive",
        )
        for row in rows
    ]
    return table(("NAME", "FLOW", "PRIORITY", "PACKETS", "BIDS", "STATE"), lines) if lines else "no flows"


def _paths(bids: list[int], interfaces: list[str]) -> str:
    """Binding identifiers, with the interfaces where they are known: on the mobile node."""
    if len(interfaces) != len(bids):
        return ", ".join(map(str, bids))
    return ", ".join(f"{bid} ({name})" for bid, name in zip(bids, interfaces, strict=True))


def _stats(result: dict[str, dict[str, int]]) -> str:
    rows = [
        (_label(group), reason, str(count))
        for group, counts in result.items()
        for reason, count in counts.items()
        if count
    ]
    return table(("WHERE", "REASON", "COUNT"), rows) if rows else "nothing refused, nothing dropped"


def _label(key: str) -> str:
    return key.replace("_", " ").replace("ipv4", "IPv4")


def _text(key: str, value: Any) -> str:
    if value is None or value in ([], {}, ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if key in _DURATIONS:
            return duration(value)
        return octets(int(value)) if key in _OCTETS else f"{value:g}"
    if isinstance(value, list):
        return ", ".join(_text("", item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{_label(k)} {_text(k, v)}" for k, v in value.items())
    return str(value)
