"""The data plane of the namespace that a test is in."""

from __future__ import annotations

import socket
from pathlib import Path

from dsmip.dataplane.api import Role
from dsmip.dataplane.bpf import BpfDataPlane


def load(pins: Path, **changes: object) -> BpfDataPlane:
    """Load the programs, or adopt what is pinned there."""
    role = changes.pop("role", Role.HOME_AGENT)
    assert isinstance(role, Role)
    return BpfDataPlane.open(role, socket.if_nametoindex("dsmip0"), pins, **changes)  # type: ignore[arg-type]
