"""The hand-driven engines of the engines' own tests, which are not a package."""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).parent.parent / "tests" / "core"
for _folder in ("home_agent", "mobile_node"):
    if str(_TESTS / _folder) not in sys.path:
        sys.path.append(str(_TESTS / _folder))

import ha_scenario  # noqa: E402
import mobile_node_bench  # noqa: E402

__all__ = ["ha_scenario", "mobile_node_bench"]
