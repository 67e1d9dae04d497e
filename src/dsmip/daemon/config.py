"""The configuration files: what may stand in them, read from TOML and checked whole.

`load` returns a checked `HomeAgentFile` or `MobileNodeFile`, or raises one `ConfigError` that carries every
problem found, each with its key path and line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import msgspec

from dsmip.core.types import DSMIP_PORT
from dsmip.daemon import config_rules, durable, flow_rules, pool_rules
from dsmip.daemon.config_ike import HomeAgentIkeTable, IkeTable, MobileNodeIkeTable
from dsmip.daemon.config_ipsec import IpsecTable
from dsmip.daemon.config_keys import Key
from dsmip.daemon.config_observation import MetricsTable, WebTable
from dsmip.daemon.config_payload import PayloadTable
from dsmip.daemon.config_problems import ConfigError, Problem, Problems, locate
from dsmip.daemon.config_uplinks import (
    FlowTable,
    InterfaceName,
    InterfaceTable,
    MultihomingTable,
    NetworkTable,
)

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
    store: Annotated[str, msgspec.Meta(pattern=r"^(rediss?://[^/]|unix:///)")] | None = None
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


_ROWS: dict[str, type[msgspec.Struct]] = {
    "mobile_node": MobileNodeTable,
    "interface": InterfaceTable,
    "network": NetworkTable,
    "flow": FlowTable,
    "other_home_agent": HomeAgentTable,
}

_ROLES: dict[str, type[ConfigFile]] = {
    "home-agent": HomeAgentFile,
    "mobile-node": MobileNodeFile,
    "mobile-router": MobileNodeFile,
}


def load(path: Path) -> ConfigFile:
    """Read and check a configuration file. One that anybody could have written is refused.

    Raises ConfigError with every problem found.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if durable.anybody_writes(path):
            raise ConfigError(path, [Problem("", None, f"can be written by everybody: chmod o-w {path}")])
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, [Problem("", None, f"cannot be read: {error}")]) from error
    return parse(text, path)


def exposed_keys(config: ConfigFile, path: Path) -> str | None:
    """What to say if there are keys in the file for everybody to read, None if there are not."""
    tables = config.mobile_node if isinstance(config, HomeAgentFile) else (config,)
    if all(_is_keyless(table) for table in tables) or not durable.anybody_reads(path):
        return None
    return f"{path} has keys in it and can be read by everybody: chmod o-r {path}"


def _is_keyless(table: MobileNodeTable | MobileNodeFile) -> bool:
    shared = table.ike.psk if table.ike is not None else None
    return all(one is None for one in (table.key, table.ipsec, table.payload, shared))


def parse(text: str, path: Path) -> ConfigFile:
    """Check the text of a configuration file; `path` is only named in errors.

    Raises ConfigError with every problem found.
    """
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: a number of thousands of digits and a thousand nested arrays end here too.
        raise ConfigError(path, [Problem("", None, f"is not TOML: {error}")]) from error
    problems = Problems(lambda: locate(text))
    role = tree.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        choices = ", ".join(_ROLES)
        problems.add("role", f"must be one of {choices}" + ("" if role is None else f", not {role!r}"))
        raise ConfigError(path, problems.found)
    schema = _ROLES[role]
    try:
        config = msgspec.convert(tree, schema, dec_hook=decode, strict=True)
    except msgspec.ValidationError as error:
        # That names the first mistake alone; now all of them are wanted.
        _check_table(schema, tree, "", problems)
        if not problems.found:
            problems.add("", str(error))
        raise ConfigError(path, problems.found) from None
    if isinstance(config, HomeAgentFile):
        config_rules.check_home_agent(config, problems)
        pool_rules.check_pools(config, problems)
    else:
        config_rules.check_mobile_node(config, problems)
        flow_rules.check_uplinks(config, problems)
    if problems.found:
        raise ConfigError(path, problems.found)
    return config


def decode(kind: type, value: object) -> object:
    """Build the types msgspec does not know; ValueError becomes a msgspec.ValidationError."""
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {type(value).__name__}")
    if kind is Key:
        try:
            return Key(bytes.fromhex(value))
        except ValueError:
            raise ValueError("expected hexadecimal digits") from None
    if kind is IPv6Address and "%" in value:
        raise ValueError("an address with a zone is not allowed here")
    return kind(value)


def _check_table(schema: type[msgspec.Struct], table: dict[str, Any], where: str, problems: Problems) -> None:
    """Check each key by itself, so that one mistake does not hide the next."""
    fields = {field.name: field for field in msgspec.structs.fields(schema)}
    for key in table:
        if key not in fields:
            near = config_rules.nearest(key, fields)
            problems.add(f"{where}{key}", "is not known" + (f"; did you mean {near!r}?" if near else ""))
    for name, field in fields.items():
        if name not in table:
            if field.required:
                problems.add(f"{where}{name}", "is missing")
            continue
        value = table[name]
        inner = _table_of(field.type)
        if inner is not None and isinstance(value, dict):
            _check_table(inner, value, f"{where}{name}.", problems)
            continue
        rows = _ROWS.get(name)
        if rows is not None and isinstance(value, list):
            for number, row in enumerate(value):
                if isinstance(row, dict):
                    _check_table(rows, row, f"{where}{name}[{number}].", problems)
                else:
                    problems.add(f"{where}{name}[{number}]", "must be a table")
            if not value and field.required:
                problems.add(f"{where}{name}", "needs at least one entry")
            continue
        if isinstance(value, list):
            _check_array(schema, name, value, f"{where}{name}", problems)
            continue
        _check_value(schema, name, value, f"{where}{name}", problems)


def _table_of(kind: object) -> type[msgspec.Struct] | None:
    """The schema of a key that stands for one table."""
    kinds = (kind,) if get_origin(kind) not in (Union, UnionType) else get_args(kind)
    tables = (one for one in kinds if isinstance(one, type) and issubclass(one, msgspec.Struct))
    return next(tables, None)


def _check_array(
    schema: type[msgspec.Struct], name: str, value: list[Any], where: str, problems: Problems
) -> None:
    """Check the elements one by one, then the array as a whole."""
    before = len(problems.found)
    for number, element in enumerate(value):
        _check_value(schema, name, [element], f"{where}[{number}]", problems)
    if len(problems.found) == before:
        _check_value(schema, name, value, where, problems)


def _check_value(
    schema: type[msgspec.Struct], name: str, value: object, where: str, problems: Problems
) -> None:
    kind = next(field.type for field in msgspec.structs.fields(schema) if field.name == name)
    try:
        msgspec.convert(value, kind, dec_hook=decode, strict=True)
    except msgspec.ValidationError as error:
        problems.add(where, str(error).split(" - at `")[0])
