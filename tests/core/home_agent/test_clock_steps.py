"""Somebody sets the home agent's time of day while it runs: bindings keep their lifetimes, and go on."""

from __future__ import annotations

import pytest
from ha_scenario import Scenario, scenario

from dsmip.core.types import Instant

LIFETIME = 420.0
DAY = 86400.0


def step(agent: Scenario, seconds: float) -> None:
    """The time of day jumps, CLOCK_MONOTONIC does not."""
    agent.now = Instant(agent.now.monotonic, agent.now.unix + seconds)


@pytest.mark.parametrize("seconds", [-DAY, -3600.0, 3600.0, DAY])
def test_a_binding_ends_when_it_was_to_end(seconds: float) -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update())
    step(agent, seconds)
    agent.after(LIFETIME - 1)
    assert agent.bound
    agent.after(1)
    assert not agent.bound
