"""Values that the engines, the movement layer and the daemon share.

Nothing here does anything: addresses, time, care-of addresses, bindings and tunnel formats as frozen data.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

#: UDP port of DSMIPv6 signalling and data at the home agent (RFC 5555 section 9).
DSMIP_PORT = 4191


class Instant(NamedTuple):
    """A point in time, handed to every engine call.

    `monotonic` is CLOCK_MONOTONIC in seconds: timers and lifetimes. `unix` is seconds since 1970: only for
    what another machine reads (RFC 4285 timestamps) and for what must survive a reboot.
    """

    monotonic: float
    unix: float


class TunnelFormat(enum.Enum):
    """What is put in front of an inner packet between mobile node and home agent (RFC 5555 4.1)."""

    IPV6 = "ipv6"  #: IPv6-in-IPv6 and IPv4-in-IPv6
    IPV4 = "ipv4"  #: protocols 41 and 4 in IPv4
    UDP4 = "udp4"  #: in UDP in IPv4
    UDP6 = "udp6"  #: in UDP in IPv6: the RFC's last resort
    LINK = "link"  #: no tunnel: the node is on the home link


class UdpEndpoint(NamedTuple):
    """An IPv4 address and UDP port as seen on the wire."""

    address: IPv4Address
    port: int


@dataclass(frozen=True, slots=True)
class Path:
    """How the data plane reaches the other end of one binding.

    `interface` is a kernel ifindex, 0 = decided by the route to `remote`. `next_hop` None = decided by the
    route, or `remote` itself when on-link. `expires` is CLOCK_MONOTONIC seconds after which the data plane
    drops packets of this path by itself; None = never.
    """

    format: TunnelFormat
    local: IPAddress
    remote: IPAddress
    local_port: int = 0
    remote_port: int = 0
    interface: int = 0
    next_hop: IPAddress | None = None
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class FlowBinding:
    """Which care-of addresses a flow uses (RFC 6089 section 4.3).

    `fid` names it and is unique to the mobile node, like `priority`, of which the lower wins. `selector`
    describes packets from the correspondent to the mobile node. Several `bids` mean a copy over each.
    """

    fid: int
    priority: int
    selector: IPv4TrafficSelector | IPv6TrafficSelector
    bids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FlowRule:
    """A flow binding as the data plane matches it, in the direction of encapsulation on this node.

    Source and destination of `selector` are those of the packet that is about to be encapsulated: a home
    agent has them as in the flow binding, a mobile node swapped.
    """

    selector: IPv4TrafficSelector | IPv6TrafficSelector
    bids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CareOfAddress:
    """An address the mobile node can register, and where it is (RFC 6275 section 3.1, RFC 5555 section 2.1).

    `network` names the visited network (a stable string made from what identifies it: router and prefix, or
    DHCP server and gateway MAC), so that what was learnt about it (UDP needed, IPv6 broken) is kept.
    `valid_until` is CLOCK_MONOTONIC seconds, None = no known end.
    """

    address: IPAddress
    interface: str
    ifindex: int
    gateway: IPAddress | None
    network: str
    preference: int = 100  #: lower is better; from the interface's configuration
    mtu: int = 1500
    valid_until: float | None = None


@dataclass(frozen=True, slots=True)
class HomeAttachment:
    """The mobile node is attached to its home link (RFC 6275 section 11.5.5)."""

    interface: str
    ifindex: int
    router: IPv6Address | None  #: default router heard on the home link
    ipv4_router: IPv4Address | None
    preference: int = 100
    #: End of the home prefix as advertised, CLOCK_MONOTONIC seconds; None = none known.
    valid_until: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Attachments:
    """Everything the movement layer knows now: the mobile node engine decides what to do with it.

    Care-of addresses listed are usable this instant (not tentative, router confirmed on this link).
    """

    home: HomeAttachment | None = None
    care_of: tuple[CareOfAddress, ...] = ()


class Nat(enum.Enum):
    """What the home agent's comparison said about the path (RFC 5555 section 4.2)."""

    UNKNOWN = "unknown"
    NONE = "none"
    DETECTED = "detected"


@dataclass(frozen=True, slots=True)
class IPv4Grant:
    """One IPv4 home address (prefix length 32) or IPv4 mobile network prefix granted to a mobile node."""

    network: IPv4Network
    dynamic: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """An entry of the home agent's binding cache (RFC 6275 section 9.1, RFC 3963 6.1, RFC 5555 4.4).

    `index` is the number under which the data plane knows the binding: stable while it exists.
    `care_of` is where packets go; `nat_source` is the outer IPv4 address and UDP port of the last accepted
    Binding Update when it came in UDP. Times: `expires`, `created` and `updated` in seconds since 1970, so
    that they survive a restart.
    """

    home_address: IPv6Address
    index: int
    care_of: IPAddress
    sequence: int
    lifetime: float
    created: float
    updated: float
    expires: float
    format: TunnelFormat
    identifier: str = ""
    nat_source: UdpEndpoint | None = None
    nat: Nat = Nat.UNKNOWN
    home_agent_ipv4: IPv4Address | None = None
    mobile_router: bool = False
    link_local: bool = False
    prefixes: tuple[IPv6Network, ...] = ()
    ipv4: tuple[IPv4Grant, ...] = ()
    authentication: str = "mn-ha"

    @property
    def ipv4_home_address(self) -> IPv4Address | None:
        """The single IPv4 home address, if one was granted."""
        for grant in self.ipv4:
            if grant.network.prefixlen == 32:
                return grant.network.network_address
        return None

    @property
    def networks(self) -> tuple[IPNetwork, ...]:
        """Every inner address range that belongs to this mobile node."""
        # From a number: a network made of an address goes by way of its text, which takes ten times as long.
        home = IPv6Network((int(self.home_address), 128))
        return (home, *self.prefixes, *(grant.network for grant in self.ipv4))


@dataclass(frozen=True, slots=True)
class ReplayState:
    """What must survive to refuse replays (RFC 4285 section 6, RFC 6275 section 9.5.1).

    `timestamp` is the last accepted 64-bit NTP timestamp, 0 = none. `index` is the mobile node's binding
    index, 0 = none yet: kept here because it must stay the same while there is no binding.
    """

    home_address: IPv6Address
    sequence: int
    timestamp: int = 0
    index: int = 0


@dataclass(frozen=True, slots=True)
class MobileNodeEntry:
    """What the home agent is configured to know about one mobile node.

    `authentication` is "mn-ha" (RFC 4285) or "none" (closed test networks only).
    """

    home_address: IPv6Address
    name: str = ""  #: what people call it
    identifier: str = ""
    authentication: str = "mn-ha"
    spi: int = 0
    key: bytes = field(default=b"", repr=False)
    prefixes: tuple[IPv6Network, ...] = ()
    ipv4_home_address: IPv4Address | None = None
    ipv4_prefixes: tuple[IPv4Network, ...] = ()
    allow_dynamic_ipv4: bool = True
    mobile_router: bool = True  #: may set the R flag
