"""Provisioning: a mobile node gets addresses, prefixes and a key, and its home agent serves it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Literal

import msgspec

from dsmip.daemon import durable, provisioned
from dsmip.daemon.allotment import Allotment
from dsmip.daemon.config.keys import Key
from dsmip.daemon.config.loading import load
from dsmip.daemon.config.problems import ConfigError, Problem
from dsmip.daemon.config.rules import MIN_KEY_OCTETS
from dsmip.daemon.config.schema import HomeAgentFile, Name, state_directory_of
from dsmip.daemon.control import RUN_ROOT, NotRunningError, RefusedError, ask
from dsmip.daemon.provisioned import ProvisionedNode

#: The question that makes a running home agent look at its provisioned mobile nodes again.
NODES_CHANGED = "nodes-changed"
#: Seconds a home agent gets to take over a change: with a hundred thousand mobile nodes it needs some.
_PATIENCE = 60.0
_LOCK_NAME = "nodes.lock"

Nodes = tuple[ProvisionedNode, ...]


class ProvisionError(RuntimeError):
    """It cannot be done; nothing was changed. The message says why, and the mend."""


class Provisioning:
    """The provisioned mobile nodes of the home agent with this configuration file.

    Raises ConfigError when the file cannot be used. Every change is in the file, and known to the home agent
    if it runs, when the call returns; otherwise ProvisionError, PoolExhausted, ControlError or OSError is
    raised.
    """

    def __init__(self, path: Path, *, run_root: Path = RUN_ROOT) -> None:
        config = load(path)
        if not isinstance(config, HomeAgentFile):
            raise ConfigError(path, [Problem("role", None, f"is {config.role}: a home agent provisions")])
        self.config = config
        #: Whether the home agent was running at the last change, and has taken it over.
        self.served = False
        self._run_root = run_root
        self._file = provisioned.file_of(config)

    def nodes(self) -> Nodes:
        """All of them, in the order in which they were added."""
        return provisioned.read(self._file)

    def get(self, name: str) -> ProvisionedNode:
        """One of them. Raises ProvisionError when there is none of this name."""
        return _find(self.nodes(), name)

    def add(
        self, name: str, *, role: Literal["mobile-node", "mobile-router"] | None, uplinks: tuple[str, ...]
    ) -> ProvisionedNode:
        """A new mobile node; `role` None = a mobile router if there are prefixes to give out.

        It gets of IPv4 what there are pools for.
        """
        try:
            msgspec.convert(name, Name)
        except msgspec.ValidationError:
            raise ProvisionError(
                f"{name!r} is no name: up to 64 letters, digits, dots, dashes and underscores"
            ) from None
        pools, now = self.config.pools, time.time()
        if role is None:
            role = "mobile-router" if pools.mobile_network_prefixes else "mobile-node"
        router = role == "mobile-router"

        def edit(nodes: Nodes) -> Nodes:
            self._check_new(name, nodes)
            free = Allotment(self.config, nodes)
            ipv4 = bool(pools.ipv4_home_addresses)
            made = ProvisionedNode(
                name=name,
                role=role,
                home_address=free.home_address().network_address,
                ipv4_home_address=free.ipv4_home_address().network_address if ipv4 else None,
                mobile_network_prefixes=(free.mobile_network_prefix(),) if router else (),
                ipv4_prefixes=(free.ipv4_prefix(),) if router and pools.ipv4_prefixes else (),
                uplinks=uplinks,
                key=_new_key(),
                created=now,
                key_created=now,
            )
            return (*nodes, made)

        return self._change(edit)[-1]

    def rotate_key(self, name: str, *, end_binding: bool = False) -> ProvisionedNode:
        """A new key; the old one is refused from now on.

        The binding registered with the old key stays until its lifetime ends, so that the new configuration
        can be brought to the vehicle by way of its own tunnel; `end_binding` ends it at once.
        """
        node = self.get(name)
        if end_binding:
            self._change(lambda nodes: _without(nodes, name))
        fresh = msgspec.structs.replace(node, key=_new_key(), key_created=time.time())

        def edit(nodes: Nodes) -> Nodes:
            if end_binding:
                return (*nodes, fresh)
            _find(nodes, name)
            return tuple(fresh if node.name == name else node for node in nodes)

        self._change(edit)
        return fresh

    def remove(self, name: str) -> ProvisionedNode:
        """Serve it no more: its binding ends at once, its addresses and prefixes are free again."""
        node = self.get(name)
        self._change(lambda nodes: _without(nodes, name))
        return node

    def vehicle_file(self, node: ProvisionedNode) -> str:
        """The mobile node's own configuration file, ready for `dsmip run`."""
        return vehicle_file(self.config, node)

    # -------------------------------------------------------------------------------------------------------

    def _check_new(self, name: str, nodes: Nodes) -> None:
        if any(node.name == name for node in nodes):
            raise ProvisionError(
                f"{name} is provisioned already: 'dsmip provision show {name}' prints its configuration"
            )
        if any(name in (node.name, node.identifier) for node in self.config.mobile_node):
            raise ProvisionError(f"{name} is in the configuration file already, as a [[mobile_node]]")

    def _change(self, edit: Callable[[Nodes], Nodes]) -> Nodes:
        """Change the file and have the home agent take it over; both or neither."""
        state = state_directory_of(self.config)
        durable.make_directory(state)
        with durable.locked(state / _LOCK_NAME):
            before = self.nodes()
            after = edit(before)
            provisioned.write(self._file, after)
            try:
                ask(self.config.name, NODES_CHANGED, timeout=_PATIENCE, root=self._run_root)
                self.served = True
            except NotRunningError:
                self.served = False
            except RefusedError as error:
                provisioned.write(self._file, before)
                raise ProvisionError(f"the running home agent refuses: {error}") from error
        return after


