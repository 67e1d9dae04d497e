"""Who goes where when there are several paths: their order, and the paths of each flow. Nothing but
arithmetic.

RFC 6089: the order is told to the home agent as BID-PRI, the flows as flow bindings.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dsmip.core.flow_selectors import swapped
from dsmip.core.mobile_node.policy import FlowPolicy, UplinkChoice
from dsmip.core.types import FlowBinding, FlowRule
from dsmip.wire.trafficselectors import IPv6TrafficSelector

#: BID-PRI is 1 to 127, lower = preferred (RFC 6089 section 4.1). There is room between two neighbours, so
#: that a path that takes another place in the order changes no other's number.
_HIGHEST_PRIORITY = 127
_PRIORITY_STEP = 8

#: Between the FID-PRIs of neighbours.
_FLOW_PRIORITY_STEP = 10


class Condition(enum.IntEnum):
    """How fit for use a path is; a lower one is used first."""

    GOOD = 0
    PROBATION = 1  #: it was silent not long ago
    LEAVING = 2  #: works, but will end soon
    SILENT = 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A path that is registered."""

    bid: int
    interface: str
    condition: Condition
    choice: UplinkChoice
    at_home: bool = False

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts paths, the best first. One for emergencies comes after all that are to stay."""
        emergency = int(self.choice.fallback_only)
        if self.condition <= Condition.PROBATION:
            return 2 * emergency + self.condition, self.choice.preference
        return 2 * self.condition + emergency, self.choice.preference


def preference(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The order in which paths are tried for packets of no flow."""
    return tuple(sorted(candidates, key=lambda candidate: (candidate.rank, candidate.bid)))


def flow_bindings(
    flows: Sequence[FlowPolicy],
    ordered: Sequence[Candidate],
    identifiers: Mapping[tuple[str, int], int],
    *,
    ipv4: bool,
) -> tuple[FlowBinding, ...]:
    """The flows that have a path of their own now, `ordered` being the paths in order of preference.

    `identifiers` has the FID of each flow, by name and number of the selector. Without `ipv4` there are no
    IPv4 packets to choose a path for.
    """
    found = []
    priority = 0
    for flow in flows:
        bids = _paths(flow, ordered)
        for number, selector in enumerate(flow.description.selectors()):
            priority += _FLOW_PRIORITY_STEP
            if bids and (ipv4 or isinstance(selector, IPv6TrafficSelector)):
                found.append(FlowBinding(identifiers[flow.name, number], priority, selector, bids))
    return tuple(found)


def _paths(flow: FlowPolicy, ordered: Sequence[Candidate]) -> tuple[int, ...]:
    working = [candidate for candidate in ordered if candidate.condition <= Condition.PROBATION]
    if flow.interfaces:
        # Named is allowed, be it for emergencies otherwise.
        named = [
            candidate for name in flow.interfaces for candidate in working if candidate.interface == name
        ]
        chosen = sorted(named, key=lambda candidate: candidate.condition)
    else:
        ordinary = [candidate for candidate in working if not candidate.choice.fallback_only]
        chosen = ordinary or working
        if flow.use == "cheapest":
            chosen = sorted(chosen, key=lambda candidate: (candidate.condition, candidate.choice.cost))
    if flow.duplicate > 1:
        # There is no room for a sequence number on the home link, and so no way to tell copies there.
        chosen = [c for c in chosen if not c.at_home] or chosen[:1]
    return tuple(candidate.bid for candidate in chosen[: flow.duplicate])


def rules(flows: Iterable[FlowBinding]) -> tuple[FlowRule, ...]:
    """What the mobile node's own data plane has to match: its packets go the other way."""
    return tuple(FlowRule(swapped(flow.selector), flow.bids) for flow in flows)


def priorities(order: Sequence[int], known: Mapping[int, int], over: int) -> dict[int, int]:
    """A BID-PRI for each path of `order`, such that they increase.

    As many as possible stay as they are `known` at the home agent; the one of the path `over` which the news
    travel is changed rather than another.
    """
    kept = _increasing([bid for bid in order if bid != over], known)
    if over in known and _increases([bid for bid in order if bid in kept or bid == over], known):
        kept.add(over)
    result: dict[int, int] = {}
    last = 0
    for place, bid in enumerate(order):
        if bid in kept:
            result[bid] = known[bid]
        else:
            following = next((known[later] for later in order[place + 1 :] if later in kept), None)
            result[bid] = last + _PRIORITY_STEP if following is None else (last + following) // 2
        last = result[bid]
    if last <= _HIGHEST_PRIORITY and _increases(order, result):
        return result
    step = min(_PRIORITY_STEP, _HIGHEST_PRIORITY // max(len(order), 1))
    return {bid: step * (place + 1) for place, bid in enumerate(order)}


def _increases(order: Sequence[int], values: Mapping[int, int]) -> bool:
    found = [0, *(values[bid] for bid in order)]
    return all(one < other for one, other in itertools.pairwise(found))


def _increasing(order: Sequence[int], known: Mapping[int, int]) -> set[int]:
    """The most that are in order among those with a known number above 0."""
    best: list[list[int]] = [[]]
    for bid in order:
        number = known.get(bid, 0)
        if number:
            before = [run for run in best if not run or known[run[-1]] < number]
            best.append([*_longest(before), bid])
    return set(_longest(best))


def _longest(runs: list[list[int]]) -> list[int]:
    return max(runs, key=len)
