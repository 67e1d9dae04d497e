"""`pytest tests/simulation -k seed --seed 1234 --steps 50` plays that one instead of the usual ones."""

from __future__ import annotations

import pytest

#: Seeds of an ordinary run. The same every time: what fails was changed, not drawn.
SEEDS = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--seed", type=int, help="play this seed only")
    group.addoption("--steps", type=int, help="only this much of its schedule")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--seed", default=None)
        metafunc.parametrize("seed", range(SEEDS) if chosen is None else [chosen])


@pytest.fixture
def steps(request: pytest.FixtureRequest) -> int | None:
    """How much of the schedule to play, None = all of it."""
    value: int | None = request.config.getoption("--steps", default=None)
    return value
