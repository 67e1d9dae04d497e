"""The flows a home agent knows, as far as the mobile node can tell (RFC 6089 sections 4.2 and 5.1).

Every Binding Update names every flow: new and changed ones in full, in a Flow Identification option, the
others by number in a Flow Summary option. Those it does not name are forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dsmip.core.types import FlowBinding
from dsmip.wire.constants import FlowStatus
from dsmip.wire.flows import FlowIdentification, FlowSummary
from dsmip.wire.option import MobilityOption


@dataclass(frozen=True, slots=True)
class CarriedFlows:
    """What one Binding Update said about flows: `described` in full, `kept` by number.

    `number` counts the updates.
    """

    described: tuple[FlowBinding, ...] = ()
    options: tuple[FlowIdentification, ...] = ()
    kept: tuple[int, ...] = ()
    number: int = 0

    @property
    def mobility_options(self) -> tuple[MobilityOption, ...]:
        """As they travel."""
        return (*self.options, FlowSummary(self.kept)) if self.kept else self.options


NO_FLOWS = CarriedFlows()


class FlowTable:
    """What to say about flows, and what the home agent made of it.

    `supported` is false once the home agent has shown that it does not know flows. `refused` has the statuses
    of flows it would not take, by FID.
    """

    def __init__(self) -> None:
        self._known: dict[int, FlowBinding] = {}
        self._count = 0
        #: Number of the last update that described a flow and has not been acknowledged, by FID.
        self._doubtful: dict[int, int] = {}
        self._declined: dict[int, FlowBinding] = {}
        self.refused: dict[int, int] = {}
        self.supported = True

    def start_over(self) -> None:
        """The home agent has no flows of ours, or is another one."""
        self._known.clear()
        self._doubtful.clear()
        self._declined.clear()
        self.refused.clear()
        self.supported = True

    def try_again(self) -> None:
        """What was refused may be accepted now: other paths are bound."""
        self._declined.clear()

    def is_news(self, wanted: Sequence[FlowBinding]) -> bool:
        """True when the home agent has other flows than `wanted`, or may have."""
        if not self.supported:
            return False
        asked = self._asked(wanted)
        said = {flow.fid: flow for flow in asked}
        return said != self._known or any(flow.fid in self._doubtful for flow in asked)

    def knows(self, flow: FlowBinding) -> bool:
        """True when the home agent has acknowledged the flow as it is."""
        return self._known.get(flow.fid) == flow and flow.fid not in self._doubtful

    def carry(self, wanted: Sequence[FlowBinding]) -> CarriedFlows:
        """What the next Binding Update says, which leaves now."""
        if not self.supported:
            return NO_FLOWS
        described, options, kept = [], [], []
        for flow in self._asked(wanted):
            known = self._known.get(flow.fid)
            if known == flow and flow.fid not in self._doubtful:
                kept.append(flow.fid)
                continue
            # The selector stays as it is when it is left out (RFC 6089 section 5.1.2).
            selector = None if known is not None and known.selector == flow.selector else flow.selector
            described.append(flow)
            options.append(FlowIdentification(flow.fid, flow.priority, bids=flow.bids, selector=selector))
        # Until it is answered nobody knows which of the two descriptions holds.
        self._count += 1
        self._doubtful.update(dict.fromkeys((flow.fid for flow in described), self._count))
        return CarriedFlows(tuple(described), tuple(options), tuple(kept), self._count)

    def acknowledged(self, carried: CarriedFlows, answers: Sequence[FlowIdentification]) -> None:
        """A Binding Update was accepted, with these Flow Identification options in the answer."""
        if carried.described and not answers:
            self.supported = False
            self._known.clear()
            return
        status = {answer.fid: answer.status for answer in answers}
        forgotten = {fid for fid in carried.kept if status.get(fid) == FlowStatus.FID_NOT_FOUND}
        known = {fid: self._known[fid] for fid in carried.kept if fid in self._known and fid not in forgotten}
        self.refused = {fid: found for fid, found in self.refused.items() if fid in self._declined}
        for flow in carried.described:
            if self._doubtful.get(flow.fid, 0) <= carried.number:
                self._doubtful.pop(flow.fid, None)
            found = status.get(flow.fid, FlowStatus.REASON_UNSPECIFIED)
            if found == FlowStatus.SUCCESS:
                known[flow.fid] = flow
                self._declined.pop(flow.fid, None)
                self.refused.pop(flow.fid, None)
            elif found == FlowStatus.OPTION_MALFORMED and flow.fid in self._known:
                # It lost the selector that was left out: describe the flow in full.
                self._doubtful[flow.fid] = carried.number
            else:
                self._declined[flow.fid] = flow
                self.refused[flow.fid] = found
        self._known = known

    def _asked(self, wanted: Sequence[FlowBinding]) -> list[FlowBinding]:
        """Without what was refused as it is now."""
        return [flow for flow in wanted if self._declined.get(flow.fid) != flow]
