"""Packets at a steady pace each way over IPv6 and over IPv4, with everything written down.

One process a node (`python -m dsmip.lab.streams ...`) sends its streams and receives those of the other
node. A late sender catches up and never skips: packet `n` is due `n` intervals after the first. Receive times
are the kernel's, so the receiver may read its sockets at leisure.

Two kinds of file come out of it, both of fixed records and growing while the process runs: `NAME.sent` has
the send time of each sequence number, `NAME.received` has sequence number and receive time in the order of
arrival. All times are CLOCK_MONOTONIC seconds: both nodes are on one machine and share that clock.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import struct
import sys
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import msgspec

from dsmip.lab import clock, plan
from dsmip.lab.processes import Processes

PORT = 5001
#: Seconds between two packets of a stream.
INTERVAL = 0.001
#: DOWN goes from the correspondent to the host behind the mobile router, UP the other way.
DOWN, UP = "down", "up"
FAMILIES = ("v6", "v4")

_SEQUENCE = struct.Struct("!I")
_RECEIVED = struct.Struct("<Id")
#: Sockets are read and files written once in so many packets.
_READ_EVERY = 20
#: Seconds to go on receiving after the end of sending.
_LINGER = 1.0
_BIND_WITHIN = 10.0
_BUFFER = 4 << 20


@dataclass(frozen=True, slots=True)
class Flow:
    """Streams of one kind, one each way and family: UDP from `port` to `port`, a packet of `octets` payload
    every `every` milliseconds. `name` "" is the one that measures every handover. In a direction that is not
    among `directions` nothing is sent."""

    name: str
    port: int
    every: int = 1
    octets: int = 64
    families: tuple[str, ...] = FAMILIES
    directions: tuple[str, ...] = (DOWN, UP)

    def stream(self, direction: str, family: str) -> str:
        """The name of one of its streams, for instance `down-v6` or `voice-up-v4`."""
        return "-".join(part for part in (self.name, direction, family) if part)


PLAIN = Flow("", PORT)
#: Payload of one of its packets, in octets.
PACKET_OCTETS = PLAIN.octets


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: `sent[n]` is the send time of sequence number n, `received` is (sequence number, receive
    time) in the order of arrival."""

    name: str
    sent: Sequence[float]
    received: Sequence[tuple[int, float]]


stream_name = PLAIN.stream


def start(processes: Processes, directory: Path, flows: Sequence[Flow] = (PLAIN,), tag: str = "") -> None:
    """Start both ends in a lab; their files go into `directory`. They run until they are stopped.

    `tag` tells the processes from others of this kind; `labels` has what they are called then.
    """
    described = msgspec.json.encode(flows).decode()
    ends = (
        ("cn", DOWN, UP, (plan.CORRESPONDENT, plan.CORRESPONDENT_IPV4), (plan.HOST, plan.HOST_IPV4)),
        ("host", UP, DOWN, (plan.HOST, plan.HOST_IPV4), (plan.CORRESPONDENT, plan.CORRESPONDENT_IPV4)),
    )
    for node, sends, receives, local, remote in ends:
        argv = [sys.executable, "-m", "dsmip.lab.streams", described, str(directory), sends, receives]
        label = next(label for label in labels(tag) if label.endswith(node))
        processes.start(label, node, [*argv, *map(str, local), *map(str, remote)])


def labels(tag: str = "") -> tuple[str, str]:
    """What the processes that `start` starts are called."""
    return f"streams-{tag}cn", f"streams-{tag}host"


LABELS = labels()


def arrived(directory: Path, direction: str, family: str, flow: Flow = PLAIN) -> tuple[int, float]:
    """How many packets of a stream have arrived so far, and when the last one did (0.0 = none)."""
    path = directory / f"{flow.stream(direction, family)}.received"
    try:
        with path.open("rb") as file:
            count = os.fstat(file.fileno()).st_size // _RECEIVED.size
            if not count:
                return 0, 0.0
            file.seek((count - 1) * _RECEIVED.size)
            return count, float(_RECEIVED.unpack(file.read(_RECEIVED.size))[1])
    except FileNotFoundError:
        return 0, 0.0


