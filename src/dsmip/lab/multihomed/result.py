"""What the tour found: the object that `dsmip demo --tour multihomed --json` prints, and what is drawn."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from dsmip.lab.multihomed import measure
from dsmip.lab.multihomed.measure import FlowShare, Move
from dsmip.lab.multihomed.scenario import LINKS, VOICE, Kind
from dsmip.lab.sniffer import Wire
from dsmip.lab.streams import FAMILIES, Stream
from dsmip.lab.transfers import Session

#: What a fleet operator may expect: planned handovers in a row that lose nothing, milliseconds without
#: traffic when a link dies silently (three probe intervals), the application's loss over two lossy links.
IN_A_ROW_BAR = 20
SILENT_BAR_MS = 300.0
VOICE_BAR = 0.005


#: Seconds after the last packet over a link at which its line has come to its end.
_GAP = 0.2


@dataclass(slots=True)
class Plugged:
    """A link's time in a network, in CLOCK_MONOTONIC seconds; `end` None = until the end of the tour."""

    link: str
    network: str
    start: float
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """A link's time in a network as the picture shows it; seconds from the beginning of the tour."""

    network: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Lane:
    """One link: where it was plugged in, from when to when each flow went over it, and the round trips of the
    packets that did, per family: (second, seconds; None = a gap)."""

    link: str
    visits: Sequence[Visit]
    flows: Mapping[str, Sequence[tuple[float, float]]]
    round_trips: Mapping[str, Sequence[tuple[float, float | None]]]


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the picture shows: a lane a link, handovers (second, move), losses per family (seconds)."""

    lanes: Sequence[Lane]
    moves: Sequence[tuple[float, Move]]
    losses: Mapping[str, Sequence[float]]
    end: float


@dataclass(frozen=True, slots=True)
class Result:
    """A whole tour."""

    kernel: str
    moves: Sequence[Move]
    flows: Sequence[FlowShare]
    sessions: Sequence[Session]
    timeline: Timeline

    @property
    def broken(self) -> int:
        """How many sessions broke."""
        return sum(1 for session in self.sessions if session.broken)

    @property
    def failed(self) -> list[str]:
        """What did not happen in time, one line each."""
        return [f"{found.stay.kind} to {found.stay.to}: {found.stay.failed}" for found in self._failures]

    @property
    def _failures(self) -> list[Move]:
        return [found for found in self.moves if found.stay.failed]

    def of_kind(self, kind: Kind) -> list[Move]:
        """The moves of one kind."""
        return [found for found in self.moves if found.stay.kind is kind]

    @property
    def silent_worst_ms(self) -> float | None:
        """The longest time without traffic after a silent death, less what the new link is slower."""
        worst = [max(found.recovered_ms.values()) for found in self.of_kind(Kind.SILENT)]
        return max(worst, default=None)

    @property
    def missed(self) -> list[str]:
        """The bars that were not reached, one line each; of those that this tour was long enough to try."""
        found = []
        for planned in self.of_kind(Kind.PLANNED):
            gone = sum(planned.lost.values())
            if gone:
                found.append(f"planned to {planned.stay.to}: {gone} packets lost (bar: 0)")
        for silent in self.of_kind(Kind.SILENT):
            worst = max(silent.recovered_ms.values())
            if worst > SILENT_BAR_MS:
                found.append(
                    f"silent death of {silent.stay.came_from}: {worst:.0f} ms without traffic "
                    f"(bar: {SILENT_BAR_MS:.0f} ms)"
                )
        for flow in self.flows:
            if flow.flow == VOICE.name and (flow.loss >= VOICE_BAR or flow.duplicates):
                found.append(
                    f"voice: {100 * flow.loss:.2f} % lost (bar: {100 * VOICE_BAR:g} %), "
                    f"{flow.duplicates} delivered twice (bar: 0)"
                )
        return found

    def as_json(self) -> dict[str, Any]:
        """The object that is printed."""
        return {
            "kernel": self.kernel,
            "moves": [_move(found) for found in self.moves],
            "flows": [_flow(found) for found in self.flows],
            "sessions": [session.as_json() for session in self.sessions],
            "broken": self.broken,
            "failed": self.failed,
            "missed": self.missed,
            "planned_lost": sum(sum(found.lost.values()) for found in self.of_kind(Kind.PLANNED)),
            "planned_in_a_row": measure.in_a_row(self.moves),
            "planned_in_a_row_bar": IN_A_ROW_BAR,
            "silent_worst_ms": self.silent_worst_ms,
            "silent_bar_ms": SILENT_BAR_MS,
            "voice_loss_bar": VOICE_BAR,
        }


def _move(found: Move) -> dict[str, Any]:
    stay = found.stay
    return {
        "kind": stay.kind.value,
        "from": stay.came_from.network,
        "to": stay.to.network,
        "from_link": stay.came_from.link,
        "link": stay.to.link,
        "tunnel": found.tunnel,
        "care_of": found.care_of,
        "lost": dict(found.lost),
        "outage_ms": dict(found.outage_ms),
        "recovered_ms": dict(found.recovered_ms),
        "duplicates": dict(found.duplicates),
        "reordered": dict(found.reordered),
        "moved_ms": dict(found.moved_ms),
        "binding_updates": found.updates,
        "failed": stay.failed,
    }


def _flow(found: FlowShare) -> dict[str, Any]:
    return {
        "name": found.flow,
        "packets_on_links": {direction: dict(links) for direction, links in found.links.items()},
        "sent": found.sent,
        "lost": found.lost,
        "loss": round(found.loss, 5),
        "duplicates": found.duplicates,
    }


def timeline(
    moves: Sequence[Move],
    plugged: Sequence[Plugged],
    streams: Mapping[str, Stream],
    wire: Wire,
    begin: float,
    end: float,
) -> Timeline:
    """Everything the picture needs, in seconds from the beginning of the tour."""
    trips = {family: measure.round_trips(streams, family) for family in FAMILIES}
    return Timeline(
        lanes=[_lane(link, plugged, wire, trips, begin, end) for link in LINKS],
        moves=[(found.stay.triggered - begin, found) for found in moves],
        losses={
            family: [sent - begin for sent in measure.losses(streams, family) if begin <= sent < end]
            for family in FAMILIES
        },
        end=end - begin,
    )


def _lane(
    link: str,
    plugged: Sequence[Plugged],
    wire: Wire,
    trips: Mapping[str, Sequence[tuple[float, float | None]]],
    begin: float,
    end: float,
) -> Lane:
    def within(first: float, last: float) -> tuple[float, float]:
        return max(first, begin) - begin, min(last, end) - begin

    sent = measure.passages(wire, link, (True,))  # what is sent upwards is on the link at once
    return Lane(
        link=link,
        visits=[
            Visit(visit.network, *within(visit.start, end if visit.end is None else visit.end))
            for visit in plugged
            if visit.link == link
        ],
        flows={
            flow: [within(*span) for span in spans if span[1] > begin and span[0] < end]
            for flow, spans in measure.passages(wire, link).items()
        },
        round_trips={
            family: [
                (moment - begin, trip)
                for first, last in sent.get(family, ())
                for moment, trip in [*_between(trips[family], first, last), (last + _GAP, None)]
            ]
            for family in FAMILIES
        },
    )


def _between(
    trips: Sequence[tuple[float, float | None]], first: float, last: float
) -> list[tuple[float, float | None]]:
    begin, end = (bisect_left(trips, moment, key=itemgetter(0)) for moment in (first, last))
    return list(trips[begin:end])
