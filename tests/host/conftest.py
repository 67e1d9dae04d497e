"""The laboratory of two networks, removed after each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in ("radvd", "dnsmasq"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    made = Lab(tmp_path)
    try:
        yield made
    finally:
        made.close()
