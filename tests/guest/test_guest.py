"""On the distribution's own kernel: the data plane under another verifier, and IPsec.

One boot for all of it, because a boot and the start of Python are most of the time it takes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.guest import machine
from tests.guest.kernel import Kernel

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.root, pytest.mark.guest]


@pytest.mark.timeout(1200)
def test_in_the_guest(kernel: Kernel, tmp_path: Path) -> None:
    """Loading, attaching and adopting the program; Binding Updates under ESP."""
    suites = ("tests/dataplane/test_bpf.py", "tests/guest/inside")
    outcome = machine.boot(
        kernel,
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "--timeout=600", *suites],
        directory=ROOT,
        shared=tmp_path,
        environment={"DSMIP_GUEST": "1"},
        timeout=1100,
    )
    assert outcome.status == 0, outcome.output[-8000:]
    for suite in suites:
        assert f"PASSED {suite}" in outcome.output
    assert "SKIPPED" not in outcome.output, outcome.output[-8000:]
