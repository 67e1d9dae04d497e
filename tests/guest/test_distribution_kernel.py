"""The data plane on the distribution's own kernel: other verifier, other helpers than the test machine's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.guest import machine
from tests.guest.kernel import Kernel

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.root, pytest.mark.guest]


@pytest.mark.timeout(900)
def test_the_program_loads_and_its_maps_work(kernel: Kernel, tmp_path: Path) -> None:
    """Loading, attaching, adopting, counting; signalling through the tunnel device."""
    outcome = machine.boot(
        kernel,
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=600", *_SUITES],
        directory=ROOT,
        shared=tmp_path,
    )
    assert outcome.status == 0, outcome.output[-4000:]
    assert " passed" in outcome.output
    assert "skipped" not in outcome.output, outcome.output[-4000:]


_SUITES = ("tests/dataplane/test_bpf.py", "tests/dataplane/test_tun.py")
