"""From what was sent, received and seen on the wire to the figures of each handover. Pure arithmetic.

All times are CLOCK_MONOTONIC seconds; results are milliseconds. What the figures mean:

outage      the longest gap between two consecutive packets received, less the nominal one between packets,
            the worse of both directions
lost        packets sent during the stay that never arrived, both directions together
address     carrier up until the message that made the registered address usable passed: router advertisement,
            DHCP ACK, or the answer that confirmed a known network (ARP reply, neighbour advertisement)
binding     carrier up until the Binding Acknowledgement that accepted it passed
ours        from that address being usable until the first packet of the family had passed over the new path
            in each direction (the later of the two counts)
first packet  the same, from carrier up

A stay begins shortly before the old link was cut, so that packets then in flight count against the move that
lost them, and ends where the next stay begins.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import pairwise
from statistics import median
from typing import Any

from dsmip.lab import observation, plan
from dsmip.lab.sniffer import Wire
from dsmip.lab.streams import DOWN, FAMILIES, INTERVAL, UP, Stream, stream_name

#: Seconds before the cut from which packets count to the new stay: longer than any packet is in flight here.
BEFORE_CUT = 0.1
#: Seconds at the end of a stay that show which tunnel it settled on.
_SETTLED = 1.0


@dataclass(frozen=True, slots=True)
class Stay:
    """One move and the time on the network it led to. `end` is when that link was cut, or measuring ended."""

    network: str
    cut: float
    plugged: float
    end: float


@dataclass(frozen=True, slots=True)
class Registration:
    """The first accepted registration of a stay, as the wire showed it."""

    care_of: str
    update: float
    acknowledgement: float


@dataclass(frozen=True, slots=True)
class Handover:
    """The figures of one move; None where what they tell of did not happen. Families are "v6" and "v4"."""

    network: str
    care_of: str | None
    tunnel: str | None
    formats: Mapping[str, str | None]
    address_ms: float | None
    binding_ms: float | None
    ours_ms: Mapping[str, float | None]
    first_packet_ms: Mapping[str, float | None]
    outage_ms: Mapping[str, float]
    lost: Mapping[str, int]
    #: Carrier up until the Binding Update passed that was then accepted, and carrier up in CLOCK_MONOTONIC
    #: seconds.
    update_ms: float | None = None
    plugged: float = 0.0

    @property
    def registered(self) -> bool:
        """Whether a Binding Acknowledgement accepted the new address."""
        return self.binding_ms is not None


def outage(arrivals: Sequence[float], start: float, end: float, nominal: float = INTERVAL) -> float:
    """The longest time without a packet within the span, beyond the nominal one, in seconds.

    `arrivals` are receive times in ascending order. A gap that reaches over an end of the span counts as far
    as it lies inside: what another stay brought about is not this one's.
    """
    inside = arrivals[bisect_left(arrivals, start) : bisect_left(arrivals, end)]
    return max(0.0, max(b - a for a, b in pairwise([start, *inside, end])) - nominal)


def lost(stream: Stream, start: float, end: float) -> int:
    """How many packets sent in the span never arrived."""
    first, last = bisect_left(stream.sent, start), bisect_left(stream.sent, end)
    arrived = {sequence for sequence, _ in stream.received if first <= sequence < last}
    return last - first - len(arrived)


def is_silent(stream: Stream, start: float, end: float) -> bool:
    """Whether less than half of what was sent in the span has arrived, or nothing was sent. A sender that is
    late on a slow machine is not silent."""
    sent = bisect_left(stream.sent, end) - bisect_left(stream.sent, start)
    return 2 * lost(stream, start, end) > sent or not sent


def arrivals(stream: Stream) -> list[float]:
    """Receive times in ascending order."""
    return sorted(moment for _, moment in stream.received)


def registration(wire: Wire, start: float, end: float) -> Registration | None:
    """The first Binding Update in the span that was acknowledged with an accepting status (below 128).

    The care-of address is the outer source: it is seen before any NAT. At home it is the home address.
    """
    updates: dict[tuple[int, str], Mapping[str, Any]] = {}
    for message in wire.control:
        if not start <= message["time"] < end:
            continue
        key = (message.get("sequence", -1), message.get("care_of", ""))
        if message["kind"] == observation.BINDING_UPDATE:
            updates.setdefault(key, message)
        elif message["kind"] == observation.BINDING_ACKNOWLEDGEMENT and message["status"] < 128:
            update = updates.get(key)
            if update is not None:
                return Registration(update["care_of"], update["time"], message["time"])
    return None


def usable(wire: Wire, care_of: str, start: float, until: float) -> float | None:
    """When the first message passed that made `care_of` usable, between `start` and `until`."""
    for message in wire.control:
        if start <= message["time"] < until and _makes_usable(message, care_of):
            return float(message["time"])
    return None


def _makes_usable(message: Mapping[str, Any], care_of: str) -> bool:
    kind = message["kind"]
    if ":" in care_of:
        if kind == observation.ROUTER_ADVERTISEMENT:
            # A home agent advertises its whole address in place of the prefix (RFC 6275 section 7.2).
            prefixes = (ip_network(prefix, strict=False) for prefix in message["prefixes"])
            return any(ip_address(care_of) in prefix for prefix in prefixes)
        return bool(kind == observation.NEIGHBOUR_ADVERTISEMENT and message["solicited"])
    if kind == observation.DHCP_ACK:
        return bool(message["address"] == care_of)
    return bool(kind == observation.ARP_REPLY)


def first_data(wire: Wire, family: str, local: str, start: float, end: float) -> float | None:
    """When the first packet of a family had passed over the new path in both directions; None = it did not.

    `local` is the outer address of the new path, "" on the home link.
    """
    found = []
    for up in (True, False):
        times = [
            passed[at]
            for kind, passed in wire.data.items()
            if (kind.up, kind.family, kind.local) == (up, family, local)
            and (at := bisect_left(passed, start)) < len(passed)
            and passed[at] < end
        ]
        if not times:
            return None
        found.append(min(times))
    return max(found)


def settled_format(wire: Wire, family: str, start: float, end: float) -> str | None:
    """In which encapsulation nearly all packets of a family passed in the span; None = there were none."""
    seen: Counter[str] = Counter()
    for kind, passed in wire.data.items():
        if kind.family == family:
            seen[kind.format] += bisect_left(passed, end) - bisect_left(passed, start)
    seen = +seen
    return seen.most_common(1)[0][0] if seen else None


def handover(stay: Stay, streams: Mapping[str, Stream], wire: Wire, interval: float = INTERVAL) -> Handover:
    """The figures of one move. `interval` is the time between two packets, in seconds."""
    start, end = stay.cut - BEFORE_CUT, stay.end - BEFORE_CUT
    found = registration(wire, stay.plugged, stay.end)
    address: float | None = None
    local = ""
    if found is not None:
        address = usable(wire, found.care_of, stay.plugged, found.update)
        local = "" if found.care_of == str(plan.HOME_ADDRESS) else found.care_of
    firsts = {
        family: first_data(wire, family, local, stay.plugged, stay.end) if found else None
        for family in FAMILIES
    }
    formats = {
        family: settled_format(wire, family, max(stay.plugged, stay.end - _SETTLED), stay.end)
        for family in FAMILIES
    }
    return Handover(
        network=stay.network,
        care_of=found.care_of if found else None,
        tunnel=tunnel_name(formats),
        formats={family: _name(form, family) for family, form in formats.items()},
        address_ms=_ms(address, stay.plugged),
        binding_ms=_ms(found.acknowledgement if found else None, stay.plugged),
        ours_ms={family: _ms(firsts[family], address) for family in FAMILIES},
        first_packet_ms={family: _ms(firsts[family], stay.plugged) for family in FAMILIES},
        outage_ms={family: _worst_outage(streams, family, start, end, interval) for family in FAMILIES},
        lost={
            family: sum(lost(streams[stream_name(direction, family)], start, end) for direction in (DOWN, UP))
            for family in FAMILIES
        },
        update_ms=_ms(found.update if found else None, stay.plugged),
        plugged=stay.plugged,
    )


def tunnel_name(formats: Mapping[str, str | None]) -> str | None:
    """One name for a stay's tunnel: that of its IPv6 packets, or both where the families differ."""
    forms = {family: form for family, form in formats.items() if form is not None}
    if len(set(forms.values())) > 1:
        return " + ".join(str(_name(form, family)) for family, form in forms.items())
    return next((_name(form, family) for family, form in forms.items()), None)


