"""Namespaces by hand, as a person would make them: nothing of the lab is used here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

#: Names of namespaces and interfaces made here.
PREFIX = "dsmip-sys-"


def run(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
    return done


#: In the guest (tests/guest) all takes longer, and it is the last on the host's CPUs.
PATIENCE = 4 if os.environ.get("DSMIP_GUEST") else 1


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds * PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds * PATIENCE:g} s: {what}"
        time.sleep(0.05)


class Namespaces:
    """Network namespaces and the processes started in them; all of it goes away at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._names: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def add(self, *names: str) -> None:
        for name in names:
            run("ip", "netns", "add", PREFIX + name)
            self._names.append(name)
            self.run(name, "ip", "link", "set", "lo", "up")

    def cable(self, one: tuple[str, str], other: tuple[str, str]) -> None:
        (node, interface), (far_node, far_interface) = one, other
        run(
            *("ip", "link", "add", interface, "netns", PREFIX + node, "type", "veth"),
            *("peer", "name", far_interface, "netns", PREFIX + far_node),
        )
        for where, name in (one, other):
            self.run(where, "ip", "link", "set", name, "up")

    def run(self, node: str, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run("ip", "netns", "exec", PREFIX + node, *argv, check=check)

    def start(self, node: str, *argv: str) -> subprocess.Popen[bytes]:
        log = self.directory / f"{node}-{Path(argv[0]).name}-{len(self._processes)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", PREFIX + node, *argv], stdout=output, stderr=subprocess.STDOUT
            )
        self._processes.append(process)
        return process

    def dsmip(self, node: str, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start(node, sys.executable, "-m", "dsmip", *arguments)

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text()}" for path in sorted(self.directory.glob("*.log"))
        )

    def pings(self, node: str, target: str, *options: str) -> bool:
        return self.run(node, "ping", "-c", "1", "-W", "1", *options, target, check=False).returncode == 0

    def close(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for name in self._names:
            run("ip", "netns", "del", PREFIX + name, check=False)


@pytest.fixture
def namespaces(tmp_path: Path) -> Iterator[Namespaces]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    made = Namespaces(tmp_path)
    yield made
    made.close()
    for name in ("ha", "home-agent", "bus-17", "laptop", "portal-ha", "portal-mn", "reload-ha", "reload-mn"):
        for directory in (Path("/run/dsmip/bpf") / name, Path("/run/dsmip") / name):
            shutil.rmtree(directory, ignore_errors=True)
