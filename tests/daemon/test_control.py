"""The control socket: questions, refusals, and daemons that are not there."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from dsmip.daemon.control import SOCKET_NAME, ControlError, ask, follow, instances
from dsmip.daemon.control_server import ControlServer, plain, whole_number
from dsmip.daemon.events import EventLog


def converse(root: Path, *commands: str) -> list[Any]:
    async def scene() -> list[Any]:
        (root / "ha").mkdir()
        server = ControlServer(root / "ha" / SOCKET_NAME, {"status": plain(lambda: {"state": "fine"})})
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
        server = ControlServer(path, {"status": plain(lambda: 1)})
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


class Streaming:
    """A server with a stream of events, on a thread of its own so that clients may block."""

    def __init__(self, root: Path) -> None:
        (root / "ha").mkdir()
        self.events = EventLog()
        self.server = ControlServer(
            root / "ha" / SOCKET_NAME,
            {"status": plain(lambda: "fine")},
            {"events": lambda arguments: self.events.follow(whole_number(arguments, "past", 0))},
        )


def test_a_stream_is_followed_until_the_daemon_ends(tmp_path: Path) -> None:
    async def scene() -> list[dict[str, Any]]:
        served = Streaming(tmp_path)
        served.events.event("before", {"care_of": "192.0.2.1"})
        await served.server.start()
        following = asyncio.create_task(
            asyncio.to_thread(lambda: list(follow("ha", "events", root=tmp_path, past=1)))
        )
        while not served.events.feed.followed:
            await asyncio.sleep(0.01)
        served.events.event("after", {})
        await asyncio.sleep(0.1)
        await served.server.stop()
        return await following

    assert [record["event"] for record in asyncio.run(scene())] == ["before", "after"]


def test_a_client_that_does_not_read_blocks_nobody_and_is_told_what_it_missed(tmp_path: Path) -> None:
    async def scene() -> list[dict[str, Any]]:
        served = Streaming(tmp_path)
        await served.server.start()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "ha" / SOCKET_NAME), limit=1 << 12)
        writer.write(b'{"command": "events", "follow": true}\n')
        assert json.loads(await reader.readline())["ok"]
        for number in range(20_000):
            served.events.event("tick", {"number": number, "padding": "x" * 200})
            if number % 100 == 0:
                await asyncio.sleep(0)
        assert await asyncio.to_thread(ask, "ha", "status", root=tmp_path) == "fine"
        records = []
        while not records or records[-1].get("number") != 19_999:
            records.append(json.loads(await reader.readline()))
        writer.close()
        while served.events.feed.followed:
            await asyncio.sleep(0.01)
        await served.server.stop()
        return records

    records = asyncio.run(scene())
    missed = sum(record["count"] for record in records if record["event"] == "skipped")
    seen = [record["number"] for record in records if record["event"] == "tick"]
    assert missed > 0
    assert missed + len(seen) == 20_000
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("command", "reason"),
    [("status", "nothing to follow in 'status'; known: events"), ("events", "past must be a number")],
)
def test_what_cannot_be_followed_is_refused(tmp_path: Path, command: str, reason: str) -> None:
    async def scene() -> str:
        served = Streaming(tmp_path)
        await served.server.start()
        try:
            with pytest.raises(ControlError) as refusal:
                await asyncio.to_thread(lambda: next(follow("ha", command, root=tmp_path, past=-1)))
        finally:
            await served.server.stop()
        return str(refusal.value)

    assert reason in asyncio.run(scene())
