"""The two ends of a stream, over the loopback interface."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from dsmip.lab import streams
from dsmip.lab.streams import DOWN, UP, Endpoint, Flow


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nothing_is_sent_in_a_direction_that_is_not_wanted(tmp_path: Path) -> None:
    flow = Flow("one", free_port(), families=("v4",), directions=(DOWN,))
    down, up = (flow.stream(direction, "v4") for direction in (DOWN, UP))
    correspondent = Endpoint(flow, tmp_path, down, up, "127.0.0.1", "127.0.0.2")
    host = Endpoint(flow, tmp_path, up, down, "127.0.0.2", "127.0.0.1")
    deadline = time.monotonic() + 10
    for number in range(3):
        host.send(number)
        correspondent.send(number)
    while streams.arrived(tmp_path, DOWN, "v4", flow)[0] < 3:
        assert time.monotonic() < deadline
        host.drain()
    correspondent.drain()
    found = streams.load(tmp_path, flow)
    assert [sequence for sequence, _ in found[down].received] == [0, 1, 2]
    assert len(found[down].sent) == 3
    assert (list(found[up].sent), found[up].received) == ([], [])
