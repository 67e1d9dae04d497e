"""Some seconds of unrest, with one uplink and with three; `make soak` goes on for longer with other seeds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dsmip.lab.lab import Lab
from dsmip.lab.uplinks import MULTIHOMED, SINGLE, Uplink
from tests.system.unrest import Unrest

pytestmark = [pytest.mark.root, pytest.mark.lab]

SECONDS = 12.0


@pytest.mark.parametrize("uplinks", [SINGLE, MULTIHOMED], ids=["one-uplink", "three-uplinks"])
def test_everything_comes_back(uplinks: tuple[Uplink, ...], tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up("unrest", at="dual", uplinks=uplinks) as lab:
        lab.start_daemons()
        rounds = Unrest(lab, 6275, tmp_path / "traffic").run(SECONDS)
    assert rounds
