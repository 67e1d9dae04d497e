"""The K bit: keys that survive movements."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ha_scenario import AH, ENTRY, scenario

from dsmip.wire.constants import BAFlag, BUFlag


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("able", [False, True])
def test_rfc6275_10_3_1_k_is_set_if_both_ends_can(asked: bool, able: bool) -> None:
    agent, mobile = scenario(replace(ENTRY, key_mobility=able))
    flags = AH | BUFlag.K if asked else AH
    registered = agent.receive(mobile.update(flags=flags)).ba
    removed = agent.receive(mobile.update(flags=flags, lifetime=0, sequence=16)).ba
    assert bool(registered.flags & BAFlag.K) == bool(removed.flags & BAFlag.K) == (asked and able)
