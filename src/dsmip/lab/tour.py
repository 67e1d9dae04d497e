"""The tour: a mobile router goes through every kind of network while traffic runs and is measured."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dsmip.lab import daemons, files, measure, plan, protection, sniffer, streams, transfers
from dsmip.lab.cabling import Plug
from dsmip.lab.errors import LabError
from dsmip.lab.lab import Lab
from dsmip.lab.measure import Stay
from dsmip.lab.observation import BINDING_ACKNOWLEDGEMENT, IKE
from dsmip.lab.result import Band, Move, Result, Timeline
from dsmip.lab.streams import DOWN, FAMILIES, UP, Stream, stream_name
from dsmip.lab.transfers import Session

#: Where the tour leads, after a first stay at home.
ROUTE = ("wifi6", "cafe4", "nat4", "dual", "cgn4", "fw4", "nat4", "wifi6", "home")

#: Seconds on each network, and seconds until a move counts as failed.
DWELL = 6.0
PATIENCE = 15.0
_POLL = 0.02
#: In `dsmip status`, where a NAT was found.
DETECTED = "detected"
#: Seconds at the end of a stay in which packets of a stream that lives arrive.
_ALIVE = 1.0
#: Seconds that a stay goes on after all traffic flows, however long that took.
_REST = 2 * _ALIVE


@dataclass(frozen=True, slots=True)
class Progress:
    """What is going on, for people who watch: `what` is "start", "moving", "registered", "flowing", "failed"
    or "done"; `since` is the time from carrier up in ms, where there is one; moves are numbered from 1."""

    what: str
    network: str
    number: int
    total: int
    since: float | None = None
    detail: str = ""


Listener = Callable[[Progress], None]


def _nobody(_progress: Progress) -> None:
    """A listener for those who wait for the result."""


class Tour:
    """One tour through a lab whose daemons run and whose mobile router is at home."""

    def __init__(
        self,
        lab: Lab,
        route: Sequence[str] = ROUTE,
        *,
        dwell: float = DWELL,
        patience: float = PATIENCE,
        listener: Listener = _nobody,
        pace: int = 1,
        protect: str = protection.NOTHING,
    ) -> None:
        """`dwell` and `patience` in seconds; `pace` is the time between two packets in ms, and slows the
        transfers down as well. `protect` is what the lab's configuration puts under ESP."""
        self._lab = lab
        self._route = tuple(route)
        self._dwell = dwell
        self._patience = patience
        self._listener = listener
        self._flow = replace(streams.PLAIN, every=pace)
        self._protect = protect
        self._directory = lab.directory / "tour"
        self._control: sniffer.ControlReader

    def run(self) -> Result:
        """Start the traffic, make every move, stop the traffic, and work out the figures.

        Raises LabError when no traffic flows before the first move. A move that fails is recorded and the
        tour goes on.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        for old in self._directory.iterdir():
            old.unlink()
        self._control = sniffer.ControlReader(self._directory)
        sniffer.start(self._lab.processes, self._directory)
        streams.start(self._lab.processes, self._directory, [self._flow])
        self._tell("start", self._lab.at, 0)
        self._await_first_packets()
        rate = transfers.RATE // self._flow.every
        transfers.start(self._lab.processes, self._directory, rate=rate)
        begin = time.monotonic()
        first = self._lab.at
        self._stay_until(begin + self._dwell)
        plugs: list[Plug] = []
        failures: list[str] = []
        pings: list[float | None] = []
        nats: list[str] = []
        for number, network in enumerate(self._route, 1):
            self._tell("moving", network, number)
            plug = self._lab.move(network)
            plugs.append(plug)
            failures.append(self._settle(plug, number))
            settled = 0.0 if failures[-1] else time.monotonic()
            pings.append(self._ping(network))
            self._stay_until(max(plug.plugged + self._dwell, settled + _REST))
            nats.append(self._nat())
            failures[-1] = failures[-1] or wrong_nat(network, nats[-1])
        end = time.monotonic()
        sessions = transfers.finish(self._lab.processes, self._directory, self._patience)
        self._lab.processes.stop(streams.LABELS)
        self._lab.processes.stop([sniffer.LABEL])
        self._tell("done", self._lab.at, len(self._route))
        return self._result(first, begin, end, plugs, failures, pings, nats, sessions)

    def _tell(
        self, what: str, network: str, number: int, since: float | None = None, detail: str = ""
    ) -> None:
        self._listener(Progress(what, network, number, len(self._route), since, detail))

    # While it goes on ------------------------------------------------------------------------------------

    def _await_first_packets(self) -> None:
        deadline = time.monotonic() + self._patience
        while missing := [name for name, (count, _) in self._arrivals().items() if not count]:
            if time.monotonic() > deadline:
                raise LabError(
                    f"no traffic flows before the first move: nothing arrives on {', '.join(missing)}"
                )
            time.sleep(_POLL)

    def _arrivals(self) -> dict[str, tuple[int, float]]:
        return {
            stream_name(direction, family): streams.arrived(self._directory, direction, family)
            for direction in (DOWN, UP)
            for family in FAMILIES
        }

    def _settle(self, plug: Plug, number: int) -> str:
        """Wait until the wire shows an accepted registration and all streams flow; says what did not come."""
        deadline = plug.plugged + self._patience
        acknowledged: float | None = None
        while True:
            for message in self._control.news():
                if (
                    acknowledged is None
                    and message["kind"] == BINDING_ACKNOWLEDGEMENT
                    and message["status"] < 128
                    and message["time"] > plug.plugged
                ):
                    acknowledged = message["time"]
                    self._tell(
                        "registered",
                        plug.network,
                        number,
                        1000 * (acknowledged - plug.plugged),
                        message["care_of"],
                    )
            if acknowledged is not None:
                arrivals = self._arrivals()
                silent = [name for name, (_, last) in arrivals.items() if last <= acknowledged]
                if not silent:
                    self._tell("flowing", plug.network, number)
                    return ""
            if time.monotonic() > deadline:
                failed = f"nothing arrives on {', '.join(silent)}" if acknowledged else "no registration"
                self._tell("failed", plug.network, number, detail=failed)
                return failed
            time.sleep(_POLL)

    def _stay_until(self, moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))

    def _ping(self, network: str) -> float | None:
        """The round trip to the home agent in ms, without a tunnel: from the mobile router's uplink, or from
        the access router where the uplink gets no answer."""
        access = plan.NETWORKS[network]
        target = str(plan.HOME_AGENT if access.address6 else plan.HOME_AGENT_IPV4)
        for node, source in (("mr", ["-I", plan.UPLINK]), (access.router, [])):
            argv = ["ping", "-q", "-c", "5", "-i", "0.05", "-W", "1", *source, target]
            answer = self._lab.exec(node, argv, capture_output=True)
            times = re.search(r"= ([\d.]+)/([\d.]+)/", answer.stdout)
            if answer.returncode == 0 and times:
                return float(times[2])
        return None

    def _nat(self) -> str:
        """What the mobile router says of a NAT here, "" when it does not answer."""
        try:
            return str(daemons.ask(self._lab.instance("mr"), "status")["nat"])
        except LabError:
            return ""

    # Afterwards ------------------------------------------------------------------------------------------

    def _result(
        self,
        first: str,
        begin: float,
        end: float,
        plugs: Sequence[Plug],
        failures: Sequence[str],
        pings: Sequence[float | None],
        nats: Sequence[str],
        sessions: Sequence[Session],
    ) -> Result:
        flows = streams.load(self._directory)
        wire = sniffer.load(self._directory)
        ends = [*(plug.cut for plug in plugs[1:]), end]
        stays = [
            Stay(plug.network, plug.cut, plug.plugged, until) for plug, until in zip(plugs, ends, strict=True)
        ]
        interval = self._flow.every * streams.INTERVAL
        handovers = [measure.handover(stay, flows, wire, interval) for stay in stays]
        visited = [first, *(plug.network for plug in plugs)]
        moves = [
            Move(
                handover=found,
                rtt_ms=rtt,
                link_down_ms=round((plug.plugged - plug.cut) * 1000, 3),
                revisited=plug.network in visited[: number + 1],
                failed=failed,
                nat=nat,
            )
            for number, (found, plug, failed, rtt, nat) in enumerate(
                zip(handovers, plugs, failures, pings, nats, strict=True)
            )
        ]
        home = "home" if first == plan.HOME else None
        cuts = [plug.cut for plug in plugs]
        bands = [Band(first, home, 0.0, (cuts[0] if cuts else end) - begin)]
        bands += [
            Band(stay.network, found.tunnel, stay.cut - begin, stay.end - begin, found.outage_ms)
            for stay, found in zip(stays, handovers, strict=True)
        ]
        return Result(
            kernel=platform.release(),
            moves=moves,
            sessions=[*sessions, *_stream_sessions(flows, [begin, *cuts], [*cuts, end])],
            timeline=_timeline(bands, flows, begin, end),
            protect=self._protect,
            associations=measure.associations(wire),
            key_exchanges=sum(1 for message in wire.control if message["kind"] == IKE),
            exposed=exposed(self._protect, wire, stays),
        )


def exposed(protect: str, wire: sniffer.Wire, stays: Sequence[Stay]) -> int:
    """How many packets of what was to be under ESP the mobile router's uplink showed without."""
    signalling = measure.signalling_in_clear(wire) if protect else 0
    return signalling + (measure.payload_in_clear(wire, stays) if protect == protection.ALL else 0)


