"""Flow rules and preferences as the eBPF program reads them, mirroring struct dsmip_rule and dsmip_choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dsmip.core.types import FlowRule, IPAddress
from dsmip.dataplane.api import MAX_BIDS, MAX_FLOWS
from dsmip.dataplane.maps import (
    CHOICE,
    RULE,
    RULE_DESTINATION,
    RULE_NEVER,
    RULE_PORTS,
    RULE_SOURCE,
    RULE_SPI,
    RULES,
)
from dsmip.wire.trafficselectors import IPv4TrafficSelector, NumberRange

_HALF = (1 << 64) - 1
#: Of traffic class and DS field, the lower two bits are ECN: RFC 6088 compares the others.
_ECN_BITS = 2


def encode_rules(rules: Sequence[FlowRule]) -> bytes:
    """struct dsmip_rules."""
    room = bytes(RULE.size * (MAX_FLOWS - len(rules)))
    return RULES.pack(len(rules), 0) + b"".join(map(_encode, rules)) + room


def _encode(rule: FlowRule) -> bytes:
    selector = rule.selector
    if isinstance(selector, IPv4TrafficSelector):
        version, flow_label = 4, None
        traffic_class, protocol = selector.dscp, selector.protocol
    else:
        version, flow_label = 6, selector.flow_label
        traffic_class, protocol = selector.traffic_class, selector.next_header
    if traffic_class is not None:
        traffic_class = (traffic_class[0] >> _ECN_BITS, traffic_class[1] >> _ECN_BITS)
    spans = (selector.spi, flow_label, selector.source_port, selector.destination_port)
    every = (*spans, traffic_class, protocol, _numbers(selector.source), _numbers(selector.destination))
    needs = (
        (RULE_PORTS if selector.source_port or selector.destination_port else 0)
        | (RULE_SPI if selector.spi else 0)
        | (RULE_SOURCE if selector.source else 0)
        | (RULE_DESTINATION if selector.destination else 0)
        | (RULE_NEVER if any(span and span[1] < span[0] for span in every) else 0)
    )
    return RULE.pack(
        *_addresses(selector.source),
        *_addresses(selector.destination),
        *_first_and_distance(selector.spi, 32),
        *_first_and_distance(flow_label, 32),
        *_first_and_distance(selector.source_port, 16),
        *_first_and_distance(selector.destination_port, 16),
        *_filled(rule.bids),
        *_first_and_distance(traffic_class, 8),
        *_first_and_distance(protocol, 8),
        version,
        needs,
        0,
    )


def _numbers(span: tuple[IPAddress, IPAddress] | None) -> NumberRange | None:
    return None if span is None else (int(span[0]), int(span[1]))


def _addresses(span: tuple[IPAddress, IPAddress] | None) -> tuple[int, ...]:
    """First and last address, each as two halves."""
    numbers = _numbers(span) or (0, 0)
    return tuple(half for number in numbers for half in (number >> 64, number & _HALF))


def _first_and_distance(span: NumberRange | None, bits: int) -> tuple[int, int]:
    if span is None:
        return 0, (1 << bits) - 1
    return span[0], max(0, span[1] - span[0])


def _filled(bids: Sequence[int]) -> tuple[int, ...]:
    return (*bids, *(0,) * (MAX_BIDS - len(bids)))


@dataclass(frozen=True, slots=True)
class Choice:
    """struct dsmip_choice: where packets of a binding without plain path go.

    `generation` is another one with every change of the flow rules, 0 = there are none. `sequence` is that of
    the last packet that was sent in copies.
    """

    generation: int = 0
    bids: tuple[int, ...] = ()
    sequence: int = 0
    duplication: bool = False

    def encode(self) -> bytes:
        """To octets."""
        return CHOICE.pack(self.generation, *_filled(self.bids), self.sequence, self.duplication)

    @classmethod
    def decode(cls, data: bytes) -> Choice:
        """From octets."""
        generation, *bids, sequence, duplication = CHOICE.unpack(data)
        return cls(generation, tuple(bid for bid in bids if bid), sequence, bool(duplication))

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return not (self.generation or self.bids or self.duplication)
