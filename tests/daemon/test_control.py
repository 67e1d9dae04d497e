"""The control socket: questions, refusals, and daemons that are not there."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from dsmip.daemon.control import SOCKET_NAME, ControlError, ControlServer, ask, instances


def converse(root: Path, *commands: str) -> list[Any]:
    async def scene() -> list[Any]:
        (root / "ha").mkdir()
        server = ControlServer(root / "ha" / SOCKET_NAME, {"status": lambda: {"state": "fine"}})
        await server.start()
        answers: list[Any] = []
        for command in commands:
            try:
                answers.append(await asyncio.to_thread(ask, "ha", command, root=root))
            except ControlError as error:
                answers.append(str(error))
        await server.stop()
        return answers

    return asyncio.run(scene())


def test_answers_and_refuses(tmp_path: Path) -> None:
    answers = converse(tmp_path, "status", "dance")
    assert answers[0] == {"state": "fine"}
    assert "unknown command 'dance'" in answers[1]
    assert instances(tmp_path) == []


@pytest.mark.parametrize("line", [b"[" * 4000, b"1" * 5000, b"{", b"\xff", b""])
def test_request_that_is_not_json_is_refused(line: bytes) -> None:
    answer = ControlServer(Path("unused"), {}).answer(line)
    assert answer == {"ok": False, "error": "the request is not JSON"}


def test_garbage_gets_an_answer_and_harms_nobody(tmp_path: Path) -> None:
    async def scene() -> tuple[bytes, Any]:
        (tmp_path / "ha").mkdir()
        path = tmp_path / "ha" / SOCKET_NAME
        server = ControlServer(path, {"status": lambda: 1})
        await server.start()

        def rude() -> bytes:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"\xff\x00 nonsense\n")
                first = client.recv(1000)
                client.sendall(b"x" * 100_000)
                client.shutdown(socket.SHUT_WR)
                return first

        first = await asyncio.to_thread(rude)
        polite = await asyncio.to_thread(ask, "ha", "status", root=tmp_path)
        await server.stop()
        return first, polite

    first, polite = asyncio.run(scene())
    assert b"not JSON" in first
    assert polite == 1


def test_absent_daemon_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="is not running"):
        ask("ha", "status", root=tmp_path)
