"""Tests here say which row of the catalogue they prove: `@pytest.mark.row("HA-MH-001")`, or several ids.

`python -m tests.conformance.table` (`make conformance`) runs the suite and writes docs/conformance.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conformance import catalogue

# The worlds in which mobile nodes with several uplinks live import one another from there.
sys.path.append(str(Path(__file__).parents[1] / "core" / "mobile_node"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "row(*ids): the rows of the conformance catalogue a test proves")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    known = catalogue.rows()
    for item in items:
        for mark in item.iter_markers("row"):
            for identifier in mark.args:
                if identifier not in known:
                    raise pytest.UsageError(f"{item.nodeid}: no row {identifier} in the catalogue")
                if known[identifier].not_applicable:
                    raise pytest.UsageError(f"{item.nodeid}: {identifier} is said to be not applicable")