def load(directory: Path, flow: Flow = PLAIN) -> dict[str, Stream]:
    """Read the streams of a flow, by name."""
    return {
        name: Stream(
            name, _load_sent(directory / f"{name}.sent"), _load_received(directory / f"{name}.received")
        )
        for name in (flow.stream(direction, family) for direction in (DOWN, UP) for family in flow.families)
    }


def _load_sent(path: Path) -> Sequence[float]:
    times = array("d")
    data = path.read_bytes()
    times.frombytes(data[: len(data) // times.itemsize * times.itemsize])
    return times


def _load_received(path: Path) -> Sequence[tuple[int, float]]:
    data = path.read_bytes()
    return list(_RECEIVED.iter_unpack(data[: len(data) // _RECEIVED.size * _RECEIVED.size]))


class Endpoint:
    """The sending end of one stream and the receiving end of its opposite."""

    def __init__(
        self, flow: Flow, directory: Path, sends: str, receives: str, local: str, remote: str
    ) -> None:
        family = socket.AF_INET6 if ":" in local else socket.AF_INET
        self.every = flow.every
        self._silent = sends not in {flow.stream(way, kind) for way in flow.directions for kind in FAMILIES}
        self._padding = bytes(flow.octets - _SEQUENCE.size)
        self._remote = (remote, flow.port)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, clock.SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        self._bind(local, flow.port)
        self._sent = array("d")
        self._sent_file = (directory / f"{sends}.sent").open("wb", buffering=0)
        self._received_file = (directory / f"{receives}.received").open("wb", buffering=0)

    def _bind(self, local: str, port: int) -> None:
        """Bind; the host's address may still be on its way from a router advertisement."""
        deadline = time.monotonic() + _BIND_WITHIN
        while True:
            try:
                self._socket.bind((local, port))
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def send(self, sequence: int) -> None:
        """Send one packet, unless this end only receives. One that the kernel refuses counts as sent, and is
        missed at the other end."""
        if self._silent:
            return
        self._sent.append(time.monotonic())
        with contextlib.suppress(OSError):
            self._socket.sendto(_SEQUENCE.pack(sequence) + self._padding, self._remote)

    def drain(self) -> None:
        """Take what has arrived and write everything down."""
        clocks = clock.offset()
        records = bytearray()
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(_SEQUENCE.size, clock.ANCILLARY_SIZE)
            except (BlockingIOError, ConnectionRefusedError):
                break
            if len(data) == _SEQUENCE.size:
                records += _RECEIVED.pack(_SEQUENCE.unpack(data)[0], clock.stamp(ancillary, clocks))
        if records:
            self._received_file.write(records)
        if self._sent:
            self._sent_file.write(self._sent.tobytes())
            del self._sent[:]


def run(ends: Sequence[Endpoint]) -> None:
    """Send and receive until SIGTERM."""
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    clock.prefer_this_process()
    began = time.monotonic()
    tick = 0
    while not stopping:
        due = began + tick * INTERVAL
        if (early := due - time.monotonic()) > 0:
            time.sleep(early)
        for end in ends:
            if tick % end.every == 0:
                end.send(tick // end.every)
        tick += 1
        if tick % _READ_EVERY == 0:
            for end in ends:
                end.drain()
    until = time.monotonic() + _LINGER
    while time.monotonic() < until:
        time.sleep(_READ_EVERY * INTERVAL)
        for end in ends:
            end.drain()


def main() -> None:
    """The process of one node."""
    parser = argparse.ArgumentParser(prog="python -m dsmip.lab.streams")
    for name in ("flows", "directory", "sends", "receives", "local6", "local4", "remote6", "remote4"):
        parser.add_argument(name)
    given = parser.parse_args()
    directory = Path(given.directory)
    run(
        [
            Endpoint(
                flow,
                directory,
                flow.stream(given.sends, family),
                flow.stream(given.receives, family),
                getattr(given, f"local{family[1]}"),
                getattr(given, f"remote{family[1]}"),
            )
            for flow in msgspec.json.decode(given.flows, type=list[Flow])
            for family in flow.families
        ]
    )


if __name__ == "__main__":
    main()
