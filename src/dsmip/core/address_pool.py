"""Dynamic assignment of IPv4 home addresses and mobile network prefixes (RFC 5555 section 4.5).

A buddy allocator over one or more networks: free blocks are halved until they fit and melt together again
when they are given back. An address is a block of length 32. Memory grows with what is allotted, not with the
pool.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

_ADDRESS_BITS = 32

#: Outdated heap entries that are tolerated before the heap is built anew.
_HEAP_SLACK = 64


class IPv4Pool:
    """Hands out subnets of `networks`: the lowest one out of the smallest free block that is large enough."""

    def __init__(self, networks: Iterable[IPv4Network]) -> None:
        self._networks = tuple(networks)
        # Free blocks by prefix length. The sets are the truth; the heaps give the lowest and may lag behind.
        self._free: list[set[int]] = [set() for _ in range(_ADDRESS_BITS + 1)]
        self._heaps: list[list[int]] = [[] for _ in range(_ADDRESS_BITS + 1)]
        self._allotted: dict[int, int] = {}
        for network in self._networks:
            self._put(int(network.network_address), network.prefixlen)

    @classmethod
    def of_addresses(cls, networks: Iterable[IPv4Network]) -> IPv4Pool:
        """A pool for single addresses: the network and broadcast addresses are set aside."""
        pool = cls(networks)
        for network in pool._networks:
            if network.prefixlen < _ADDRESS_BITS - 1:
                pool.reserve(IPv4Network(network.network_address))
                pool.reserve(IPv4Network(network.broadcast_address))
        return pool

    def allocate(self, length: int) -> IPv4Network | None:
        """A free network of this prefix length; None when there is none."""
        for shorter in range(length, -1, -1):
            address = self._take_lowest(shorter)
            if address is not None:
                self._split(shorter, address, length)
                self._allotted[address] = length
                return IPv4Network((address, length))
        return None

    def reserve(self, network: IPv4Network) -> bool:
        """Take this very network. False when it is not in the pool or some of it is taken."""
        wanted, length = int(network.network_address), network.prefixlen
        for shorter in range(length, -1, -1):
            block = _block(wanted, shorter)
            if block in self._free[shorter]:
                self._free[shorter].discard(block)
                self._split(shorter, wanted, length)
                self._allotted[wanted] = length
                return True
        return False

    def release(self, network: IPv4Network) -> None:
        """Give back a network that was allocated or reserved; anything else is left alone."""
        address, length = int(network.network_address), network.prefixlen
        if self._allotted.get(address) != length:
            return
        del self._allotted[address]
        roots = {(int(root.network_address), root.prefixlen) for root in self._networks}
        while length > 0 and (address, length) not in roots:
            buddy = address ^ (1 << (_ADDRESS_BITS - length))
            if buddy not in self._free[length]:
                break
            self._free[length].discard(buddy)
            length -= 1
            address = _block(address, length)
        self._put(address, length)

    def __contains__(self, address: IPv4Address) -> bool:
        return any(address in network for network in self._networks)

    def _put(self, address: int, length: int) -> None:
        free, heap = self._free[length], self._heaps[length]
        free.add(address)
        if len(heap) > 2 * len(free) + _HEAP_SLACK:
            heap[:] = sorted(free)
        else:
            heapq.heappush(heap, address)

    def _take_lowest(self, length: int) -> int | None:
        heap, free = self._heaps[length], self._free[length]
        while heap:
            address = heapq.heappop(heap)
            if address in free:
                free.discard(address)
                return address
        return None

    def _split(self, length: int, wanted: int, wanted_length: int) -> None:
        """Halve the taken block of `length` around `wanted` until that is left; other halves become free."""
        while length < wanted_length:
            length += 1
            half = _block(wanted, length)
            self._put(half ^ (1 << (_ADDRESS_BITS - length)), length)


def _block(address: int, length: int) -> int:
    """The start of the block of this prefix length that `address` lies in."""
    return address >> (_ADDRESS_BITS - length) << (_ADDRESS_BITS - length)
