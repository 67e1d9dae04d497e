"""How large may a packet be on this path? Probes of several sizes find out (in the spirit of RFC 8899).

The size that the uplink promises is asked about first: where it passes, that one probe was all. If nothing
comes back, all common sizes below are asked about at once, then some between the largest that passed and the
smallest that did not. ICMP is no more than a reason to ask: it may be filtered, and it may be forged. When
not even small probes come back, that says nothing about sizes, and the MTU stays what it was.
"""

from __future__ import annotations

from dsmip.core.types import TunnelFormat
from dsmip.wire.ip import IPV4_HEADER_SIZE, IPV6_HEADER_SIZE, UDP_HEADER_SIZE

#: In front of packets that travel in copies.
SEQUENCE_HEADER_SIZE = 8

#: Outer packets are often limited to these: Ethernet, PPPoE, tunnels, mobile networks, IPv6's minimum.
COMMON_SIZES = (1500, 1492, 1480, 1460, 1428, 1400, 1380, 1360, 1320, 1280)

#: Octets of doubt that are not worth another round of probes.
RESOLUTION = 8

#: Times that each size is tried before it counts as too big.
TRIES = 3

#: Seconds between looks at a path about which nothing new is known: it may have got narrower, or wider.
RECHECK = 600.0

#: Seconds between tries are twice the round-trip time, within these limits. A registration may have taken
#: longer than a round trip, and an answer counts until the last try has had its time.
MINIMUM_PATIENCE = 0.1
MAXIMUM_PATIENCE = 0.5

_BETWEEN = 4


def overhead(tunnel_format: TunnelFormat, *, sequenced: bool = False) -> int:
    """Octets of outer headers. `sequenced`: packets that travel in copies, which are in UDP."""
    if tunnel_format is TunnelFormat.LINK:
        return 0
    over_ipv6 = tunnel_format in (TunnelFormat.IPV6, TunnelFormat.UDP6)
    size = IPV6_HEADER_SIZE if over_ipv6 else IPV4_HEADER_SIZE
    if sequenced or tunnel_format in (TunnelFormat.UDP4, TunnelFormat.UDP6):
        size += UDP_HEADER_SIZE
    return size + (SEQUENCE_HEADER_SIZE if sequenced else 0)


class PathMtu:
    """The search on one path. Sizes are octets of inner packets, times CLOCK_MONOTONIC seconds.

    `mtu` is what is to be used now. `ceiling` is what the uplink promises, `known` what was found on an
    earlier visit, and `outside` the octets of outer headers.
    """

    def __init__(self, ceiling: int, outside: int, known: int | None = None) -> None:
        self.mtu = min(ceiling, known or ceiling)
        self.due: float | None = None
        self.series = 0  #: tells answers of this round from those of earlier ones
        self._ceiling = ceiling
        self._outside = outside
        self._patience = MINIMUM_PATIENCE
        self._waiting: set[int] = set()
        self._passed = 0
        self._tries = 0
        self._searched = self._refined = self._announced = False
        self._said = self._told = 0  # to the other end: in the last probes, and in one that came back

    def confirm(self, round_trip: float, now: float) -> None:
        """The path works, with small packets: ask whether those of the present size pass."""
        self._patience = min(max(2 * round_trip, MINIMUM_PATIENCE), MAXIMUM_PATIENCE)
        if not self._waiting:
            self._begin({self.mtu}, now)

    def look(self) -> None:
        """Begin at the next opportunity, with everything up to the ceiling."""
        if not self._waiting:
            self.due = 0.0

    def told(self, limit: int, now: float) -> None:
        """A router said that no more than `limit` octets pass. Ask, believing nothing."""
        if self.due is not None and not self._waiting and 0 < limit < self.mtu:
            self._begin({self.mtu, limit, *self._common_below(self.mtu)}, now)

    def stop(self) -> None:
        """The path is gone, or of no interest for now."""
        self.due = None
        self._waiting = set()

    def sizes(self, now: float) -> list[int]:
        """Sizes to send probes of now, the largest first. Each tells the other end the present `mtu`."""
        if self.due is None or self.due > now:
            return []
        if not self._waiting:
            above = {size for size in self._common_below(self._ceiling) if size > self.mtu}
            self._begin({self.mtu, self._ceiling, *above}, now)
        elif self._tries == TRIES:
            self._conclude(now)
            if not self._waiting:
                return []
        self._tries += 1
        self._said = self.mtu
        self.due = now + self._patience
        return sorted(self._waiting, reverse=True)

    def answered(self, series: int, size: int, now: float) -> None:
        """A probe of this size came back."""
        if series != self.series or not self._waiting:
            return
        self._told = self._said
        self._passed = max(self._passed, size)
        self._waiting = {waiting for waiting in self._waiting if waiting > size}
        if not self._waiting:
            self._conclude(now)

    def _begin(self, sizes: set[int], now: float) -> None:
        self._searched = self._refined = self._announced = False
        self._passed = 0
        self._ask(sizes, now)

    def _ask(self, sizes: set[int], now: float) -> None:
        self.series += 1
        self._waiting, self._tries, self.due = sizes, 0, now

    def _conclude(self, now: float) -> None:
        """Every size of this round has passed, or has been tried often enough."""
        passed, failed = self._passed, min(self._waiting, default=None)
        if not passed and not self._searched:
            self._searched = True
            self._ask({self.mtu, *self._common_below(self.mtu)}, now)
            return
        if passed:
            self.mtu = passed
            if failed is not None and failed - passed > RESOLUTION and not self._refined:
                self._refined = True
                step = (failed - passed) / (_BETWEEN + 1)
                self._ask({passed + round(step * number) for number in range(1, _BETWEEN + 1)}, now)
                return
        if self._told != self.mtu and not self._announced:
            self._announced = True
            self._ask({self.mtu}, now)
            return
        self._waiting = set()
        self.due = now + RECHECK

    def _common_below(self, size: int) -> set[int]:
        return {common - self._outside for common in COMMON_SIZES if common - self._outside < size}
