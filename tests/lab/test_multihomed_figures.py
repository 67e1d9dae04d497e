"""The figures, bars and picture of the tour with several uplinks, from literal times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from dsmip.lab.multihomed import measure, picture, result, scenario
from dsmip.lab.multihomed.measure import FlowShare, Move, Stay
from dsmip.lab.multihomed.result import Plugged, Result
from dsmip.lab.multihomed.scenario import Kind, Place, Step
from dsmip.lab.observation import DataClass
from dsmip.lab.sniffer import Wire
from dsmip.lab.streams import DOWN, FAMILIES, UP, Stream, stream_name
from dsmip.lab.transfers import Session

WIFI, LTE = Place("wifi0", "wifi6"), Place("lte0", "nat4")
CARE_OF = "10.4.0.20"


def steady(start: float, end: float, interval: float = 0.001) -> list[float]:
    return [start + n * interval for n in range(round((end - start) / interval))]


def stream(sent: Sequence[float], *, without: range = range(0), latency: float = 0.002) -> Stream:
    return Stream("x", sent, [(n, moment + latency) for n, moment in enumerate(sent) if n not in without])


def flows(without: range = range(0)) -> dict[str, Stream]:
    sent = steady(0, 10)
    found = {stream_name(way, family): stream(sent) for way in (UP, DOWN) for family in FAMILIES}
    found["down-v6"] = stream(sent, without=without)
    return found


def wire(moved: float = 5.2) -> Wire:
    """Both families over wifi0 until 5 s, then over lte0."""
    data = {}
    for up in (True, False):
        for family in FAMILIES:
            data[DataClass(up, family, "ipv6", "2001:db8:206::a", 5001, "wifi0")] = steady(0, 5)
            data[DataClass(up, family, "udp4", CARE_OF, 5001, "lte0")] = steady(moved, 10)
    updates = [{"time": 5.1, "kind": "binding-update"}, {"time": 9.9, "kind": "binding-update"}]
    return Wire(updates, data)


def stay(kind: Kind = Kind.SILENT, **changes: object) -> Stay:
    return replace(Stay(kind, WIFI, LTE, 4.0, 5.0, 9.0), **changes)  # type: ignore[arg-type]


def moved(kind: Kind, lost: int = 0, recovered: float = 0.0) -> Move:
    figures = measure.move(stay(kind), flows(), wire())
    return replace(figures, lost={"v6": lost, "v4": 0}, recovered_ms={"v6": recovered, "v4": 1.0})


def found(*moves: Move, shares: Sequence[FlowShare] = (), broken: str = "") -> Result:
    plugged = [Plugged("wifi0", "wifi6", 0.0, 5.5), Plugged("lte0", "nat4", 4.1)]
    shown = result.timeline(moves, plugged, flows(range(5000, 5200)), wire(), 0.0, 10.0)
    return Result("6.1", moves, shares, [Session("udp-up-v6", 1, broken)], shown)


# Figures ---------------------------------------------------------------------------------------------------


def test_a_silent_death_is_measured_from_the_moment_the_link_died() -> None:
    figures = measure.move(stay(slower=0.018), flows(range(5000, 5200)), wire())
    assert figures.lost == {"v6": 200, "v4": 0}
    assert figures.outage_ms["v6"] == pytest.approx(200, abs=0.01)
    assert figures.outage_ms["v4"] == pytest.approx(0, abs=0.01)
    assert figures.recovered_ms["v6"] == pytest.approx(182, abs=0.01)
    assert figures.moved_ms == {"up": pytest.approx(200), "down": pytest.approx(200)}
    assert (figures.tunnel, figures.care_of, figures.updates) == ("UDP", CARE_OF, 1)


def test_what_never_passed_the_new_link_has_not_moved() -> None:
    figures = measure.move(stay(), flows(), wire(moved=9.5))
    assert figures.moved_ms == {"up": None, "down": None}
    assert figures.tunnel is None


def test_an_outage_counts_in_the_step_in_which_it_began() -> None:
    cut = stream(steady(0, 10), without=range(5000, 5300))
    assert measure.outage(cut, 4, 5.1) == pytest.approx(0.3)
    assert measure.outage(cut, 5.4, 9) == pytest.approx(0, abs=1e-9)
    assert measure.outage(stream(steady(0, 4)), 5, 9) == 4


def test_packets_that_come_twice_or_late_are_counted_where_they_were_sent() -> None:
    sent = steady(0, 1)
    arrivals = [(n, moment + 0.002) for n, moment in enumerate(sent)]
    arrivals[100], arrivals[101] = arrivals[101], arrivals[100]
    arrivals += [(500, 0.9), (500, 0.91)]
    flow = Stream("x", sent, arrivals)
    assert measure.duplicates(flow, 0, 1) == 2
    assert measure.duplicates(flow, 0, 0.4) == 0
    assert measure.reordered(flow, 0, 0.4) == 1
    assert measure.reordered(flow, 0.15, 0.4) == 0


def test_a_flow_s_share_tells_its_links_its_loss_and_what_came_twice() -> None:
    sent = steady(0, 10, 0.002)
    voice = {
        "voice-up-v4": stream(sent, without=range(10)),
        "voice-down-v4": Stream("x", sent, [(n, moment) for n, moment in enumerate(sent)] + [(7, 9.9)]),
    }
    seen = Wire(
        [],
        {
            DataClass(True, "v4", "udp4", CARE_OF, 5006, "lte0"): sent,
            DataClass(True, "v4", "udp6", "2001:db8:246::a", 5006, "lte1"): sent,
            DataClass(False, "v4", "udp4", CARE_OF, 5006, "lte0"): sent[:100],
            DataClass(True, "v4", "udp4", CARE_OF, 5001, "wifi0"): sent,
        },
    )
    share = measure.share(scenario.VOICE, voice, seen, 0.0, 10.0)
    assert share.links == {"up": {"lte0": 5000, "lte1": 5000}, "down": {"lte0": 100}}
    assert (share.sent, share.lost, share.duplicates) == (10000, 10, 1)
    assert share.loss == pytest.approx(0.001)


def test_spans_end_at_a_pause_and_single_packets_are_none() -> None:
    times = [*steady(1, 2), 3.0, *steady(4, 5)]
    assert measure.spans(times) == [(1, pytest.approx(1.999)), (4, pytest.approx(4.999))]
    assert measure.spans([]) == []


# Bars ------------------------------------------------------------------------------------------------------


def test_a_row_of_clean_handovers_ends_with_a_lost_packet_or_another_kind() -> None:
    clean = moved(Kind.PLANNED)
    assert measure.in_a_row([clean, clean, moved(Kind.PLANNED, lost=1), clean]) == 2
    assert measure.in_a_row([clean, moved(Kind.PULLED), clean, clean, clean]) == 3


def test_every_bar_missed_is_named() -> None:
    voice = FlowShare("voice", {}, 10000, 60, 1, 0)
    tour = found(
        moved(Kind.PLANNED, lost=3),
        moved(Kind.SILENT, recovered=312.4),
        moved(Kind.SILENT, recovered=250),
        moved(Kind.PULLED, lost=40, recovered=400),
        shares=[voice],
    )
    assert tour.missed == [
        "planned to lte0 in nat4: 3 packets lost (bar: 0)",
        "silent death of wifi0 in wifi6: 312 ms without traffic (bar: 300 ms)",
        "voice: 0.60 % lost (bar: 0.5 %), 1 delivered twice (bar: 0)",
    ]
    assert tour.silent_worst_ms == 312.4
    assert found(moved(Kind.PLANNED), moved(Kind.SILENT, recovered=250)).missed == []


def test_the_json_has_the_kind_of_each_move_and_the_sums() -> None:
    share = FlowShare("video", {"up": {"lte0": 5}}, 10, 0, 0, 0)
    said = found(moved(Kind.PLANNED), moved(Kind.SILENT), shares=[share], broken="silent").as_json()
    assert [move["kind"] for move in said["moves"]] == ["planned", "silent"]
    assert said["moves"][0] | {"from": "wifi6", "to": "nat4", "link": "lte0"} == said["moves"][0]
    assert said["flows"][0]["packets_on_links"] == {"up": {"lte0": 5}}
    assert (said["broken"], said["planned_lost"], said["planned_in_a_row"]) == (1, 0, 1)


def test_a_stream_silent_at_the_end_of_a_step_is_a_broken_session() -> None:
    silent = {"up-v6": stream(steady(0, 10), without=range(4000, 5100)), "up-v4": stream(steady(0, 10))}
    sessions = measure.sessions(silent, 64, [5.0, 9.0])
    assert [bool(session.broken) for session in sessions] == [True, False]


# Scenario and picture --------------------------------------------------------------------------------------


def test_the_tour_has_every_pair_of_families_by_every_kind() -> None:
    scenario.check(scenario.START, scenario.WHOLE)
    places = [scenario.START, *(step.to for step in scenario.WHOLE)]
    pairs: dict[Kind, set[tuple[str, str]]] = {kind: set() for kind in Kind}
    for (before, after), step in zip(pairwise(places), scenario.WHOLE, strict=True):
        pairs[step.kind].add((before.network, after.network))
    ordered = {(one, other) for one in scenario.FAMILIES for other in scenario.FAMILIES if one != other}
    assert ordered <= pairs[Kind.PLANNED]
    for kind in (Kind.PULLED, Kind.SILENT):
        assert {frozenset(pair) for pair in pairs[kind]} == {frozenset(pair) for pair in ordered}
    first = [step.kind for step in scenario.WHOLE[: result.IN_A_ROW_BAR]]
    assert first == [Kind.PLANNED] * result.IN_A_ROW_BAR


def test_a_step_that_is_no_vertical_handover_is_refused() -> None:
    scenario.check(scenario.START, scenario.SHORT)
    for place in (Place("wifi0", "nat4"), Place("lte0", "wifi6")):
        with pytest.raises(ValueError, match="no vertical handover"):
            scenario.check(scenario.START, [Step(Kind.PLANNED, place)])


def test_a_lane_has_its_visits_its_flows_and_the_round_trips_sent_over_it() -> None:
    wifi, lte, other = found(moved(Kind.SILENT)).timeline.lanes
    assert [(visit.network, visit.start, visit.end) for visit in wifi.visits] == [("wifi6", 0.0, 5.5)]
    assert [(visit.network, visit.start, visit.end) for visit in lte.visits] == [("nat4", 4.1, 10.0)]
    assert wifi.flows["v6"] == [(0, pytest.approx(4.999))]
    assert max(moment for moment, trip in wifi.round_trips["v6"] if trip) == pytest.approx(4.999, abs=0.002)
    assert min(moment for moment, trip in lte.round_trips["v6"] if trip) == pytest.approx(5.2, abs=0.002)
    assert (other.link, other.visits, other.flows) == ("lte1", [], {})


def test_the_picture_shows_links_networks_and_kinds_and_comes_out_the_same_twice(tmp_path: Path) -> None:
    tour = found(moved(Kind.SILENT, lost=200, recovered=200))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        picture.draw(tour.timeline, [tmp_path / name / "multihomed.svg"])
    first, second = ((tmp_path / name / "multihomed.svg").read_text() for name in ("a", "b"))
    assert first == second
    for words in ("wifi0", "lte1", "nat4", "silent death", "voice", "plugged in", "round trip, ms"):
        assert words in first
