"""The memory of networks visited: what RFC 6059 calls the Simple DNA address table, and its IPv4 sibling.

Times are seconds since 1970, because the memory may outlive the process. It is bounded: the network not seen
for the longest time is forgotten first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import msgspec

from dsmip.movement.actions import DhcpLease

#: Routers and gateways remembered over all interfaces.
MAX_NETWORKS = 64

#: Routers probed at one attachment (RFC 6059 section 5.5.3).
MAX_PROBES = 6


@dataclass(frozen=True, slots=True)
class KnownPrefix:
    """A prefix a router advertised, and the address formed from it (None = none)."""

    prefix: IPv6Network
    on_link: bool
    autonomous: bool
    valid_until: float
    preferred_until: float
    address: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class KnownRouter:
    """Everything needed to use a router again once it has answered (RFC 6059 section 4)."""

    interface: str
    router: IPv6Address
    mac: bytes
    prefixes: tuple[KnownPrefix, ...]
    lifetime_until: float
    seen: float
    mtu: int | None = None

    def live_prefixes(self, now: float) -> tuple[KnownPrefix, ...]:
        """The prefixes whose valid lifetime has not ended."""
        return tuple(prefix for prefix in self.prefixes if prefix.valid_until > now)


@dataclass(frozen=True, slots=True)
class KnownGateway:
    """An IPv4 network: its test node and the lease held there (RFC 4436 section 2).

    `own_mac` is the client identifier under which the lease was given. `home` is true when the lease came on
    the home link.
    """

    interface: str
    own_mac: bytes
    gateway: IPv4Address
    mac: bytes
    lease: DhcpLease
    seen: float
    home: bool = False

    def operable(self, now: float) -> bool:
        """Whether the lease is unexpired and routable (RFC 4436 section 2.1 [a])."""
        expires = self.lease.expires
        return not self.lease.address.is_link_local and (expires is None or expires > now)


class _Memory(msgspec.Struct, omit_defaults=True):
    routers: list[KnownRouter] = []
    gateways: list[KnownGateway] = []


def _to_json(value: object) -> str:
    if isinstance(value, IPv4Address | IPv6Address | IPv6Network):
        return str(value)
    raise NotImplementedError(f"no JSON form for {type(value).__name__}")


def _from_json(kind: type, value: object) -> Any:
    if kind in (IPv4Address, IPv6Address, IPv6Network):
        return kind(value)
    raise NotImplementedError(f"no JSON form for {kind.__name__}")


class KnownNetworks:
    """Routers and gateways met so far, by interface."""

    def __init__(self, limit: int = MAX_NETWORKS) -> None:
        self._limit = limit
        self._routers: dict[tuple[str, IPv6Address, bytes], KnownRouter] = {}
        self._gateways: dict[tuple[str, IPv4Address, bytes], KnownGateway] = {}

    def __len__(self) -> int:
        return len(self._routers) + len(self._gateways)

    def routers(self, interface: str, now: float) -> Iterator[KnownRouter]:
        """At most MAX_PROBES routers worth probing, the one seen last first.

        Only those with a prefix that is still valid and a router lifetime that has not ended, or the home
        link's (RFC 6059 section 5.5.2).
        """
        candidates = [
            known
            for known in self._routers.values()
            if known.interface == interface and known.lifetime_until > now and known.live_prefixes(now)
        ]
        candidates.sort(key=lambda known: known.seen, reverse=True)
        yield from candidates[:MAX_PROBES]

    def gateways(self, interface: str, own_mac: bytes, now: float) -> Iterator[KnownGateway]:
        """At most MAX_PROBES gateways whose lease can be confirmed (RFC 4436 section 2.1), latest first."""
        candidates = [
            known
            for known in self._gateways.values()
            if known.interface == interface and known.own_mac == own_mac and known.operable(now)
        ]
        candidates.sort(key=lambda known: known.seen, reverse=True)
        yield from candidates[:MAX_PROBES]

    def router(self, interface: str, router: IPv6Address, mac: bytes) -> KnownRouter | None:
        """What is remembered of this router."""
        return self._routers.get((interface, router, mac))

    def gateway(self, interface: str, gateway: IPv4Address, mac: bytes) -> KnownGateway | None:
        """What is remembered of this gateway."""
        return self._gateways.get((interface, gateway, mac))

    def gateway_for(self, interface: str, lease: DhcpLease) -> KnownGateway | None:
        """The network in which the same server gave the same address."""
        for known in self._gateways.values():
            if known.interface != interface or known.gateway != lease.gateway:
                continue
            if known.lease.address == lease.address and known.lease.server_mac == lease.server_mac:
                return known
        return None

    def remember_router(self, known: KnownRouter) -> None:
        """Add or replace a router."""
        self._routers[known.interface, known.router, known.mac] = known
        self._shrink()

    def remember_gateway(self, known: KnownGateway) -> None:
        """Add or replace a gateway."""
        self._gateways[known.interface, known.gateway, known.mac] = known
        self._shrink()

    def forget_router(self, interface: str, router: IPv6Address, mac: bytes) -> None:
        """Remove a router, if it is there."""
        self._routers.pop((interface, router, mac), None)

    def forget_lease(self, interface: str, address: IPv4Address) -> None:
        """Remove every network of this interface with a lease for `address`: the server took it back."""
        for key, known in list(self._gateways.items()):
            if known.interface == interface and known.lease.address == address:
                del self._gateways[key]

    def encode(self) -> bytes:
        """The memory as JSON."""
        memory = _Memory(list(self._routers.values()), list(self._gateways.values()))
        return msgspec.json.format(msgspec.json.encode(memory, enc_hook=_to_json))

    def load(self, data: bytes) -> None:
        """Add what `encode` gave. Raises ValueError when it is not that."""
        memory = msgspec.json.decode(data, type=_Memory, dec_hook=_from_json)
        for router in memory.routers:
            self.remember_router(router)
        for gateway in memory.gateways:
            self.remember_gateway(gateway)

    def _shrink(self) -> None:
        while len(self._routers) > self._limit:
            del self._routers[min(self._routers, key=lambda key: self._routers[key].seen)]
        while len(self._gateways) > self._limit:
            del self._gateways[min(self._gateways, key=lambda key: self._gateways[key].seen)]