def vehicle_file(config: HomeAgentFile, node: ProvisionedNode) -> str:
    """The configuration file of a mobile node of this home agent."""
    home_prefix = next(prefix for prefix in config.home_prefixes if node.home_address in prefix)
    lines = [
        f"# {node.name}, a {node.role.replace('-', ' ')} of home agent {config.name}."
        " Whoever has this key is it: keep it secret.",
        f'role = "{node.role}"',
        f'name = "{node.name}"',
        f'home_agent = "{config.public_name or config.address}"',
    ]
    if config.ipv4_address is not None and config.public_name is None:
        lines.append(f'home_agent_ipv4 = "{config.ipv4_address}"')
    lines += [f'home_address = "{node.home_address}"', f'home_prefix = "{home_prefix}"']
    ipv4 = node.ipv4_home_address
    if ipv4 is not None:
        length = next(prefix.prefixlen for prefix in config.ipv4_home_prefixes if ipv4 in prefix)
        lines.append(f'ipv4_home_address = "{IPv4Interface((ipv4, length))}"')
    for key, prefixes in (
        ("mobile_network_prefixes", node.mobile_network_prefixes),
        ("ipv4_prefixes", node.ipv4_prefixes),
    ):
        if prefixes:
            listed = ", ".join(f'"{prefix}"' for prefix in prefixes)
            lines.append(f"{key} = [{listed}]")
    lines.append(f'key = "{node.key.hex()}"')
    for uplink in node.uplinks:
        lines += ["", "[[interface]]", f'name = "{uplink}"']
    return "\n".join(lines) + "\n"


def _new_key() -> Key:
    return Key(secrets.token_bytes(MIN_KEY_OCTETS))


def _find(nodes: Nodes, name: str) -> ProvisionedNode:
    for node in nodes:
        if node.name == name:
            return node
    raise ProvisionError(f"{name} is not provisioned here: 'dsmip provision list' shows who is")


def _without(nodes: Nodes, name: str) -> Nodes:
    _find(nodes, name)
    return tuple(node for node in nodes if node.name != name)
