"""Values that the engines, the movement layer and the daemon share.

Nothing here does anything: addresses, time, care-of addresses, bindings and tunnel formats as frozen data.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

import msgspec

from dsmip.wire.extensions import Extensions
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


class Path(msgspec.Struct, frozen=True, gc=False):
    """How the data plane reaches the other end of one binding.

    `interface` is a kernel ifindex, 0 = decided by the route to `remote`. `next_hop` None = decided by the
    route, or `remote` itself when on-link. `expires` is CLOCK_MONOTONIC seconds after which the data plane
    drops packets of this path by itself; None = never. `mtu` is that of inner packets, to which the MSS of
    TCP connections is lowered; 0 = leave it alone.
    """

    format: TunnelFormat
    local: IPAddress
    remote: IPAddress
    local_port: int = 0
    remote_port: int = 0
    interface: int = 0
    next_hop: IPAddress | None = None
    expires: float | None = None
    mtu: int = 0


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
    `valid_until` is CLOCK_MONOTONIC seconds, None = no known end. `portal` is the URL of the network's
    captive portal, if it says that it has one (RFC 8910).
    """

    address: IPAddress
    interface: str
    ifindex: int
    gateway: IPAddress | None
    network: str
    preference: int = 100  #: lower is better; from the interface's configuration
    mtu: int = 1500
    valid_until: float | None = None
    #: The home address on the home link, registered beside care-of addresses (RFC 5648 section 5.6), and the
    #: link-layer address there.
    at_home: bool = False
    link_layer: bytes = b""
    portal: str | None = None


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
    mtu: int = 1500
    #: Of our interface; empty = none known.
    link_layer: bytes = field(default=b"", compare=False)
    #: What the home link has instead of the home prefix, which is deprecated there; None = it is not.
    successor: IPv6Network | None = None


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


class IPv4Grant(msgspec.Struct, frozen=True, gc=False):
    """One IPv4 home address (prefix length 32) or IPv4 mobile network prefix granted to a mobile node.

    The address is mostly the very object of the configuration; a network would take half a kilobyte.
    """

    address: IPv4Address
    prefixlen: int = 32
    dynamic: bool = False

    @classmethod
    def of(cls, network: IPv4Network, dynamic: bool = False) -> IPv4Grant:
        """The grant of this network."""
        return cls(network.network_address, network.prefixlen, dynamic)

    @property
    def network(self) -> IPv4Network:
        """The addresses granted."""
        return IPv4Network((int(self.address), self.prefixlen))


