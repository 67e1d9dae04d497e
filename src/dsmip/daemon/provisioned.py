"""The provisioned mobile nodes of a home agent: a file beside its other state, and their place in its
configuration.

One JSON object a line and node, so that a person can read it. The file is written by `dsmip provision`
whether or not the home agent runs.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from dsmip.core.frozen_entries import Fields, authentication_number, record
from dsmip.daemon import durable
from dsmip.daemon.config import rules as config_rules
from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.loading import decode, load
from dsmip.daemon.config.problems import ConfigError, Problem, Problems
from dsmip.daemon.config.schema import (
    MIN_SPI,
    ConfigFile,
    HomeAgentFile,
    MobileNodeTable,
    Name,
    state_directory_of,
)
from dsmip.daemon.config.uplinks import InterfaceName
from dsmip.daemon.frozen_tables import FrozenTables

FILE_NAME = "nodes.json"


class ProvisionedNode(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """One mobile node as it was provisioned. Times are seconds since 1970."""

    name: Name
    role: Literal["mobile-node", "mobile-router"]
    home_address: IPv6Address
    ipv4_home_address: IPv4Address | None = None
    mobile_network_prefixes: tuple[IPv6Network, ...] = ()
    ipv4_prefixes: tuple[IPv4Network, ...] = ()
    uplinks: tuple[InterfaceName, ...]
    key: Key
    created: float
    key_created: float

    @property
    def table(self) -> MobileNodeTable:
        """The same as if it stood in the home agent's file."""
        return MobileNodeTable(
            name=self.name,
            home_address=self.home_address,
            ipv4_home_address=self.ipv4_home_address,
            mobile_network_prefixes=self.mobile_network_prefixes,
            ipv4_prefixes=self.ipv4_prefixes,
            key=self.key,
        )


def file_of(config: HomeAgentFile) -> Path:
    """Where the provisioned mobile nodes of this home agent are kept."""
    return state_directory_of(config) / FILE_NAME


def read(path: Path) -> tuple[ProvisionedNode, ...]:
    """All of them, in the order in which they were added; none when there is no file.

    Raises ConfigError when it cannot be read, is damaged, or others could have written it.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error
    if durable.others_write(path):
        raise _unusable(path, f"can be written by others, who could add keys: chmod 600 {path}")
    try:
        return msgspec.json.decode(data, type=tuple[ProvisionedNode, ...], dec_hook=decode)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unusable(path, f"is damaged ({error}): put a copy in its place") from error


class _Line(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, gc=False):
    """As `ProvisionedNode`, with addresses and key as they are written."""

    name: Name
    role: Literal["mobile-node", "mobile-router"]
    home_address: str
    ipv4_home_address: str | None = None
    mobile_network_prefixes: tuple[str, ...] = ()
    ipv4_prefixes: tuple[str, ...] = ()
    uplinks: tuple[InterfaceName, ...]
    key: str
    created: float
    key_created: float

    @property
    def record(self) -> bytes:
        """The same as of the table. Raises OSError or ValueError for what is no address, prefix or key."""
        ipv4 = self.ipv4_home_address
        fields = Fields(
            name=self.name,
            identifier=None,
            authentication=authentication_number("mn-ha"),
            spi=MIN_SPI,
            key=bytes.fromhex(self.key),
            prefixes=tuple(_network(socket.AF_INET6, text) for text in self.mobile_network_prefixes),
            ipv4_home_address=None if ipv4 is None else socket.inet_pton(socket.AF_INET, ipv4),
            ipv4_prefixes=tuple(_network(socket.AF_INET, text) for text in self.ipv4_prefixes),
        )
        return record(socket.inet_pton(socket.AF_INET6, self.home_address), fields)


def _network(family: int, text: str) -> tuple[bytes, int]:
    address, _, length = text.partition("/")
    packed, bits = socket.inet_pton(family, address), int(length)
    if not 0 <= bits <= 8 * len(packed) or int.from_bytes(packed) % (1 << (8 * len(packed) - bits)):
        raise ValueError(text)
    return packed, bits


def _lines(file: BinaryIO) -> Iterator[_Line]:
    """What `write` has written, line by line: all of it at once takes several times the room of what is made
    of it. Raises ValueError when the lines are other ones."""
    decoder = msgspec.json.Decoder(_Line)
    if file.readline() != b"[\n":
        raise ValueError("no beginning")
    more = True
    while more:
        line = file.readline().rstrip()
        more = line.endswith(b",")
        yield decoder.decode(line.removesuffix(b","))
    if file.read() != b"]\n":
        raise ValueError("no end")


def read_records(path: Path) -> Sequence[bytes]:
    """The records of all of them (`core.frozen_entries`), in a fraction of the time of `read`, which
    tells what is wrong if something is. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            records = [line.record for line in _lines(file)]
    except (OSError, ValueError):
        records = []
    if records and not durable.others_write(path):
        return records
    # There is none, or something is wrong with it.
    return FrozenTables.of([node.table for node in read(path)]).records


def write(path: Path, nodes: tuple[ProvisionedNode, ...]) -> None:
    """Put these in place of those in the file, durably. Raises OSError."""
    lines = [msgspec.json.encode(node, enc_hook=_encode) for node in nodes]
    durable.write(path, b"[\n" + b",\n".join(lines) + b"\n]\n")


def complete(config: HomeAgentFile, path: Path) -> HomeAgentFile:
    """The configuration with the provisioned mobile nodes in it, checked together.

    `path` is that of the configuration. Raises ConfigError.
    """
    provisioned = read_records(file_of(config))
    tables = FrozenTables.of(config.mobile_node)
    records = (*tables.records, *provisioned)
    whole = msgspec.structs.replace(config, mobile_node=FrozenTables(records, tables.esp))
    if provisioned:
        problems = Problems(dict)
        config_rules.check_served_nodes(whole, problems, provisioned=len(provisioned), records=records)
        if problems.found:
            raise ConfigError(path, problems.found)
    return whole


def load_complete(path: Path) -> ConfigFile:
    """Read and check a configuration file and what was provisioned beside it. Raises ConfigError."""
    config = load(path)
    return complete(config, path) if isinstance(config, HomeAgentFile) else config


def _encode(value: object) -> str:
    return value.hex() if isinstance(value, Key) else str(value)


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(path, [Problem("", None, why)])
