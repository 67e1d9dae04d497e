"""Handover after handover: descriptors and memory stay flat, and the last one works like the first."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dsmip.daemon.control import ask
from dsmip.lab import plan
from dsmip.lab.lab import Lab
from tests.system.conftest import wait_until

pytestmark = [pytest.mark.root, pytest.mark.lab]

NETWORKS = ("wifi6", "cafe4", "nat4", "dual", "cgn4", "fw4")
MOVES = 30
NODES = ("ha", "mr")


@pytest.fixture
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up("many", at="wifi6") as built:
        built.start_daemons()
        wait_until(lambda: bool(ask("many-ha", "bindings")), 15, "the mobile router registers")
        yield built


def usage(lab: Lab) -> dict[str, tuple[int, int]]:
    """Open descriptors and resident kilobytes of both daemons."""
    found = {}
    for node in NODES:
        process = Path(f"/proc/{lab.processes.pid(f'dsmip-{node}')}")
        resident = next(line for line in (process / "status").read_text().splitlines() if "VmRSS" in line)
        found[node] = (len(list((process / "fd").iterdir())), int(resident.split()[1]))
    return found


def reaches(lab: Lab, address: object) -> bool:
    argv = ["ping", "-c", "1", "-W", "0.3", str(address)]
    return bool(lab.exec("host", argv, capture_output=True).returncode == 0)


def test_descriptors_and_memory_stay_flat(lab: Lab) -> None:
    rng = random.Random(6275)
    at = "wifi6"

    def visit(network: str) -> None:
        lab.move(network)
        for address in (plan.CORRESPONDENT, plan.CORRESPONDENT_IPV4):
            wait_until(partial(reaches, lab, address), 5, f"{address} answers in {network}")

    for network in NETWORKS[1:]:
        visit(network)
        at = network
    before = usage(lab)
    for _ in range(MOVES):
        at = rng.choice([network for network in NETWORKS if network != at])
        visit(at)
    after = usage(lab)
    for node in NODES:
        assert after[node][0] <= before[node][0] + 4, f"descriptors of {node}: {before} to {after}"
        assert after[node][1] <= before[node][1] + 4096, f"memory of {node}: {before} to {after}"
    (binding,) = ask("many-ha", "bindings")
    assert binding["registered_for"] > 0
