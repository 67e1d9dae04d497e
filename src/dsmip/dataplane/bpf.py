"""The data plane in the kernel: loads the eBPF program, keeps its maps, finds again what an earlier run left.

Programs and maps are pinned, so forwarding needs no process. A new process takes over the maps with all that
is in them and replaces the programs one by one, each in one step: an upgrade loses no packet.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path as FilePath

from dsmip.core.types import DSMIP_PORT, FlowRule, IPAddress, IPNetwork, Path
from dsmip.dataplane import libbpf, maps
from dsmip.dataplane.adoption import Adoption
from dsmip.dataplane.api import PathState, Role, Traffic
from dsmip.dataplane.attachment import Attachments, Hooks
from dsmip.dataplane.batches import HELD, release
from dsmip.dataplane.bpf_object import Map, Object
from dsmip.dataplane.bpffs import ensure_bpffs, pin_directory_of, remove_tree
from dsmip.dataplane.filters import Filters
from dsmip.dataplane.keys import SOURCES, Keys
from dsmip.dataplane.links import Links
from dsmip.dataplane.networks import Networks
from dsmip.dataplane.paths import Paths
from dsmip.dataplane.protection import Protection

OBJECT = FilePath(__file__).with_name("dsmip.bpf.o")
PROGRAMS = ("tunnel_egress", "uplink_ethernet", "uplink_raw")
MAPS = (
    *("networks6", "networks4", "lengths6", "lengths4", "paths", "choices", "rules", "windows"),
    *("sources", "protected", "payload_spis", "plain_traffic", "traffic", "local", "settings"),
    *("drops", "buckets"),
)

_DECAP_FLAGS_SINCE = (6, 3)
LINKS_SINCE = (6, 6)
_FIRST = maps.encode_index(0)

log = logging.getLogger(__name__)


def map_sizes(capacity: int) -> dict[str, int]:
    """Entries of the maps that grow with the number of bindings.

    A binding has some prefixes beside its home addresses, and outer sources of two kinds, now and before.
    Some have several paths, fewer have flows or protected payload. The kernel has two words for each entry
    that could be.
    """
    return {
        "networks6": 4 * capacity,
        "networks4": 2 * capacity,
        "paths": 2 * capacity,
        "choices": capacity,
        "rules": _some(capacity),
        "windows": _some(capacity),
        "sources": 4 * capacity,
        "protected": 2 * _some(capacity),
        "payload_spis": 2 * _some(capacity),
        # Indices are handed out from 1 on, to every mobile node that is configured: some may be beyond.
        "plain_traffic": capacity + 1,
        "traffic": 2 * capacity,
    }


def _some(capacity: int) -> int:
    return max(1, capacity // 4)


class BpfDataPlane:
    """Implements `api.DataPlane`. One per node and process; not thread-safe."""

    def __init__(
        self,
        settings: maps.Settings,
        programs: dict[str, int],
        tables: dict[str, Map],
        pin_directory: FilePath,
        *,
        adopted: bool,
        by_links: bool,
    ) -> None:
        self.adopted = adopted
        #: How many entries that no earlier process can have written were removed, by map.
        self.foreign: Mapping[str, int] = {}
        self._settings = settings
        self._programs = programs
        self._maps = tables
        self._pin_directory = pin_directory
        hooks: Hooks = Links(pin_directory / "links") if by_links else Filters(pin_directory / "qdiscs")
        self._attachments = Attachments(programs, hooks)
        self._paths = Paths(tables)
        # Keys as they stand in the maps, by binding index.
        self._keys = Keys()
        # Within `together`, and whether networks change at its end.
        self._held = self._stale = False
        self._networks = Networks(tables, self._keys)
        self._protection = Protection(tables, self._enable_protection)

    @classmethod
    def open(
        cls,
        role: Role,
        device_ifindex: int,
        pin_directory: FilePath,
        *,
        udp_port: int = DSMIP_PORT,
        capacity: int = 131072,
        signalling_rate: int = 50000,
        miss_rate: int = 200,
        decapsulate_by_flags: bool | None = None,
        by_links: bool | None = None,
    ) -> BpfDataPlane:
        """Load the program, with the maps that are pinned in `pin_directory` if they are of this node.

        Rates are packets a second on each CPU. `decapsulate_by_flags`, and `by_links` instead of tc filters:
        None = if this kernel can. Raises DataPlaneError.
        """
        pin_directory = pin_directory_of(pin_directory)
        ensure_bpffs(pin_directory.parent)
        sizes = map_sizes(capacity)
        previous = _pinned_settings(pin_directory, sizes)
        adopted = previous is not None and (previous.role, previous.device) == (role, device_ifindex)
        if not adopted:
            remove_tree(pin_directory)
        pin_directory.mkdir(exist_ok=True)
        settings = maps.Settings(role, device_ifindex, 0, udp_port, signalling_rate, miss_rate)
        if adopted and previous is not None:
            settings = replace(settings, home_link=previous.home_link, protection=previous.protection)
            # A process that was killed between two steps may have owed one.
            settings = replace(settings, generation=(previous.generation + 1) & 0xFFFFFFFF)
        if decapsulate_by_flags is None:
            decapsulate_by_flags = kernel_version() >= _DECAP_FLAGS_SINCE
        if by_links is None:
            by_links = kernel_version() >= LINKS_SINCE
        programs, tables = _load(pin_directory, sizes, decapsulate_by_flags=decapsulate_by_flags)
        plane = cls(settings, programs, tables, pin_directory, adopted=adopted, by_links=by_links)
        plane._start()
        return plane

    def _start(self) -> None:
        self._store_settings()
        if self.adopted:
            self._recollect()
            for _, name in list(self._attachments.uplinks()):
                self._attachments.attach_uplink(name)
        else:
            self._attachments.detach_all(self._settings.device)
        self._attachments.attach_device(self._settings.device)

    def _recollect(self) -> None:
        """Learn from the maps what an earlier process put there."""
        adoption = Adoption(self._maps, self._maps["choices"].max_entries)
        self._paths.recollect(adoption)
        self._networks.recollect(adoption)
        self._protection.recollect(adoption)
        for index, key in adoption.entries("sources"):
            self._keys.append(index, SOURCES, key)
        self.foreign = adoption.foreign

    def close(self, keep: bool) -> None:
        """Let go. `keep`: everything stays in place and forwarding goes on; otherwise nothing remains, also
        nothing of earlier processes."""
        if not keep:
            self._attachments.detach_all(self._settings.device)
            remove_tree(self._pin_directory)
        for table in self._maps.values():
            table.close()
        for descriptor in self._programs.values():
            os.close(descriptor)
        self._maps, self._programs = {}, {}

    # Bindings ----------------------------------------------------------------------------------------------

    @contextmanager
    def together(self) -> Iterator[None]:
        """See `api.DataPlane`."""
        tables = [self._maps[name] for name in HELD]
        for table in tables:
            table.hold()
        self._paths.hold()
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._paths.settle()
            refused = release(tables)
            if self._stale:
                self._forget_bindings()
        if refused is not None:
            raise refused

    def set_path(self, index: int, path: Path, bid: int = 0, *, moved: bool = False) -> None:
        """See `api.DataPlane`."""
        self._paths.set_path(index, path, bid, moved=moved)

    def remove_path(self, index: int, bid: int = 0) -> None:
        """See `api.DataPlane`."""
        self._paths.remove_path(index, bid)

    def set_preference(self, index: int, bids: Sequence[int]) -> None:
        """See `api.DataPlane`."""
        self._paths.set_preference(index, bids)

    def set_flows(self, index: int, rules: Sequence[FlowRule]) -> None:
        """See `api.DataPlane`."""
        self._paths.set_flows(index, rules)

    def set_duplication(self, index: int, enabled: bool) -> None:
        """See `api.DataPlane`."""
        self._paths.set_duplication(index, enabled)

    def paths(self, index: int) -> Mapping[int, PathState]:
        """See `api.DataPlane`."""
        return self._paths.states(index)

    def set_networks(self, index: int, networks: Iterable[IPNetwork]) -> None:
        """See `api.DataPlane`."""
        wanted = frozenset(networks)
        if wanted:
            self._paths.count(index)
        self._set_networks(index, wanted)

    def _set_networks(self, index: int, networks: Iterable[IPNetwork]) -> None:
        changed = True  # even if that is refused half-way
        try:
            changed = self._networks.replace(index, networks)
        finally:
            if changed and self._held:
                self._stale = True
            elif changed:
                self._forget_bindings()

    def _forget_bindings(self) -> None:
        """Programs are to look again whose an address is."""
        generation = (self._settings.generation + 1) & 0xFFFFFFFF
        self._settings = replace(self._settings, generation=generation)
        self._store_settings()
        self._stale = False

    def allow_source(
        self, index: int, address: IPAddress, port: int, until: float | None, bid: int = 0
    ) -> None:
        """See `api.DataPlane`."""
        key = maps.encode_source_key(index, address, port)
        self._maps["sources"].update(key, maps.encode_source(until, bid))
        self._keys.add(index, SOURCES, key)

    def deny_source(self, index: int, address: IPAddress, port: int) -> None:
        """See `api.DataPlane`."""
        key = maps.encode_source_key(index, address, port)
        self._maps["sources"].delete(key)
        self._keys.discard(index, SOURCES, key)

    def retain_sources(self, index: int, sources: Iterable[tuple[IPAddress, int]]) -> None:
        """See `api.DataPlane`."""
        present = self._keys.of(index, SOURCES)
        kept = frozenset(maps.encode_source_key(index, address, port) for address, port in sources)
        if gone := present - kept:
            for key in gone:
                self._maps["sources"].delete(key)
            self._keys.put(index, SOURCES, present & kept)

    def set_protection(
        self, index: int, correspondents: Iterable[IPNetwork], spis: Iterable[int] = ()
    ) -> None:
        """See `api.DataPlane`."""
        self._protection.replace(index, correspondents, spis)

    def protected(self) -> frozenset[int]:
        """See `api.DataPlane`."""
        return self._protection.indexes()

    def _enable_protection(self, enabled: bool) -> None:
        if enabled != self._settings.protection:
            self._settings = replace(self._settings, protection=enabled)
            self._store_settings()

    def remove_binding(self, index: int) -> None:
        """See `api.DataPlane`."""
        self._set_networks(index, ())
        self._paths.remove(index)
        for key in self._keys.of(index, SOURCES):
            self._maps["sources"].delete(key)
        self._keys.put(index, SOURCES, ())

    def bindings(self) -> frozenset[int]:
        """Indexes with a path, a choice among paths, or networks, those of an adopted data plane included."""
        return self._paths.indexes() | self._networks.indexes()

    # Node --------------------------------------------------------------------------------------------------

    def add_local(self, address: IPAddress, bid: int = 0, interface: int = 0) -> None:
        """See `api.DataPlane`."""
        self._maps["local"].update(maps.encode_local(address, interface), maps.encode_local_bid(bid))

    def remove_local(self, address: IPAddress, interface: int = 0) -> None:
        """See `api.DataPlane`."""
        self._maps["local"].delete(maps.encode_local(address, interface))

    def local_addresses(self) -> frozenset[tuple[IPAddress, int]]:
        """Own outer addresses and their interfaces, those of an adopted data plane included."""
        return frozenset(maps.decode_local(key) for key, _ in self._maps["local"].items())

    def attach(self, interface: str) -> None:
        """See `api.DataPlane`. Cheap when it is attached already; a re-created interface is attached anew."""
        self._attachments.attach_uplink(interface)

    def detach(self, interface: str) -> None:
        """See `api.DataPlane`."""
        self._attachments.detach_uplink(interface)

    def attached(self) -> Iterator[str]:
        """Names of the interfaces that are attached, by this process or an earlier one."""
        return (name for _, name in self._attachments.uplinks())

    def set_home_link(self, ifindex: int) -> None:
        """See `api.DataPlane`."""
        self._settings = replace(self._settings, home_link=ifindex)
        self._store_settings()

    def _store_settings(self) -> None:
        self._maps["settings"].update(_FIRST, self._settings.encode())

    # What happened -----------------------------------------------------------------------------------------

    def traffic(self, index: int) -> Traffic:
        """See `api.DataPlane`."""
        return self._paths.traffic(index)

    def drops(self) -> Mapping[str, int]:
        """See `api.DataPlane`."""
        counts = {}
        for number, reason in enumerate(maps.drop_reasons):
            counters = self._maps["drops"].lookup(maps.encode_index(number))
            counts[reason] = 0 if counters is None else maps.decode_counter(counters)
        return counts

    def program(self, name: str) -> int:
        """Descriptor of one of PROGRAMS, to run it on a packet (`libbpf.run_program`)."""
        return self._programs[name]


def kernel_version() -> tuple[int, int]:
    """Of the running kernel: (6, 1)."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()))


