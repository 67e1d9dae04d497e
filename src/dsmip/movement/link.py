"""What the IPv6 half and the IPv4 half of one link share, and the schedule of probes both use."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Network
from typing import Generic, TypeVar

from dsmip.core.actions import Event
from dsmip.movement.actions import MovementAction
from dsmip.movement.networks import KnownNetworks

#: Gap between Neighbor Solicitations to a known router and between ARP requests to a known gateway, s. The
#: RFCs leave it open; a neighbour on the same link answers in a few milliseconds.
PROBE_INTERVAL = 0.1

#: Transmissions of one probe: the first and at most two more (RFC 6059 section 5.11, RFC 4436 section 2.1;
#: RFC 4861 section 10, MAX_UNICAST_SOLICIT).
PROBE_TRANSMISSIONS = 3

#: Detection of network attachment is not run more often than this, s (RFC 6059 5.11, RFC 4436 2.1).
DNA_INTERVAL = 1.0


@dataclass(slots=True)
class LinkContext:
    """One interface as both address families see it."""

    name: str
    metric: int
    preference: int
    home_prefix: IPv6Network | None
    memory: KnownNetworks
    emit: Callable[[MovementAction], None]
    ifindex: int = 0
    mac: bytes = b""
    mtu: int = 1500

    def event(self, kind: str, **fields: str | int | float | bool) -> None:
        """Tell the world, with the interface's name."""
        self.emit(Event(kind, {"interface": self.name, **fields}))


Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Probe:
    at: float
    sent: int = 0


@dataclass(slots=True)
class Probes(Generic[Key]):
    """Probes under way: each is sent PROBE_TRANSMISSIONS times, then given up.

    Times are CLOCK_MONOTONIC seconds.
    """

    _probes: dict[Key, _Probe] = field(default_factory=dict)

    def __contains__(self, key: Key) -> bool:
        return key in self._probes

    def __bool__(self) -> bool:
        return bool(self._probes)

    def pending(self) -> list[Key]:
        """What is being probed."""
        return [*self._probes]

    def start(self, key: Key, at: float) -> None:
        """Probe from `at` on, unless a probe of the same is under way."""
        self._probes.setdefault(key, _Probe(at))

    def cancel(self, key: Key) -> bool:
        """Answered or no longer of interest. True if it was under way and had been sent."""
        probe = self._probes.pop(key, None)
        return probe is not None and probe.sent > 0

    def clear(self) -> None:
        """Cancel all."""
        self._probes.clear()

    def due(self, now: float) -> Iterator[tuple[Key, bool]]:
        """What has to be done now: (key, True) = send, (key, False) = given up."""
        for key, probe in list(self._probes.items()):
            if probe.at > now or key not in self._probes:
                continue
            if probe.sent == PROBE_TRANSMISSIONS:
                del self._probes[key]
                yield key, False
            else:
                probe.sent += 1
                probe.at = now + PROBE_INTERVAL
                yield key, True

    def deadline(self) -> float | None:
        """When `due` is next worth calling."""
        return min((probe.at for probe in self._probes.values()), default=None)


def format_mac(mac: bytes) -> str:
    """The usual notation of a link-layer address."""
    return mac.hex(":") if mac else "?"
