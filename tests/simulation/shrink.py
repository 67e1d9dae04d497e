"""A smaller schedule that fails as well: fewer steps first, then fewer mobile nodes."""

from __future__ import annotations

import time
from dataclasses import replace

from tests.simulation.plan import Scale
from tests.simulation.schedule import draw
from tests.simulation.simulation import Failure, play

#: Seconds of processor time after which the best found so far has to do.
PATIENCE = 60.0


def shrink(failure: Failure) -> Failure:
    """The smallest failure found. It need not be the same one: whatever is wrong is worth finding."""
    limit = time.process_time() + PATIENCE
    best = _fewer_steps(failure, limit)
    return _fewer_nodes(best, limit)


def attempt(seed: int, steps: int | None, only: frozenset[int] | None, full_maps: bool) -> Failure | None:
    """How this much of the seed fails, None if it does not."""
    try:
        play(seed, steps=steps, only=only, full_maps=full_maps)
    except Failure as failure:
        return failure
    return None


def _fewer_steps(failure: Failure, limit: float) -> Failure:
    """Bisection: faults before the guilty one seldom mend what it does."""
    seed, best = failure.seed, failure
    scale = replace(Scale.of(seed), full_maps=failure.full_maps)
    works, fails = 0, failure.steps or len(draw(seed, scale))
    while works + 1 < fails and time.process_time() < limit:
        middle = (works + fails) // 2
        found = attempt(seed, middle, failure.only, failure.full_maps)
        if found is None:
            works = middle
        else:
            best, fails = found, min(middle, found.steps or middle)
    return best


def _fewer_nodes(failure: Failure, limit: float) -> Failure:
    """Leave out halves, then quarters, down to one by one."""
    seed, best = failure.seed, failure
    nodes = sorted(failure.only if failure.only is not None else range(Scale.of(seed).nodes))
    size = max(1, len(nodes) // 2)
    while time.process_time() < limit:
        removed = False
        for start in range(0, len(nodes), size):
            fewer = nodes[:start] + nodes[start + size :]
            found = attempt(seed, best.steps, frozenset(fewer), failure.full_maps) if fewer else None
            if found is not None:
                best, nodes, removed = found, fewer, True
                break
            if time.process_time() >= limit:
                break
        if not removed:
            if size == 1:
                break
            size //= 2
    return best
