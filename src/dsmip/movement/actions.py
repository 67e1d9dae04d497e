"""What the movement engine asks the host to do, in order, and the lease it shares with the DHCP client.

Nothing unconfirmed is ever in the kernel: an address or a default route is added when the network it belongs
to has been confirmed, and taken out when the link goes down. So the kernel answers no ARP or neighbour
solicitation for an address of a network the node may have left (RFC 4436 2.1.1, RFC 6059 5.4).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from dsmip.core.actions import Event
from dsmip.core.types import Attachments, IPAddress


class AddressFlags(enum.Flag):
    """What the kernel says about an address (rtnetlink IFA_F_*)."""

    NONE = 0
    TENTATIVE = enum.auto()
    OPTIMISTIC = enum.auto()
    DEPRECATED = enum.auto()
    DAD_FAILED = enum.auto()

    @property
    def usable(self) -> bool:
        """Whether packets may be sent from and received at the address now (RFC 4429 section 3.1)."""
        if AddressFlags.DAD_FAILED in self:
            return False
        return AddressFlags.OPTIMISTIC in self or AddressFlags.TENTATIVE not in self


@dataclass(frozen=True, slots=True)
class DhcpLease:
    """A DHCPv4 lease (RFC 2131).

    `obtained` is seconds since 1970, so that a remembered lease survives a restart; `lifetime` is seconds,
    None = infinite. `server_mac` is the link-layer source of the acknowledgement: the server or its relay.
    `portal` is the URL of the captive portal (RFC 8910).
    """

    address: IPv4Address
    prefix_length: int
    obtained: float
    lifetime: float | None = None
    gateway: IPv4Address | None = None
    server: IPv4Address | None = None
    server_mac: bytes = b""
    mtu: int | None = None
    portal: str | None = None

    @property
    def network(self) -> IPv4Network:
        """The subnet the leased address lies in."""
        return IPv4Network((self.address, self.prefix_length), strict=False)

    @property
    def expires(self) -> float | None:
        """Seconds since 1970 at which the lease ends, None = never."""
        return None if self.lifetime is None else self.obtained + self.lifetime


@dataclass(frozen=True, slots=True)
class SolicitRouters:
    """Send a Router Solicitation to all routers; `source` None = the unspecified address."""

    interface: str
    source: IPv6Address | None


@dataclass(frozen=True, slots=True)
class ProbeRouter:
    """Send a Neighbor Solicitation for `router` to this link-layer address alone (RFC 6059 section 5.6.1)."""

    interface: str
    source: IPv6Address
    router: IPv6Address
    mac: bytes


@dataclass(frozen=True, slots=True)
class ProbeGateway:
    """Send an ARP request for `gateway` to this link-layer address alone (RFC 4436 section 2.1.1).

    `mac` None = broadcast: only for a gateway whose link-layer address has yet to be learnt, with an address
    that is confirmed.
    """

    interface: str
    source: IPv4Address
    gateway: IPv4Address
    mac: bytes | None


@dataclass(frozen=True, slots=True)
class StartDhcp:
    """Start DHCPv4 afresh: INIT-REBOOT with a known lease, otherwise INIT (RFC 2131 section 3)."""

    interface: str
    lease: DhcpLease | None


@dataclass(frozen=True, slots=True)
class StopDhcp:
    """Stop DHCPv4 without releasing the lease: it is good when the node comes back."""

    interface: str


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Add an address or renew its lifetimes (seconds from now, None = no end).

    `dad` false: the address was confirmed by a known router, no duplicate address detection
    (RFC 6059 section 5.8). `on_link` false: no route for the prefix.
    """

    interface: str
    ifindex: int
    address: IPAddress
    prefix_length: int
    valid: float | None
    preferred: float | None
    metric: int
    on_link: bool = True
    dad: bool = True


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    """Take an address that dsmip added off the interface."""

    interface: str
    ifindex: int
    address: IPAddress
    prefix_length: int


@dataclass(frozen=True, slots=True)
class SetDefaultRoute:
    """Route everything of the gateway's family out of this interface, at this metric.

    `mac` known: it goes into the neighbour cache, so the first packet needs no address resolution and a
    stale entry of another network's router with the same address cannot catch it.
    """

    interface: str
    ifindex: int
    gateway: IPAddress
    mac: bytes | None
    source: IPv4Address | None
    metric: int


@dataclass(frozen=True, slots=True)
class RemoveDefaultRoute:
    """Take back what SetDefaultRoute put in."""

    interface: str
    ifindex: int
    gateway: IPAddress
    metric: int


@dataclass(frozen=True, slots=True)
class SetMtu:
    """Limit IPv6 packets on this interface (RFC 4861 section 6.3.4, MTU option)."""

    interface: str
    mtu: int


@dataclass(frozen=True, slots=True)
class AttachmentsChanged:
    """The usable set is now this."""

    attachments: Attachments


@dataclass(frozen=True, slots=True)
class NetworksChanged:
    """The memory of known networks changed: write it to disk when convenient."""


MovementAction = (
    SolicitRouters
    | ProbeRouter
    | ProbeGateway
    | StartDhcp
    | StopDhcp
    | AddAddress
    | RemoveAddress
    | SetDefaultRoute
    | RemoveDefaultRoute
    | SetMtu
    | AttachmentsChanged
    | NetworksChanged
    | Event
)
