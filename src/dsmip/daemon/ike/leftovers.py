"""Security associations that a charon has left in the kernel by dying.

They serve on until there are others, since no packet should be lost with a program that only sets up keys.
Then they go: the next charon does not know them, and nobody else would take them out before they expire.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address
from typing import Protocol

from dsmip.core.types import IPAddress
from dsmip.daemon.ike.connection import Connection, Negotiated
from dsmip.host.routing import HostError
from dsmip.host.xfrm import Association

log = logging.getLogger(__name__)


class Kernel(Protocol):
    """What is needed of `host.xfrm.Xfrm`. Calls raise HostError."""

    def associations(self) -> Iterable[Association]: ...
    def remove_state(self, destination: IPAddress, spi: int) -> None: ...


class Leftovers:
    """What is left, by the name of the connection that it was of."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._left: dict[str, set[Association]] = {}

    def search(self, connections: Iterable[Connection]) -> None:
        """Another charon than before is there, with nothing negotiated yet, or one that was not known so far:
        all there is in the kernel may be left over."""
        found: dict[tuple[IPAddress, IPAddress], set[Association]] = {}
        try:
            for association in self._kernel.associations():
                found.setdefault((association.source, association.destination), set()).add(association)
        except HostError as error:
            log.warning("%s", error)
        self._left = {
            connection.name: left
            for connection in connections
            if (left := {one for ends in _both_ways(connection) for one in found.get(ends, ())})
        }

    def settle(self, connection: Connection, state: Negotiated, known: frozenset[int]) -> None:
        """Take out what has a successor. `known` are the SPIs that charon has of this connection."""
        left = self._left.get(connection.name)
        if not left:
            return
        replaced = {connection.request} if state.established else set()
        if connection.payload is not None and state.payload_spis:
            replaced.add(connection.payload.request)
        for association in [one for one in left if one.request in replaced]:
            left.discard(association)
            if association.spi in known:
                continue
            try:
                self._kernel.remove_state(association.destination, association.spi)
            except HostError as error:
                log.warning("%s", error)


def _both_ways(connection: Connection) -> Iterator[tuple[IPv6Address, IPv6Address]]:
    yield connection.local, connection.remote
    yield connection.remote, connection.local
