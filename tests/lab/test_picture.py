"""The timeline: what is drawn, and that it is the same each time."""

from __future__ import annotations

import math
from pathlib import Path

from dsmip.lab import picture
from dsmip.lab.result import Band, Timeline


def timeline() -> Timeline:
    moments = [n / 1000 for n in range(4000)]
    trips = [(moment, None if 2.0 <= moment < 2.03 else 0.0003) for moment in moments]
    return Timeline(
        [Band("home", "home", 0, 2), Band("wifi6", "IPv6-in-IPv6", 2, 4, {"v6": 30.2, "v4": 30.4})],
        {"v6": trips, "v4": trips},
        {"v6": [2 + n / 1000 for n in range(30)], "v4": []},
    )


def test_bins_give_median_and_maximum_and_a_hole_where_all_was_lost() -> None:
    medians, maxima = picture.bins([(0.01, 1.0), (0.02, 3.0), (0.03, 2.0), (0.11, None), (0.21, 5.0)], 0.1)
    assert [moment for moment, _ in medians] == [0.05, 0.15000000000000002, 0.25]
    assert [value for _, value in medians[::2]] == [2.0, 5.0]
    assert math.isnan(medians[1][1])
    assert math.isnan(maxima[1][1])
    assert maxima[0][1] == 3.0


def test_losses_close_together_are_one_event() -> None:
    assert picture.loss_events([1.0, 1.001, 1.9, 5.0]) == [(1.0, 3), (5.0, 1)]
    assert picture.loss_events([]) == []


def test_png_and_svg_are_drawn_and_come_out_the_same_twice(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for directory in (first, second):
        directory.mkdir()
        picture.draw(timeline(), [directory / "tour.png", directory / "tour.svg"])
    assert (first / "tour.png").read_bytes().startswith(b"\x89PNG")
    assert (first / "tour.svg").read_bytes() == (second / "tour.svg").read_bytes()
    text = (first / "tour.svg").read_text()
    for words in ("wifi6", "IPv6-in-IPv6", "30 lost", "30 ms out", "IPv4 round trip, ms"):
        assert words in text


def test_a_tour_without_one_packet_still_draws(tmp_path: Path) -> None:
    empty = Timeline([Band("home", "home", 0, 2)], {"v6": [(1.0, None)], "v4": []}, {"v6": [1.0], "v4": []})
    picture.draw(empty, [tmp_path / "tour.svg"])
    assert "1 lost" in (tmp_path / "tour.svg").read_text()
