"""What the engines ask the daemon to do, in order, and what they tell it.

The daemon drains `engine.actions()` after every call and carries them out one by one. An action that has to
be on disk before the next one leaves (`StoreBinding` before the `SendPacket` of the acknowledgement) simply
comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from dsmip.core.types import (
    Binding,
    CareOfAddress,
    HomeAttachment,
    IPNetwork,
    Path,
    ReplayState,
    UdpEndpoint,
)


@dataclass(frozen=True, slots=True)
class SendPacket:
    """Send a whole IPv6 packet as it is. `interface` "" = by the routing table."""

    packet: bytes
    interface: str = ""


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """Send `payload` (an IPv6 packet) in UDP/IPv4. `interface` "" = by the routing table."""

    payload: bytes
    local: UdpEndpoint
    remote: UdpEndpoint
    interface: str = ""


@dataclass(frozen=True, slots=True)
class SendIPv4:
    """Send a whole IPv4 packet as it is (path probes in protocol 41)."""

    packet: bytes
    interface: str = ""


# Home agent ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ForwardPacket:
    """Send a whole IPv6 packet where data to its destination goes: into the tunnel if that is bound."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class StoreBinding:
    """Write the binding and its replay state through to the store."""

    binding: Binding
    replay: ReplayState


@dataclass(frozen=True, slots=True)
class StoreReplay:
    """Write replay state alone (a refused or de-registering Binding Update that was authentic)."""

    replay: ReplayState


@dataclass(frozen=True, slots=True)
class ForgetBinding:
    """Delete the binding from the store; replay state stays."""

    home_address: IPv6Address


@dataclass(frozen=True, slots=True)
class InstallBinding:
    """Put a new, moved or refreshed binding into the data plane.

    `previous` is the entry it replaces (None = new): its care-of address is still accepted as a source of
    tunnelled packets for `grace` seconds. With `previous` None and a home link, the daemon starts to defend
    the home addresses (RFC 6275 10.4.1).
    """

    binding: Binding
    previous: Binding | None
    grace: float


@dataclass(frozen=True, slots=True)
class RemoveBinding:
    """Take the binding out of the data plane and stop defending its addresses.

    `at_home` is true for a de-registration from the home link: packets then go out of the home link again.
    """

    binding: Binding
    reason: str
    at_home: bool = False


@dataclass(frozen=True, slots=True)
class StartDad:
    """Probe the home link for duplicates (RFC 4862 5.4); answer with `HomeAgent.dad_finished`."""

    home_address: IPv6Address
    addresses: tuple[IPv6Address, ...]


# Mobile node -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InstallPath:
    """Send and accept tunnelled data over this path from now on.

    The previous path's care-of address goes on receiving for `grace` seconds. `bid` is the path's binding
    identifier (RFC 5648), 0 = it is the only one.
    """

    path: Path
    care_of: CareOfAddress
    networks: tuple[IPNetwork, ...]
    grace: float
    bid: int = 0


@dataclass(frozen=True, slots=True)
class RemovePath:
    """Without another path, traffic from the home address goes nowhere until there is one."""

    reason: str
    bid: int = 0


@dataclass(frozen=True, slots=True)
class ComeHome:
    """Prepare the home link for de-registration: home address on the interface without DAD, usable as a
    source for the Binding Update (RFC 6275 11.5.5), traffic still as before."""

    home: HomeAttachment


@dataclass(frozen=True, slots=True)
class SettleHome:
    """De-registered: route natively, announce the home addresses (unsolicited NA, gratuitous ARP)."""

    home: HomeAttachment


@dataclass(frozen=True, slots=True)
class LeaveHome:
    """Take the home address off the home link's interface and route it through the tunnel device."""


@dataclass(frozen=True, slots=True)
class HomeAddressesChanged:
    """The set of inner networks the home agent granted has changed (dynamic IPv4 home address or prefix)."""

    networks: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True)
class HomeAgentChanged:
    """Another home agent serves from now on: accept tunnelled packets from it, and from the previous one for
    `grace` seconds only (`previous` None = there was none)."""

    home_agent: IPv6Address
    home_agent_ipv4: IPv4Address | None
    previous: IPv6Address | None
    previous_ipv4: IPv4Address | None
    grace: float


# Both ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drop:
    """A packet was refused: count it under `reason` (a short slug) and log it at a limited rate.

    `node` is the home address of the configured mobile node it says it comes from, "" = of none. Whether it
    really came from there is often the very question.
    """

    reason: str
    detail: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a log line and a place in the event stream: `kind` is a slug."""

    kind: str
    fields: dict[str, str | int | float | bool] = field(default_factory=dict)


Action = (
    SendPacket
    | SendDatagram
    | SendIPv4
    | ForwardPacket
    | StoreBinding
    | StoreReplay
    | ForgetBinding
    | InstallBinding
    | RemoveBinding
    | StartDad
    | InstallPath
    | RemovePath
    | ComeHome
    | SettleHome
    | LeaveHome
    | HomeAddressesChanged
    | HomeAgentChanged
    | Drop
    | Event
)
