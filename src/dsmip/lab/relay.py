"""Distance: a process that joins two interfaces and holds every frame back for a while.

For kernels without netem. It runs where both interfaces are (`python -m dsmip.lab.relay A B SECONDS`), takes
frames from one and puts them out at the other. The virtio header in front of each frame (PACKET_VNET_HDR)
carries segmentation and checksum offload across unchanged.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import deque
from pathlib import Path

from dsmip.lab import plan
from dsmip.lab.processes import Processes
from dsmip.lab.services import wait_until
from dsmip.lab.topology import RELAY_CORE, RELAY_EDGE

_LABEL = "relay"
_READY_WITHIN = 5.0
#: Of a line of /proc/net/packet: the interface index, 0 while the socket is not bound to one.
_INTERFACE_COLUMN = 4

_ETH_P_ALL = 3
_SOL_PACKET = 263
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
_BUFFER = 8 << 20
_LONGEST = 10 + 14 + 65536


def start(processes: Processes, delay: float) -> None:
    """Start the relay of a lab with this one-way delay in seconds, and wait until it takes frames.

    Raises LabError when it does not.
    """
    argv = [sys.executable, "-m", "dsmip.lab.relay", RELAY_CORE, RELAY_EDGE, str(delay)]
    processes.start(_LABEL, plan.LINKS, argv)
    wait_until(
        lambda: _listens(processes),
        time.monotonic() + _READY_WITHIN,
        lambda: "the relay does not start:\n" + processes.log(_LABEL).read_text(encoding="utf-8"),
    )


def _listens(processes: Processes) -> bool:
    """Whether both its packet sockets are bound: a line each in the kernel's list, in their namespace."""
    pid = processes.pid(_LABEL)
    if pid is None:
        return False
    try:
        lines = Path(f"/proc/{pid}/net/packet").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return False
    bound = [line for line in lines if line.split()[_INTERFACE_COLUMN] != "0"]
    return len(bound) >= 2


def _open(interface: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    opened.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
    opened.bind((interface, _ETH_P_ALL))
    opened.setblocking(False)
    return opened


def run(first: str, second: str, delay: float) -> None:
    """Relay for ever, each way with this delay in seconds."""
    ends = (_open(first), _open(second))
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    waiting: deque[tuple[float, socket.socket, bytes]] = deque()
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable = select.select(ends, (), (), timeout)[0]
        for end in readable:
            due = time.monotonic() + delay
            try:
                while True:
                    waiting.append((due, other[end], end.recv(_LONGEST)))
            except (BlockingIOError, InterruptedError):
                pass
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, end, frame = waiting.popleft()
            try:
                end.send(frame)
            except OSError:
                continue  # the interface is down or its queue is full: a cable loses the frame, too


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], float(sys.argv[3]))
