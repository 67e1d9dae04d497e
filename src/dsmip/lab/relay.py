"""The air: a process that joins pairs of interfaces and does to each frame what the link between them does.

Delay, jitter, random loss, rate and silence (`uplinks.Shape`), the same on every kernel, with or without
netem. It runs where the interfaces are (`python -m dsmip.lab.relay CABLES SOCKET`), takes frames from one end
of a pair and puts them out at the other. The virtio header in front of each frame (PACKET_VNET_HDR) carries
segmentation and checksum offload across unchanged. Shapes are changed and asked for over SOCKET.
"""

from __future__ import annotations

import contextlib
import gc
import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dsmip.lab import clock, plan
from dsmip.lab.errors import LabError
from dsmip.lab.processes import Processes
from dsmip.lab.services import wait_until
from dsmip.lab.uplinks import Shape

_LABEL = "relay"
_CABLES, _SOCKET = "relay.json", "relay.sock"
#: Seconds, on a slow machine: starting Python takes most of the first.
_READY_WITHIN = 60.0
_ANSWER_WITHIN = 10.0
#: The relay stands still meanwhile: who connects, asks at once.
_QUESTION_WITHIN = 0.05

_ETH_P_ALL = 3
_SOL_PACKET = 263
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_PACKET_VNET_HDR = 15
_PACKET_QDISC_BYPASS = 20
_PACKET_IGNORE_OUTGOING = 23
_VNET_HDR = 10
_BUFFER = 8 << 20
_LONGEST = _VNET_HDR + 14 + 65536

#: Seconds for which a link of limited rate queues what it cannot carry; more than that is dropped.
QUEUE = 0.25
#: Seconds between two draws of the jitter: about how often a radio link changes its mind.
_DRAW_EVERY = 0.02


@dataclass(frozen=True, slots=True)
class Cable:
    """Two interfaces of `links`, what is between them, and a name to speak of it."""

    name: str
    ends: tuple[str, str]
    shape: Shape


# For the lab ----------------------------------------------------------------------------------------------


def start(processes: Processes, directory: Path, cables: Sequence[Cable]) -> None:
    """Start the relay of a lab, and wait until it takes frames. Raises LabError when it does not."""
    if not cables:
        return
    (directory / _CABLES).write_bytes(msgspec.json.encode(cables))
    argv = [sys.executable, "-m", "dsmip.lab.relay", str(directory / _CABLES), str(directory / _SOCKET)]
    processes.start(_LABEL, plan.LINKS, argv)
    wait_until(
        (directory / _SOCKET).exists,
        time.monotonic() + _READY_WITHIN,
        lambda: "the relay does not start:\n" + processes.log(_LABEL).read_text(encoding="utf-8"),
    )


def shapes(directory: Path) -> dict[str, Shape]:
    """The shape of every cable of a lab's relay, by name; empty when it has none."""
    if not (directory / _SOCKET).exists():
        return {}
    return msgspec.json.decode(_ask(directory, {}), type=dict[str, Shape])


def reshape(directory: Path, name: str, shape: Shape) -> None:
    """Change what a cable does; it is in force when this returns. Raises LabError."""
    _ask(directory, {name: shape})


def _ask(directory: Path, changes: dict[str, Shape]) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.settimeout(_ANSWER_WITHIN)
        try:
            asking.connect(str(directory / _SOCKET))
            asking.send(msgspec.json.encode(changes))
            return asking.recv(65536)
        except OSError as error:
            raise LabError(f"the relay of the lab does not answer: {error}") from error


# The process ----------------------------------------------------------------------------------------------


class Way:
    """One direction of a cable: what has gone in and not yet come out, in order. Times in seconds."""

    def __init__(self, shape: Shape, rng: random.Random) -> None:
        self.shape = shape
        self.waiting: deque[tuple[float, bytes]] = deque()
        self._rng = rng
        self._line_free = 0.0
        self._last_due = 0.0
        self._jitter = 0.0
        self._drawn = 0.0

    def enter(self, frame: bytes, now: float) -> None:
        """A frame (with its virtio header) goes in; whether it comes out is this link's affair."""
        shape = self.shape
        if shape.silent or (shape.loss and self._rng.random() < shape.loss):
            return
        leaves = now
        if shape.rate:
            begins = max(now, self._line_free)
            if begins - now > QUEUE:
                return
            leaves = self._line_free = begins + 8 * (len(frame) - _VNET_HDR) / shape.rate
        if shape.jitter and now - self._drawn > _DRAW_EVERY:
            self._drawn, self._jitter = now, self._rng.uniform(0, shape.jitter)
        due = leaves + shape.delay + (self._jitter if shape.jitter else 0.0)
        self._last_due = due = max(due, self._last_due)
        self.waiting.append((due, frame))

    def due(self, now: float) -> list[bytes]:
        """Frames that come out by now."""
        out = []
        waiting = self.waiting
        while waiting and waiting[0][0] <= now:
            out.append(waiting.popleft()[1])
        return [] if self.shape.silent else out


def _open(interface: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    opened.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    opened.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
    opened.bind((interface, _ETH_P_ALL))
    opened.setblocking(False)
    return opened


def _listen(path: Path) -> socket.socket:
    """The control socket; it gets its name when it can be used."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    temporary = path.with_suffix(".new")
    control.bind(str(temporary))
    control.listen()
    temporary.rename(path)
    return control


def _answer(control: socket.socket, ways: dict[str, tuple[Way, Way]]) -> None:
    asker, _ = control.accept()
    # Whoever asks may have gone meanwhile, or talk nonsense.
    with asker, contextlib.suppress(OSError, msgspec.MsgspecError):
        asker.settimeout(_QUESTION_WITHIN)
        for name, shape in msgspec.json.decode(asker.recv(65536), type=dict[str, Shape]).items():
            for way in ways.get(name, ()):
                way.shape = shape
        asker.send(msgspec.json.encode({name: pair[0].shape for name, pair in ways.items()}))


def run(cables: Sequence[Cable], path: Path) -> None:
    """Relay for ever."""
    rng = random.Random()
    named: dict[str, tuple[Way, Way]] = {}
    entries: dict[socket.socket, Way] = {}
    exits: list[tuple[Way, socket.socket]] = []
    for cable in cables:
        first, second = (_open(interface) for interface in cable.ends)
        there, back = Way(cable.shape, rng), Way(cable.shape, rng)
        named[cable.name] = (there, back)
        entries[first], entries[second] = there, back
        exits += [(there, second), (back, first)]
    clock.prefer_this_process()
    gc.freeze()
    gc.disable()  # nothing here makes cycles, and a collection is a hiccup
    control = _listen(path)
    watched = [*entries, control]
    while True:
        next_due = min((way.waiting[0][0] for way, _ in exits if way.waiting), default=None)
        timeout = None if next_due is None else max(0.0, next_due - time.monotonic())
        for readable in select.select(watched, (), (), timeout)[0]:
            if readable is control:
                _answer(control, named)
                continue
            way = entries[readable]
            try:
                while True:
                    way.enter(readable.recv(_LONGEST), time.monotonic())
            except BlockingIOError:
                pass
            except OSError:
                continue  # the interface was set down: the error is told once, and the socket lives on
        now = time.monotonic()
        for way, exit_ in exits:
            for frame in way.due(now) if way.waiting else ():
                with contextlib.suppress(OSError):  # down, or its queue is full: a cable loses it, too
                    exit_.send(frame)


if __name__ == "__main__":
    run(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[Cable]), Path(sys.argv[2]))
