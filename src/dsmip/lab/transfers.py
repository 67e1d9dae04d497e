"""A TCP transfer over each family, paced so that it lasts as long as the tour, checked octet for octet.

`python -m dsmip.lab.transfers serve|fetch DIRECTORY ADDRESS6 ADDRESS4 RATE`: the server sends a pseudo-random
content until SIGTERM tells it to come to an end, the client reads until then. Both keep `NAME.json` files.
What should have arrived is computed anew from the seed, not taken from the server's word.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from dsmip.lab import plan
from dsmip.lab.processes import Processes

PORT = 5002
NAMES = {"tcp-v6": 6, "tcp-v4": 4}
#: Octets a second and connection.
RATE = 1_000_000
_CHUNK = 16_384
_CONNECT_WITHIN = 10.0
#: Seconds without one octet after which a connection counts as broken.
_SILENCE = 30.0
_REPORT_EVERY = 0.25


@dataclass(frozen=True, slots=True)
class Direction:
    """Who sends: where server and client run, what they are called, and the server's addresses."""

    name: str
    nodes: tuple[str, str]
    addresses: tuple[IPv6Address, IPv4Address]

    @property
    def labels(self) -> tuple[str, str]:
        """Server and client as processes of the lab."""
        server, client = self.nodes
        return f"transfers-{self.name}-{server}", f"transfers-{self.name}-{client}"


#: The correspondent sends to the host behind the mobile router, or the other way.
DOWNLOAD = Direction("download", ("cn", "host"), (plan.CORRESPONDENT, plan.CORRESPONDENT_IPV4))
UPLOAD = Direction("upload", ("host", "cn"), (plan.HOST, plan.HOST_IPV4))


@dataclass(frozen=True, slots=True)
class End:
    """One end of a transfer so far: octets and their SHA-256; `error` is "" while nothing went wrong."""

    octets: int = 0
    digest: str = ""
    finished: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """A transfer when it is over: `broken` is "" or says why it counts as broken."""

    name: str
    octets: int
    broken: str

    def as_json(self) -> dict[str, object]:
        """The session's entry in what a tour prints."""
        return {
            "name": self.name,
            "bytes": self.octets,
            "broken": bool(self.broken),
            "reason": self.broken,
        }


def content_digest(name: str, octets: int) -> str:
    """SHA-256 of the first `octets` octets of a transfer's content."""
    digest, content = hashlib.sha256(), _Content(name)
    while octets > 0:
        chunk = content.read()[:octets]
        digest.update(chunk)
        octets -= len(chunk)
    return digest.hexdigest()


class _Content:
    """An endless pseudo-random content, the same for the same name."""

    def __init__(self, name: str) -> None:
        self._random = random.Random(name)

    def read(self) -> bytes:
        return self._random.randbytes(_CHUNK)


def start(processes: Processes, directory: Path, direction: Direction = DOWNLOAD, rate: int = RATE) -> None:
    """Start both transfers of a direction in a lab; their files go into `directory`, which is theirs alone.

    `rate` is in octets a second, each.
    """
    for label, node, role in zip(direction.labels, direction.nodes, ("serve", "fetch"), strict=True):
        argv = [sys.executable, "-m", "dsmip.lab.transfers", role, str(directory)]
        processes.start(label, node, [*argv, *map(str, direction.addresses), str(rate)])


def finish(
    processes: Processes, directory: Path, within: float = 15.0, direction: Direction = DOWNLOAD
) -> list[Session]:
    """Bring the transfers to an end, wait up to `within` seconds for the last octet, and judge them."""
    server, client = direction.labels
    processes.signal(server, signal.SIGTERM)
    processes.wait(client, within)
    processes.stop([client, server])
    return [judge(name, read(directory, "serve", name), read(directory, "fetch", name)) for name in NAMES]


def judge(name: str, server: End, client: End) -> Session:
    """Whether a transfer went through unharmed."""
    broken = client.error or server.error
    if not broken and not client.finished:
        broken = "did not finish"
    if not broken and client.octets != server.octets:
        broken = f"{server.octets} octets were sent, {client.octets} came"
    if not broken and client.digest != content_digest(name, client.octets):
        broken = "the content is not what was sent (SHA-256)"
    if not broken and not client.octets:
        broken = "nothing was transferred"
    return Session(name, client.octets, broken)


def read(directory: Path, role: str, name: str) -> End:
    """What one end has reported so far."""
    try:
        return End(**json.loads((directory / f"{role}-{name}.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return End(error="never began")


class _Report:
    """Writes an end's state, whole, a few times a second."""

    def __init__(self, directory: Path, role: str, name: str) -> None:
        self._path = directory / f"{role}-{name}.json"
        self._next = 0.0

    def write(self, end: End, *, now: bool = False) -> None:
        if not now and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _REPORT_EVERY
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(end)), encoding="utf-8")
        temporary.replace(self._path)


def _serve(name: str, listening: socket.socket, report: _Report, rate: int, ending: threading.Event) -> None:
    content, digest, octets = _Content(name), hashlib.sha256(), 0
    end = End()
    try:
        connection, _ = listening.accept()
        with _patient(connection):
            due = time.monotonic()
            while not ending.wait(max(0.0, due - time.monotonic())):
                chunk = content.read()
                connection.sendall(chunk)
                digest.update(chunk)
                octets += len(chunk)
                report.write(End(octets))
                # What an outage held up is not made up for: the streams shall not meet a burst.
                due = max(due + _CHUNK / rate, time.monotonic())
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)  # the client closes when it has everything
        end = End(octets, digest.hexdigest(), finished=True)
    except OSError as error:
        end = End(octets, digest.hexdigest(), error=f"server: {error}")
    report.write(end, now=True)


def _fetch(address: str, report: _Report) -> None:
    digest = hashlib.sha256()
    end = End()
    try:
        with _connect(address) as connection:
            while data := connection.recv(1 << 16):
                digest.update(data)
                end = replace(end, octets=end.octets + len(data))
                report.write(end)
        end = replace(end, finished=True)
    except OSError as error:
        end = replace(end, error=f"client: {error}")
    report.write(replace(end, digest=digest.hexdigest()), now=True)


def _connect(address: str) -> socket.socket:
    """Connect; both ends are started at the same moment, so the server may not listen yet."""
    deadline = time.monotonic() + _CONNECT_WITHIN
    while True:
        try:
            return _patient(socket.create_connection((address, PORT), timeout=_CONNECT_WITHIN))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _patient(connection: socket.socket) -> socket.socket:
    connection.settimeout(_SILENCE)
    return connection


def _listen(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return _patient(socket.create_server((address, PORT), family=family))


def main(role: str, directory: Path, address6: IPv6Address, address4: IPv4Address, rate: int) -> None:
    """One end's process: a thread a connection."""
    addresses = {6: str(address6), 4: str(address4)}
    ending = threading.Event()
    if role == "serve":
        signal.signal(signal.SIGTERM, lambda _number, _frame: ending.set())
    threads = []
    for name, family in NAMES.items():
        report = _Report(directory, role, name)
        report.write(End(), now=True)
        if role == "serve":
            arguments = (name, _listen(addresses[family]), report, rate, ending)
            threads.append(threading.Thread(target=_serve, args=arguments, daemon=True))
        else:
            threads.append(threading.Thread(target=_fetch, args=(addresses[family], report), daemon=True))
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.05)  # the main thread takes the signals


if __name__ == "__main__":
    role, directory, *rest = sys.argv[1:]
    main(role, Path(directory), IPv6Address(rest[0]), IPv4Address(rest[1]), int(rest[2]))
