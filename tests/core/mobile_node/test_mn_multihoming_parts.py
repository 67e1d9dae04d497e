"""The small rooms of several uplinks by themselves: supervision, order, flows, counters."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mobile_node_bench import WIFI6, at

from dsmip.core.binding_update_list import SentUpdate
from dsmip.core.flow_selectors import FlowDescription, covers, swapped
from dsmip.core.mobile_node.arrangement import Candidate, Condition, flow_bindings, preference, priorities
from dsmip.core.mobile_node.counters import TURN, Counters
from dsmip.core.mobile_node.flows import FlowTable
from dsmip.core.mobile_node.policy import FlowPolicy, Probing, UplinkChoice
from dsmip.core.path_supervision import HOLD_DOWN, Health, PathSupervision
from dsmip.core.types import FlowBinding
from dsmip.wire.constants import BUFlag
from dsmip.wire.errors import DecodeError
from dsmip.wire.flows import FlowIdentification
from dsmip.wire.pathprobe import ProbePayload, is_probe
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector

# Supervision ------------------------------------------------------------------------------------------------


class Line:
    """A path with a supervision, and a far end that answers after `round_trip` as long as it lives.

    `loss` is the share of round trips that fail at random.
    """

    def __init__(self, round_trip: float = 0.02, *, in_use: bool = True, seed: int = 0) -> None:
        self.path = PathSupervision(Probing())
        self.round_trip = round_trip
        self.loss = 0.0
        self.silences = 0
        self._random = random.Random(seed)
        self.time = 0.0
        self.alive = True
        self.sent: list[float] = []
        self._answers: list[tuple[float, int]] = []
        self.path.start(round_trip, 0.0)
        self.path.use(in_use=in_use, metered=False, now=0.0)

    def run(self, seconds: float) -> None:
        end = self.time + seconds
        while True:
            times = [
                time for time in (self.path.timeout, *(at for at, _ in self._answers)) if time is not None
            ]
            if not times or min(times) > end:
                break
            self.time = max(self.time, min(times))
            for answer in [one for one in self._answers if one[0] <= self.time]:
                self._answers.remove(answer)
                self.path.answered(answer[1], self.time)
            before = self.path.health
            self.path.tick(self.time)
            self.silences += before is not self.path.health is Health.SILENT
            mark = self.path.next_probe(self.time)
            if mark is not None:
                self.sent.append(self.time)
                if self.alive and self._random.random() >= self.loss:
                    self._answers.append((self.time + self.round_trip, mark.sequence))
        self.time = end


@pytest.mark.parametrize("round_trip", [0.002, 0.02, 0.05, 0.1, 0.6])
def test_silence_is_certain_after_enough_missing_probes_and_not_long_after(round_trip: float) -> None:
    line = Line(round_trip)
    line.run(5.0)
    assert line.path.health is Health.UP
    line.alive = False
    died, needed = line.time, line.path.needed
    while line.path.health is not Health.SILENT:
        line.run(0.001)
        assert line.time - died < 0.35 + 2 * round_trip
    assert len([time for time in line.sent if time > died]) >= needed


@pytest.mark.parametrize("round_trip", [0.002, 0.03, 0.05])
def test_silence_of_a_path_in_use_is_certain_within_three_intervals(round_trip: float) -> None:
    for moment in range(20):
        line = Line(round_trip)
        line.run(5.0 + 0.005 * moment)
        line.alive = False
        line.run(0.3)
        assert line.path.health is Health.SILENT


@pytest.mark.parametrize("round_trip", [0.002, 0.04, 0.15, 0.6])
def test_a_path_that_begins_to_lose_at_random_is_not_silent(round_trip: float) -> None:
    """5 % each way: the first seconds of it twenty times, and half an hour."""
    for seed in range(20):
        line = Line(round_trip, seed=seed)
        line.run(5.0)
        line.loss = 0.0975
        line.run(10.0 if seed else 1800.0)
        assert line.silences == 0


def test_more_is_demanded_of_a_path_that_loses_more() -> None:
    line = Line(0.04)
    demanded = []
    for loss in (0.0, 0.15, 0.3):
        line.loss = loss
        line.run(60.0)
        demanded.append(line.path.needed)
        assert line.silences == 0
    assert demanded == sorted(set(demanded))


def test_the_death_of_a_lossy_path_is_noticed_hardly_later() -> None:
    line = Line(0.04)
    line.loss = 0.25
    line.run(30.0)
    line.alive = False
    line.run(0.4)
    assert line.path.health is Health.SILENT


def test_the_death_of_a_lossy_path_that_is_probed_seldom_is_noticed_too() -> None:
    """Probes that are evidence were forgotten before there were enough of them."""
    line = Line(0.04, in_use=False)
    line.path.probing = Probing(1.0, 10.0, 30.0)
    line.loss = 0.4
    line.run(600.0)
    line.alive = False
    line.run(60.0)
    assert line.path.health is Health.SILENT


def test_the_death_of_a_path_with_an_unsteady_delay_is_noticed_too_and_brings_no_flood() -> None:
    """Probes that saw no answer yet crowded out those that had seen none for too long."""
    line = Line(0.3, in_use=False)
    line.path.probing = Probing(2.0, 20.0, 30.0)
    line.path.use(in_use=True, metered=False, now=0.0)
    for _ in range(30):
        line.round_trip = 1.2 - line.round_trip
        line.run(2.0)
    line.alive = False
    line.run(30.0)
    assert line.path.health is Health.SILENT
    assert len([time for time in line.sent if time > 60.0]) < 80


def test_a_missing_probe_is_followed_by_the_next_at_once() -> None:
    line = Line(0.02)
    line.run(5.0)
    line.alive = False
    line.run(0.14)
    late = [time for time in line.sent if time > 5.0]
    assert min(after - before for before, after in pairwise(late)) < 0.05


def test_probation_needs_good_probes_in_a_row_and_the_hold_down() -> None:
    line = Line(0.02)
    line.run(5.0)
    line.alive = False
    line.run(1.0)
    line.alive = True
    line.path.alive(line.time)  # an acknowledgement came over it
    assert line.path.health is Health.PROBATION
    line.run(0.5)
    assert line.path.health is Health.PROBATION
    line.run(HOLD_DOWN)
    assert line.path.health is Health.UP


def test_delay_and_loss_are_measured() -> None:
    line = Line(0.03)
    line.run(3.0)
    assert line.path.delay == pytest.approx(0.03)
    assert line.path.loss == 0.0
    for _ in range(20):
        line.run(0.5)
        line.alive = False
        line.run(0.1)
        line.alive = True
    assert 0.05 < line.path.loss < 0.5
    assert line.path.health is not Health.SILENT


def test_answers_to_nothing_and_twice_are_not_believed() -> None:
    path = PathSupervision(Probing())
    path.start(0.02, 0.0)
    mark = path.next_probe(0.0)
    assert mark is not None
    assert not path.answered(mark.sequence + 1, 0.01)
    assert path.answered(mark.sequence, 0.02)
    assert not path.answered(mark.sequence, 0.03)


def test_nothing_is_concluded_while_nothing_was_ever_answered() -> None:
    line = Line()
    line.alive = False
    line.run(300.0)
    assert line.path.health is Health.UP
    assert len([time for time in line.sent if time > 100.0]) < 10


@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans(), st.booleans()), max_size=30), st.floats(0.001, 2.0)
)
def test_any_line_is_supervised_without_hurry(
    script: list[tuple[float, bool, bool]], round_trip: float
) -> None:
    line = Line(round_trip)
    for pause, alive, in_use in script:
        line.alive = alive
        line.path.use(in_use=in_use, metered=not alive, now=line.time)
        line.run(pause)
    seconds = max(line.time, 0.1)
    assert len(line.sent) < 110 * seconds + 20


# Order and priorities ---------------------------------------------------------------------------------------


def candidate(bid: int, place: int, condition: Condition = Condition.GOOD, **choice: object) -> Candidate:
    return Candidate(bid, f"if{bid}", condition, UplinkChoice(preference=place, **choice))  # type: ignore[arg-type]


def test_order_of_paths() -> None:
    paths = [
        candidate(1, 10, Condition.SILENT),
        candidate(2, 90, fallback_only=True),
        candidate(3, 20, Condition.LEAVING),
        candidate(4, 30, Condition.PROBATION),
        candidate(5, 40),
        candidate(6, 5, Condition.SILENT, fallback_only=True),
    ]
    assert [one.bid for one in preference(paths)] == [5, 4, 2, 3, 1, 6]


@given(
    st.permutations(list(range(1, 9))),
    st.dictionaries(st.integers(1, 8), st.integers(1, 127)),
    st.integers(1, 8),
)
def test_rfc6089_4_1_priorities_increase_and_few_are_changed(
    order: list[int], known: dict[int, int], over: int
) -> None:
    result = priorities(order, known, over)
    numbers = [result[bid] for bid in order]
    assert all(1 <= number <= 127 for number in numbers)
    assert all(one < other for one, other in pairwise(numbers))


def test_a_move_to_the_front_changes_one_priority() -> None:
    known = {1: 8, 2: 16, 3: 24}
    assert priorities([2, 1, 3], known, over=2) == {2: 4, 1: 8, 3: 24}
    assert priorities([1, 2, 3], known, over=1) == known
    assert priorities([2, 3, 1], known, over=2) == {2: 16, 3: 24, 1: 32}


# Flows ------------------------------------------------------------------------------------------------------

UDP = FlowDescription(protocol=(17, 17))


def bindings_of(flow: FlowPolicy, *paths: Candidate) -> set[tuple[int, ...]]:
    numbers = {(flow.name, number): number + 1 for number in range(4)}
    return {one.bids for one in flow_bindings([flow], preference(paths), numbers, ipv4=True)}


def test_where_a_flow_goes() -> None:
    paths = (candidate(1, 10, cost=9), candidate(2, 20, cost=1), candidate(3, 30, cost=5, fallback_only=True))
    assert bindings_of(FlowPolicy("a", UDP), *paths) == {(1,)}
    assert bindings_of(FlowPolicy("a", UDP, use="cheapest"), *paths) == {(2,)}
    assert bindings_of(FlowPolicy("a", UDP, ("if3", "if1")), *paths) == {(3,)}
    assert bindings_of(FlowPolicy("a", UDP, duplicate=3), *paths) == {(1, 2)}
    assert bindings_of(FlowPolicy("a", UDP), paths[2]) == {(3,)}
    assert bindings_of(FlowPolicy("a", UDP, ("if9",)), *paths) == set()
    silent = (candidate(1, 10, Condition.SILENT), candidate(2, 20, Condition.PROBATION), candidate(4, 50))
    assert bindings_of(FlowPolicy("a", UDP, ("if1", "if2")), *silent) == {(2,)}
    assert bindings_of(FlowPolicy("a", UDP, duplicate=2), *silent) == {(4, 2)}


def test_no_ipv4_flows_without_ipv4() -> None:
    flow = FlowPolicy("a", UDP)
    numbers = {("a", 0): 1, ("a", 1): 2}
    found = flow_bindings([flow], [candidate(1, 1)], numbers, ipv4=False)
    assert [type(one.selector) for one in found] == [IPv6TrafficSelector]


def test_selectors_cover_and_swap() -> None:
    wide = IPv4TrafficSelector(protocol=(17, 17))
    narrow = IPv4TrafficSelector(protocol=(17, 17), source_port=(5, 6))
    assert covers(wide, narrow)
    assert not covers(narrow, wide)
    assert not covers(wide, IPv6TrafficSelector())
    assert swapped(swapped(narrow)) == narrow
    assert swapped(narrow).destination_port == (5, 6)


FLOW = FlowBinding(1, 10, IPv6TrafficSelector(next_header=(17, 17)), (1,))
MOVED = FlowBinding(1, 10, FLOW.selector, (2,))


def answer(fid: int = 1, status: int = 0) -> tuple[FlowIdentification, ...]:
    return (FlowIdentification(fid, 10, status),)


def test_rfc6089_5_1_new_in_full_unchanged_by_number_moved_without_selector() -> None:
    table = FlowTable()
    assert table.is_news([FLOW])
    first = table.carry([FLOW])
    assert first.options[0].selector == FLOW.selector
    table.acknowledged(first, answer())
    assert not table.is_news([FLOW])
    assert table.carry([FLOW]).kept == (1,)
    moved = table.carry([MOVED])
    assert moved.options[0].bids == (2,)
    assert moved.options[0].selector is None
    table.acknowledged(moved, answer())
    assert table.knows(MOVED)
    assert table.is_news([])


def test_what_was_not_answered_is_said_again_even_if_it_is_as_before() -> None:
    table = FlowTable()
    table.acknowledged(table.carry([FLOW]), answer())
    table.carry([MOVED])
    back = table.carry([FLOW])
    assert [option.bids for option in back.options] == [(1,)]


def test_an_old_answer_does_not_settle_a_later_update() -> None:
    table = FlowTable()
    old = table.carry([FLOW])
    table.carry([MOVED])
    table.acknowledged(old, answer())
    assert table.is_news([FLOW])
    assert table.carry([FLOW]).options


def test_statuses_of_flows() -> None:
    table = FlowTable()
    table.acknowledged(table.carry([FLOW]), answer(status=128))
    assert table.refused == {1: 128}
    assert not table.is_news([FLOW])  # not before something has changed
    table.try_again()
    assert table.is_news([FLOW])
    table.acknowledged(table.carry([FLOW]), answer())
    assert table.refused == {}
    kept = table.carry([FLOW])
    table.acknowledged(kept, answer(status=132))  # the home agent has lost it
    assert table.is_news([FLOW])
    assert table.carry([FLOW]).options[0].selector is not None


def test_rfc6089_5_1_no_flow_option_in_the_answer_means_no_flows() -> None:
    table = FlowTable()
    table.acknowledged(table.carry([FLOW]), ())
    assert not table.supported
    assert table.carry([FLOW]).mobility_options == ()
    assert not table.is_news([FLOW])


# Counters ---------------------------------------------------------------------------------------------------


def sent(counters: Counters, time: float) -> SentUpdate:
    sequence, timestamp = counters.next(at(time))
    return SentUpdate(sequence, BUFlag.A, 1, time, WIFI6.address, timestamp)


def test_an_overtaken_update_does_not_set_numbers_back() -> None:
    counters = Counters(random.Random(1))
    first, second = sent(counters, 0.0), sent(counters, 0.01)
    counters.correct_sequence(second.sequence, first)
    third, _ = counters.next(at(0.02))
    assert third == (second.sequence + 1) % 0x10000
    counters.correct_clock(second.timestamp, first, at(0.03))
    _, timestamp = counters.next(at(0.04))
    assert timestamp > second.timestamp


def test_turns() -> None:
    counters = Counters(random.Random(1))
    one, other = object(), object()
    assert counters.taken_until(other, 0.0) is None
    counters.take_turn(one, 0.0)
    assert counters.taken_until(other, 0.1) == TURN
    assert counters.taken_until(one, 0.1) is None
    assert counters.taken_until(other, TURN) is None
    counters.end_turn(other)
    assert counters.taken_until(other, 0.1) == TURN
    counters.end_turn(one)
    assert counters.taken_until(other, 0.1) is None


# The probe on the wire --------------------------------------------------------------------------------------


def test_probe_payload_layout() -> None:
    payload = ProbePayload(bid=3, hold=250, sequence=7, sent=9, flags=1, mtu=1372)
    layout = "64736d5001010003000000fa000000070000000000000009055c000000000000"
    assert payload.encode().hex() == layout
    assert ProbePayload.decode(payload.encode() + b"more") == payload


@given(st.binary(max_size=40))
def test_other_content_is_no_probe(data: bytes) -> None:
    try:
        payload = ProbePayload.decode(data)
    except DecodeError:
        return
    assert data.startswith(payload.encode()[:26])


def test_probes_are_told_from_other_packets() -> None:
    assert is_probe(bytes(80) + ProbePayload(1, 2, 3, 4).encode())
    assert is_probe(bytes(96) + ProbePayload(1, 2, 3, 4).encode() + bytes(1200))
    assert not is_probe(bytes(104))
    assert not is_probe(b"dsmP")
