"""Whose address is this? The configured addresses and prefixes of every mobile node, by longest match."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address

from dsmip.core.types import IPAddress, IPNetwork, MobileNodeEntry


class AddressOwners:
    """Home addresses of mobile nodes, found by an inner address. What is assigned from pools is not here.

    Only errors from within tunnels ask, so the table is made for the first of them.
    """

    def __init__(self, entries: Iterable[MobileNodeEntry]) -> None:
        self._entries = entries
        self._tables: dict[int, dict[int, dict[int, int]]] | None = None

    def owner(self, address: IPAddress) -> IPv6Address | None:
        """The home address of the mobile node that this address, or a prefix of it, is configured for."""
        if self._tables is None:
            self._tables = self._build()
        for length, networks in self._tables[address.version].items():
            found = networks.get(int(address) >> (address.max_prefixlen - length))
            if found is not None:
                return IPv6Address(found)
        return None

    def _build(self) -> dict[int, dict[int, dict[int, int]]]:
        tables: dict[int, dict[int, dict[int, int]]] = {4: {}, 6: {}}
        for entry in self._entries:
            home_address = int(entry.home_address)
            hosts: list[IPAddress] = [entry.home_address]
            if entry.ipv4_home_address is not None:
                hosts.append(entry.ipv4_home_address)
            for host in hosts:
                tables[host.version].setdefault(host.max_prefixlen, {})[int(host)] = home_address
            networks: tuple[IPNetwork, ...] = (*entry.prefixes, *entry.ipv4_prefixes)
            for network in networks:
                bits = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
                tables[network.version].setdefault(network.prefixlen, {})[bits] = home_address
        # The longest match comes first.
        return {version: dict(sorted(table.items(), reverse=True)) for version, table in tables.items()}
