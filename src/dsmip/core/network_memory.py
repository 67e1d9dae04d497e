"""What a mobile node learnt about the networks it visited, so that it need not learn it again.

Keyed by `CareOfAddress.network`. The memory is bounded: the network not visited for longest goes first.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass, field

from dsmip.core.types import IPAddress

#: Networks remembered.
MAX_NETWORKS = 256

#: Seconds for which a network that did not carry Binding Updates of one address family comes last in the
#: choice of a care-of address (RFC 5555 section 4.4.1 leaves the time to us).
SILENCE_REMEMBERED = 300.0

#: Seconds after which a network that swallowed protocol 41 is tried again: filters are changed, too.
FILTER_REMEMBERED = 3600.0


class Encapsulation(enum.Enum):
    """What is known about tunnelling to the home agent from an IPv4 network."""

    UNKNOWN = "unknown"
    IP_IN_IP = "ip-in-ip"  #: protocols 41 and 4 get through both ways
    NATED = "nat"  #: a NAT is on the path: UDP
    FILTERED = "filtered"  #: no NAT, but protocol 41 does not get through: UDP must be forced


@dataclass(slots=True)
class _Network:
    encapsulation: Encapsulation = Encapsulation.UNKNOWN
    known_until: float | None = None
    silent_until: dict[int, float] = field(default_factory=dict)  #: by IP version
    path_mtu: dict[int, int] = field(default_factory=dict)  #: by IP version


class NetworkMemory:
    """The networks visited. Times are CLOCK_MONOTONIC seconds."""

    def __init__(self, limit: int = MAX_NETWORKS) -> None:
        self._limit = limit
        self._networks: OrderedDict[str, _Network] = OrderedDict()

    def __len__(self) -> int:
        return len(self._networks)

    def encapsulation(self, network: str, now: float) -> Encapsulation:
        """Which tunnel formats work from `network`."""
        known = self._networks.get(network)
        if known is None or (known.known_until is not None and now >= known.known_until):
            return Encapsulation.UNKNOWN
        return known.encapsulation

    def remember_encapsulation(self, network: str, encapsulation: Encapsulation, now: float) -> None:
        """Note which tunnel formats work from `network`."""
        known = self._visit(network)
        known.encapsulation = encapsulation
        known.known_until = now + FILTER_REMEMBERED if encapsulation is Encapsulation.FILTERED else None

    def silent_until(self, network: str, address: IPAddress, now: float) -> float | None:
        """Until when the home agent counts as out of reach from `address`; None = it does not."""
        known = self._networks.get(network)
        if known is None:
            return None
        until = known.silent_until.get(address.version)
        return until if until is not None and now < until else None

    def remember_silence(self, network: str, address: IPAddress, now: float) -> None:
        """Binding Updates of this address family were not answered (RFC 5555 section 4.4.1)."""
        self._visit(network).silent_until[address.version] = now + SILENCE_REMEMBERED

    def remember_answer(self, network: str, address: IPAddress) -> None:
        """The home agent answered: forget that it was silent."""
        self._visit(network).silent_until.pop(address.version, None)

    def path_mtu(self, network: str, version: int) -> int | None:
        """Octets of the largest outer packet of this IP version that got through; None = the link's MTU, as
        far as is known."""
        known = self._networks.get(network)
        return known.path_mtu.get(version) if known is not None else None

    def remember_path_mtu(self, network: str, version: int, octets: int | None) -> None:
        """Note what `path_mtu` is to say."""
        if octets is not None:
            self._visit(network).path_mtu[version] = octets
        elif network in self._networks:
            self._networks[network].path_mtu.pop(version, None)

    def _visit(self, network: str) -> _Network:
        known = self._networks.setdefault(network, _Network())
        self._networks.move_to_end(network)
        while len(self._networks) > self._limit:
            self._networks.popitem(last=False)
        return known
