"""What a home agent is configured with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from dsmip.core.authentication import TIMESTAMP_TOLERANCE
from dsmip.core.lifetime import LIFETIME_UNIT, MAXIMUM_UNITS
from dsmip.core.types import MobileNodeEntry
from dsmip.wire.extensions import Extensions

#: Care-of addresses and flows of one mobile node, at most: as many as a data plane has room for.
MAX_CARE_OF_ADDRESSES = 8
MAX_FLOWS = 64

#: Default interval of NAT keepalives in seconds: NATKATIMEOUT (RFC 5555 section 6).
NAT_KEEPALIVE = 110


@dataclass(frozen=True, slots=True)
class HomeAgentConfig:
    """The configuration of one home agent.

    `home_prefixes` are the prefixes served; with `home_link` they are on a physical link behind the home
    agent, and `dad` tells whether it probes that link for duplicates before it takes an address over (RFC
    6275 section 10.3.1). `udp` is what happens to the F flag where no NAT is found: "accept" it, "refuse" it,
    or "force" UDP upon everybody (RFC 5555 section 4.5). Times are in seconds. `min_lifetime` refuses
    registrations that ask for less; `refresh_advice` 0 sends no Binding Refresh Advice, which is right as
    long as bindings are stored on disk (RFC 6275 section 10.3.1). `error_rate` is how many answers a second
    go to those who cannot be told from anybody else: errors (RFC 4443 section 2.4 (f)) and replies of home
    agent address discovery, each kind by itself. `preference` is this home agent's place in those replies,
    the higher the better (RFC 6275 section 8.4). `mobile_prefix_interval` are MinMobPfxAdvInterval and
    MaxMobPfxAdvInterval of RFC 6275 section 13. `renumbering` lets a mobile node with a key and an identifier
    register its interface identifier under another of `home_prefixes` (see `nodes`).

    What mobile nodes may have beyond a single care-of address: `multiple_care_of_addresses` and
    `bulk_registration` (RFC 5648), `simultaneous_home`, the home link being one of them, and `flow_bindings`
    (RFC 6089). `extensions` are those this home agent agrees to.
    """

    address: IPv6Address
    ipv4_address: IPv4Address | None = None
    home_prefixes: tuple[IPv6Network, ...] = ()
    ipv4_home_prefixes: tuple[IPv4Network, ...] = ()
    mobile_nodes: Sequence[MobileNodeEntry] = ()
    max_lifetime: float = float(MAXIMUM_UNITS * LIFETIME_UNIT)
    min_lifetime: float = float(LIFETIME_UNIT)
    udp: Literal["accept", "force", "refuse"] = "accept"
    nat_keepalive: int = NAT_KEEPALIVE
    ipv4_pool: IPv4Network | None = None
    ipv4_prefix_pool: IPv4Network | None = None
    home_link: bool = False
    dad: bool = True
    grace: float = 3.0
    timestamp_tolerance: float = TIMESTAMP_TOLERANCE
    max_bindings: int = 100_000
    refresh_advice: float = 0.0
    error_rate: float = 10.0
    preference: int = 0
    mobile_prefix_advertisements: bool = True
    mobile_prefix_interval: tuple[float, float] = (600.0, 86400.0)
    renumbering: bool = False
    multiple_care_of_addresses: bool = True
    bulk_registration: bool = True
    simultaneous_home: bool = True
    flow_bindings: bool = True
    max_care_of_addresses: int = MAX_CARE_OF_ADDRESSES
    max_flows: int = MAX_FLOWS
    extensions: Extensions = Extensions.NONE
