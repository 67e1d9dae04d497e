"""From packets sent, received and seen on each link to the figures of a handover. Pure arithmetic.

All times are CLOCK_MONOTONIC seconds; results are milliseconds or packets. What the figures mean:

lost        packets sent during the step that never arrived, both directions together
outage      the longest gap between two consecutive packets received, less the nominal one between packets,
            the worse of both directions
recovered   the same less what the new link is slower than the old one each way: how long nobody sent over a
            link that works
duplicates  packets that arrived more than once; reordered: those that arrived after a later one
moved       from the moment the old link came to its end (or a better one appeared) until packets of both
            families had passed over the new link, each direction
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dsmip.lab import measure, observation, transfers
from dsmip.lab.multihomed.scenario import VIDEO, VOICE, Kind, Place
from dsmip.lab.sniffer import Wire
from dsmip.lab.streams import DOWN, FAMILIES, INTERVAL, PLAIN, UP, Flow, Stream, stream_name

#: Seconds before a step in which packets count to it already: longer than any packet is in flight here.
BEFORE = 0.15
#: Seconds at the end of a step that show which tunnel it settled on.
_SETTLED = 0.5
#: Seconds without a packet after which a flow does not count as going over a link.
_PAUSE = 0.1
#: Packets in a row that it takes to count.
_SOME = 5

#: What is seen on a link, by the correspondent's port; whatever else there is, is TCP.
_FLOWS = {PLAIN.port: "", VIDEO.port: "video", VOICE.port: "voice"}


@dataclass(frozen=True, slots=True)
class Stay:
    """One step while it went on. `triggered` is when the old link came to its end, or the better one
    appeared; `slower` is by how many seconds the new link is slower than the old one, each way."""

    kind: Kind
    came_from: Place
    to: Place
    began: float
    triggered: float
    end: float
    slower: float = 0.0
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """The figures of one step; None where what they tell of did not happen."""

    stay: Stay
    tunnel: str | None
    care_of: str | None
    lost: Mapping[str, int]
    outage_ms: Mapping[str, float]
    recovered_ms: Mapping[str, float]
    duplicates: Mapping[str, int]
    reordered: Mapping[str, int]
    moved_ms: Mapping[str, float | None]
    updates: int


def duplicates(stream: Stream, start: float, end: float) -> int:
    """How many arrivals repeat a packet sent in the span."""
    sequences = [sequence for sequence, _ in _sent_within(stream, start, end)]
    return len(sequences) - len(set(sequences))


def reordered(stream: Stream, start: float, end: float) -> int:
    """How many packets sent in the span arrived after one that had been sent later."""
    late, latest = 0, -1
    for sequence, _ in _sent_within(stream, start, end):
        late += sequence < latest
        latest = max(latest, sequence)
    return late


def _sent_within(stream: Stream, start: float, end: float) -> list[tuple[int, float]]:
    first, last = bisect_left(stream.sent, start), bisect_left(stream.sent, end)
    return [(sequence, moment) for sequence, moment in stream.received if first <= sequence < last]


def outage(stream: Stream, start: float, end: float, nominal: float = INTERVAL) -> float:
    """The longest time without a packet that began in the span, beyond the nominal one, in seconds.

    Unlike `measure.outage` it counts whole what begins here: steps follow each other closely.
    """
    times = measure.arrivals(stream)
    inside = times[bisect_left(times, start) : bisect_left(times, end) + 1]
    if len(inside) < 2:
        return end - start
    return max(0.0, max(after - before for before, after in pairwise(inside)) - nominal)


def move(stay: Stay, flows: Mapping[str, Stream], wire: Wire) -> Move:
    """The figures of one step."""
    start, end = stay.began - BEFORE, stay.end - BEFORE

    def both(family: str) -> list[Stream]:
        return [flows[stream_name(direction, family)] for direction in (DOWN, UP)]

    outages = {family: max(outage(stream, start, end) for stream in both(family)) for family in FAMILIES}
    kind, tunnel = _settled(wire, stay.to.link, stay.end - _SETTLED, stay.end)
    return Move(
        stay=stay,
        tunnel=tunnel,
        care_of=kind.local if kind is not None else None,
        lost={f: sum(measure.lost(stream, start, end) for stream in both(f)) for f in FAMILIES},
        outage_ms={f: _ms(outages[f]) for f in FAMILIES},
        recovered_ms={f: _ms(max(0.0, outages[f] - max(0.0, stay.slower))) for f in FAMILIES},
        duplicates={f: sum(duplicates(stream, start, end) for stream in both(f)) for f in FAMILIES},
        reordered={f: sum(reordered(stream, start, end) for stream in both(f)) for f in FAMILIES},
        moved_ms={
            direction: _first_over(wire, stay.to.link, direction == UP, stay.triggered, stay.end)
            for direction in (UP, DOWN)
        },
        updates=sum(
            message["kind"] == observation.BINDING_UPDATE and stay.triggered <= message["time"] < stay.end
            for message in wire.control
        ),
    )


def _first_over(wire: Wire, link: str, up: bool, start: float, end: float) -> float | None:
    firsts = []
    for family in FAMILIES:
        times = [
            passed[at]
            for kind, passed in wire.data.items()
            if (kind.interface, kind.up, kind.family, kind.port) == (link, up, family, PLAIN.port)
            and (at := bisect_left(passed, start)) < len(passed)
            and passed[at] < end
        ]
        if not times:
            return None
        firsts.append(min(times))
    return _ms(max(firsts) - start)


def _settled(
    wire: Wire, link: str, start: float, end: float
) -> tuple[observation.DataClass | None, str | None]:
    """What most IPv6 packets on the link look like in the span, and what their tunnel is called."""
    seen: Counter[observation.DataClass] = Counter()
    for kind, passed in wire.data.items():
        if (kind.interface, kind.family, kind.port) == (link, "v6", PLAIN.port):
            seen[kind] += bisect_left(passed, end) - bisect_left(passed, start)
    if not +seen:
        return None, None
    kind = seen.most_common(1)[0][0]
    return kind, observation.TUNNELS[kind.format][kind.family]


# Which flow goes where -------------------------------------------------------------------------------------


def flow_name(port: int, family: str) -> str:
    """What the packets of this port of the correspondent are part of: "v6", "v4", "video", "voice", "tcp"."""
    found = _FLOWS.get(port, "tcp")
    return found or family


def passages(
    wire: Wire, link: str, ways: tuple[bool, ...] = (True, False)
) -> dict[str, list[tuple[float, float]]]:
    """Per flow the spans of time in which its packets went over the link, `ways` being True for upwards."""
    times: dict[str, list[float]] = {}
    for kind, passed in wire.data.items():
        if kind.interface == link and kind.port and kind.up in ways:
            times.setdefault(flow_name(kind.port, kind.family), []).extend(passed)
    return {flow: spans(sorted(found)) for flow, found in sorted(times.items())}


def spans(times: Sequence[float], pause: float = _PAUSE) -> list[tuple[float, float]]:
    """From when to when there were packets; single ones do not count."""
    found: list[tuple[float, float]] = []
    begin, count = 0, 0
    for at, moment in enumerate(times):
        count += 1
        if at + 1 == len(times) or times[at + 1] - moment > pause:
            if count >= _SOME:
                found.append((times[begin], moment))
            begin, count = at + 1, 0
    return found


@dataclass(frozen=True, slots=True)
class FlowShare:
    """A flow over a span of time: packets seen on each link, by direction and link, and what became of them
    at its end. `octets` are those received."""

    flow: str
    links: Mapping[str, Mapping[str, int]]
    sent: int
    lost: int
    duplicates: int
    octets: int

    @property
    def loss(self) -> float:
        """The share of packets that the application did not get."""
        return self.lost / self.sent if self.sent else 0.0


def share(flow: Flow, received: Mapping[str, Stream], wire: Wire, start: float, end: float) -> FlowShare:
    """What became of a flow's packets sent in the span, and which links they took."""
    links: dict[str, dict[str, int]] = {UP: {}, DOWN: {}}
    for kind, passed in wire.data.items():
        if kind.port == flow.port:
            count = bisect_left(passed, end) - bisect_left(passed, start)
            if count:
                way = links[UP if kind.up else DOWN]
                way[kind.interface] = way.get(kind.interface, 0) + count
    found = list(received.values())
    arrived = sum(len({sequence for sequence, _ in _sent_within(stream, start, end)}) for stream in found)
    lost = sum(measure.lost(stream, start, end) for stream in found)
    return FlowShare(
        flow=flow.name,
        links=links,
        sent=arrived + lost,
        lost=lost,
        duplicates=sum(duplicates(stream, start, end) for stream in found),
        octets=arrived * flow.octets,
    )


