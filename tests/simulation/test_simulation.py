"""Seeds, and what the simulation itself has to keep: the same seed is the same run."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from tests.simulation.frames import Violation
from tests.simulation.node import NodeHost
from tests.simulation.shrink import shrink
from tests.simulation.simulation import Failure, Simulation, play

pytestmark = pytest.mark.simulation


def test_seed(seed: int, steps: int | None) -> None:
    assert play(seed, steps=steps).events > 0


@pytest.mark.parametrize("number", range(24))
def test_full_maps(number: int) -> None:
    """Home agents have no room for what is new, from time to time."""
    assert play(number, full_maps=True).events > 0


def test_the_same_seed_is_the_same_run() -> None:
    assert play(11) == play(11)


def test_nothing_depends_on_the_order_of_hashes() -> None:
    """String hashes differ between processes, and with them the order of sets."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", "12"]
    runs = [
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.rpartition(" in ")[0]
        for hashes in ("1", "2")
    ]
    assert "handovers=" in runs[0]
    assert runs[0] == runs[1]


def test_a_failure_says_how_to_reproduce_and_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else happens in the world, it is mobile node 2 that must not be where there is no NAT."""
    original = Simulation._move

    def move(self: Simulation, node: NodeHost, rng: random.Random) -> None:
        original(self, node, rng)
        if node.number == 2 and any(access.nat is None for access in node.accesses):
            raise Violation("mobile node 2 goes astray")

    monkeypatch.setattr(Simulation, "_move", move)
    with pytest.raises(
        Failure, match=r"reproduce: python -m tests\.simulation --seed 4 --steps \d+"
    ) as caught:
        play(4)
    smaller = shrink(caught.value)
    assert smaller.only == frozenset({2})
    assert smaller.steps is not None
    assert caught.value.steps is not None
    assert smaller.steps <= caught.value.steps


def test_packets_are_followed_in_quantity() -> None:
    """The agreement at the end is not an empty one."""
    results = [play(seed) for seed in range(20)]
    assert sum(result.followed for result in results) > 200
    assert sum(result.delivered for result in results) > 100
    assert sum(result.crashes for result in results) > 20
