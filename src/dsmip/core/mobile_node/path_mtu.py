"""The MTU of one path of a mobile node: what the uplink and the tunnel leave, and what probes make of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dsmip.core.actions import SendDatagram, SendIPv4, SendPacket
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.network_memory import NetworkMemory
from dsmip.core.path_mtu import PathMtu, overhead
from dsmip.core.path_probe import PROBE_HEADERS, supervision_probe
from dsmip.core.types import CareOfAddress, Instant, IPAddress, Path, TunnelFormat
from dsmip.wire.pathprobe import PROBE_SIZE, ProbePayload


@dataclass(frozen=True, slots=True)
class _Place:
    """What the MTU depends on."""

    address: IPAddress
    network: str
    format: TunnelFormat
    ceiling: int
    outside: int

    @property
    def padding(self) -> int:
        """Octets that a probe has to be longer, as it has no sequence number in front."""
        return self.outside - overhead(self.format)


class PathSizes:
    """Sizes are octets of inner packets. With several uplinks there is always room for the headers of packets
    that travel in copies: a flow may get a second path at any time."""

    def __init__(self, memory: NetworkMemory) -> None:
        self._memory = memory
        self._place: _Place | None = None
        self._search = PathMtu(0, 0)

    @property
    def due(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the next probe."""
        return self._search.due

    @property
    def found(self) -> int:
        """The MTU to use now, 0 = of no interest."""
        return self._search.mtu

    def mtu(self, config: MobileNodeConfig, care_of: CareOfAddress, tunnel_format: TunnelFormat) -> int:
        """Of the path over this care-of address, 0 = of no interest. Another path is another search."""
        if not config.mtu:
            return 0
        if tunnel_format is TunnelFormat.LINK:
            # As long as any packet: routers on the way say what is too big, as to every host.
            self._place, self._search = None, PathMtu(min(config.mtu, care_of.mtu), 0)
            return self._search.mtu
        outside = overhead(tunnel_format, sequenced=config.multihoming is not None)
        ceiling = min(config.mtu, care_of.mtu - outside)
        place = _Place(care_of.address, care_of.network, tunnel_format, ceiling, outside)
        if place != self._place:
            before, searching = self._place, self._search.due is not None
            self._place = place
            known = self._memory.path_mtu(care_of.network, care_of.address.version)
            self._search = PathMtu(ceiling, outside, known and known - outside)
            if searching and before is not None and replace(before, ceiling=ceiling) == place:
                self._search.look()  # it is the MTU of the interface that changed
        return self._search.mtu

    def confirm(self, round_trip: float, now: Instant) -> None:
        """The path was registered, which took `round_trip` seconds."""
        if self._place is not None:
            self._search.confirm(round_trip, now.monotonic)

    def told(self, limit: int, now: Instant) -> None:
        """A router complained about an outer packet: `limit` is the most that its next link takes."""
        if self._place is not None:
            self._search.told(limit - self._place.outside, now.monotonic)

    def stop(self) -> None:
        """There is no path."""
        self._search.stop()

    def probes(
        self, config: MobileNodeConfig, path: Path, interface: str, bid: int, now: Instant
    ) -> list[SendPacket | SendIPv4 | SendDatagram]:
        """What is to be sent now."""
        place = self._place
        if place is None:
            return []
        sizes = self._search.sizes(now.monotonic)
        self._remember(place)
        return [
            supervision_probe(
                config,
                path,
                interface,
                ProbePayload(
                    bid, 0, self._search.series, int(now.monotonic * 1e9), PROBE_SIZE, self._search.mtu
                ),
                size + place.padding,
            )
            for size in sizes
        ]

    def answered(self, payload: ProbePayload, length: int, now: Instant) -> None:
        """A probe came back; `length` octets of data in the echo."""
        if self._place is not None:
            size = length + PROBE_HEADERS - self._place.padding
            self._search.answered(payload.sequence, size, now.monotonic)
            self._remember(self._place)

    def _remember(self, place: _Place) -> None:
        found = self._search.mtu
        octets = found + place.outside if found < place.ceiling else None
        self._memory.remember_path_mtu(place.network, place.address.version, octets)
