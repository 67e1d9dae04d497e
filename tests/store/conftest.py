"""A Redis server of the tests' own."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError


class RedisServer:
    """`redis-server` on a socket in a directory; what it has survives its end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._child: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{directory}/redis.sock"

    def start(self) -> None:
        """Start it and wait until it answers."""
        argv = ["redis-server", "--port", "0", "--unixsocket", f"{self._directory}/redis.sock"]
        argv += ["--dir", str(self._directory), "--save", "", "--appendonly", "yes", "--loglevel", "warning"]
        self._child = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                with Redis.from_url(self.url) as client:
                    client.ping()
                    return
            except RedisError:
                assert time.monotonic() < deadline, "redis-server does not come up"
                time.sleep(0.02)

    def follow(self, other: RedisServer | None) -> None:
        """Become a replica of `other`, which refuses to be written to; None = a master again."""
        with Redis.from_url(self.url) as client:
            if other is None:
                client.replicaof("NO", "ONE")
            else:
                client.replicaof(f"{other._directory}/redis.sock", 0)

    def kill(self) -> None:
        """End it without notice."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def forget(self) -> None:
        """Its files are gone, too: it will come back with nothing."""
        shutil.rmtree(self._directory / "appendonlydir")

    def empty(self) -> None:
        """Delete everything in it."""
        with Redis.from_url(self.url) as client:
            client.flushall()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """Running, and empty."""
    shared_redis.empty()
    return shared_redis
