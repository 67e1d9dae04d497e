"""The kernel to boot, or the reason why there is none."""

from __future__ import annotations

import os

import pytest

from tests.guest import kernel as kernels
from tests.guest import machine


@pytest.fixture(scope="session")
def kernel() -> kernels.Kernel:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        machine.check()
        return kernels.fetch()
    except kernels.Unavailable as reason:
        pytest.skip(f"no guest: {reason}")