def associations(wire: Wire) -> list[int]:
    """The SPIs of all ESP that was seen."""
    seen = {kind.spi for kind in wire.data} | {message.get("spi", 0) for message in wire.control}
    return sorted(seen - {0})


def signalling_in_clear(wire: Wire) -> int:
    """How many Binding Updates, Acknowledgements and messages of prefix discovery were seen without ESP."""
    kinds = (
        observation.BINDING_UPDATE,
        observation.BINDING_ACKNOWLEDGEMENT,
        observation.PREFIX_DISCOVERY,
    )
    return sum(1 for message in wire.control if message["kind"] in kinds and not message.get("spi"))


def payload_in_clear(wire: Wire, stays: Sequence[Stay]) -> int:
    """How many packets of the host were seen without ESP: in a tunnel, or in none on a network visited."""
    count = 0
    for kind, passed in wire.data.items():
        if kind.spi:
            continue
        if kind.format != observation.NATIVE:
            count += len(passed)
            continue
        for stay in stays:
            if stay.network != plan.HOME:
                count += bisect_left(passed, stay.end) - bisect_left(passed, stay.plugged)
    return count


def round_trips(down: Stream, up: Stream) -> list[tuple[float, float | None]]:
    """(send time, round-trip time or None = lost) of each pair of packets with the same number.

    Both are sent at nearly the same moment, so the sum of their one-way times is a round trip then.
    """
    there = {sequence: moment - down.sent[sequence] for sequence, moment in down.received}
    back = {sequence: moment - up.sent[sequence] for sequence, moment in up.received}
    return [
        (
            down.sent[sequence],
            there[sequence] + back[sequence] if sequence in there and sequence in back else None,
        )
        for sequence in range(min(len(down.sent), len(up.sent)))
    ]


def losses(down: Stream, up: Stream) -> list[float]:
    """Send times of the packets lost in either direction, in ascending order."""
    gone = []
    for stream in (down, up):
        came = {sequence for sequence, _ in stream.received}
        gone += [moment for sequence, moment in enumerate(stream.sent) if sequence not in came]
    return sorted(gone)


def middle(values: Iterable[float | None]) -> float | None:
    """The median of what is there."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _worst_outage(
    streams: Mapping[str, Stream], family: str, start: float, end: float, interval: float
) -> float:
    worst = max(
        outage(arrivals(streams[stream_name(direction, family)]), start, end, interval)
        for direction in (DOWN, UP)
    )
    return round(worst * 1000, 3)


def _name(form: str | None, family: str) -> str | None:
    return observation.TUNNELS[form][family] if form is not None else None


def _ms(moment: float | None, since: float | None) -> float | None:
    return None if moment is None or since is None else round((moment - since) * 1000, 3)
