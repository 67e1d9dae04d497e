"""A short tour with the real daemons: what the demo shows, in a few seconds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dsmip.lab import tour
from dsmip.lab.errors import LabError
from dsmip.lab.lab import Lab
from dsmip.lab.tour import Progress, Tour

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.usefixtures("able")]

ROUTE = ("wifi6", "cafe4", "cgn4", "fw4", "home")
TUNNELS = ["IPv6-in-IPv6", "IPv6-in-IPv4", "UDP", "UDP", "home"]


def test_a_tour_breaks_nothing_and_shows_the_tunnels_of_rfc_5555(tmp_path: Path) -> None:
    seen: list[Progress] = []
    with Lab.up(f"tour{os.getpid()}") as lab:
        lab.start_daemons()
        result = Tour(lab, ROUTE, dwell=3.0, listener=seen.append).run()
        assert lab.at == "home"

    assert result.failed == []
    assert [(session.name, session.broken) for session in result.sessions if session.broken] == []
    assert [move.handover.network for move in result.moves] == list(ROUTE)
    assert [move.handover.tunnel for move in result.moves] == TUNNELS
    for move in result.moves:
        found = move.handover
        assert found.address_ms is not None
        assert found.binding_ms is not None
        assert 0 <= found.address_ms <= found.binding_ms
        for family in ("v6", "v4"):
            ours, first = found.ours_ms[family], found.first_packet_ms[family]
            assert ours is not None
            assert first is not None
            assert 0 < ours <= first
            assert found.outage_ms[family] < 2500
        assert move.rtt_ms is not None
    assert [progress.network for progress in seen if progress.what == "flowing"] == list(ROUTE)

    paths = tour.write(result, tmp_path / "out")
    assert sorted(path.name for path in paths.values()) == ["result.json", "tour.png", "tour.svg"]
    assert json.loads(paths["result.json"].read_text())["broken"] == 0


def test_a_move_that_does_not_register_is_told_and_the_tour_goes_on() -> None:
    with Lab.up(f"tour{os.getpid()}") as lab:
        lab.start_daemons()
        seen: list[str] = []

        def listen(progress: Progress) -> None:
            seen.append(progress.what)
            if seen.count("moving") == 1 and progress.what == "moving":
                lab.kill_daemon("ha")

        result = Tour(lab, ("nat4", "wifi6"), dwell=0.5, patience=1.0, listener=listen).run()
    assert result.failed == ["nat4: no registration", "wifi6: no registration"]
    assert seen.count("failed") == 2
    assert result.moves[0].handover.ours_ms == {"v6": None, "v4": None}
    assert {"udp-down-v6", "udp-up-v4"} <= {session.name for session in result.sessions if session.broken}


def test_a_tour_does_not_begin_without_traffic() -> None:
    with Lab.up(f"tour{os.getpid()}") as lab, pytest.raises(LabError, match="nothing arrives on down-v6"):
        Tour(lab, ("nat4",), patience=1.0).run()
