"""What `dsmip watch` shows: the daemon's answers turned into headings, rows and lines. No screen in here."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dsmip.daemon.explain.sentences import turn
from dsmip.daemon.journal import TURNS, moment_of
from dsmip.daemon.words import duration

#: Rows shown at once; the filter finds the others.
ROWS = 200

Ask = Callable[..., Any]

_BINDING_HEADINGS = (
    *("MOBILE NODE", "HOME ADDRESS", "CARE-OF ADDRESS", "TUNNEL", "FROM IT", "TO IT", "EXPIRES IN"),
)
_UPLINK_HEADINGS = (
    "INTERFACE",
    "STATE",
    "CARE-OF ADDRESS",
    "TUNNEL",
    "DELAY",
    "LOSS",
    "IN",
    "OUT",
    "NETWORK",
)
_NETWORK_HEADINGS = ("INTERFACE", "STATE", "ADDRESS", "GATEWAY", "NETWORK", "IN USE")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `key` stays the same from one look to the next."""

    key: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """One look at a daemon."""

    title: str
    summary: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""


class Rates:
    """Bits a second between one look and the next."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, int]] = {}

    def of(self, key: str, octets: int, now: float) -> str:
        """The rate of a counter since it was seen last, "" the first time."""
        before = self._before.get(key)
        self._before[key] = (now, octets)
        if before is None or now <= before[0]:
            return ""
        return bits(max(0, octets - before[1]) * 8 / (now - before[0]))

    def keep(self, keys: set[str]) -> None:
        """Forget the others."""
        for key in set(self._before) - keys:
            del self._before[key]


def bits(rate: float) -> str:
    """A rate with a decimal unit."""
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if rate < 1000:
            return f"{rate:.0f} {unit}" if unit == "bit/s" else f"{rate:.1f} {unit}"
        rate /= 1000
    return f"{rate:.1f} Gbit/s"


class Watcher:
    """Looks at one daemon again and again. `ask` takes a command and its arguments, and may raise
    ControlError."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._rates = Rates()

    def look(self, wanted: str, now: float) -> View:
        """The present state, with rates since the last look. `now` is in CLOCK_MONOTONIC seconds."""
        status = self._ask("status")
        if status["role"] == "home-agent":
            return self._home_agent(status, self._ask("bindings", filter=wanted, limit=ROWS), now)
        return self._mobile_node(status, self._ask("attachments"), wanted, now)

    def _home_agent(self, status: Mapping[str, Any], bindings: list[dict[str, Any]], now: float) -> View:
        rows = []
        seen = set()
        for binding in sorted(bindings, key=lambda binding: _natural(binding["name"])):
            key = binding["home_address"]
            seen |= {f"{key} in", f"{key} out"}
            paths = binding.get("care_of_bindings") or [binding]
            cells = (
                binding["name"],
                key,
                ", ".join(_care_of(path) for path in paths),
                ", ".join(dict.fromkeys(path["tunnel"] for path in paths)),
                self._rates.of(f"{key} in", binding["received_bytes"], now),
                self._rates.of(f"{key} out", binding["sent_bytes"], now),
                duration(binding["expires_in"]),
            )
            rows.append(Row(key, cells))
        self._rates.keep(seen)
        return View(
            title=f"{status['name']} ({status['role']})",
            summary=(
                f"{status['bindings']} of {status['mobile_nodes']} mobile nodes are registered;"
                f" up {duration(status['uptime'])}"
            ),
            headings=_BINDING_HEADINGS,
            rows=tuple(rows),
            note=f"the first {ROWS} are shown: / filters" if len(rows) == ROWS else "",
        )

    def _mobile_node(
        self, status: Mapping[str, Any], attachments: Mapping[str, Any], wanted: str, now: float
    ) -> View:
        headings: tuple[str, ...] = _NETWORK_HEADINGS
        if attachments.get("paths"):
            rows = [self._uplink(path, now) for path in attachments["paths"]]
            headings = _UPLINK_HEADINGS
        else:
            rows = _networks(status, attachments)
        part = wanted.lower()
        return View(
            title=f"{status['name']} ({status['role']})",
            summary=self._registration(status, now),
            headings=headings,
            rows=tuple(row for row in rows if any(part in cell.lower() for cell in row.cells)),
        )

    def _uplink(self, path: Mapping[str, Any], now: float) -> Row:
        """One of several paths that are registered at a time."""
        name = path["interface"]
        cells = (
            name,
            f"{path['state']}, in use" if path["in_use"] else path["state"],
            path["care_of"] or "",
            path["tunnel"] or "",
            "" if path["delay_ms"] is None else f"{path['delay_ms']:.1f} ms",
            f"{path['loss']:.1%}",
            self._rates.of(f"{name} in", path["received_bytes"], now),
            self._rates.of(f"{name} out", path["sent_bytes"], now),
            path["network"],
        )
        return Row(name, cells)

    def _registration(self, status: Mapping[str, Any], now: float) -> str:
        parts = [str(status["state"])]
        if status["tunnel"] is not None:
            parts.append(f"tunnel {status['tunnel']}" + (", NAT" if status["nat"] == "detected" else ""))
        if status["round_trip_ms"] is not None:
            parts.append(f"round trip {status['round_trip_ms']:g} ms")
        received = self._rates.of("in", status["received_bytes"], now)
        sent = self._rates.of("out", status["sent_bytes"], now)
        if received:
            parts.append(f"in {received}, out {sent}")
        return "; ".join(parts) + f"; up {duration(status['uptime'])}"


def _networks(status: Mapping[str, Any], attachments: Mapping[str, Any]) -> list[Row]:
    """Networks in reach, one of which is registered."""
    rows = []
    for name, interface in attachments["interfaces"].items():
        state = interface["state"] + ("" if interface["managed"] else " (watched)")
        found = [one for one in attachments["care_of"] if one["interface"] == name]
        if attachments["home"] == name:
            in_use = "yes" if status["state"] == "at home" else ""
            rows.append(Row(f"{name} home", (name, state, "home link", "", "", in_use)))
        for one in found:
            in_use = "yes" if one["address"] == status["care_of"] else ""
            cells = (name, state, one["address"], one["gateway"] or "", one["network"], in_use)
            rows.append(Row(f"{name} {one['address']}", cells))
        if not found and attachments["home"] != name:
            rows.append(Row(name, (name, state, "", "", "", "")))
    return rows


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts bus-2 before bus-10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _care_of(path: Mapping[str, Any]) -> str:
    if path["nat"] == "detected" and path["nat_source"]:
        return f"{path['nat_source']} (NAT)"
    return str(path["care_of"])


def turn_line(record: Mapping[str, Any]) -> str:
    """A turn in plain words: when, who, what."""
    clock = time.strftime("%H:%M:%S", time.localtime(record["unix"]))
    who = record.get("name") if "home_address" in record else None
    told = turn(moment_of(str(record["event"]), record))
    return " ".join(part for part in (clock, who, told) if part)


def is_turn(record: Mapping[str, Any]) -> bool:
    """Whether an event changes where a mobile node is: those are shown as they happen."""
    return record.get("event") in TURNS
