"""Labs and tours as text for people: rich tables and live lines. Programs take the dicts instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dsmip.lab import protection
from dsmip.lab.result import OURS_BAR_MS, Move, Result
from dsmip.lab.tour import Progress
from dsmip.lab.uplinks import Shape


def lab(shown: Mapping[str, Any]) -> RenderableType:
    """What `Lab.show` returned, as text."""
    plugged = {uplink["interface"]: uplink["network"] or "nowhere" for uplink in shown["uplinks"]}
    single = len(plugged) == 1
    where = ", ".join(network if single else f"{link} {network}" for link, network in plugged.items())
    head = Text.assemble(
        ("lab ", "dim"), (shown["name"], "bold"), ", mobile router at ", (where, "bold green")
    )
    networks = Table("network", "IPv6", "IPv4", "what it is", title="Access networks", title_justify="left")
    for network in shown["networks"]:
        here = network["network"] in plugged.values()
        networks.add_row(
            network["network"] + (" *" if here else ""),
            network["ipv6"] or "-",
            network["ipv4"] or "-",
            network["about"],
            style="green" if here else "",
        )
    nodes = Table("node", "namespace", "interface", "addresses", title="Nodes", title_justify="left")
    for node in shown["nodes"]:
        names = [node["node"], node["namespace"]]
        for interface in node["interfaces"]:
            addresses = [text for text in interface["addresses"] if not text.startswith("fe80:")]
            nodes.add_row(*names, interface["name"], "  ".join(addresses) or "-")
            names = ["", ""]
    shaped = [uplink for uplink in shown["uplinks"] if uplink["shape"]]
    uplinks = Table("uplink", "network", "each way", title="Uplinks", title_justify="left")
    for uplink in shaped:
        uplinks.add_row(uplink["interface"], uplink["network"] or "-", str(Shape(**uplink["shape"])))
    dead = [process["label"] for process in shown["processes"] if process["pid"] is None]
    parts: list[RenderableType] = [head, *([uplinks] if shaped else []), networks, nodes]
    if dead:
        parts.append(Text(f"not running any more: {', '.join(dead)}", style="red"))
    return Group(*parts)


def tour(result: Result) -> RenderableType:
    """A tour's result: one row a move, then the sessions and our share."""
    table = Table(title="Moves (times in ms)", title_justify="left", header_style="bold")
    for heading, side in (
        ("network", "left"),
        ("care-of address", "left"),
        ("tunnel", "left"),
        ("address", "right"),
        ("binding", "right"),
        ("outage v6", "right"),
        ("outage v4", "right"),
        ("lost v6", "right"),
        ("lost v4", "right"),
        ("ours v6", "right"),
        ("ours v4", "right"),
        ("rtt", "right"),
    ):
        table.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    for move in result.moves:
        table.add_row(*_row(move), style="red" if move.failed else "")
    sessions = Table("session", "octets", "", title="Sessions", title_justify="left")
    for session in result.sessions:
        state = (
            Text(f"broken: {session.broken}", style="red")
            if session.broken
            else Text("unbroken", style="green")
        )
        sessions.add_row(session.name, f"{session.octets:,}", state)
    shares = ", ".join(
        f"{family} {_number(value)} ms" for family, value in result.ours_over_round_trip_ms.items()
    )
    share = Text(f"Our share of an outage beyond one round trip, median: {shares} (bar: {OURS_BAR_MS:g} ms)")
    under = Text(_protection(result), style="red" if result.exposed else "") if result.protect else None
    known = ", ".join(_revisit(move) for move in result.moves if move.revisited)
    again = Text(f"Back in a known network, link up to first packet: {known or '-'}")
    failed = [Text(line, style="red") for line in result.failed]
    return Group(table, sessions, share, again, *([under] if under else []), *failed)


def progress(happening: Progress) -> RenderableType:
    """One line about what goes on."""
    place = Text(f"[{happening.number}/{happening.total}] ", style="dim")
    name = Text(f"{happening.network:<6} ", style="bold")
    since = f" after {happening.since:.1f} ms" if happening.since is not None else ""
    words = {
        "start": Text("traffic starts"),
        "moving": Text("plugged in"),
        "registered": Text(f"registered {happening.detail}{since}", style="green"),
        "flowing": Text("all traffic flows", style="green"),
        "failed": Text(f"failed: {happening.detail}", style="red"),
        "done": Text("tour is over"),
    }
    return Text.assemble(place, name, words.get(happening.what, Text(happening.what)))


def _row(move: Move) -> list[str]:
    found = move.handover
    return [
        found.network + (" (known)" if move.revisited else ""),
        found.care_of or "-",
        found.tunnel or "-",
        _number(found.address_ms),
        _number(found.binding_ms),
        _number(found.outage_ms["v6"]),
        _number(found.outage_ms["v4"]),
        str(found.lost["v6"]),
        str(found.lost["v4"]),
        _number(found.ours_ms["v6"]),
        _number(found.ours_ms["v4"]),
        "-" if move.rtt_ms is None else f"{move.rtt_ms:.2f}",
    ]


def _protection(result: Result) -> str:
    what = "Signalling" if result.protect == protection.SIGNALLING else "Signalling and payload"
    spis = ", ".join(f"{spi:#x}" for spi in result.associations)
    return (
        f"{what} under ESP: the security associations {spis} from beginning to end, "
        f"{result.key_exchanges} messages of IKE during the moves, {result.exposed} packets in clear"
    )


def _revisit(move: Move) -> str:
    firsts = " / ".join(_number(value) for value in move.handover.first_packet_ms.values())
    return f"{move.handover.network} {firsts} ms (bar: {_number(move.revisit_bar_ms)} ms)"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
