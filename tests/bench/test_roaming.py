"""The figure of handovers beside WireGuard, and when it moves, with literal times."""

from __future__ import annotations

import pytest

from dsmip.bench import roaming
from dsmip.bench.report import detail


def test_moves_are_spread_over_the_time_between_two_signs_of_life() -> None:
    assert roaming.phases(5) == pytest.approx([1.0, 3.0, 5.0, 7.0, 9.0])


def test_a_figure_has_the_spread_of_both() -> None:
    figure = roaming.beside(roaming.EACH_WAY, [4.0, 5.0, 9.0], [1.0, 2.5, 9800.0])
    assert (figure.value.median, figure.value.minimum, figure.value.maximum) == (5.0, 4.0, 9.0)
    assert figure.baseline is not None
    assert figure.ratio is not None
    assert (figure.baseline.median, figure.ratio.median) == (2.5, 2.0)
    assert figure.ok is None
    assert detail(figure.detail) == "handovers 3.00, wireguard-go 1.0 to 9,800.0 ms in 3"


def test_addresses_are_of_the_network_and_not_its_router() -> None:
    assert roaming.addressing("nat4") == [
        "addr add 10.4.0.7/24 dev wan0",
        "route add default via 10.4.0.1",
    ]
    assert roaming.addressing("cafe4")[0] == "addr add 192.0.2.7/26 dev wan0"