def wrong_nat(network: str, found: str) -> str:
    """What is wrong with what was found out of a NAT."""
    there = plan.NETWORKS[network].public4 is not None
    if (found == DETECTED) == there:
        return ""
    return "the NAT was not detected" if there else "a NAT was detected where there is none"


def _stream_sessions(
    flows: dict[str, Stream], begins: Sequence[float], ends: Sequence[float]
) -> list[Session]:
    """A stream is broken when it was silent at the end of a stay."""
    sessions = []
    for name, stream in flows.items():
        silent = [
            end
            for begin, end in zip(begins, ends, strict=True)
            if measure.is_silent(stream, max(begin, end - _ALIVE), end - measure.BEFORE_CUT)
        ]
        broken = f"silent at the end of {len(silent)} stays" if silent else ""
        sessions.append(Session(f"udp-{name}", streams.PACKET_OCTETS * len(stream.received), broken))
    return sessions


def _timeline(bands: Sequence[Band], flows: dict[str, Stream], begin: float, end: float) -> Timeline:
    pairs = {
        family: (flows[stream_name(DOWN, family)], flows[stream_name(UP, family)]) for family in FAMILIES
    }
    return Timeline(
        bands,
        {
            family: [(sent - begin, trip) for sent, trip in measure.round_trips(*pair) if begin <= sent < end]
            for family, pair in pairs.items()
        },
        {
            family: [sent - begin for sent in measure.losses(*pair) if begin <= sent < end]
            for family, pair in pairs.items()
        },
    )


def write(result: Result, directory: Path) -> dict[str, Path]:
    """Write result.json, tour.png and tour.svg into a directory (made if need be); returns their paths."""
    from dsmip.lab import picture  # matplotlib takes its time, and a tour does not need it

    return files.write(directory, "tour", result.as_json(), partial(picture.draw, result.timeline))
