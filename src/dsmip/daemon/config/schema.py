"""The schema of the configuration files: which keys there are, of what kind, and what one left out means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec

from dsmip.core.types import DSMIP_PORT
from dsmip.daemon.config.ike import HomeAgentIkeTable, IkeTable, MobileNodeIkeTable
from dsmip.daemon.config.ipsec import IpsecTable
from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.observation import MetricsTable, WebTable
from dsmip.daemon.config.payload import PayloadTable
from dsmip.daemon.config.uplinks import FlowTable, InterfaceName, InterfaceTable, MultihomingTable

#: SPIs below are reserved (RFC 4285 section 5).
MIN_SPI = 256

Authentication = Literal["mn-ha", "ipsec", "none"]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Spi = Annotated[int, msgspec.Meta(ge=MIN_SPI, le=0xFFFFFFFF)]
Lifetime = Annotated[int, msgspec.Meta(ge=4, le=262140)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Mtu = Annotated[int, msgspec.Meta(ge=1280, le=65535)]


class IPv4Home:
    """The IPv4 home address: "198.51.100.10/24" with the home link's prefix length, or "dynamic".

    A plain class, since msgspec would take a dataclass for a table. Raises ValueError.
    """

    def __init__(self, text: str) -> None:
        #: None = whatever the home agent assigns.
        self.interface = None if text == "dynamic" else IPv4Interface(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IPv4Home) and self.interface == other.interface

    def __hash__(self) -> int:
        return hash(self.interface)

    def __repr__(self) -> str:
        return f"IPv4Home({str(self.interface or 'dynamic')!r})"


#: With a dot in it, and a last label that tells it from an IPv4 address.
_DNS_NAME = re.compile(
    r"(?=.{3,253}$)([A-Za-z0-9_]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,62}\.?"
)


class DnsName(str):
    """A name to be looked up. Raises ValueError."""

    def __new__(cls, text: str) -> Self:
        if not _DNS_NAME.fullmatch(text):
            raise ValueError(f"{text!r} is not a DNS name: labels of letters, digits and dashes, with a dot")
        return super().__new__(cls, text)


class HomeAgentPlace:
    """A mobile node's home agent: its IPv6 address, a DNS name, or "discover". Raises ValueError."""

    def __init__(self, text: str) -> None:
        if "%" in text:
            raise ValueError("an address with a zone is not allowed here")
        #: To be looked up; None = it is not known by name.
        self.name = text if _DNS_NAME.fullmatch(text) else None
        #: None = to be looked up or discovered.
        self.address = None if self.name or text == "discover" else _home_agent_address(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HomeAgentPlace) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"HomeAgentPlace({str(self.address or self.name or 'discover')!r})"


def _home_agent_address(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except ValueError:
        raise ValueError(f'{text!r} is neither an IPv6 address nor a DNS name nor "discover"') from None


class MobileNodeTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, gc=False):
    """`[[mobile_node]]` of a home agent: one mobile node or mobile router it serves."""

    name: Name
    home_address: IPv6Address
    identifier: str = ""
    ipv4_home_address: IPv4Address | None = None
    mobile_network_prefixes: tuple[IPv6Network, ...] = ()
    ipv4_prefixes: tuple[IPv4Network, ...] = ()
    allow_dynamic_ipv4: bool = True
    authentication: Authentication = "mn-ha"
    spi: Spi = MIN_SPI
    key: Key | None = None
    ipsec: IpsecTable | None = None
    payload: PayloadTable | None = None
    ike: MobileNodeIkeTable | None = None


class PoolsTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`[pools]` of a home agent: where `dsmip provision add` takes addresses and prefixes from."""

    #: Parts of the home prefixes.
    home_addresses: tuple[IPv6Network, ...] = ()
    mobile_network_prefixes: tuple[IPv6Network, ...] = ()
    mobile_network_prefix_length: Annotated[int, msgspec.Meta(ge=1, le=127)] = 64
    #: Parts of the IPv4 home prefixes.
    ipv4_home_addresses: tuple[IPv4Network, ...] = ()
    ipv4_prefixes: tuple[IPv4Network, ...] = ()
    ipv4_prefix_length: Annotated[int, msgspec.Meta(ge=1, le=31)] = 28


class HomeAgentFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A home agent's configuration file."""

    role: Literal["home-agent"]
    name: Name = "home-agent"
    address: IPv6Address
    ipv4_address: IPv4Address | None = None
    #: What `dsmip provision` tells vehicles instead of the addresses.
    public_name: DnsName | None = None
    uplinks: Annotated[tuple[InterfaceName, ...], msgspec.Meta(min_length=1)]
    home_link: InterfaceName | None = None
    home_prefixes: Annotated[tuple[IPv6Network, ...], msgspec.Meta(min_length=1)]
    ipv4_home_prefixes: tuple[IPv4Network, ...] = ()
    #: Aggregates out of which mobile network prefixes come: one route each instead of one a prefix.
    mobile_prefixes: tuple[IPv6Network, ...] = ()
    ipv4_mobile_prefixes: tuple[IPv4Network, ...] = ()
    ipv4_pool: IPv4Network | None = None
    ipv4_prefix_pool: IPv4Network | None = None
    pools: PoolsTable = PoolsTable()
    duplicate_address_detection: bool = True
    max_lifetime: Lifetime = 3600
    max_bindings: Annotated[int, msgspec.Meta(ge=1, le=4_000_000)] = 131072
    udp_encapsulation: Literal["accept", "force", "refuse"] = "accept"
    nat_keepalive: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 110
    #: Several care-of addresses of a mobile node (RFC 5648), registered together, one of them the home link.
    multiple_care_of_addresses: bool = True
    bulk_registration: bool = True
    simultaneous_home: bool = True
    #: Flows directed to one of them (RFC 6089).
    flow_bindings: bool = True
    #: This home agent's place in discovery replies, the higher the better; radvd's HomeAgentPreference.
    home_agent_preference: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    mobile_prefix_advertisements: bool = True
    #: Seconds: mobile nodes are told of changed prefixes after the first at the earliest, and anyway after
    #: the second (RFC 6275 section 13).
    min_mobile_prefix_interval: Seconds = 600.0
    max_mobile_prefix_interval: Seconds = 86400.0
    #: Mobile nodes may register their interface identifier under another home prefix (RFC 6275 10.6).
    renumbering: bool = False
    #: Answers a second to packets of unknown origin (RFC 4443 section 2.4).
    error_rate: Seconds = 10.0
    grace: Seconds = 3.0
    timestamp_tolerance: Seconds = 7.0
    mtu: Mtu = 1460
    allow_unauthenticated: bool = False
    state_directory: Path | None = None
    #: Where bindings are kept: a Redis server's URL, or nothing for a file in the state directory.
    store: Annotated[str, msgspec.Meta(pattern=r"^(redis(s|\+sentinel)?://[^/]|unix:///)")] | None = None
    ike: HomeAgentIkeTable | None = None
    #: Octets once they are in use: see `frozen_tables`.
    mobile_node: Sequence[MobileNodeTable] = ()
    metrics: MetricsTable | None = None
    web: WebTable | None = None


class HomeAgentTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`[[other_home_agent]]` of a mobile node: tried when the ones before it do not serve."""

    address: IPv6Address
    ipv4_address: IPv4Address | None = None


class MobileNodeFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A mobile node's or mobile router's configuration file."""

    role: Literal["mobile-node", "mobile-router"]
    name: Name = "mobile-node"
    identifier: str = ""
    home_agent: HomeAgentPlace
    home_agent_ipv4: IPv4Address | None = None
    other_home_agent: tuple[HomeAgentTable, ...] = ()
    #: Look for home agents on the home link when those named do not serve (RFC 6275 section 11.4.1).
    home_agent_discovery: bool = True
    home_address: IPv6Address
    home_prefix: IPv6Network
    ipv4_home_address: IPv4Home | None = None
    mobile_network_prefixes: tuple[IPv6Network, ...] = ()
    nemo_mode: Literal["explicit", "implicit"] = "explicit"
    ipv4_prefixes: tuple[IPv4Network, ...] = ()
    #: Length of an IPv4 prefix to ask the home agent for; 0 = none.
    ipv4_prefix_request: Annotated[int, msgspec.Meta(ge=0, le=30)] = 0
    authentication: Authentication = "mn-ha"
    spi: Spi = MIN_SPI
    key: Key | None = None
    ipsec: IpsecTable | None = None
    payload: PayloadTable | None = None
    ike: IkeTable | None = None
    allow_unauthenticated: bool = False
    lifetime: Lifetime = 600
    udp: Literal["auto", "always"] = "auto"
    udp_port: Port = DSMIP_PORT
    grace: Seconds = 3.0
    mtu: Mtu = 1460
    state_directory: Path | None = None
    interface: Annotated[tuple[InterfaceTable, ...], msgspec.Meta(min_length=1)]
    flow: tuple[FlowTable, ...] = ()
    multihoming: MultihomingTable = MultihomingTable()
    metrics: MetricsTable | None = None


ConfigFile = HomeAgentFile | MobileNodeFile

#: Where every instance keeps what must survive, in a directory of its name.
STATE_ROOT = Path("/var/lib/dsmip")


def state_directory_of(config: ConfigFile) -> Path:
    """Where a daemon with this configuration keeps what must survive."""
    return config.state_directory or STATE_ROOT / config.name
