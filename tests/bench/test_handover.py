"""From a tour's moves to figures, with literal times."""

from __future__ import annotations

from typing import Any

import pytest

from dsmip.bench import handover
from dsmip.lab.measure import Handover
from dsmip.lab.result import Move

CARE_OF = "2001:db8:206::7"


def move(*, revisited: bool = False, network: str = "wifi6", first: float = 14.0) -> Move:
    found = Handover(
        network=network,
        care_of=CARE_OF,
        tunnel="IPv6-in-IPv6",
        formats={},
        address_ms=5.0,
        binding_ms=12.0,
        ours_ms={"v6": first - 5.5, "v4": first - 5.0},
        first_packet_ms={"v6": first - 0.5, "v4": first},
        outage_ms={},
        lost={},
        update_ms=8.0,
        plugged=100.0,
    )
    return Move(found, rtt_ms=2.0, link_down_ms=1.0, revisited=revisited)


def usable(moment: float, address: str = CARE_OF) -> dict[str, Any]:
    return {"event": "address-usable", "address": address, "at": moment, "time": moment + 0.001}


def test_the_steps_of_a_handover_add_up() -> None:
    events = [
        usable(99.9),
        usable(100.001, "2001:db8::1"),
        usable(100.006),
        {"event": "probe", "time": 100.1},
    ]
    one = handover.sample(move(), events)
    assert (one.detection, one.update, one.answer, one.data) == pytest.approx((1.0, 2.0, 4.0, 2.0))
    assert one.event_to_update == 3.0
    assert one.ours == one.detection + one.update + one.answer + one.data  # type: ignore[operator]


def test_kinds() -> None:
    kinds = [
        handover.kind_of(network, revisited=revisited, from_home=False)
        for network in ("dual", "fw4", "cgn4")
        for revisited in (False, True)
    ]
    assert kinds == [
        *("IPv6, new", "IPv6, known", "IPv4, new", "IPv4, known", "IPv4 behind a NAT, new"),
        "IPv4 behind a NAT, known",
    ]
    assert handover.kind_of("wifi6", revisited=False, from_home=True) == handover.LEAVING_HOME


def test_figures_hold_our_share_against_its_bars() -> None:
    moves = [move(), move(first=30.0), move(revisited=True, first=20.0)]
    found = {f.name.partition("/")[2]: f for f in handover.figures([handover.sample(m, []) for m in moves])}
    new = found["IPv6, new: our share beyond one round trip"]
    assert (new.value.minimum, new.value.maximum, new.baseline and new.baseline.median) == (7.0, 23.0, 2.0)
    assert new.ok is False
    known = found["IPv6, known: link up to first packet beyond two round trips"]
    assert known.value.median == 16.0
    assert known.ok is True
    wait = found["event to Binding Update, p99"]
    assert (wait.value.median, wait.value.count, wait.ok) == (3.0, 3, True)


def test_the_slowest_moves_are_told_with_their_steps_and_all_in_a_histogram() -> None:
    events = [usable(100.006)]
    figures = handover.figures([handover.sample(move(), events), handover.sample(move(), [])])
    wait = next(figure for figure in figures if figure.name.endswith("p99"))
    assert wait.detail["histogram"] == "≤ 4 ms: 2"
    assert "The slowest of 2: 3.0 ms (IPv6, new: detection 1.0 ms, update 2.0 ms); 3.0 ms" in wait.why
    assert handover.histogram([2.0, 2.1, 60.0]) == "≤ 2 ms: 1; ≤ 4 ms: 1; > 50 ms: 1"


def test_each_round_visits_every_kind_of_network() -> None:
    assert len(handover.route(2)) == 18
    assert set(handover.route(0)) == set(handover.ROUND)


def test_leaving_home_has_no_bar() -> None:
    (figure, _) = handover.figures([handover.sample(move(first=1014.0), [], from_home=True)])
    assert figure.bar is None
    assert figure.ok is None


def test_a_move_that_was_never_seen_on_the_wire_makes_no_figure() -> None:
    unseen = handover.Sample("IPv4, new", 1.0, None, None, None, None, None, None, None, revisited=True)
    assert handover.figures([unseen]) == []
