"""What a mobile node learnt about the networks it visited, so that it need not learn it again.

Keyed by `CareOfAddress.network`. The memory is bounded: the network not visited for longest goes first.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass, field

from dsmip.core.network_silence import LONGEST_PAUSE, Silence
from dsmip.core.types import CareOfAddress

#: Networks remembered.
MAX_NETWORKS = 256

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
    silences: dict[int, Silence] = field(default_factory=dict)  #: by IP version
    path_mtu: dict[int, int] = field(default_factory=dict)  #: by IP version


class NetworkMemory:
    """The networks visited. Times are CLOCK_MONOTONIC seconds."""

    def __init__(self, limit: int = MAX_NETWORKS) -> None:
        self._limit = limit
        self._networks: OrderedDict[str, _Network] = OrderedDict()
        self._answered_at = float("-inf")
        self._answered_in: CareOfAddress | None = None

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

    def silence(self, care_of: CareOfAddress) -> Silence | None:
        """What is known of Binding Updates in vain from this network, of this address family."""
        known = self._networks.get(care_of.network)
        return known.silences.get(care_of.address.version) if known is not None else None

    def silent_until(self, care_of: CareOfAddress, now: float) -> float | None:
        """Until when the home agent counts as out of reach from there; None = it does not."""
        silence = self.silence(care_of)
        return silence.until if silence is not None and now < silence.until else None

    def is_cut_off(self, care_of: CareOfAddress, now: float) -> bool:
        """Whether that network is known to let nothing through to a home agent that works.

        It does not seem to any more once it is silent where it answered last.
        """
        works = self._answered_in is not None and self.silence(self._answered_in) is None
        silence = self.silence(care_of)
        return works and silence is not None and silence.is_cut_off(now)

    def remember_silence(self, care_of: CareOfAddress, sent: tuple[float, ...], now: float) -> bool:
        """Binding Updates that left at these times were not answered (RFC 5555 section 4.4.1).

        True when that shows, for the first time, that the network does not let them through.
        """
        silences = self._visit(care_of.network).silences
        version = care_of.address.version
        silence = silences.get(version)
        if silence is None:
            silence = silences[version] = Silence(care_of, sent, now + LONGEST_PAUSE)
        else:
            silence.again(care_of, sent, now)
        if self._answered_in is None or self._answered_at < sent[0]:
            return False
        return silence.answered_elsewhere(self._answered_in, self._answered_at)

    def remember_answer(self, care_of: CareOfAddress, now: float) -> list[CareOfAddress]:
        """The home agent answered there. Returns the care-of addresses that are so found to be cut off."""
        self._answered_at, self._answered_in = now, care_of
        self._visit(care_of.network).silences.pop(care_of.address.version, None)
        silences = (silence for known in self._networks.values() for silence in known.silences.values())
        return [silence.care_of for silence in silences if silence.answered_elsewhere(care_of, now)]

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
