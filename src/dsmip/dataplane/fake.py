"""A data plane in memory: the same calls, the same idempotence, and everything can be looked at."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from msgspec.structs import replace

from dsmip.core.types import FlowRule, IPAddress, IPNetwork, Path
from dsmip.dataplane.api import PathState, Traffic, checked_bids, checked_rules
from dsmip.dataplane.choice import Flow, choose
from dsmip.dataplane.maps import drop_reasons


@dataclass(slots=True)
class FakeDataPlane:
    """Implements `api.DataPlane`.

    `installed` has the paths by index and BID, `sources` maps (index, address, port) to the end of permission
    or None and the BID, `local` own addresses and interfaces to their BID. A probe is reported with
    `note_probe`; what would become of a packet is asked with `choose`.
    """

    adopted: bool = False
    installed: dict[tuple[int, int], Path] = field(default_factory=dict)
    preference: dict[int, tuple[int, ...]] = field(default_factory=dict)
    flows: dict[int, tuple[FlowRule, ...]] = field(default_factory=dict)
    duplicating: set[int] = field(default_factory=set)
    networks: dict[IPNetwork, int] = field(default_factory=dict)
    sources: dict[tuple[int, IPAddress, int], tuple[float | None, int]] = field(default_factory=dict)
    protection: dict[int, tuple[frozenset[IPNetwork], frozenset[int]]] = field(default_factory=dict)
    counters: dict[tuple[int, int], Traffic] = field(default_factory=dict)
    probes: dict[tuple[int, int], tuple[float, float | None]] = field(default_factory=dict)
    local: dict[tuple[IPAddress, int], int] = field(default_factory=dict)
    interfaces: set[str] = field(default_factory=set)
    home_link: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(drop_reasons, 0))
    closed: bool = False

    # Paths -------------------------------------------------------------------------------------------------

    def together(self) -> AbstractContextManager[None]:
        """See `api.DataPlane`: here every change is made at once."""
        return nullcontext()

    def set_path(self, index: int, path: Path, bid: int = 0, *, moved: bool = False) -> None:
        """See `api.DataPlane`."""
        previous = self.installed.get((index, bid))
        if moved or previous is None or replace(previous, expires=path.expires, mtu=path.mtu) != path:
            self.probes.pop((index, bid), None)
        self.installed[index, bid] = path

    def remove_path(self, index: int, bid: int = 0) -> None:
        """See `api.DataPlane`."""
        self.installed.pop((index, bid), None)
        self.probes.pop((index, bid), None)

    def set_preference(self, index: int, bids: Sequence[int]) -> None:
        """See `api.DataPlane`."""
        self.preference[index] = checked_bids(bids)
        if not bids:
            del self.preference[index]

    def set_flows(self, index: int, rules: Sequence[FlowRule]) -> None:
        """See `api.DataPlane`."""
        self.flows[index] = checked_rules(rules)
        if not rules:
            del self.flows[index]

    def set_duplication(self, index: int, enabled: bool) -> None:
        """See `api.DataPlane`."""
        (self.duplicating.add if enabled else self.duplicating.discard)(index)

    def paths(self, index: int) -> Mapping[int, PathState]:
        """See `api.DataPlane`. Silence is judged by this process' clock."""
        now, found = time.monotonic(), {}
        for owner, bid in self.installed:
            if owner == index:
                heard, until = self.probes.get((index, bid), (None, None))
                silent = until is not None and now > until
                found[bid] = PathState(self.counters.get((index, bid), Traffic()), heard, silent)
        return found

    def note_probe(self, index: int, bid: int, now: float, hold: float | None) -> None:
        """A probe came over this path, vouching for it for `hold` seconds; None = for ever."""
        self.probes[index, bid] = now, None if hold is None else now + hold

    def choose(self, index: int, flow: Flow, now: float) -> tuple[int, ...]:
        """The BIDs over which a packet of this flow goes at `now` (CLOCK_MONOTONIC seconds)."""
        existing = {
            bid: path
            for (owner, bid), path in self.installed.items()
            if owner == index and (path.expires is None or now <= path.expires)
        }

        def usable(bid: int) -> bool:
            _, until = self.probes.get((index, bid), (None, None))
            return bid in existing and (until is None or now <= until)

        return choose(flow, self.flows.get(index, ()), self.preference.get(index, ()), existing, usable)

    # Bindings ----------------------------------------------------------------------------------------------

    def set_networks(self, index: int, networks: Iterable[IPNetwork]) -> None:
        """See `api.DataPlane`."""
        wanted = set(networks)
        for network in [n for n, owner in self.networks.items() if owner == index and n not in wanted]:
            del self.networks[network]
        self.networks.update(dict.fromkeys(wanted, index))

    def allow_source(
        self, index: int, address: IPAddress, port: int, until: float | None, bid: int = 0
    ) -> None:
        """See `api.DataPlane`."""
        self.sources[index, address, port] = until, bid

    def deny_source(self, index: int, address: IPAddress, port: int) -> None:
        """See `api.DataPlane`."""
        self.sources.pop((index, address, port), None)

    def retain_sources(self, index: int, sources: Iterable[tuple[IPAddress, int]]) -> None:
        """See `api.DataPlane`."""
        kept = {(index, address, port) for address, port in sources}
        for key in [key for key in self.sources if key[0] == index and key not in kept]:
            del self.sources[key]

    def set_protection(
        self, index: int, correspondents: Iterable[IPNetwork], spis: Iterable[int] = ()
    ) -> None:
        """See `api.DataPlane`."""
        self.protection.pop(index, None)
        if wanted := frozenset(correspondents):
            self.protection[index] = wanted, frozenset(spis)

    def protected(self) -> frozenset[int]:
        """See `api.DataPlane`."""
        return frozenset(self.protection)

    def remove_binding(self, index: int) -> None:
        """See `api.DataPlane`."""
        self.set_networks(index, ())
        self.set_preference(index, ())
        self.set_flows(index, ())
        self.set_duplication(index, False)
        for _, bid in [key for key in self.installed if key[0] == index]:
            self.remove_path(index, bid)
        for source in [key for key in self.sources if key[0] == index]:
            del self.sources[source]
        for counted in [key for key in self.counters if key[0] == index]:
            del self.counters[counted]

    def bindings(self) -> frozenset[int]:
        """Indexes with a path or networks."""
        return frozenset(index for index, _ in self.installed) | frozenset(self.networks.values())

    # Node --------------------------------------------------------------------------------------------------

    def add_local(self, address: IPAddress, bid: int = 0, interface: int = 0) -> None:
        """See `api.DataPlane`."""
        self.local[address, interface] = bid

    def remove_local(self, address: IPAddress, interface: int = 0) -> None:
        """See `api.DataPlane`."""
        self.local.pop((address, interface), None)

    def local_addresses(self) -> frozenset[tuple[IPAddress, int]]:
        """Own outer addresses and their interfaces."""
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
        return sum((t for (owner, _), t in self.counters.items() if owner == index), Traffic())

    def drops(self) -> Mapping[str, int]:
        """See `api.DataPlane`."""
        return dict(self.dropped)

    def close(self, keep: bool) -> None:
        """Forget everything unless `keep`."""
        self.closed = True
        if not keep:
            for state in (
                self.installed,
                self.preference,
                self.flows,
                self.duplicating,
                self.networks,
                self.sources,
                self.protection,
                self.counters,
                self.probes,
                self.local,
                self.interfaces,
            ):
                state.clear()