class CareOfBinding(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One care-of address of a binding (RFC 6275 section 9.1, RFC 5648 section 4.1).

    `bid` is the binding identifier, 1 to 65535; 0 = registered without one, the only care-of address there
    is. `care_of` is where packets go (the outside of a NAT, if there is one) and `nat_source` the outer IPv4
    address and UDP port of the last accepted Binding Update from there when it came in UDP. `priority` is
    BID-PRI (RFC 6089 section 4.1): 1 to 127, lower = preferred; 0 = none given, last. `at_home` is the H
    flag: the mobile node is on its home link, too (RFC 5648 section 5.6).

    `updated` and `expires` are seconds since 1970, so that they survive a restart. `ends` is the same end as
    `expires` in CLOCK_MONOTONIC seconds: it holds whatever happens to the time of day, and is not stored.
    """

    bid: int
    care_of: IPAddress
    format: TunnelFormat
    lifetime: float
    updated: float
    expires: float
    priority: int = 0
    nat_source: UdpEndpoint | None = None
    nat: Nat = Nat.UNKNOWN
    home_agent_ipv4: IPv4Address | None = None
    at_home: bool = False
    ends: float = 0.0

    def __eq__(self, other: object) -> bool:
        """Whatever this process makes of the end."""
        if not isinstance(other, CareOfBinding):
            return NotImplemented
        return msgspec.structs.astuple(self)[:-1] == msgspec.structs.astuple(other)[:-1]

    def __ne__(self, other: object) -> bool:
        """The base class has a `!=` of its own, which knows nothing of the above."""
        return not self == other

    def __hash__(self) -> int:
        return hash((self.bid, self.care_of))

    @property
    def preference(self) -> tuple[int, int]:
        """Sorts care-of addresses, the preferred one first: by priority, then by identifier."""
        return (self.priority or _LOWEST_PRIORITY, self.bid)


#: Comes after every BID-PRI, which has seven bits.
_LOWEST_PRIORITY = 128


class Binding(msgspec.Struct, frozen=True, gc=False):
    """An entry of the home agent's binding cache (RFC 6275 section 9.1, RFC 3963 6.1, RFC 5555 4.4).

    `index` is the number under which the data plane knows the binding: stable while it exists. `care_ofs` is
    never empty and has the preferred one first: either a single one with BID 0, or one per binding identifier
    (RFC 5648). `flows` are in the order in which they are looked at. `extensions` are those both ends have.
    `created` is in seconds since 1970. `former` is the home address before a renumbering, to which packets
    are tunnelled too as long as its prefix is valid.

    What is asked of the binding as a whole (`care_of`, `format` and so on) is that of the preferred care-of
    address; `expires` is when the last one ends.
    """

    home_address: IPv6Address
    index: int
    care_ofs: tuple[CareOfBinding, ...]
    sequence: int
    created: float
    identifier: str = ""
    mobile_router: bool = False
    link_local: bool = False
    prefixes: tuple[IPv6Network, ...] = ()
    ipv4: tuple[IPv4Grant, ...] = ()
    authentication: str = "mn-ha"
    flows: tuple[FlowBinding, ...] = ()
    extensions: Extensions = Extensions.NONE
    former: IPv6Address | None = None

    @property
    def multiple(self) -> bool:
        """Made of binding identifiers (RFC 5648), be it only one."""
        return self.care_ofs[0].bid != 0

    @property
    def care_of(self) -> IPAddress:
        """Where packets go that match no flow."""
        return self.care_ofs[0].care_of

    @property
    def format(self) -> TunnelFormat:
        """The tunnel to `care_of`."""
        return self.care_ofs[0].format

    @property
    def nat_source(self) -> UdpEndpoint | None:
        """Outer address and port of the last Binding Update from `care_of`, if that came in UDP."""
        return self.care_ofs[0].nat_source

    @property
    def nat(self) -> Nat:
        """Whether there is a NAT on the way to `care_of`."""
        return self.care_ofs[0].nat

    @property
    def home_agent_ipv4(self) -> IPv4Address | None:
        """The home agent's address that `care_of` talks to, if that is in an IPv4 network."""
        return self.care_ofs[0].home_agent_ipv4

    @property
    def lifetime(self) -> float:
        """Seconds granted to the care-of address that ends last."""
        return max(self.care_ofs, key=_expires).lifetime

    @property
    def updated(self) -> float:
        """When the last Binding Update was accepted, in seconds since 1970."""
        return max(entry.updated for entry in self.care_ofs)

    @property
    def expires(self) -> float:
        """When the last care-of address ends, in seconds since 1970."""
        return max(entry.expires for entry in self.care_ofs)

    @property
    def next_end(self) -> float:
        """When the first care-of address ends, in CLOCK_MONOTONIC seconds."""
        care_ofs = self.care_ofs
        return care_ofs[0].ends if len(care_ofs) == 1 else min(entry.ends for entry in care_ofs)

    @property
    def at_home(self) -> bool:
        """One of the care-of addresses is the home link (RFC 5648 section 5.6)."""
        return any(entry.at_home for entry in self.care_ofs)

    def care_of_binding(self, bid: int) -> CareOfBinding | None:
        """The care-of address with this identifier."""
        for entry in self.care_ofs:
            if entry.bid == bid:
                return entry
        return None

    def is_active(self, flow: FlowBinding) -> bool:
        """Whether one of the flow's identifiers is bound (RFC 6089 section 4.3)."""
        return any(entry.bid in flow.bids for entry in self.care_ofs)

    def is_at(self, address: IPAddress) -> bool:
        """Whether this is one of the care-of addresses (RFC 5648 section 6.5)."""
        return any(entry.care_of == address for entry in self.care_ofs)

    @property
    def ipv4_home_address(self) -> IPv4Address | None:
        """The single IPv4 home address, if one was granted."""
        for grant in self.ipv4:
            if grant.prefixlen == 32:
                return grant.address
        return None

    @property
    def networks(self) -> tuple[IPNetwork, ...]:
        """Every inner address range that belongs to this mobile node."""
        # From a number: a network made of an address goes by way of its text, which takes ten times as long.
        home = IPv6Network((int(self.home_address), 128))
        former = () if self.former is None else (IPv6Network((int(self.former), 128)),)
        return (home, *former, *self.prefixes, *(grant.network for grant in self.ipv4))


def _expires(entry: CareOfBinding) -> float:
    return entry.expires


class ReplayState(msgspec.Struct, frozen=True, gc=False):
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

    `authentication` is "mn-ha" (RFC 4285), "ipsec" (RFC 4877) or "none" (closed test networks only).
    `key_mobility`: keys are negotiated, and that survives movements (RFC 6275 section 10.3.1, the K bit).
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
    key_mobility: bool = False
