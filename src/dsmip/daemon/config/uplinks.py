"""What a mobile node's file says about its uplinks and about flows; `policy_of` makes a policy of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

import msgspec

from dsmip.core.flow_selectors import FlowDescription
from dsmip.core.mobile_node.policy import (
    IDLE_PROBE_INTERVAL,
    METERED_IDLE_PROBE_INTERVAL,
    PROBE_INTERVAL,
    FlowPolicy,
    InterfacePolicy,
    NetworkPolicy,
    Policy,
    Probing,
    UplinkChoice,
)

InterfaceName = Annotated[str, msgspec.Meta(pattern=r"^[^\s/]{1,15}$")]
FlowName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
Preference = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Milliseconds = Annotated[int, msgspec.Meta(ge=20, le=600_000)]
SignalStrength = Annotated[int, msgspec.Meta(ge=-110, le=-20)]
Copies = Annotated[int, msgspec.Meta(ge=1, le=3)]

#: Protocol numbers in IPv4 and IPv6 packets, and whether the protocol has ports.
PROTOCOLS = {
    "tcp": ((6, 6), True),
    "udp": ((17, 17), True),
    "sctp": ((132, 132), True),
    "dccp": ((33, 33), True),
    "udplite": ((136, 136), True),
    "icmp": ((1, 58), False),
    "esp": ((50, 50), False),
    "ah": ((51, 51), False),
    "gre": ((47, 47), False),
}

#: Names of differentiated services code points (RFC 2474, RFC 2597, RFC 3246, RFC 5865, RFC 8622).
DSCPS = {
    **{f"cs{number}": 8 * number for number in range(8)},
    **{f"af{klass}{drop}": 8 * klass + 2 * drop for klass in range(1, 5) for drop in range(1, 4)},
    "ef": 46,
    "va": 44,
    "le": 1,
}

_RANGE = re.compile(r"^(\d{1,5})(?:-(\d{1,5}))?$")


class Network:
    """A prefix of either family. Raises ValueError."""

    def __init__(self, text: str) -> None:
        if "%" in text:
            raise ValueError("an address with a zone is not allowed here")
        self.prefix: IPv4Network | IPv6Network = ip_network(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and self.prefix == other.prefix

    def __hash__(self) -> int:
        return hash(self.prefix)

    def __repr__(self) -> str:
        return f"Network({str(self.prefix)!r})"


class NetworkTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`[[interface.network]]`: what is different in one visited network."""

    prefix: Network | None = None
    network: str = ""
    preference: Preference | None = None
    cost: Preference | None = None
    metered: bool | None = None
    fallback_only: bool | None = None


class InterfaceTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`[[interface]]` of a mobile node: one uplink."""

    name: InterfaceName
    #: True: dsmip solicits routers, runs DHCP and sets addresses. False: it watches what others set.
    manage: bool = True
    preference: Preference = 100
    cost: Preference = 0
    metered: bool = False
    #: Registered, but without traffic unless nothing else is usable.
    fallback_only: bool = False
    #: Wi-Fi: with less signal than this, traffic leaves; None = the signal is not looked at.
    leave_below_dbm: SignalStrength | None = None
    network: tuple[NetworkTable, ...] = ()


class FlowTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`[[flow]]`: packets of one kind, and where they go; the first that matches counts."""

    name: FlowName
    protocol: int | str | None = None
    remote: Network | None = None
    local: Network | None = None
    ports: int | str | None = None
    remote_ports: int | str | None = None
    local_ports: int | str | None = None
    dscp: int | str | None = None
    interfaces: tuple[InterfaceName, ...] = ()
    use: Literal["best", "cheapest"] | None = None
    duplicate: Copies = 1


class MultihomingTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`[multihoming]`: several uplinks at once (RFC 5648)."""

    #: None = when there is more than one interface.
    enabled: bool | None = None
    simultaneous_home: bool = True
    probe_interval_ms: Milliseconds = int(1000 * PROBE_INTERVAL)
    idle_probe_interval_ms: Milliseconds = int(1000 * IDLE_PROBE_INTERVAL)
    metered_idle_probe_interval_ms: Milliseconds = int(1000 * METERED_IDLE_PROBE_INTERVAL)


def is_multihomed(multihoming: MultihomingTable, interfaces: Sequence[InterfaceTable]) -> bool:
    """Whether several uplinks are to be used at the same time."""
    return len(interfaces) > 1 if multihoming.enabled is None else multihoming.enabled


def signal_thresholds(interfaces: Sequence[InterfaceTable]) -> dict[str, int]:
    """By interface, dBm; those whose signal matters."""
    return {one.name: one.leave_below_dbm for one in interfaces if one.leave_below_dbm is not None}


def policy_of(
    multihoming: MultihomingTable, interfaces: Sequence[InterfaceTable], flows: Sequence[FlowTable]
) -> Policy:
    """The policy that the tables describe. Raises ValueError for what `flow_rules` complains about."""
    return Policy(
        interfaces=tuple(_interface(interface) for interface in interfaces),
        flows=tuple(flow_policy(flow) for flow in flows),
        simultaneous_home=multihoming.simultaneous_home,
        probing=Probing(
            multihoming.probe_interval_ms / 1000,
            multihoming.idle_probe_interval_ms / 1000,
            multihoming.metered_idle_probe_interval_ms / 1000,
        ),
    )


def _interface(table: InterfaceTable) -> InterfacePolicy:
    return InterfacePolicy(
        table.name,
        UplinkChoice(table.preference, table.cost, table.metered, table.fallback_only),
        tuple(
            NetworkPolicy(
                network.prefix.prefix if network.prefix is not None else None,
                network.network,
                network.preference,
                network.cost,
                network.metered,
                network.fallback_only,
            )
            for network in table.network
        ),
    )


def flow_policy(table: FlowTable) -> FlowPolicy:
    """One flow. Raises ValueError."""
    description = FlowDescription(
        protocol=None if table.protocol is None else protocol(table.protocol),
        remote=table.remote.prefix if table.remote is not None else None,
        local=table.local.prefix if table.local is not None else None,
        ports=None if table.ports is None else ports(table.ports),
        remote_ports=None if table.remote_ports is None else ports(table.remote_ports),
        local_ports=None if table.local_ports is None else ports(table.local_ports),
        dscp=None if table.dscp is None else dscp(table.dscp),
    )
    return FlowPolicy(table.name, description, table.interfaces, table.use or "best", table.duplicate)


def protocol(value: int | str) -> tuple[int, int]:
    """Its numbers in IPv4 and IPv6. Raises ValueError."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, str):
        known = PROTOCOLS.get(value.lower())
        if known is None:
            raise ValueError(f"{value!r} is not known: a number, or one of {', '.join(PROTOCOLS)}")
        return known[0]
    if not 0 <= value <= 255:
        raise ValueError(f"{value} is not a protocol number")
    return value, value


def has_ports(value: int | str | None) -> bool:
    """Whether packets of the protocol have ports."""
    if value is None:
        return False
    return any(numbers == protocol(value) and ported for numbers, ported in PROTOCOLS.values())


def ports(value: int | str) -> tuple[int, int]:
    """A port, or a range "5004-5010". Raises ValueError."""
    match = _RANGE.match(str(value))
    if match is None:
        raise ValueError(f'{value!r} is not a port like 5004 or a range like "5004-5010"')
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    if not 0 <= first <= last <= 65535:
        raise ValueError(f"{value} is not within 0 to 65535, or has its end before its start")
    return first, last


def dscp(value: int | str) -> tuple[int, int]:
    """A code point by number or name. Raises ValueError."""
    if isinstance(value, str):
        number = DSCPS.get(value.lower())
        if number is None:
            raise ValueError(f"{value!r} is not known: 0 to 63, or one of {', '.join(sorted(DSCPS))}")
        return number, number
    if not 0 <= value <= 63:
        raise ValueError(f"{value} is not within 0 to 63")
    return value, value
