"""On the distribution's own kernel: the data plane under another verifier, and IPsec.

One boot for all of it, because a boot and the start of Python are much of the time it takes; and two suites
side by side, because a suite waits, or computes on one CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guest import machine
from tests.guest.kernel import Kernel

ROOT = Path(__file__).resolve().parents[2]
SIDE_BY_SIDE = Path(__file__).with_name("side_by_side.sh")
INSIDE = "tests/guest/inside"
#: As long as each other.
SUITES = (
    (
        "tests/dataplane/test_bpf.py",
        *(f"{INSIDE}/test_{name}.py" for name in ("tour", "signalling", "kernel_tunnels")),
    ),
    tuple(f"{INSIDE}/test_{name}.py" for name in ("ike", "payload", "wifi")),
)
#: Other tests run at the same time, and have protocol timers of their own.
NICENESS = 10


def _compile() -> None:
    """What the guest imports, which takes this machine a moment; there, what is compiled is not kept."""
    environment = {**os.environ, "DSMIP_GUEST": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for words in (
        ("compileall", "-q", "src", "tests"),
        # As pytest rewrites them.
        (
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--collect-only",
            *(file for suite in SUITES for file in suite),
        ),
    ):
        argv = [sys.executable, "-m", *words]
        subprocess.run(argv, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)


pytestmark = [pytest.mark.root, pytest.mark.guest]


@pytest.mark.timeout(1600)
def test_in_the_guest(kernel: Kernel, tmp_path: Path) -> None:
    """Loading, attaching and adopting the program; Binding Updates and payload under ESP; keys by IKE."""
    inside = {str(path.relative_to(ROOT)) for path in (ROOT / INSIDE).glob("test_*.py")}
    files = [file for suite in SUITES for file in suite]
    assert inside <= set(files), "each file is in a suite"
    _compile()
    pytests = f"{sys.executable} -m pytest -q -rA -p no:cacheprovider --timeout=900"
    outcome = machine.boot(
        kernel,
        ["sh", str(SIDE_BY_SIDE), pytests, *(" ".join(suite) for suite in SUITES)],
        directory=ROOT,
        shared=tmp_path,
        environment={"DSMIP_GUEST": "1"},
        timeout=1500,
        niceness=NICENESS,
    )
    assert outcome.status == 0, outcome.output[-12000:]
    for file in files:
        assert f"PASSED {file}" in outcome.output
    assert "SKIPPED" not in outcome.output, outcome.output[-12000:]
