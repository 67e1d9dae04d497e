"""A Redis master, its replica, and a sentinel that puts the replica in its place."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

SERVICE = "bindings"
_DOWN_AFTER = 300  # milliseconds
_WITHIN = 30.0

#: Makes a command line one that runs where the home agent is.
Where = Callable[[list[str]], list[str]]


class Group:
    """Three processes that talk over TCP; tests talk to them on sockets in `directory`."""

    def __init__(self, directory: Path, ports: tuple[int, int, int], where: Where) -> None:
        self.url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{ports[2]}/{SERVICE}"
        self._directory = directory
        self._ports = ports
        self._where = where
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Until the sentinel knows a replica that has what the master has."""
        first, second, sentinel = self._ports
        self._run("first", first, [])
        self._run("second", second, ["--replicaof", f"127.0.0.1 {first}"])
        self._until(lambda: self.ask("second", "INFO", "replication")["master_link_status"] == "up")
        config = self._directory / "sentinel.conf"
        config.write_text(
            f"port {sentinel}\nbind 127.0.0.1\nunixsocket {self._socket('sentinel')}\ndir {self._directory}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {first} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER}\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        self._spawn("sentinel", ["redis-server", str(config), "--sentinel"])
        self._until(lambda: int(self._watched()["num-slaves"]) == 1)

    def catch_up(self) -> None:
        """Until the replica has what the master has."""
        told = int(self.ask("first", "INFO", "replication")["master_repl_offset"])
        self._until(lambda: int(self.ask("second", "INFO", "replication")["slave_repl_offset"]) >= told)

    def forsake_replica(self) -> None:
        """From now on the replica learns nothing more."""
        self.ask("second", "REPLICAOF", "127.0.0.1", "1")

    def end_master(self) -> None:
        """Without notice."""
        child = self._children.pop("first")
        child.kill()
        child.wait()

    def is_promoted(self) -> bool:
        """Whether the former replica is the master."""
        return bool(self.ask("second", "INFO", "replication")["role"] == "master")

    def end(self) -> None:
        """All that are left."""
        for child in self._children.values():
            child.kill()
            child.wait()

    def ask(self, name: str, *words: str) -> dict[str, str]:
        """What a server answers."""
        with Redis(unix_socket_path=self._socket(name), decode_responses=True) as client:
            answer = client.execute_command(*words)
            return answer if isinstance(answer, dict) else {}

    def _watched(self) -> dict[str, str]:
        return self.ask("sentinel", "SENTINEL", "MASTER", SERVICE)

    def _run(self, name: str, port: int, options: list[str]) -> None:
        (self._directory / name).mkdir()
        argv = [
            "redis-server",
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self._directory / name),
        ]
        argv += ["--unixsocket", self._socket(name), "--save", "", "--appendonly", "yes"]
        self._spawn(name, [*argv, "--repl-diskless-sync-delay", "0", *options])

    def _spawn(self, name: str, argv: list[str]) -> None:
        log = (self._directory / f"{name}.log").open("ab")
        with log:
            self._children[name] = subprocess.Popen(self._where(argv), stdout=log, stderr=log)
        self._until(lambda: self.ask(name, "PING") == {})

    def _socket(self, name: str) -> str:
        return str(self._directory / f"{name}.sock")

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _WITHIN
        while True:
            try:
                if holds():
                    return
            except RedisError:
                pass
            assert time.monotonic() < deadline, [path.read_text() for path in self._directory.glob("*.log")]
            time.sleep(0.02)


def free_ports() -> tuple[int, int, int]:
    """Three TCP ports that nobody has."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    first, second, third = (one.getsockname()[1] for one in held)
    for one in held:
        one.close()
    return first, second, third


@contextmanager
def group(directory: Path, ports: tuple[int, int, int], where: Where = list) -> Iterator[Group]:
    """Running, and ended afterwards."""
    there = Group(directory, ports, where)
    try:
        there.start()
        yield there
    finally:
        there.end()
