"""Which paths a packet takes, in Python: what the eBPF program does in flows.bpf.h (RFC 6089 section 5.3.6).

The data plane in memory uses it, and tests compare the program with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from dsmip.core.types import FlowRule, IPAddress
from dsmip.dataplane.api import MAX_COPIES
from dsmip.wire.constants import NextHeader
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector, NumberRange

#: Home agent address discovery and mobile prefixes (RFC 6275 sections 6.5 to 6.8).
_MOBILITY_TYPES = range(144, 148)

#: Of traffic class and DS field, the lower two bits are ECN: RFC 6088 compares the others.
_ECN_BITS = 2


@dataclass(frozen=True, slots=True)
class Flow:
    """What a traffic selector can see of a packet. None: the packet has no such field.

    `protocol` is IPv4's protocol, or the first next header that is not an extension header.
    """

    source: IPAddress
    destination: IPAddress
    protocol: int
    source_port: int | None = None
    destination_port: int | None = None
    spi: int | None = None
    traffic_class: int = 0
    flow_label: int = 0
    icmpv6_type: int | None = None

    @property
    def is_mobility(self) -> bool:
        """Mobile IPv6's own messages (RFC 6275 section 6)."""
        return self.source.version == 6 and (
            self.protocol == NextHeader.MOBILITY or self.icmpv6_type in _MOBILITY_TYPES
        )


def matches(selector: IPv4TrafficSelector | IPv6TrafficSelector, flow: Flow) -> bool:
    """Whether the selector describes packets of this flow (RFC 6088 section 3)."""
    if isinstance(selector, IPv4TrafficSelector):
        version, label = 4, None
        traffic_class, protocol = selector.dscp, selector.protocol
    else:
        version, label = 6, selector.flow_label
        traffic_class, protocol = selector.traffic_class, selector.next_header
    if flow.source.version != version:
        return False
    if traffic_class is not None:
        traffic_class = (traffic_class[0] >> _ECN_BITS, traffic_class[1] >> _ECN_BITS)
    source, destination = selector.source, selector.destination
    return (
        _within(source and (int(source[0]), int(source[1])), int(flow.source))
        and _within(destination and (int(destination[0]), int(destination[1])), int(flow.destination))
        and _within(selector.spi, flow.spi)
        and _within(label, flow.flow_label)
        and _within(selector.source_port, flow.source_port)
        and _within(selector.destination_port, flow.destination_port)
        and _within(traffic_class, flow.traffic_class >> _ECN_BITS)
        and _within(protocol, flow.protocol)
    )


def _within(span: NumberRange | None, value: int | None) -> bool:
    return span is None or (value is not None and span[0] <= value <= span[1])


def choose(
    flow: Flow,
    rules: Iterable[FlowRule],
    preference: Sequence[int],
    existing: Collection[int],
    usable: Callable[[int], bool],
) -> tuple[int, ...]:
    """The BIDs over which a packet goes: several if it is copied, none if it is dropped.

    `existing` are the BIDs that have a path, of which not all need be `usable`: those that are merely silent
    get a copy of what goes over several.
    """
    if 0 in existing:
        return (0,)
    for rule in () if flow.is_mobility else rules:  # RFC 6089 section 4.3
        if matches(rule.selector, flow) and (bids := [bid for bid in rule.bids if usable(bid)]):
            silent = [bid for bid in rule.bids if bid in existing and bid not in bids]
            return tuple([*bids, *silent][:MAX_COPIES])
    usual = [bid for bid in preference if usable(bid)] or [bid for bid in preference if bid in existing]
    return tuple(usual[:1])
