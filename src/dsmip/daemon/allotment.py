"""Free addresses and prefixes of pools: the lowest one that nobody has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TypeVar

from dsmip.core.types import IPAddress, IPNetwork
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeTable
from dsmip.daemon.provisioned import ProvisionedNode

_Network = TypeVar("_Network", IPv4Network, IPv6Network)

#: The highest 128 interface identifiers of a prefix are anycast addresses (RFC 2526 section 2).
_ANYCAST_BITS = 7


#: First and last address of what somebody has, as numbers: there are many, and an object for each takes time.
Span = tuple[int, int]


class PoolExhausted(RuntimeError):
    """Nothing is left of a pool. The message says of which, and the mend."""


def lowest_free(pools: Iterable[_Network], length: int, taken: Iterable[Span]) -> _Network | None:
    """The first network of this prefix length, in the order of `pools`, that overlaps none of `taken`."""
    spans = sorted(taken)
    for pool in pools:
        step = 1 << (pool.max_prefixlen - length)
        candidate, last = int(pool.network_address), int(pool.broadcast_address)
        for first, end in spans:
            if end < candidate:
                continue
            if first >= candidate + step:
                break
            candidate = (end // step + 1) * step
        if candidate + step - 1 <= last:
            return type(pool)((candidate, length))
    return None


class Allotment:
    """What a home agent has handed out so far, and what it can hand out next."""

    def __init__(self, config: HomeAgentFile, nodes: Sequence[ProvisionedNode]) -> None:
        self._pools = config.pools
        self._home_prefixes = [span(prefix) for prefix in config.home_prefixes]
        self._taken6: list[Span] = [_host(config.address)]
        self._taken4: list[Span] = [_host(config.ipv4_address)] if config.ipv4_address else []
        for prefix in config.home_prefixes:
            self._taken6 += _reserved6(prefix)
        for ipv4 in config.ipv4_home_prefixes:
            self._taken4 += _reserved4(ipv4)
        served: list[MobileNodeTable | ProvisionedNode] = [*config.mobile_node, *nodes]
        for node in served:
            self._taken6.append(_host(node.home_address))
            self._taken6 += map(span, node.mobile_network_prefixes)
            self._taken4 += map(span, node.ipv4_prefixes)
            if node.ipv4_home_address is not None:
                self._taken4.append(_host(node.ipv4_home_address))

    def home_address(self) -> IPv6Network:
        """An address for a mobile node, a network of length 128. This and the others raise PoolExhausted."""
        pools = self._pools.home_addresses
        return _found(lowest_free(pools, 128, self._taken6), "home_addresses", "address", pools)

    def mobile_network_prefix(self) -> IPv6Network:
        """A prefix for a mobile router."""
        pools, length = self._pools.mobile_network_prefixes, self._pools.mobile_network_prefix_length
        free = lowest_free(pools, length, [*self._home_prefixes, *self._taken6])
        return _found(free, "mobile_network_prefixes", f"/{length}", pools)

    def ipv4_home_address(self) -> IPv4Network:
        """An IPv4 address for a mobile node, as a network of length 32."""
        pools = self._pools.ipv4_home_addresses
        return _found(lowest_free(pools, 32, self._taken4), "ipv4_home_addresses", "address", pools)

    def ipv4_prefix(self) -> IPv4Network:
        """An IPv4 prefix for a mobile router."""
        pools, length = self._pools.ipv4_prefixes, self._pools.ipv4_prefix_length
        return _found(lowest_free(pools, length, self._taken4), "ipv4_prefixes", f"/{length}", pools)


def _found(found: _Network | None, key: str, what: str, pools: Sequence[_Network]) -> _Network:
    if found is not None:
        return found
    if not pools:
        raise PoolExhausted(f"pools.{key} is missing in the configuration: nothing can be allotted from it")
    raise PoolExhausted(
        f"no free {what} is left in pools.{key} ({', '.join(map(str, pools))}):"
        " add another one to it, or remove a mobile node that is gone"
    )


def span(network: IPNetwork) -> Span:
    """First and last address of a network."""
    return int(network.network_address), int(network.broadcast_address)


def _host(address: IPAddress) -> Span:
    return int(address), int(address)


def _reserved6(prefix: IPv6Network) -> list[Span]:
    """The subnet-router anycast address (RFC 4291 section 2.6.1) and those of RFC 2526, of a home prefix.

    RFC 2526 clears the universal/local bit where interface identifiers have 64 bits.
    """
    if prefix.prefixlen > 128 - _ANYCAST_BITS:
        return []
    highest = int(prefix.broadcast_address)
    if prefix.prefixlen == 64:
        highest ^= 1 << 57
    return [_host(prefix.network_address), (highest >> _ANYCAST_BITS << _ANYCAST_BITS, highest)]


def _reserved4(prefix: IPv4Network) -> list[Span]:
    if prefix.prefixlen >= 31:
        return []
    return [_host(prefix.network_address), _host(prefix.broadcast_address)]
