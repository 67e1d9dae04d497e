"""The list of flow bindings that a Binding Update leaves a mobile node with (RFC 6089 section 5.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from dsmip.core.types import FlowBinding, IPNetwork
from dsmip.wire.constants import FlowStatus
from dsmip.wire.flows import FlowIdentification
from dsmip.wire.option import MalformedOption
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector, UnknownTrafficSelector

#: Octets that the options of an acknowledgement may take together with their sub-options; beyond, they come
#: without them, so that no acknowledgement is longer than a packet may be.
MAXIMUM_COPY = 1024

#: Flow Identification options of an acknowledgement, at most.
MAXIMUM_ANSWERS = 96

#: Octets of one option's data: one that was packed tighter than we do may not fit any more.
MAXIMUM_OPTION = 255

#: Octets of an option without sub-options, with the padding that its alignment may take.
_BARE_OPTION = 16

Asked = FlowIdentification | MalformedOption


class Outcome(NamedTuple):
    """`flows` are in the order in which they are looked at; `answers` go into the acknowledgement, refusals
    among them."""

    flows: tuple[FlowBinding, ...]
    answers: tuple[FlowIdentification, ...]

    @property
    def refused(self) -> tuple[FlowStatus, ...]:
        """Why flows were refused, one entry for each."""
        return tuple(FlowStatus(answer.status) for answer in self.answers if answer.status)


class FlowRegistrar(NamedTuple):
    """What the flows of one mobile node have to fit: the identifiers bound, its own `networks`, and a limit.

    `allowed` false refuses everything and keeps nothing.
    """

    bids: frozenset[int]
    networks: Sequence[IPNetwork]
    limit: int
    allowed: bool = True

    def update(self, asked: Sequence[Asked], kept: Iterable[int], held: Sequence[FlowBinding]) -> Outcome:
        """`asked` are the flow identifications of an update and `kept` the FIDs of its flow summaries. What
        is in neither is gone (section 5.3.4); what is refused stays as it was."""
        if not self.allowed:
            return Outcome(
                (), _answers(asked, dict.fromkeys(_fids(asked), FlowStatus.ADMINISTRATIVELY_PROHIBITED))
            )
        before = {flow.fid: flow for flow in held}
        named = dict.fromkeys(kept)
        flows = {fid: before[fid] for fid in (*named, *_fids(asked)) if fid in before}
        verdicts, wanted = self._verdicts(asked, before)
        for fid, flow in self._without_conflicts(wanted, flows, verdicts).items():
            if fid not in flows and len(flows) >= self.limit:
                verdicts[fid] = FlowStatus.REASON_UNSPECIFIED
            else:
                flows[fid] = flow
        unknown = [fid for fid in named if fid not in before and fid not in verdicts]
        missing = tuple(FlowIdentification(fid, 0, FlowStatus.FID_NOT_FOUND) for fid in unknown)
        ordered = sorted(flows.values(), key=lambda flow: (flow.priority, flow.fid))
        return Outcome(tuple(ordered), (*_answers(asked, verdicts), *missing)[:MAXIMUM_ANSWERS])

    def _verdicts(
        self, asked: Sequence[Asked], before: dict[int, FlowBinding]
    ) -> tuple[dict[int, FlowStatus], dict[int, FlowBinding]]:
        """A status per FID, and those flows that are fine by themselves."""
        verdicts: dict[int, FlowStatus] = {}
        wanted: dict[int, FlowBinding] = {}
        fids = _fids(asked)
        if len(set(fids)) < len(fids):
            # The same FID twice: all options are rejected (section 5.3.2).
            return dict.fromkeys(fids, FlowStatus.REASON_UNSPECIFIED), wanted
        for option, fid in zip(asked, fids, strict=True):
            decided = self._decide(option, before.get(fid))
            if isinstance(decided, FlowBinding):
                wanted[fid] = decided
                verdicts[fid] = FlowStatus.SUCCESS
            else:
                verdicts[fid] = decided
        return verdicts, wanted

    def _decide(self, option: Asked, known: FlowBinding | None) -> FlowBinding | FlowStatus:
        """Sections 5.3.2.1 and 5.3.2.2: what a known flow's option leaves out stays as it was."""
        if isinstance(option, MalformedOption) or not option.fid or not option.priority:
            return FlowStatus.OPTION_MALFORMED
        selector = option.selector or (known.selector if known else None)
        if selector is None:
            return FlowStatus.OPTION_MALFORMED
        if isinstance(selector, UnknownTrafficSelector):
            return FlowStatus.TRAFFIC_SELECTOR_FORMAT_NOT_SUPPORTED
        bids = tuple(dict.fromkeys(option.bids)) or (known.bids if known else ())
        if not bids:
            return FlowStatus.OPTION_MALFORMED
        if option.bids and not self.bids.issuperset(bids):
            return FlowStatus.BID_NOT_FOUND
        if _is_upside_down(selector):
            return FlowStatus.OPTION_MALFORMED
        if not self._is_own(selector):
            return FlowStatus.ADMINISTRATIVELY_PROHIBITED
        return FlowBinding(option.fid, option.priority, selector, bids)

    def _is_own(self, selector: IPv4TrafficSelector | IPv6TrafficSelector) -> bool:
        """Whether there can be such packets to this mobile node: others are another one's flows."""
        if selector.destination is None:
            return True
        first, last = selector.destination
        return any(
            _start(network) <= int(last) and int(first) <= _start(network) + network.num_addresses - 1
            for network in self.networks
            if network.version == first.version
        )

    @staticmethod
    def _without_conflicts(
        wanted: dict[int, FlowBinding], flows: dict[int, FlowBinding], verdicts: dict[int, FlowStatus]
    ) -> dict[int, FlowBinding]:
        """Those of `wanted` whose priority nobody else has (section 4.3); the first to ask for one gets it.

        A flow that is refused keeps its former priority, which may be what another one is after.
        """
        accepted = dict(wanted)
        while True:
            taken = {flow.priority for fid, flow in flows.items() if fid not in accepted}
            refused = None
            for fid, flow in accepted.items():
                if flow.priority in taken:
                    refused = fid
                    break
                taken.add(flow.priority)
            if refused is None:
                return accepted
            del accepted[refused]
            verdicts[refused] = FlowStatus.REASON_UNSPECIFIED


def _fids(asked: Iterable[Asked]) -> list[int]:
    return [option.identifier if isinstance(option, MalformedOption) else option.fid for option in asked]


def _answers(asked: Sequence[Asked], verdicts: dict[int, FlowStatus]) -> tuple[FlowIdentification, ...]:
    """Each option with its status (section 5.3.5): a whole copy where there is room."""
    sizes = [len(option.encode_data()) for option in asked]
    whole = sum(sizes) + _BARE_OPTION * len(sizes) <= MAXIMUM_COPY
    answers = []
    for option, fid, size in zip(asked, _fids(asked), sizes, strict=True):
        status = verdicts[fid]
        if isinstance(option, MalformedOption):
            answers.append(FlowIdentification(fid, int.from_bytes(option.data[2:4]), status))
        elif whole and size <= MAXIMUM_OPTION:
            answers.append(msgspec.structs.replace(option, status=status))
        else:
            answers.append(FlowIdentification(fid, option.priority, status))
    return tuple(answers)


def _is_upside_down(selector: IPv4TrafficSelector | IPv6TrafficSelector) -> bool:
    """One of its ranges ends before it starts."""
    return any(span is not None and int(span[1]) < int(span[0]) for span in selector.ranges())


def _start(network: IPNetwork) -> int:
    return int(network.network_address)
