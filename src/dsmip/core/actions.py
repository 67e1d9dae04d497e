"""What the engines ask the daemon to do, in order, and what they tell it.

The daemon drains `engine.actions()` after every call and carries them out one by one. An action that has to
be on disk before the next one leaves (`StoreBinding` before the `SendPacket` of the acknowledgement) simply
comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Interface, IPv6Network

import msgspec

from dsmip.core.types import (
    Binding,
    CareOfAddress,
    FlowRule,
    HomeAttachment,
    IPNetwork,
    Path,
    ReplayState,
    UdpEndpoint,
)


class SendPacket(msgspec.Struct, frozen=True, gc=False):
    """Send a whole IPv6 packet as it is. `interface` "" = by the routing table."""

    packet: bytes
    interface: str = ""


class SendDatagram(msgspec.Struct, frozen=True, gc=False):
    """Send `payload` (an IPv6 packet) in UDP/IPv4. `interface` "" = by the routing table."""

    payload: bytes
    local: UdpEndpoint
    remote: UdpEndpoint
    interface: str = ""


class SendIPv4(msgspec.Struct, frozen=True, gc=False):
    """Send a whole IPv4 packet as it is (path probes in protocol 41)."""

    packet: bytes
    interface: str = ""


# Home agent ------------------------------------------------------------------------------------------------


class ForwardPacket(msgspec.Struct, frozen=True, gc=False):
    """Send a whole IPv6 packet where data to its destination goes: into the tunnel if that is bound."""

    packet: bytes


class SendError(msgspec.Struct, frozen=True, gc=False):
    """Send an ICMP error of either IP version, whole, to the sender of the data that it quotes, as data goes:
    into the tunnel if that sender is bound, and under ESP if its payload is."""

    packet: bytes


class StoreBinding(msgspec.Struct, frozen=True, gc=False):
    """Write the binding and its replay state through to the store."""

    binding: Binding
    replay: ReplayState


class StoreReplay(msgspec.Struct, frozen=True, gc=False):
    """Write replay state alone (a refused or de-registering Binding Update that was authentic)."""

    replay: ReplayState


class ForgetBinding(msgspec.Struct, frozen=True, gc=False):
    """Delete the binding from the store; replay state stays."""

    home_address: IPv6Address


class InstallBinding(msgspec.Struct, frozen=True, gc=False):
    """Put a new, moved or refreshed binding into the data plane.

    `previous` is the entry it replaces (None = new): its care-of address is still accepted as a source of
    tunnelled packets for `grace` seconds. With `previous` None and a home link, the daemon starts to defend
    the home addresses (RFC 6275 10.4.1). `restored` is a binding of an earlier process, from the store.
    """

    binding: Binding
    previous: Binding | None
    grace: float
    restored: bool = False


class RemoveBinding(msgspec.Struct, frozen=True, gc=False):
    """Take the binding out of the data plane and stop defending its addresses.

    `at_home` is true for a de-registration from the home link: packets then go out of the home link again.
    """

    binding: Binding
    reason: str
    at_home: bool = False


class TooBig(msgspec.Struct, frozen=True, gc=False):
    """A data packet, or several in one, that the path to its mobile node does not take: tell the sender."""

    packet: bytes
    binding: Binding


class NoteNeighbor(msgspec.Struct, frozen=True, gc=False):
    """Enter a mobile node's link-layer address on the home link, as one heard from it: it does not answer
    solicitations for its home address before it has heard the acknowledgement (RFC 5648 section 6.3)."""

    home_address: IPv6Address
    link_layer: bytes


class StartDad(msgspec.Struct, frozen=True, gc=False):
    """Probe the home link for duplicates (RFC 4862 5.4); answer with `HomeAgent.dad_finished`."""

    home_address: IPv6Address
    addresses: tuple[IPv6Address, ...]


# Mobile node -----------------------------------------------------------------------------------------------


class InstallPath(msgspec.Struct, frozen=True, gc=False):
    """Send and accept tunnelled data over this path from now on.

    The previous path's care-of address goes on receiving for `grace` seconds. `bid` is the path's binding
    identifier (RFC 5648), 0 = it is the only one.
    """

    path: Path
    care_of: CareOfAddress
    networks: tuple[IPNetwork, ...]
    grace: float
    bid: int = 0


class RemovePath(msgspec.Struct, frozen=True, gc=False):
    """Without another path, traffic from the home address goes nowhere until there is one."""

    reason: str
    bid: int = 0


class SetPreference(msgspec.Struct, frozen=True, gc=False):
    """The order in which paths are tried for packets of no flow, by binding identifier; () = there is one."""

    bids: tuple[int, ...]


class SetFlowRules(msgspec.Struct, frozen=True, gc=False):
    """The flows that have paths of their own, the first that matches counts."""

    rules: tuple[FlowRule, ...]


class SetDuplication(msgspec.Struct, frozen=True, gc=False):
    """Whether copies of a packet carry sequence numbers: the home agent agreed, or does not any more."""

    enabled: bool


class ComeHome(msgspec.Struct, frozen=True, gc=False):
    """Prepare the home link for de-registration: home address on the interface without DAD, usable as a
    source for the Binding Update (RFC 6275 11.5.5), traffic still as before."""

    home: HomeAttachment


class SettleHome(msgspec.Struct, frozen=True, gc=False):
    """De-registered: route natively, announce the home addresses (unsolicited NA, gratuitous ARP).

    `acknowledged` is false as long as the home agent has not said so.
    """

    home: HomeAttachment
    acknowledged: bool


class MeetHome(msgspec.Struct, frozen=True, gc=False):
    """The home link is going to be used beside others (RFC 5648 section 5.6): find the home agent there. The
    home address must not be answered for yet, traffic is still as before."""

    home: HomeAttachment


class ShareHome(msgspec.Struct, frozen=True, gc=False):
    """Registered at home and abroad: answer for the home address on the home link and announce it (RFC 5648
    section 5.6.4). Traffic goes by the tunnel device, which has the home link among its paths."""

    home: HomeAttachment


class LeaveHome(msgspec.Struct, frozen=True, gc=False):
    """Take the home address off the home link's interface and route it through the tunnel device."""


