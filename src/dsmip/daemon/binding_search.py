"""Finds bindings by what an operator types: fast enough for a hundred thousand of them.

The daemon does nothing else meanwhile, so no address is turned into text for each binding.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv6Address

from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.types import Binding, IPAddress, TunnelFormat
from dsmip.daemon.config.schema import MobileNodeTable
from dsmip.daemon.frozen_tables import TablesByAddress


def matching(engine: HomeAgent, nodes: TablesByAddress, wanted: str) -> Iterator[Binding]:
    """Bindings with this inner or outer address; else with this in their name, or such a tunnel."""
    if not wanted:
        return iter(engine.bindings.values())
    address = address_in(wanted)
    if address is not None:
        return _at(engine, address)
    return _named(engine, nodes, wanted.lower())


def named(nodes: TablesByAddress, wanted: str) -> MobileNodeTable | None:
    """The mobile node with this very name, identifier or home address."""
    address = address_in(wanted)
    if isinstance(address, IPv6Address):
        return nodes.get(address)
    for record, name, identifier in nodes.labels():
        if wanted in (name, identifier):
            return nodes.tables.table(record)
        if address is not None and address.packed in record:
            node = nodes.tables.table(record)
            if node.ipv4_home_address == address:
                return node
    return None


def address_in(text: str) -> IPAddress | None:
    """The address that this is, if it is one."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _at(engine: HomeAgent, address: IPAddress) -> Iterator[Binding]:
    owner = engine.binding_of(address)
    if owner is not None:
        yield owner
    for binding in engine.bindings.containing(address):
        if (owner is None or binding.index != owner.index) and binding.is_at(address):
            yield binding


def _named(engine: HomeAgent, nodes: TablesByAddress, part: str) -> Iterator[Binding]:
    # Over the configured nodes, whose names are at hand, not over the bindings, whose names have to be found.
    for record, name, _ in nodes.labels():
        if part in name.lower():
            binding = engine.binding_of_node(nodes.tables.table(record).home_address)
            if binding is not None:
                yield binding
    formats = {one for one in TunnelFormat if one.value.startswith(part)}
    for binding in engine.bindings.through(formats):
        own = nodes.get(engine.configured_address(binding.home_address))
        if own is None or part not in own.name.lower():
            yield binding
