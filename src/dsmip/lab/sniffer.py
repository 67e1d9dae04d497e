"""A passive witness on the mobile router's uplinks: `python -m dsmip.lab.sniffer DIRECTORY INTERFACE ...`.

Writes `wire.jsonl`, one line per control message with its time and one per kind of data packet met, and
`wire.data`, the time of every data packet with the number of its kind. Times are the kernel's, in
CLOCK_MONOTONIC seconds; the sockets are read a few dozen times a second, so watching costs little.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import FrameType
from typing import Any

from dsmip.lab import clock
from dsmip.lab.observation import Control, DataClass, observe
from dsmip.lab.processes import Processes
from dsmip.lab.uplinks import SINGLE, Uplink

LABEL = "sniffer"
_CONTROL_FILE, _DATA_FILE = "wire.jsonl", "wire.data"
_DATA = struct.Struct("<dH")
_ETH_P_ALL = 3
_SO_RCVBUFFORCE = 33
_BUFFER = 16 << 20
_SNAPLEN = 400
_PAUSE = 0.015
#: Frames read before what was seen is written down: on a slow machine more may come without an end.
_AT_ONCE = 200
_KIND = "data"


@dataclass(frozen=True, slots=True)
class Wire:
    """What was seen: control messages in order (each with `time`, `kind` and `interface`), and for each class
    of data packets the times at which they passed."""

    control: Sequence[Mapping[str, Any]]
    data: Mapping[DataClass, Sequence[float]]


def start(processes: Processes, directory: Path, uplinks: Sequence[Uplink] = SINGLE) -> None:
    """Start watching the uplinks of a lab's mobile router."""
    argv = [sys.executable, "-m", "dsmip.lab.sniffer", str(directory)]
    processes.start(LABEL, "mr", [*argv, *(uplink.interface for uplink in uplinks)])


class ControlReader:
    """Follows the control messages while they are being written."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _CONTROL_FILE
        self._offset = 0

    def news(self) -> list[dict[str, Any]]:
        """Control messages since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole = file.read().rpartition(b"\n")[0]
        except FileNotFoundError:
            return []
        if not whole:
            return []
        self._offset += len(whole) + 1
        return [record for record in map(json.loads, whole.splitlines()) if record["kind"] != _KIND]


class DataReader:
    """Follows the data packets while they are being written."""

    def __init__(self, directory: Path) -> None:
        self._kinds = directory / _CONTROL_FILE
        self._data = directory / _DATA_FILE
        self._offset = 0
        self._classes: list[DataClass] = []
        self._latest: dict[DataClass, float] = {}

    def latest(self) -> dict[DataClass, float]:
        """When the last packet of each class passed."""
        try:
            with self._data.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return {}
        data = data[: len(data) // _DATA.size * _DATA.size]
        self._offset += len(data)
        for moment, number in _DATA.iter_unpack(data):
            if number >= len(self._classes):  # a class is written down before its first packet
                records = map(json.loads, self._kinds.read_bytes().rpartition(b"\n")[0].splitlines())
                self._classes = [_class(record) for record in records if record["kind"] == _KIND]
            self._latest[self._classes[number]] = moment
        return self._latest


def _class(record: Mapping[str, Any]) -> DataClass:
    return DataClass(**{field: record[field] for field in DataClass._fields})


def load(directory: Path) -> Wire:
    """Read everything the sniffer wrote."""
    control: list[dict[str, Any]] = []
    classes: list[DataClass] = []
    for line in (directory / _CONTROL_FILE).read_text(encoding="ascii").splitlines():
        record = json.loads(line)
        if record["kind"] == _KIND:
            classes.append(_class(record))
        else:
            control.append(record)
    times: defaultdict[DataClass, list[float]] = defaultdict(list)
    data = (directory / _DATA_FILE).read_bytes()
    for moment, number in _DATA.iter_unpack(data[: len(data) // _DATA.size * _DATA.size]):
        times[classes[number]].append(moment)
    return Wire(sorted(control, key=itemgetter("time")), dict(times))


def _watch(interface: str) -> socket.socket:
    watched = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    watched.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    watched.setsockopt(socket.SOL_SOCKET, clock.SO_TIMESTAMPNS, 1)
    watched.bind((interface, _ETH_P_ALL))
    watched.setblocking(False)
    return watched


def run(interfaces: Sequence[str], directory: Path) -> None:
    """Watch until SIGTERM."""
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    sockets = {interface: _watch(interface) for interface in interfaces}
    numbers: dict[DataClass, int] = {}
    with (
        (directory / _CONTROL_FILE).open("wb", buffering=0) as control,
        (directory / _DATA_FILE).open("wb", buffering=0) as data,
    ):
        while not stopping:
            time.sleep(_PAUSE)
            for interface, watched in sockets.items():
                lines, records = _drain(watched, interface, numbers)
                control.write(lines)
                data.write(records)


def _drain(watched: socket.socket, interface: str, numbers: dict[DataClass, int]) -> tuple[bytes, bytes]:
    clocks = clock.offset()
    lines: list[str] = []
    records = bytearray()
    for _ in range(_AT_ONCE):
        try:
            frame, ancillary, _, address = watched.recvmsg(_SNAPLEN, clock.ANCILLARY_SIZE)
        except BlockingIOError:
            break
        except OSError:
            continue  # the interface was set down: the error is told once, and the socket lives on
        seen = observe(frame, address[2] == socket.PACKET_OUTGOING)
        if seen is None:
            continue
        moment = clock.stamp(ancillary, clocks)
        if isinstance(seen, Control):
            named = {"time": moment, "kind": seen.kind, "interface": interface, **seen.fields}
            lines.append(json.dumps(named))
            continue
        seen = seen._replace(interface=interface)
        number = numbers.get(seen)
        if number is None:
            number = numbers[seen] = len(numbers)
            lines.append(json.dumps({"kind": _KIND, **seen._asdict()}))
        records += _DATA.pack(moment, number)
    return "".join(f"{line}\n" for line in lines).encode("ascii"), bytes(records)


if __name__ == "__main__":
    run(sys.argv[2:], Path(sys.argv[1]))