class HomeAddressesChanged(msgspec.Struct, frozen=True, gc=False):
    """The set of inner networks has changed: home addresses, what the home agent granted."""

    networks: tuple[IPNetwork, ...]


class HomeAddressChanged(msgspec.Struct, frozen=True, gc=False):
    """New sessions have this home address from now on (RFC 6275 section 11.4.3): another one, or the former
    one again. `former`, with the length of its prefix, is still valid: it stays among the inner networks, and
    on the home link, but no new session should have it. None = there is none (any more). Told again when its
    end is another one."""

    home_address: IPv6Address
    home_prefix: IPv6Network
    former: IPv6Interface | None = None


class HomeAgentChanged(msgspec.Struct, frozen=True, gc=False):
    """Another home agent serves from now on: accept tunnelled packets from it, and from the previous one for
    `grace` seconds only (`previous` None = there was none)."""

    home_agent: IPv6Address
    home_agent_ipv4: IPv4Address | None
    previous: IPv6Address | None
    previous_ipv4: IPv4Address | None
    grace: float


# Both ------------------------------------------------------------------------------------------------------


class Drop(msgspec.Struct, frozen=True, gc=False):
    """A packet was refused: count it under `reason` (a short slug) and log it at a limited rate.

    `node` is the home address of the configured mobile node it says it comes from, "" = of none. Whether it
    really came from there is often the very question.
    """

    reason: str
    detail: str = ""
    node: str = ""


#: What an event tells.
Value = str | int | float | bool | IPv4Address | IPv6Address


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something worth a log line and a place in the event stream: `kind` is a slug.

    Addresses may stay what they are: writing them takes its time, and is left to whoever wants them written.
    """

    kind: str
    fields: Mapping[str, Value] = {}


Action = (
    SendPacket
    | SendDatagram
    | SendIPv4
    | ForwardPacket
    | SendError
    | StoreBinding
    | StoreReplay
    | ForgetBinding
    | InstallBinding
    | RemoveBinding
    | TooBig
    | NoteNeighbor
    | StartDad
    | InstallPath
    | RemovePath
    | SetPreference
    | SetFlowRules
    | SetDuplication
    | ComeHome
    | SettleHome
    | MeetHome
    | ShareHome
    | LeaveHome
    | HomeAddressesChanged
    | HomeAddressChanged
    | HomeAgentChanged
    | Drop
    | Event
)