def in_a_row(moves: Iterable[Move]) -> int:
    """The longest run of planned handovers without a lost packet, nothing else in between."""
    best = run = 0
    for found in moves:
        clean = found.stay.kind is Kind.PLANNED and not any(found.lost.values()) and not found.stay.failed
        run = run + 1 if clean else 0
        best = max(best, run)
    return best


def sessions(
    flows: Mapping[str, Stream], octets: int, ends: Sequence[float], alive: float = 0.3
) -> list[transfers.Session]:
    """A stream is broken when it was silent at the end of a step."""
    found = []
    for name, stream in flows.items():
        times = measure.arrivals(stream)
        silent = sum(measure.outage(times, end - alive, end) >= alive / 2 for end in ends)
        broken = f"silent at the end of {silent} steps" if silent else ""
        found.append(transfers.Session(f"udp-{name}", octets * len(stream.received), broken))
    return found


def round_trips(flows: Mapping[str, Stream], family: str) -> list[tuple[float, float | None]]:
    """See `dsmip.lab.measure.round_trips`."""
    return measure.round_trips(flows[stream_name(DOWN, family)], flows[stream_name(UP, family)])


def losses(flows: Mapping[str, Stream], family: str) -> list[float]:
    """See `dsmip.lab.measure.losses`."""
    return measure.losses(flows[stream_name(DOWN, family)], flows[stream_name(UP, family)])


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
