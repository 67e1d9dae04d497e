"""A data plane in memory: the same calls, the same idempotence, and everything can be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dsmip.core.types import IPAddress, IPNetwork, Path
from dsmip.dataplane.api import Traffic
from dsmip.dataplane.maps import drop_reasons


@dataclass(slots=True)
class FakeDataPlane:
    """Implements `api.DataPlane`. `sources` maps (index, address, port) to the end of permission or None."""

    adopted: bool = False
    paths: dict[int, Path] = field(default_factory=dict)
    networks: dict[IPNetwork, int] = field(default_factory=dict)
    sources: dict[tuple[int, IPAddress, int], float | None] = field(default_factory=dict)
    counters: dict[int, Traffic] = field(default_factory=dict)
    local: set[IPAddress] = field(default_factory=set)
    interfaces: set[str] = field(default_factory=set)
    home_link: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(drop_reasons, 0))
    closed: bool = False

    def set_path(self, index: int, path: Path) -> None:
        """See `api.DataPlane`."""
        self.paths[index] = path

    def remove_path(self, index: int) -> None:
        """See `api.DataPlane`."""
        self.paths.pop(index, None)

    def set_networks(self, index: int, networks: Iterable[IPNetwork]) -> None:
        """See `api.DataPlane`."""
        wanted = set(networks)
        for network in [n for n, owner in self.networks.items() if owner == index and n not in wanted]:
            del self.networks[network]
        self.networks.update(dict.fromkeys(wanted, index))

    def allow_source(self, index: int, address: IPAddress, port: int, until: float | None) -> None:
        """See `api.DataPlane`."""
        self.sources[index, address, port] = until

    def deny_source(self, index: int, address: IPAddress, port: int) -> None:
        """See `api.DataPlane`."""
        self.sources.pop((index, address, port), None)

    def retain_sources(self, index: int, sources: Iterable[tuple[IPAddress, int]]) -> None:
        """See `api.DataPlane`."""
        kept = {(index, address, port) for address, port in sources}
        for key in [key for key in self.sources if key[0] == index and key not in kept]:
            del self.sources[key]

    def remove_binding(self, index: int) -> None:
        """See `api.DataPlane`."""
        self.set_networks(index, ())
        self.remove_path(index)
        for key in [key for key in self.sources if key[0] == index]:
            del self.sources[key]
        self.counters.pop(index, None)

    def bindings(self) -> frozenset[int]:
        """Indexes with a path or networks."""
        return frozenset(self.paths) | frozenset(self.networks.values())

    def add_local(self, address: IPAddress) -> None:
        """See `api.DataPlane`."""
        self.local.add(address)

    def remove_local(self, address: IPAddress) -> None:
        """See `api.DataPlane`."""
        self.local.discard(address)

    def local_addresses(self) -> frozenset[IPAddress]:
        """Own outer addresses."""
        return frozenset(self.local)

    def attach(self, interface: str) -> None:
        """See `api.DataPlane`."""
        self.interfaces.add(interface)

    def detach(self, interface: str) -> None:
        """See `api.DataPlane`."""
        self.interfaces.discard(interface)

    def attached(self) -> Iterator[str]:
        """Names of the attached interfaces."""
        return iter(self.interfaces)

    def set_home_link(self, ifindex: int) -> None:
        """See `api.DataPlane`."""
        self.home_link = ifindex

    def traffic(self, index: int) -> Traffic:
        """See `api.DataPlane`."""
        return self.counters.get(index, Traffic())

    def drops(self) -> Mapping[str, int]:
        """See `api.DataPlane`."""
        return dict(self.dropped)

    def close(self, keep: bool) -> None:
        """Forget everything unless `keep`."""
        self.closed = True
        if not keep:
            for state in (
                self.paths,
                self.networks,
                self.sources,
                self.counters,
                self.local,
                self.interfaces,
            ):
                state.clear()
