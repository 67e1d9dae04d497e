"""What happens to whom and when, drawn before anything runs.

A step names its actor and has a number of its own for further choices. So a shorter schedule is a schedule,
too, and shrinking a failure is leaving steps out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.simulation.plan import Scale

#: How often each kind of step comes, relative to the others.
NODE_STEPS = {
    "move": 40,
    "detach": 6,
    "home": 6,
    "leave home": 4,
    "vanish": 4,
    "reboot": 3,
    "change home agent": 3,
    "set clock": 3,
    "announce": 2,
    "another policy": 1,
    "data": 20,
}
AGENT_STEPS = {
    "crash at boundary": 4,
    "restart": 2,
    "reboot": 1,
    "lose disk": 1,
    "disk full": 1,
    "stall": 2,
    "set clock": 2,
    "duplicate": 1,
    "restart nat": 4,
}
ATTACKER_STEPS = {
    "replay": 8,
    "replay elsewhere": 4,
    "replay from elsewhere": 4,
    "forge update": 6,
    "forge tunnel": 6,
    "forge answer": 2,
    "garbage": 4,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One fault or movement. `actor` is the number of a node or home agent."""

    number: int
    time: float
    who: str
    actor: int
    what: str
    salt: int


def draw(seed: int, scale: Scale) -> list[Step]:
    """The schedule of this seed, in order of time. First every mobile node is attached somewhere."""
    rng = random.Random(f"{seed}/schedule")
    kinds = [("node", kind) for kind in NODE_STEPS]
    kinds += [("agent", kind) for kind in AGENT_STEPS]
    kinds += [("attacker", kind) for kind in ATTACKER_STEPS]
    weights = [*NODE_STEPS.values(), *AGENT_STEPS.values(), *ATTACKER_STEPS.values()]
    end = scale.steps * scale.pace
    steps = []
    for node in range(scale.nodes):
        steps.append((rng.uniform(0, 2), "node", node, "move"))
    for who, what in rng.choices(kinds, weights, k=scale.steps):
        actor = rng.randrange(scale.agents if who == "agent" else scale.nodes)
        steps.append((rng.uniform(0, end), who, actor, what))
    if scale.full_maps:
        for _ in range(scale.steps // 4):
            steps.append((rng.uniform(0, end), "agent", rng.randrange(scale.agents), "maps full"))
    steps.sort()
    return [Step(number, *step, rng.getrandbits(32)) for number, step in enumerate(steps)]
