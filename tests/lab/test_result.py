"""The object scripts rely on, its table, and when a session counts as broken."""

from __future__ import annotations

import json

from rich.console import Console

from dsmip.lab import report, transfers
from dsmip.lab.measure import Handover
from dsmip.lab.result import Band, Move, Result, Timeline
from dsmip.lab.transfers import End, Session, content_digest, judge


def move(network: str, ours: float | None, *, failed: str = "") -> Move:
    handover = Handover(
        network=network,
        care_of="10.4.0.159",
        tunnel="UDP",
        formats={"v6": "UDP", "v4": "UDP"},
        address_ms=1.5,
        binding_ms=None if failed else 4.25,
        ours_ms={"v6": ours, "v4": ours},
        first_packet_ms={"v6": 5.0, "v4": 5.0},
        outage_ms={"v6": 12.5, "v4": 12.75},
        lost={"v6": 24, "v4": 25},
    )
    return Move(handover, rtt_ms=0.5, link_down_ms=0.3, revisited=network == "wifi6", failed=failed)


def result(*moves: Move, broken: str = "") -> Result:
    timeline = Timeline([Band("home", "home", 0, 6)], {"v6": [], "v4": []}, {"v6": [], "v4": []})
    return Result("6.1.0", moves, [Session("tcp-v6", 1000, ""), Session("tcp-v4", 900, broken)], timeline)


def test_json_has_the_agreed_keys() -> None:
    found = json.loads(json.dumps(result(move("nat4", 3.0)).as_json()))
    assert found["kernel"] == "6.1.0"
    assert found["broken"] == 0
    entry = found["moves"][0]
    assert entry["to"] == "nat4"
    assert entry["tunnel"] == "UDP"
    assert (entry["address_ms"], entry["binding_ms"]) == (1.5, 4.25)
    assert entry["ours_ms"] == {"v6": 3.0, "v4": 3.0}
    assert entry["outage_ms"] == {"v6": 12.5, "v4": 12.75}
    assert entry["lost"] == {"v6": 24, "v4": 25}
    assert found["sessions"][0] == {"name": "tcp-v6", "bytes": 1000, "broken": False, "reason": ""}


def test_broken_sessions_and_failed_moves_are_counted() -> None:
    found = result(move("nat4", None, failed="no registration"), broken="did not finish")
    assert found.broken == 1
    assert found.failed == ["nat4: no registration"]
    assert found.as_json()["sessions"][1]["reason"] == "did not finish"


def test_our_share_is_the_median_beyond_one_round_trip() -> None:
    found = result(move("nat4", 3.0), move("wifi6", 1.5), move("fw4", 30.5), move("dual", None))
    assert found.ours_over_round_trip_ms == {"v6": 2.5, "v4": 2.5}


def test_the_table_has_a_row_a_move() -> None:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report.tour(result(move("nat4", 3.0), move("wifi6", 1.5), broken="did not finish")))
    text = console.export_text()
    assert "nat4" in text
    assert "wifi6 (known)" in text
    assert "broken: did not finish" in text


def test_a_transfer_is_judged_by_its_content() -> None:
    octets = 100_000
    good = End(octets, content_digest("tcp-v6", octets), finished=True)
    assert judge("tcp-v6", good, good) == Session("tcp-v6", octets, "")
    assert "SHA-256" in judge("tcp-v4", good, good).broken  # another content
    assert judge("tcp-v6", good, End(octets, good.digest)).broken == "did not finish"
    short = End(octets - 1, content_digest("tcp-v6", octets - 1), finished=True)
    assert "99999 came" in judge("tcp-v6", good, short).broken
    assert judge("tcp-v6", good, End(5, error="client: timed out")).broken == "client: timed out"
    nothing = End(0, content_digest("tcp-v6", 0), finished=True)
    assert judge("tcp-v6", nothing, nothing).broken == "nothing was transferred"


def test_the_content_does_not_repeat_from_name_to_name() -> None:
    assert content_digest("tcp-v6", 1000) != content_digest("tcp-v4", 1000)
    assert transfers.NAMES == {"tcp-v6": 6, "tcp-v4": 4}
