"""Traffic selectors (RFC 6088) out of what a person says about a flow, and in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from dsmip.core.types import IPNetwork
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector, NumberRange

Selector = IPv4TrafficSelector | IPv6TrafficSelector

#: The upper six bits of the octet that selectors compare (RFC 6088 section 3.1).
_DSCP_SHIFT = 2


@dataclass(frozen=True, slots=True)
class FlowDescription:
    """A flow, whichever way its packets travel. What is None or absent matches everything.

    `remote` is the correspondent, `local` the mobile node or the network behind it. `protocol` is for IPv4
    and IPv6. `ports` are on either side. Ranges include both of their ends.
    """

    protocol: tuple[int, int] | None = None
    remote: IPNetwork | None = None
    local: IPNetwork | None = None
    remote_ports: NumberRange | None = None
    local_ports: NumberRange | None = None
    ports: NumberRange | None = None
    dscp: NumberRange | None = None

    @property
    def versions(self) -> tuple[int, ...]:
        """IP versions of the flow's packets."""
        said = {network.version for network in (self.remote, self.local) if network is not None}
        return tuple(said) or (6, 4)

    def selectors(self) -> tuple[Selector, ...]:
        """One for each IP version, and for `ports` one for each side.

        They describe packets from the correspondent to the mobile node, as RFC 6088 wants it.
        """
        return tuple(self._selectors())

    def _selectors(self) -> Iterator[Selector]:
        for version in self.versions:
            if self.ports is None:
                yield self._selector(version, self.remote_ports, self.local_ports)
            else:
                yield self._selector(version, self.ports, None)
                yield self._selector(version, None, self.ports)

    def _selector(
        self, version: int, source: NumberRange | None, destination: NumberRange | None
    ) -> Selector:
        dscp = None
        if self.dscp is not None:
            dscp = (self.dscp[0] << _DSCP_SHIFT, self.dscp[1] << _DSCP_SHIFT | (1 << _DSCP_SHIFT) - 1)
        number = None if self.protocol is None else self.protocol[0 if version == 4 else 1]
        protocol = None if number is None else (number, number)
        if version == 4:
            return IPv4TrafficSelector(
                source=_ipv4(self.remote),
                destination=_ipv4(self.local),
                source_port=source,
                destination_port=destination,
                dscp=dscp,
                protocol=protocol,
            )
        return IPv6TrafficSelector(
            source=_ipv6(self.remote),
            destination=_ipv6(self.local),
            source_port=source,
            destination_port=destination,
            traffic_class=dscp,
            next_header=protocol,
        )


def swapped(selector: Selector) -> Selector:
    """The same flow in the other direction: what a mobile node sends."""
    if isinstance(selector, IPv4TrafficSelector):
        return replace(
            selector,
            source=selector.destination,
            destination=selector.source,
            source_port=selector.destination_port,
            destination_port=selector.source_port,
        )
    return replace(
        selector,
        source=selector.destination,
        destination=selector.source,
        source_port=selector.destination_port,
        destination_port=selector.source_port,
    )


def covers(one: Selector, other: Selector) -> bool:
    """True when every packet that matches `other` matches `one`."""
    if type(one) is not type(other):
        return False
    return all(_covers(mine, theirs) for mine, theirs in zip(_ranges(one), _ranges(other), strict=True))


def _ranges(selector: Selector) -> list[tuple[int, int] | None]:
    spans = [getattr(selector, field.name) for field in fields(selector)]
    return [None if span is None else (int(span[0]), int(span[1])) for span in spans]


def _covers(one: tuple[int, int] | None, other: tuple[int, int] | None) -> bool:
    if one is None:
        return True
    return other is not None and one[0] <= other[0] and other[1] <= one[1]


def _ipv4(network: IPNetwork | None) -> tuple[IPv4Address, IPv4Address] | None:
    if not isinstance(network, IPv4Network):
        return None
    return network.network_address, network.broadcast_address


def _ipv6(network: IPNetwork | None) -> tuple[IPv6Address, IPv6Address] | None:
    if not isinstance(network, IPv6Network):
        return None
    return network.network_address, network.broadcast_address