def _pinned_settings(pin_directory: FilePath, sizes: dict[str, int]) -> maps.Settings | None:
    """What an earlier process left there, None unless every map is there and as it must be."""
    if not all((pin_directory / name).exists() for name in MAPS):
        return None
    tables = {name: Map(name, libbpf.pinned(pin_directory / name)) for name in (*sizes, "settings")}
    try:
        if any(tables[name].max_entries != size for name, size in sizes.items()):
            log.warning("%s: sized for another max_bindings; starting afresh", pin_directory)
            return None
        return maps.Settings.decode(tables["settings"].lookup(_FIRST) or b"")
    finally:
        for table in tables.values():
            table.close()


def _load(
    pin_directory: FilePath, sizes: dict[str, int], *, decapsulate_by_flags: bool
) -> tuple[dict[str, int], dict[str, Map]]:
    """Programs by name, as descriptors, and maps; both are pinned."""
    opened = Object(OBJECT)
    try:
        for name, size in sizes.items():
            opened.set_max_entries(name, size)
        for name in MAPS:
            opened.set_pin_path(name, pin_directory / name)
        opened.set_constants(maps.U32.pack(decapsulate_by_flags))
        opened.load()
        tables = {name: opened.map(name) for name in MAPS}
        programs = {name: opened.program(name) for name in PROGRAMS}
    finally:
        opened.close()
    for name, descriptor in programs.items():
        (pin_directory / name).unlink(missing_ok=True)
        libbpf.pin(descriptor, pin_directory / name)
    return programs, tables
