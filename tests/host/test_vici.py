"""Commands to charon: answered, refused, or given up; nothing hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from dsmip.host.vici import Refused, Unreachable, Vici
from tests.host.fake_charon import RESPONSE, FakeCharon, Tree, send


def run(path: Path, use: Callable[[FakeCharon], Coroutine[Any, Any, None]]) -> None:
    """With a charon at `path`."""

    async def whole() -> None:
        charon = FakeCharon(path)
        await charon.start()
        try:
            await use(charon)
        finally:
            await charon.stop()

    asyncio.run(whole())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "charon.vici"


def test_messages_of_every_shape_arrive(path: Path) -> None:
    message = {"a": {"b": "c", "list": ["x", "y"], "empty": {}}, "last": "1"}

    async def use(charon: FakeCharon) -> None:
        charon.answers["echo"] = lambda told: told
        async with await Vici.connect(path) as vici:
            assert await vici.request("echo", message) == message
            assert await vici.request("echo") == {}

    run(path, use)


def test_a_stream_of_events_comes_whole(path: Path) -> None:
    async def use(charon: FakeCharon) -> None:
        charon.sas = {f"ike-{number}": {"state": "ESTABLISHED"} for number in range(300)}
        async with await Vici.connect(path) as vici:
            events = await vici.stream("list-sas", "list-sa")
            assert events == [{name: sa} for name, sa in charon.sas.items()]

    run(path, use)


def test_refusals_carry_what_was_said_on_the_way(path: Path) -> None:
    async def use(charon: FakeCharon) -> None:
        charon.initiates = lambda _name: ["sending packet", "received AUTHENTICATION_FAILED notify error"]
        async with await Vici.connect(path) as vici:
            with pytest.raises(Refused, match="establishing CHILD_SA 'signalling' failed") as refused:
                await vici.stream("initiate", "control-log", {"ike": "laptop"})
            assert refused.value.log[-1] == "received AUTHENTICATION_FAILED notify error"
            with pytest.raises(Refused, match="does not know the command"):
                await vici.request("make-coffee")

    run(path, use)


def test_nobody_there(path: Path) -> None:
    async def use() -> None:
        with pytest.raises(Unreachable, match=r"charon\.vici .*No such file.*is charon running"):
            await Vici.connect(path)
        path.write_text("not a socket")
        with pytest.raises(Unreachable, match="is charon running"):
            await Vici.connect(path)

    asyncio.run(use())


def packet(octets: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        send(writer, octets)
        await reader.read()

    return answer


@pytest.mark.parametrize(
    "octets",
    [b"", b"\xff", bytes([RESPONSE, 3, 200, 1]), bytes([RESPONSE, 1, 1, 65])],
    ids=["empty", "unknown kind", "cut short", "section without end"],
)
def test_nonsense_is_an_error(path: Path, octets: bytes) -> None:
    async def use(charon: FakeCharon) -> None:
        charon.instead = packet(octets)
        async with await Vici.connect(path) as vici:
            with pytest.raises((Unreachable, Refused)):
                await vici.request("version")

    run(path, use)


def test_half_an_answer_and_silence_end_in_time(path: Path) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"\0\0")
        await reader.read()

    async def huge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"\xff" * 64)
        await reader.read()

    async def use(charon: FakeCharon) -> None:
        for instead, words in ((half, "has not answered within"), (huge, "not strongSwan")):
            charon.instead = instead
            async with await Vici.connect(path, timeout=0.2) as vici:
                with pytest.raises(Unreachable, match=words):
                    await vici.request("version")

    run(path, use)


def test_charon_dies_in_the_middle(path: Path) -> None:
    async def use(charon: FakeCharon) -> None:
        def die(_message: Tree) -> Tree:
            raise ConnectionResetError

        charon.answers["version"] = die
        async with await Vici.connect(path) as vici:
            with pytest.raises(Unreachable, match="closed the connection"):
                await vici.request("version")

    run(path, use)
