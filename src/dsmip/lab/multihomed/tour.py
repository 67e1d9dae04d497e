"""The tour: links come, go and die under running sessions, and everything is measured."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dsmip.lab import files, sniffer, streams, transfers
from dsmip.lab.errors import LabError
from dsmip.lab.lab import Lab
from dsmip.lab.multihomed import measure, scenario
from dsmip.lab.multihomed.measure import FlowShare, Stay
from dsmip.lab.multihomed.result import Plugged, Result, timeline
from dsmip.lab.multihomed.scenario import VIDEO, VOICE, Kind, Place, Step
from dsmip.lab.observation import BINDING_ACKNOWLEDGEMENT
from dsmip.lab.streams import DOWN, FAMILIES, PLAIN, UP, stream_name
from dsmip.lab.transfers import DOWNLOAD, UPLOAD, Session
from dsmip.lab.uplinks import find

#: Seconds on a link after a handover, with all three links and the flows, and until a step counts as failed.
DWELL = 1.2
FLOWS_DWELL = 8.0
PATIENCE = 10.0
#: Seconds for which a new link only stands by before the old one ends: its probes are at rest then.
STAND_BY = 0.6
#: Seconds from the traffic having left a link until its cable is pulled: more than any packet is in flight.
CLEAR = 0.3
#: Octets a second of each TCP transfer: the links of the vehicle are not those of a laboratory.
TCP_RATE = 200_000

_POLL = 0.02
_FLOWS_TAG = "flows-"


@dataclass(frozen=True, slots=True)
class Progress:
    """What is going on, for people who watch. Steps are numbered from 1; 0 = none."""

    text: str
    number: int = 0
    total: int = 0
    failed: bool = False


Listener = Callable[[Progress], None]


def _nobody(_progress: Progress) -> None:
    """A listener for those who wait for the result."""


class Tour:
    """One tour through a lab with a vehicle's uplinks, whose daemons run and which is at `scenario.START`."""

    def __init__(
        self,
        lab: Lab,
        steps: Sequence[Step] = scenario.WHOLE,
        *,
        dwell: float = DWELL,
        flows_dwell: float = FLOWS_DWELL,
        patience: float = PATIENCE,
        listener: Listener = _nobody,
    ) -> None:
        scenario.check(scenario.START, steps)
        self._lab = lab
        self._steps = tuple(steps)
        self._dwell = dwell
        self._flows_dwell = flows_dwell
        self._patience = patience
        self._listener = listener
        self._directory = lab.directory / "tour"
        self._at = scenario.START
        self._plugged: list[Plugged] = []
        self._control: sniffer.ControlReader
        self._data: sniffer.DataReader

    def run(self) -> Result:
        """Start the traffic, take every step, show the flows, stop the traffic, and work out the figures.

        Raises LabError when no traffic flows before the first step. A step that fails is recorded and the
        tour goes on.
        """
        lab, directory = self._lab, self._directory
        for place in (directory, directory / DOWNLOAD.name, directory / UPLOAD.name):
            place.mkdir(parents=True, exist_ok=True)
            for old in place.glob("*.*"):
                old.unlink()
        self._control, self._data = sniffer.ControlReader(directory), sniffer.DataReader(directory)
        sniffer.start(lab.processes, directory, lab.uplinks)
        streams.start(lab.processes, directory)
        self._plugged = [Plugged(link, network, time.monotonic()) for link, network in lab.plugged.items()]
        self._listener(Progress("traffic starts"))
        self._await_first_packets()
        for direction in (DOWNLOAD, UPLOAD):
            transfers.start(lab.processes, directory / direction.name, direction, TCP_RATE)
        begin = time.monotonic()
        time.sleep(self._dwell)
        stays = [self._step(number, step) for number, step in enumerate(self._steps, 1)]
        shares = self._show_flows() if self._flows_dwell else []
        end = time.monotonic()
        sessions: list[Session] = []
        for direction in (DOWNLOAD, UPLOAD):
            found = transfers.finish(
                lab.processes, directory / direction.name, self._patience, direction=direction
            )
            sessions += [
                Session(f"{session.name}-{direction.name}", session.octets, session.broken)
                for session in found
            ]
        lab.processes.stop([*streams.LABELS, sniffer.LABEL])
        self._listener(Progress("tour is over"))
        return self._result(begin, end, stays, shares, sessions)

    # Steps -----------------------------------------------------------------------------------------------

    def _step(self, number: int, step: Step) -> Stay:
        lab, old, new = self._lab, self._at, step.to
        began = time.monotonic()
        self._tell(number, f"{step.kind.value}: from {old} to {new}")
        better = find(lab.uplinks, new.link).preference < find(lab.uplinks, old.link).preference
        triggered = self._plug(new)
        failed = self._await_registration(new, triggered)
        if not better:
            time.sleep(STAND_BY)
            triggered = self._end(step.kind, old)
        failed = failed or self._settle(old.link, new.link, triggered)
        if failed:
            self._tell(number, failed, failed=True)
        else:
            self._tell(number, "all traffic has moved")
        if better:
            self._end(Kind.PLANNED, old)
        time.sleep(CLEAR)
        self._clear(step.kind, old)
        time.sleep(self._dwell)
        self._at = new
        ended = time.monotonic()
        slower = self._delay(new.link) - self._delay(old.link)
        return Stay(step.kind, old, new, began, triggered, ended, slower, failed)

    def _plug(self, place: Place) -> float:
        """Returns when the link was connected."""
        plug = self._lab.move(place.network, place.link)
        self._close_visit(place.link, plug.cut)
        self._plugged.append(Plugged(place.link, place.network, plug.plugged))
        return plug.plugged

    def _unplug(self, link: str) -> float:
        cut = self._lab.unplug(link)
        self._close_visit(link, cut)
        return cut

    def _close_visit(self, link: str, end: float) -> None:
        for plugged in self._plugged:
            if plugged.link == link and plugged.end is None:
                plugged.end = end

    def _end(self, kind: Kind, place: Place) -> float:
        """The link of this place comes to its end. Returns when."""
        match kind:
            case Kind.PLANNED:
                return self._lab.leave(place.link)
            case Kind.PULLED:
                return self._unplug(place.link)
            case Kind.SILENT:
                return self._lab.reshape(place.link, silent=True)

    def _clear(self, kind: Kind, place: Place) -> None:
        """What is left of a link that came to its end: it may be plugged in anew afterwards."""
        if kind is not Kind.PULLED:
            self._unplug(place.link)
        if kind is Kind.SILENT:
            self._lab.reshape(place.link, silent=False)

    def _delay(self, link: str) -> float:
        shape = find(self._lab.uplinks, link).shape
        return shape.delay if shape is not None else 0.0

    def _tell(self, number: int, text: str, *, failed: bool = False) -> None:
        self._listener(Progress(text, number, len(self._steps), failed))

    # Waiting ---------------------------------------------------------------------------------------------

    def _await_first_packets(self) -> None:
        deadline = time.monotonic() + self._patience
        while missing := [
            stream_name(direction, family)
            for direction in (DOWN, UP)
            for family in FAMILIES
            if not streams.arrived(self._directory, direction, family)[0]
        ]:
            if time.monotonic() > deadline:
                raise LabError(
                    f"no traffic flows before the first step: nothing arrives on {', '.join(missing)}"
                )
            time.sleep(_POLL)

    def _await_registration(self, place: Place, since: float) -> str:
        """Wait until the home agent has accepted a registration over this link; says what did not come."""
        deadline = since + self._patience
        while time.monotonic() < deadline:
            for message in self._control.news():
                if (
                    message["kind"] == BINDING_ACKNOWLEDGEMENT
                    and message["interface"] == place.link
                    and message["status"] < 128
                    and message["time"] > since
                ):
                    return ""
            time.sleep(_POLL)
        return f"no registration of {place}"

    def _settle(self, old: str, new: str, since: float) -> str:
        """Wait until all streams go over the new link and none over the old one."""
        deadline = time.monotonic() + self._patience
        while True:
            last: dict[tuple[str, bool, str], float] = {}
            for kind, moment in self._data.latest().items():
                if kind.port == PLAIN.port:
                    key = (kind.interface, kind.up, kind.family)
                    last[key] = max(moment, last.get(key, 0.0))
            now = time.monotonic()
            ways = [(up, family) for up in (True, False) for family in FAMILIES]
            missing = [
                f"{UP if up else DOWN}-{family}"
                for up, family in ways
                if last.get((new, up, family), 0.0) <= since
                or last.get((old, up, family), 0.0) > max(since, now - CLEAR)
            ]
            if not missing:
                return ""
            if now > deadline:
                return f"not moved to {new}: {', '.join(missing)}"
            time.sleep(_POLL)

    # Flows -----------------------------------------------------------------------------------------------

    def _show_flows(self) -> list[FlowShare]:
        """All three links at once, each flow where the policy wants it; two of the links lose packets."""
        lab, processes = self._lab, self._lab.processes
        self._listener(Progress("three links at once: video over one, voice over two, which lose 5 % each"))
        flows = (VIDEO, VOICE)
        for place in scenario.FLOWS_AT:
            if lab.plugged.get(place.link) != place.network:
                self._await_registration(place, self._plug(place))
        time.sleep(STAND_BY)
        streams.start(processes, self._directory, flows, _FLOWS_TAG)
        self._await_flows()
        time.sleep(self._dwell)
        for link in scenario.VOICE_LINKS:
            lab.reshape(link, loss=scenario.VOICE_LINK_LOSS)
        start = time.monotonic()
        time.sleep(self._flows_dwell)
        end = time.monotonic()
        for link in scenario.VOICE_LINKS:
            lab.reshape(link, loss=0.0)
        time.sleep(CLEAR)
        processes.stop(streams.labels(_FLOWS_TAG))
        time.sleep(2 * _POLL)  # the witness writes down what it saw
        wire = sniffer.load(self._directory)
        return [
            measure.share(flow, streams.load(self._directory, flow), wire, start, end - CLEAR)
            for flow in flows
        ]

    def _await_flows(self) -> None:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline and not all(
            streams.arrived(self._directory, direction, family, flow)[0]
            for flow in (VIDEO, VOICE)
            for direction in (DOWN, UP)
            for family in flow.families
        ):
            time.sleep(_POLL)

    # Afterwards ------------------------------------------------------------------------------------------

    def _result(
        self,
        begin: float,
        end: float,
        stays: Sequence[Stay],
        shares: Sequence[FlowShare],
        sessions: Sequence[Session],
    ) -> Result:
        flows, wire = streams.load(self._directory), sniffer.load(self._directory)
        moves = [measure.move(stay, flows, wire) for stay in stays]
        ends = [stay.end for stay in stays] + ([end] if shares else [])
        return Result(
            kernel=platform.release(),
            moves=moves,
            flows=shares,
            sessions=[*sessions, *measure.sessions(flows, PLAIN.octets, ends)],
            timeline=timeline(moves, self._plugged, flows, wire, begin, end),
        )


def write(result: Result, directory: Path) -> dict[str, Path]:
    """Write result.json, multihomed.png and multihomed.svg into a directory (made if need be)."""
    from dsmip.lab.multihomed import picture  # matplotlib takes its time, and a tour does not need it

    return files.write(directory, "multihomed", result.as_json(), partial(picture.draw, result.timeline))
