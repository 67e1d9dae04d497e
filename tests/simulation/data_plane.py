"""The data plane of one machine as dictionaries, with the decisions of the eBPF program on top.

Written from `dsmip.dataplane.api` and docs/architecture.md, not from the program: a lookup by longest prefix
names the binding, a path tells where to, and an outer source has to be on the list of that binding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dsmip.core.types import FlowRule, IPAddress, IPNetwork, Path, TunnelFormat
from dsmip.dataplane.api import PathState, Role, Traffic
from tests.simulation.frames import Frame, Inner

Prefix = tuple[int, int, int]  #: version, length, leading bits
Source = tuple[IPAddress, int]

_BITS = {4: 32, 6: 128}


def prefix_of(network: IPNetwork) -> Prefix:
    """A network as a key."""
    bits = _BITS[network.version]
    return network.version, network.prefixlen, int(network.network_address) >> (bits - network.prefixlen)


@dataclass(slots=True)
class Entry:
    """What is known under one index. Times are on the machine's monotonic clock."""

    paths: dict[int, Path] = field(default_factory=dict)
    preference: tuple[int, ...] = ()
    flows: tuple[FlowRule, ...] = ()
    duplication: bool = False
    networks: dict[Prefix, IPNetwork] = field(default_factory=dict)
    sources: dict[Source, float | None] = field(default_factory=dict)
    bids: dict[Source, int] = field(default_factory=dict)

    @property
    def path(self) -> Path | None:
        """Where packets go that match no flow: BID 0 before all others."""
        return next((self.paths[bid] for bid in (0, *self.preference) if bid in self.paths), None)

    @property
    def empty(self) -> bool:
        return not (self.paths or self.networks or self.sources or self.preference or self.flows)


class ModelDataPlane:
    """Implements `dsmip.dataplane.api.DataPlane`."""

    #: Whatever is here may have been left by an earlier process.
    adopted = True

    def __init__(self, role: Role) -> None:
        self.entries: dict[int, Entry] = {}
        self.home_link = 0
        self._role = role
        self._owners: dict[Prefix, int] = {}
        self._lengths: dict[int, dict[int, int]] = {4: {}, 6: {}}

    # api.DataPlane -----------------------------------------------------------------------------------------

    def set_path(self, index: int, path: Path, bid: int = 0) -> None:
        self._entry(index).paths[bid] = path

    def remove_path(self, index: int, bid: int = 0) -> None:
        self._entry(index).paths.pop(bid, None)
        self._tidy(index)

    def set_preference(self, index: int, bids: Sequence[int]) -> None:
        self._entry(index).preference = tuple(bids)
        self._tidy(index)

    def set_flows(self, index: int, rules: Sequence[FlowRule]) -> None:
        self._entry(index).flows = tuple(rules)
        self._tidy(index)

    def set_duplication(self, index: int, enabled: bool) -> None:
        self._entry(index).duplication = enabled
        self._tidy(index)

    def paths(self, index: int) -> Mapping[int, PathState]:
        entry = self.entries.get(index)
        return {bid: PathState() for bid in entry.paths} if entry is not None else {}

    def set_networks(self, index: int, networks: Iterable[IPNetwork]) -> None:
        wanted = {prefix_of(network): network for network in networks}
        entry = self._entry(index)
        for prefix in [prefix for prefix in entry.networks if prefix not in wanted]:
            self._release(index, prefix)
        for prefix, network in wanted.items():
            owner = self._owners.get(prefix)
            if owner != index:
                if owner is not None:
                    self._release(owner, prefix)
                self._owners[prefix] = index
                lengths = self._lengths[prefix[0]]
                lengths[prefix[1]] = lengths.get(prefix[1], 0) + 1
            entry.networks[prefix] = network
        self._tidy(index)

    def allow_source(
        self, index: int, address: IPAddress, port: int, until: float | None, bid: int = 0
    ) -> None:
        entry = self._entry(index)
        entry.sources[address, port] = until
        entry.bids[address, port] = bid

    def deny_source(self, index: int, address: IPAddress, port: int) -> None:
        self._entry(index).sources.pop((address, port), None)
        self._tidy(index)

    def retain_sources(self, index: int, sources: Iterable[Source]) -> None:
        kept, present = set(sources), self._entry(index).sources
        for source in [source for source in present if source not in kept]:
            del present[source]
        self._tidy(index)

    def remove_binding(self, index: int) -> None:
        self.set_networks(index, ())
        self.entries.pop(index, None)

    def bindings(self) -> frozenset[int]:
        return frozenset(index for index, entry in self.entries.items() if entry.paths or entry.networks)

    def add_local(self, address: IPAddress, bid: int = 0, interface: int = 0) -> None:
        """Who is addressed is decided by the simulated network."""

    def remove_local(self, address: IPAddress, interface: int = 0) -> None:
        """As `add_local`."""

    def attach(self, interface: str) -> None:
        """Every interface is attached."""

    def detach(self, interface: str) -> None:
        """As `attach`."""

    def set_home_link(self, ifindex: int) -> None:
        self.home_link = ifindex

    def traffic(self, index: int) -> Traffic:
        return Traffic()

    def drops(self) -> Mapping[str, int]:
        return {}

    # The program -------------------------------------------------------------------------------------------

    def binding_of(self, address: IPAddress) -> int | None:
        """The index that the longest matching prefix names."""
        version, bits, number = address.version, _BITS[address.version], int(address)
        for length in sorted(self._lengths[version], reverse=True):
            index = self._owners.get((version, length, number >> (bits - length)))
            if index is not None:
                return index
        return None

    def encapsulate(self, inner: Inner, now: float) -> Frame | Inner | None:
        """The tunnelled packet; the packet itself if it goes to the home link; None if it goes nowhere."""
        home_agent = self._role is Role.HOME_AGENT
        index = self.binding_of(inner.destination if home_agent else inner.source)
        if index is None:
            return inner if home_agent and self.home_link else None
        path = self.entries[index].path
        if path is None or (path.expires is not None and now > path.expires):
            return None
        if path.format is TunnelFormat.LINK:
            return inner
        return Frame(path.local, path.remote, inner, path.local_port, path.remote_port)

    def decapsulate(self, frame: Frame, now: float) -> Inner | None:
        """The packet in the tunnel, None if it may not come from there."""
        inner = frame.payload
        assert isinstance(inner, Inner)
        index = self.binding_of(inner.source if self._role is Role.HOME_AGENT else inner.destination)
        if index is None:
            return None
        source = frame.source, frame.source_port
        sources = self.entries[index].sources
        if source not in sources:
            return None
        until = sources[source]
        return inner if until is None or now <= until else None

    # Details -----------------------------------------------------------------------------------------------

    def _entry(self, index: int) -> Entry:
        return self.entries.setdefault(index, Entry())

    def _release(self, index: int, prefix: Prefix) -> None:
        del self._owners[prefix]
        del self.entries[index].networks[prefix]
        lengths = self._lengths[prefix[0]]
        lengths[prefix[1]] -= 1
        if not lengths[prefix[1]]:
            del lengths[prefix[1]]

    def _tidy(self, index: int) -> None:
        entry = self.entries.get(index)
        if entry is not None and entry.empty:
            del self.entries[index]
