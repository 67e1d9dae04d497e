"""What a tour found: the object that `dsmip demo --json` prints, and what the picture is drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsmip.lab.measure import Handover, middle
from dsmip.lab.streams import FAMILIES
from dsmip.lab.transfers import Session

#: The bars of a break-before-make handover and of coming back to a known network, on top of round trips.
OURS_BAR_MS = 10.0
REVISIT_BAR_MS = 20.0


@dataclass(frozen=True, slots=True)
class Move:
    """One move of a tour. `rtt_ms` is the round trip to the home agent there by ping; `link_down_ms` is how
    long the mobile router had no carrier; `failed` is "" or says what went wrong; `nat` is what the mobile
    router found out of a NAT, in the words of `dsmip status`."""

    handover: Handover
    rtt_ms: float | None
    link_down_ms: float
    revisited: bool
    failed: str = ""
    nat: str = ""

    @property
    def revisit_bar_ms(self) -> float | None:
        """In which time the first packet should pass in a known network; None = not one, or no round trip."""
        if not self.revisited or self.rtt_ms is None:
            return None
        return 2 * self.rtt_ms + REVISIT_BAR_MS

    def as_json(self) -> dict[str, Any]:
        """The move's entry in `moves`."""
        found = self.handover
        return {
            "to": found.network,
            "tunnel": found.tunnel,
            "care_of": found.care_of,
            "address_ms": found.address_ms,
            "binding_ms": found.binding_ms,
            "ours_ms": dict(found.ours_ms),
            "outage_ms": dict(found.outage_ms),
            "lost": dict(found.lost),
            "first_packet_ms": dict(found.first_packet_ms),
            "formats": dict(found.formats),
            "rtt_ms": self.rtt_ms,
            "link_down_ms": self.link_down_ms,
            "revisited": self.revisited,
            "revisit_bar_ms": self.revisit_bar_ms,
            "registered": found.registered,
            "failed": self.failed,
            "nat": self.nat,
        }


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the timeline on one network; times in seconds from the beginning of the tour.

    `outage_ms` is, per family, that of the move that led there; empty where the tour began.
    """

    network: str
    tunnel: str | None
    start: float
    end: float
    outage_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the picture shows. `round_trips` per family: (second, round trip in seconds or None = lost);
    `losses` per family: the seconds at which packets were sent that never arrived."""

    bands: Sequence[Band]
    round_trips: Mapping[str, Sequence[tuple[float, float | None]]]
    losses: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Result:
    """A whole tour. `protect` is what was to be under ESP, `associations` the SPIs seen, `key_exchanges` how
    many messages of IKE, and `exposed` how many packets that were to be under ESP were not."""

    kernel: str
    moves: Sequence[Move]
    sessions: Sequence[Session]
    timeline: Timeline
    protect: str = ""
    associations: Sequence[int] = ()
    key_exchanges: int = 0
    exposed: int = 0

    @property
    def broken(self) -> int:
        """How many sessions broke."""
        return sum(1 for session in self.sessions if session.broken)

    @property
    def failed(self) -> list[str]:
        """What did not happen in time, one line each."""
        return [f"{move.handover.network}: {move.failed}" for move in self.moves if move.failed]

    @property
    def ours_over_round_trip_ms(self) -> dict[str, float | None]:
        """Per family the median, over the moves, of our share less one round trip: to be at most 10 ms."""
        return {
            family: middle(
                ours - move.rtt_ms
                for move in self.moves
                if (ours := move.handover.ours_ms[family]) is not None and move.rtt_ms is not None
            )
            for family in FAMILIES
        }

    def as_json(self) -> dict[str, Any]:
        """The object `dsmip demo --json` prints."""
        return {
            "kernel": self.kernel,
            "protect": self.protect,
            "associations": [f"{spi:#x}" for spi in self.associations],
            "key_exchanges": self.key_exchanges,
            "exposed": self.exposed,
            "moves": [move.as_json() for move in self.moves],
            "sessions": [session.as_json() for session in self.sessions],
            "broken": self.broken,
            "failed": self.failed,
            "ours_over_round_trip_ms": self.ours_over_round_trip_ms,
            "ours_bar_ms": OURS_BAR_MS,
        }
