"""What a home agent has in force, as its judge knows it from its actions: bindings, deadlines, timestamps."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address
from typing import TYPE_CHECKING

from dsmip.core.types import Binding
from tests.simulation.data_plane import Source
from tests.simulation.frames import Violation
from tests.simulation.outer import outer_sources, sources_until
from tests.simulation.plan import AgentPlan
from tests.simulation.undone import Former

if TYPE_CHECKING:
    from tests.simulation.agent import AgentHost

#: Rounding of sums of seconds since 1970.
EPSILON = 1e-3

#: Seconds from 1900 to 1970.
NTP_OFFSET = 2_208_988_800


@dataclass(slots=True)
class Probe:
    """Duplicate address detection runs: for Binding Updates with these timestamps, from there."""

    timestamps: set[int]
    outer: set[Source]


class InForce:
    """Of one home agent. Times are the world's unless they say otherwise."""

    def __init__(self, plan: AgentPlan) -> None:
        self.file = plan.file
        self.bindings: dict[IPv6Address, Binding] = {}
        #: When each care-of address ends, by binding identifier.
        self.deadlines: dict[IPv6Address, dict[int, float]] = {}
        #: When a registration ends, by home address and sequence number, whatever restarts did to it.
        self.granted: dict[tuple[IPv6Address, int], float] = {}
        #: When the last of all that was ever in force ends: a clock step before a restart moves ends.
        self.latest = 0.0
        #: Outer sources of tunnelled packets, and until when they may be accepted.
        self.permitted: dict[IPv6Address, dict[Source, float]] = {}
        self.believed: dict[IPv6Address, int] = {}
        #: The last one accepted, though what came of it may have been undone.
        self.sequences: dict[IPv6Address, int] = {}
        #: With which clock the end of a care-of address was written down.
        self.skews: dict[tuple[IPv6Address, int, float], tuple[float, float]] = {}
        #: The time by which timestamps are judged is not before this: (time of day, when that was).
        self.no_earlier = (float("-inf"), 0.0)
        self.indices: dict[int, IPv6Address] = {}
        self.probing: dict[IPv6Address, Probe] = {}
        self.holders: dict[IPv4Network, IPv6Address] = {}
        self.detached: set[IPv6Address] = set()
        #: What was bound before the changes of this turn, by home address, the latest last.
        self.former: dict[IPv6Address, list[Former | None]] = {}

    @property
    def believes(self) -> bool:
        """It has accepted something, and knows."""
        return bool(self.believed)

    def enter(
        self, host: AgentHost, binding: Binding, deadlines: dict[int, float], grace: float | None = None
    ) -> None:
        """This binding is in force, each care-of address until its deadline."""
        grace = self.file.grace if grace is None else grace
        self.latest = max(self.latest, *deadlines.values())
        home_address, now = binding.home_address, host.world.time
        owner = self.indices.setdefault(binding.index, home_address)
        if owner != home_address or not binding.index:
            raise Violation(f"index {binding.index} belongs to {owner}, not to {home_address}")
        permitted = {s: until for s, until in self.permitted.get(home_address, {}).items() if until > now}
        previous = self.bindings.get(home_address)
        if previous is not None:
            permitted.update(dict.fromkeys(outer_sources(previous), now + grace))
        permitted.update(sources_until(binding, deadlines))
        self.release(home_address, binding)
        self.holders.update((grant.network, home_address) for grant in binding.ipv4)
        self.bindings[home_address] = binding
        self.deadlines[home_address] = deadlines
        self.permitted[home_address] = permitted

    def release(self, home_address: IPv6Address, successor: Binding | None) -> None:
        """What the binding has and its successor has not may be granted to somebody else."""
        kept = {grant.network for grant in successor.ipv4} if successor is not None else set()
        for grant in self.bindings[home_address].ipv4 if home_address in self.bindings else ():
            if grant.network not in kept:
                del self.holders[grant.network]

    def erased(self) -> None:
        """The disk is gone, and the data plane with it."""
        self.bindings.clear()
        self.holders.clear()
        self.deadlines.clear()
        self.permitted.clear()
        self.believed.clear()
        self.sequences.clear()
        self.skews.clear()
        self.no_earlier = (float("-inf"), 0.0)
        self.indices.clear()
        self.probing.clear()
