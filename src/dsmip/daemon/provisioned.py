"""The provisioned mobile nodes of a home agent: a file beside its other state, and their place in its
configuration.

One JSON object a line and node, so that a person can read it. The file is written by `dsmip provision`
whether or not the home agent runs.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Literal

import msgspec

from dsmip.daemon import config_rules, durable
from dsmip.daemon.config import (
    ConfigFile,
    HomeAgentFile,
    MobileNodeTable,
    Name,
    decode,
    load,
    state_directory_of,
)
from dsmip.daemon.config_keys import Key
from dsmip.daemon.config_problems import ConfigError, Problem, Problems
from dsmip.daemon.config_uplinks import InterfaceName

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


def write(path: Path, nodes: tuple[ProvisionedNode, ...]) -> None:
    """Put these in place of those in the file, durably. Raises OSError."""
    lines = [msgspec.json.encode(node, enc_hook=_encode) for node in nodes]
    durable.write(path, b"[\n" + b",\n".join(lines) + b"\n]\n")


def complete(config: HomeAgentFile, path: Path) -> HomeAgentFile:
    """The configuration with the provisioned mobile nodes in it, checked together.

    `path` is that of the configuration. Raises ConfigError.
    """
    nodes = read(file_of(config))
    if not nodes:
        return config
    whole = msgspec.structs.replace(
        config, mobile_node=(*config.mobile_node, *(node.table for node in nodes))
    )
    problems = Problems(dict)
    config_rules.check_served_nodes(whole, problems, provisioned=len(nodes))
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
