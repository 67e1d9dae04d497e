"""The rows of the conformance suite: what each is about, where the RFCs say so, whether it concerns us yet.

One file a role in `catalogue/`, each row a table:

    [[row]]
    id = "HA-MH-001"
    title = "what is required, in a line"
    rfc = ["RFC 6275 9.2", "RFC 6275 9.3.3"]
    not_applicable = "why there is no test, if there is none"
    note = "what of the row is not tested or is read differently, and why"

The last two are optional. Variants of a row are further parameters of its tests, not rows.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DIRECTORY = HERE / "catalogue"

#: Files and headings, in the order of the table.
ROLES = {
    "home_agent": "Home agent",
    "nemo_home_agent": "NEMO home agent",
    "multihoming_home_agent": "Home agent of multihomed mobile nodes",
    "mobile_node": "Mobile node",
    "mobile_router": "NEMO mobile router",
    "multihoming_mobile_node": "Mobile node with several uplinks",
}

_MARK = re.compile(r'mark\.row\(\s*((?:"[A-Z0-9-]+",?\s*)+)\)')


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement."""

    id: str
    title: str
    rfc: tuple[str, ...]
    not_applicable: str = ""
    note: str = ""


def load() -> dict[str, list[Row]]:
    """The rows of each role that has a catalogue."""
    found = {}
    for role in ROLES:
        path = DIRECTORY / f"{role}.toml"
        if path.exists():
            rows = tomllib.loads(path.read_text())["row"]
            found[role] = [Row(**{**row, "rfc": tuple(row["rfc"])}) for row in rows]
    return found


def rows() -> dict[str, Row]:
    """Every row by its id."""
    return {row.id: row for role in load().values() for row in role}


def tested() -> set[str]:
    """Ids that some test of the suite is marked with."""
    found: set[str] = set()
    for path in HERE.rglob("test_*.py"):
        for match in _MARK.finditer(path.read_text()):
            found.update(re.findall(r'"([A-Z0-9-]+)"', match.group(1)))
    return found
