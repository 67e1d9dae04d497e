"""The data plane of one machine as dictionaries, with the decisions of the eBPF program on top.

Written from `dsmip.dataplane.api` and docs/architecture.md, not from the program: a lookup by longest prefix
names the binding, a path tells where to, and an outer source has to be on the list of that binding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from msgspec import structs

from dsmip.core.types import FlowRule, IPAddress, IPNetwork, Path, TunnelFormat
from dsmip.dataplane.api import DataPlaneError, NoRoom, NotInstalled, PathState, Role, Traffic
from dsmip.wire.trafficselectors import IPv4TrafficSelector
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
    silent_after: dict[int, float] = field(default_factory=dict)
    networks: dict[Prefix, IPNetwork] = field(default_factory=dict)
    sources: dict[Source, float | None] = field(default_factory=dict)
    bids: dict[Source, int] = field(default_factory=dict)

    @property
    def path(self) -> Path | None:
        """Where packets go that match no flow: BID 0 before all others."""
        return next((self.paths[bid] for bid in (0, *self.preference) if bid in self.paths), None)

    def ways(self, inner: Inner, now: float) -> list[Path]:
        """The paths that a packet takes: several if it is copied."""
        alive = [
            bid
            for bid, path in self.paths.items()
            if (path.expires is None or now <= path.expires)
            and not (bid in self.silent_after and now > self.silent_after[bid])
        ]
        if 0 in self.paths:
            bids = [0]
        else:
            rule = next((r for r in self.flows if _matches(r, inner) and set(r.bids) & set(alive)), None)
            if rule is not None:
                # What is merely silent gets a copy of what goes over several.
                bids = [bid for bid in rule.bids if bid in alive]
                bids += [bid for bid in rule.bids if bid in self.paths and bid not in alive]
            else:
                usual = [bid for bid in self.preference if bid in alive]
                bids = (usual or [bid for bid in self.preference if bid in self.paths])[:1]
        found = [self.paths[bid] for bid in bids if bid in self.paths]
        return [path for path in found if path.expires is None or now <= path.expires]

    def copy(self) -> Entry:
        """As it is now."""
        return replace(
            self,
            paths=dict(self.paths),
            silent_after=dict(self.silent_after),
            networks=dict(self.networks),
            sources=dict(self.sources),
            bids=dict(self.bids),
        )

    @property
    def empty(self) -> bool:
        return not (self.paths or self.networks or self.sources or self.preference or self.flows)


class ModelDataPlane:
    """Implements `dsmip.dataplane.api.DataPlane`."""

    #: Whatever is here may have been left by an earlier process.
    adopted = True

    def __init__(self, role: Role) -> None:
        self.entries: dict[int, Entry] = {}
        #: Outer sources that there is room for, None = for all that there are.
        self.room: int | None = None
        self._refused: dict[int, DataPlaneError] = {}
        self.home_link = 0
        self._role = role
        self._owners: dict[Prefix, int] = {}
        self._lengths: dict[int, dict[int, int]] = {4: {}, 6: {}}

    # api.DataPlane -----------------------------------------------------------------------------------------

    @contextmanager
    def together(self) -> Iterator[None]:
        """Changes are made at once, but those of a binding that there is no room for are not: only the outer
        sources are new that did find room, and none is missing."""
        before = {index: entry.copy() for index, entry in self.entries.items()}
        self._refused = {}
        yield
        for index in self._refused:
            entry, partly = before.get(index, Entry()), self._entry(index)
            self.set_networks(index, entry.networks.values())
            entry.sources, entry.bids = partly.sources | entry.sources, partly.bids | entry.bids
            self.entries[index] = entry
            self._tidy(index)
        if self._refused:
            raise NotInstalled(self._refused)

    def set_path(self, index: int, path: Path, bid: int = 0, *, moved: bool = False) -> None:
        entry = self._entry(index)
        before = entry.paths.get(bid)
        if moved or before is None or structs.replace(before, expires=path.expires) != path:
            entry.silent_after.pop(bid, None)
        entry.paths[bid] = path

    def remove_path(self, index: int, bid: int = 0) -> None:
        self._entry(index).paths.pop(bid, None)
        self._entry(index).silent_after.pop(bid, None)
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
        if self.room is not None and (address, port) not in entry.sources and self.listed >= self.room:
            self._refused[index] = NoRoom("sources", self.room, full=True)
            return
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

    @property
    def listed(self) -> int:
        """Outer sources that there are."""
        return sum(len(entry.sources) for entry in self.entries.values())

    # The program -------------------------------------------------------------------------------------------

    def binding_of(self, address: IPAddress) -> int | None:
        """The index that the longest matching prefix names."""
        version, bits, number = address.version, _BITS[address.version], int(address)
        for length in sorted(self._lengths[version], reverse=True):
            index = self._owners.get((version, length, number >> (bits - length)))
            if index is not None:
                return index
        return None

    def encapsulate(self, inner: Inner, now: float) -> list[tuple[Frame | Inner, Path | None]]:
        """The tunnelled packets and their paths; the packet itself if it goes to the home link."""
        home_agent = self._role is Role.HOME_AGENT
        index = self.binding_of(inner.destination if home_agent else inner.source)
        if index is None:
            return [(inner, None)] if home_agent and self.home_link else []
        return [
            (
                inner
                if path.format is TunnelFormat.LINK
                else Frame(path.local, path.remote, inner, path.local_port, path.remote_port),
                path,
            )
            for path in self.entries[index].ways(inner, now)
        ]

    def heard(self, index: int, bid: int, hold: int, now: float) -> None:
        """A probe came over this path, which vouches for it for so many milliseconds; 0 = for ever."""
        entry = self.entries.get(index)
        if entry is None or bid not in entry.paths:
            return
        if hold:
            entry.silent_after[bid] = now + hold / 1000
        else:
            entry.silent_after.pop(bid, None)

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

    def bid_of(self, index: int, source: Source) -> int:
        """The binding identifier of packets from there."""
        return self.entries[index].bids.get(source, 0)

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


def _matches(rule: FlowRule, inner: Inner) -> bool:
    """By addresses only: nothing else is simulated of a packet."""
    selector = rule.selector
    version = 4 if isinstance(selector, IPv4TrafficSelector) else 6
    if inner.source.version != version:
        return False
    for span, address in ((selector.source, inner.source), (selector.destination, inner.destination)):
        if span is not None and not int(span[0]) <= int(address) <= int(span[1]):
            return False
    return True
