"""Talking to the service manager: what it hears, and that it cannot hold up the daemon."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsmip.daemon.service import Watchdog, notify, watchdog_interval


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ear:
        ear.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield ear


def test_it_is_told(manager: socket.socket) -> None:
    notify("READY=1")
    assert manager.recv(100) == b"READY=1"


@pytest.mark.timeout(20)
def test_one_that_does_not_listen_holds_up_nobody(manager: socket.socket) -> None:
    for _ in range(2000):
        notify("WATCHDOG=1")
    assert manager.recv(100) == b"WATCHDOG=1"


def test_one_that_is_gone_is_no_error(manager: socket.socket) -> None:
    manager.close()
    notify("READY=1")


def test_signs_of_life_come_twice_in_each_interval(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_interval() == 0.02

    async def live() -> None:
        watchdog = Watchdog()
        for _ in range(3):
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(manager, 100), 10)
        watchdog.stop()

    asyncio.run(live())


@pytest.mark.parametrize(("interval", "pid"), [("", ""), ("0", "{us}"), ("1000", "1"), ("x", "{us}")])
def test_not_watched(interval: str, pid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", interval)
    monkeypatch.setenv("WATCHDOG_PID", pid.format(us=os.getpid()))
    assert watchdog_interval() is None
