"""Many values of a strategy at once: starting another program for each of them would take too long."""

from __future__ import annotations

import os
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

_Value = TypeVar("_Value")

#: Tests ask about the same values in every run; a soak sets the variable to ask about others.
SEED = int(os.environ.get("DSMIP_ORACLE_SEED", "6275"))


def sample(strategy: st.SearchStrategy[_Value], count: int) -> list[_Value]:
    """About `count` values of the strategy."""
    values: list[_Value] = []

    @seed(SEED)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: _Value) -> None:
        values.append(value)

    collect()
    return values
