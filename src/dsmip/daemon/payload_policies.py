"""Which packets have to be under ESP, as policies of the kernel: pure decisions.

ESP in tunnel mode goes between the two addresses that never change, home address and home agent's, for
everything between the mobile node's networks and its correspondents. It is itself a packet of the mobile
node, which the mobility tunnel carries wherever that is: nothing of what is said here changes at a handover.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Final

from dsmip.core.types import IPNetwork
from dsmip.host.xfrm import Direction, Policy, Traffic, one_address
from dsmip.wire.constants import NextHeader

EVERYTHING: Final[tuple[IPNetwork, ...]] = (IPv6Network("::/0"), IPv4Network("0.0.0.0/0"))

#: Of policies that let pass, and of those that want ESP. No others of this machine should have these numbers:
#: by them ours are found again.
PASS_PRIORITY: Final = 4191
ESP_PRIORITY: Final = 4192
PRIORITIES: Final = frozenset({PASS_PRIORITY, ESP_PRIORITY})

#: Between home address and home agent these are the mobility protocol's own: echoes (probes, keepalives) and
#: prefix discovery (RFC 6275 section 6.7), which is under ESP of its own where signalling is. Not errors:
#: they quote packets.
_MOBILITY: Final = (128, 129, 146, 147)
#: Neighbour discovery (RFC 4861 section 4), and destinations that no packet leaves the link for.
_NEIGHBOUR_DISCOVERY: Final = (135, 136)
_LINK: Final[tuple[IPNetwork, ...]] = (
    IPv6Network("fe80::/10"),
    IPv6Network("ff02::/16"),
    IPv4Network("224.0.0.0/24"),
    IPv4Network("255.255.255.255/32"),
)


class Side(enum.Enum):
    """Whose policies."""

    HOME_AGENT = "home agent"
    MOBILE_NODE = "mobile node"


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of ESP, seen from `side`. `request` is the number of its group of states."""

    side: Side
    home_agent: IPv6Address
    home_address: IPv6Address
    request: int

    @property
    def local(self) -> IPv6Address:
        """Our own."""
        return self.home_agent if self.side is Side.HOME_AGENT else self.home_address

    @property
    def remote(self) -> IPv6Address:
        """The other one's."""
        return self.home_address if self.side is Side.HOME_AGENT else self.home_agent


def policies(ends: Ends, networks: Iterable[IPNetwork], correspondents: Sequence[IPNetwork]) -> list[Policy]:
    """What stands while ESP is wanted between `networks`, the mobile node's, and `correspondents`."""
    inside = tuple(networks)
    return [*_passing(ends, inside), *_protecting(ends, inside, correspondents)]


def _protecting(
    ends: Ends, networks: Sequence[IPNetwork], correspondents: Sequence[IPNetwork]
) -> Iterator[Policy]:
    there, back = (ends.local, ends.remote), (ends.remote, ends.local)
    for network in networks:
        for correspondent in correspondents:
            if network.version != correspondent.version:
                continue
            near, far = network, correspondent
            if ends.side is Side.HOME_AGENT:
                near, far = correspondent, network
            yield Policy(Traffic(near, far), Direction.OUT, ends.request, there, ESP_PRIORITY)
            # To this machine itself, and through it.
            for direction in (Direction.IN, Direction.FORWARD):
                yield Policy(Traffic(far, near), direction, ends.request, back, ESP_PRIORITY)


def _passing(ends: Ends, networks: Sequence[IPNetwork]) -> Iterator[Policy]:
    """What is nobody's payload: the mobility protocol's own, and what stays on the mobile node's links."""
    local, remote = one_address(ends.local), one_address(ends.remote)
    for message in _MOBILITY:
        yield _pass(Traffic(local, remote, NextHeader.ICMPV6, message), Direction.OUT)
        yield _pass(Traffic(remote, local, NextHeader.ICMPV6, message), Direction.IN)
    if ends.side is Side.HOME_AGENT:
        # With the home address as a neighbour, as long as that is on its way home.
        yield from _discovering(EVERYTHING[0], one_address(ends.home_address))
        return
    for network in networks:
        if network.version == 6:
            yield from _discovering(network, EVERYTHING[0])
        for other in (*networks, *_LINK):
            if other.version == network.version:
                yield _pass(Traffic(network, other), Direction.OUT)
                yield _pass(Traffic(other, network), Direction.IN)
        for other in networks:
            if other.version == network.version:
                yield _pass(Traffic(network, other), Direction.FORWARD)


def _discovering(ours: IPNetwork, theirs: IPNetwork) -> Iterator[Policy]:
    for message in _NEIGHBOUR_DISCOVERY:
        yield _pass(Traffic(ours, theirs, NextHeader.ICMPV6, message), Direction.OUT)
        yield _pass(Traffic(theirs, ours, NextHeader.ICMPV6, message), Direction.IN)


def _pass(traffic: Traffic, direction: Direction) -> Policy:
    return Policy(traffic, direction, None, priority=PASS_PRIORITY)
