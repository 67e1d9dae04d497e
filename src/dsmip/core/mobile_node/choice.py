"""Which care-of address to register (RFC 5555 section 4.4.1)."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address

from dsmip.core.network_memory import NetworkMemory
from dsmip.core.types import CareOfAddress

#: A binding cannot be shorter than one lifetime unit (RFC 6275 section 6.1.7).
MINIMUM_VALIDITY = 4.0

#: Seconds until a network that was silent is known to be silent still: three Binding Updates in vain, and a
#: round trip somewhere else (RFC 6275 section 11.8).
TRIAL = 8.0

_MOMENT = 0.001


class Rank(enum.IntEnum):
    """Address families in order of preference; a silent network comes last, of whatever family."""

    IPV6 = 0
    IPV4 = 1
    SILENT = 2


def same_place(one: CareOfAddress, other: CareOfAddress) -> bool:
    """True when both are the same address in the same network.

    The address alone does not say: every second NAT hands out 192.168.1.2.
    """
    return (one.address, one.ifindex, one.network) == (other.address, other.ifindex, other.network)


def find(care_of: CareOfAddress, among: Iterable[CareOfAddress]) -> CareOfAddress | None:
    """The entry of `among` that is the same place as `care_of`, as it is now."""
    for candidate in among:
        if same_place(candidate, care_of):
            return candidate
    return None


class Chooser:
    """Picks among the usable care-of addresses. Times are CLOCK_MONOTONIC seconds.

    `ipv4` is false when the home agent has no IPv4 address: IPv4 networks are of no use then.
    """

    def __init__(self, memory: NetworkMemory, *, ipv4: bool) -> None:
        self._memory = memory
        self.ipv4 = ipv4

    def rank(self, care_of: CareOfAddress, now: float, spare: float = math.inf) -> Rank:
        """The place of this address's family and network in the order of preference."""
        if self._memory.silent_until(care_of, now) is not None:
            return Rank.SILENT
        if spare < TRIAL and self._memory.silence(care_of) is not None:
            return Rank.SILENT
        return Rank.IPV6 if isinstance(care_of.address, IPv6Address) else Rank.IPV4

    def choose(
        self,
        candidates: Sequence[CareOfAddress],
        current: CareOfAddress | None,
        now: float,
        spare: float = math.inf,
    ) -> CareOfAddress | None:
        """The best care-of address, None if there is none.

        IPv6 before IPv4 (RFC 5555 section 4.4.1), then the lower preference, then the current one, then the
        order given. Where all are silent, they take turns: the one tried longest ago comes first.

        `spare` are the seconds that a binding lasts which may be lost. One that would end while a network is
        tried that was silent is renewed first; an attempt under way goes on.
        """
        usable = self._usable(candidates, now)
        if not usable:
            return None

        def order(care_of: CareOfAddress) -> tuple[int, float, int, bool]:
            elsewhere = current is None or not same_place(care_of, current)
            silence = self._memory.silence(care_of)
            rank = self.rank(care_of, now, spare if elsewhere else math.inf)
            tried = silence.sent[-1] if silence is not None and rank is Rank.SILENT else 0.0
            return rank, tried, care_of.preference, elsewhere

        return min(usable, key=order)

    def has_alternative(
        self, candidates: Sequence[CareOfAddress], current: CareOfAddress, now: float
    ) -> bool:
        """True when another care-of address is there whose network is not known to be silent."""
        others = self._others(candidates, current, now)
        return any(self.rank(care_of, now) < Rank.SILENT for care_of in others)

    def has_other(self, candidates: Sequence[CareOfAddress], current: CareOfAddress, now: float) -> bool:
        """True when there is another care-of address at all."""
        return bool(self._others(candidates, current, now))

    def next_change(
        self, candidates: Sequence[CareOfAddress], choice: CareOfAddress | None, now: float
    ) -> float | None:
        """When the choice may come out differently by itself.

        That is when a silent network is due for another try, or the chosen address loses its validity.
        """
        times = [
            until
            for care_of in self._usable(candidates, now)
            if (until := self._memory.silent_until(care_of, now)) is not None
        ]
        if choice is not None and choice.valid_until is not None:
            # A little later than the last instant at which it is usable, or nothing would change then.
            times.append(choice.valid_until - MINIMUM_VALIDITY + _MOMENT)
        return min(times, default=None)

    def next_try(
        self, candidates: Sequence[CareOfAddress], current: CareOfAddress | None, now: float, spare: float
    ) -> float | None:
        """`next_change` after an acknowledgement: now, if a better network had to wait for that."""
        choice = self.choose(candidates, current, now, spare)
        if current is not None and choice is not None and not same_place(choice, current):
            return now
        return self.next_change(candidates, current, now)

    def _others(
        self, candidates: Sequence[CareOfAddress], current: CareOfAddress, now: float
    ) -> list[CareOfAddress]:
        return [care_of for care_of in self._usable(candidates, now) if not same_place(care_of, current)]

    def _usable(self, candidates: Sequence[CareOfAddress], now: float) -> list[CareOfAddress]:
        return [
            care_of
            for care_of in candidates
            if (self.ipv4 or isinstance(care_of.address, IPv6Address))
            and (care_of.valid_until is None or care_of.valid_until - now >= MINIMUM_VALIDITY)
        ]
