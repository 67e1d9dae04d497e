"""One lab for all tests that only look at it or move in it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from dsmip.lab import requirements
from dsmip.lab.lab import Lab


@pytest.fixture(scope="session", autouse=False)
def able() -> None:
    """Skip, saying why, where a lab cannot be built."""
    lacking = requirements.missing()
    if lacking:
        pytest.skip("; ".join(lacking))


@pytest.fixture(scope="session")
def lab(able: None) -> Iterator[Lab]:
    with Lab.up(f"test{os.getpid()}") as built:
        yield built
