"""Looking up a home agent's name: until it is found, off the event loop, again when it is silent."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from dsmip.core.mobile_node.home_agents import HomeAgentAddress
from dsmip.daemon.home_agent import name as home_agent_name
from dsmip.daemon.home_agent.name import FILE_NAME, HomeAgentName, Unresolved, look_up

NAME = "ha.example.org"
HERE = HomeAgentAddress(IPv6Address("2001:db8::1"), IPv4Address("192.0.2.1"))
THERE = HomeAgentAddress(IPv6Address("2001:db8::2"), IPv4Address("192.0.2.2"))
NOWHERE = Unresolved("it is nowhere")


class Scene:
    """A name whose lookups are scripted; the last result is given for ever."""

    def __init__(self, directory: Path, results: list[HomeAgentAddress | Unresolved]) -> None:
        self.results = results
        self.lookups = 0
        self.threads: set[int] = set()
        self.serves = True
        self.located: list[HomeAgentAddress] = []
        self.told: list[str | None] = []
        self.name = HomeAgentName(
            NAME,
            None,
            directory,
            lambda: self.serves,
            self.located.append,
            self.told.append,
            lookup=self._look_up,
        )

    def _look_up(self, name: str) -> HomeAgentAddress | Unresolved:
        assert name == NAME
        self.threads.add(threading.get_ident())
        self.lookups += 1
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_PAUSE", "SILENCE"):
        monkeypatch.setattr(home_agent_name, name, 0.02)


def test_it_is_looked_up_until_it_is_found(tmp_path: Path) -> None:
    async def play() -> None:
        scene = Scene(tmp_path, [NOWHERE, NOWHERE, HERE])
        scene.name.start()
        await scene.until(lambda: bool(scene.located))
        assert scene.located == [HERE]
        assert scene.told == ["it is nowhere", "it is nowhere", None]
        assert threading.get_ident() not in scene.threads
        scene.name.stop()

    asyncio.run(play())


def test_a_silent_home_agent_is_looked_up_again_and_followed(tmp_path: Path) -> None:
    async def play() -> None:
        scene = Scene(tmp_path, [HERE, HERE, THERE])
        scene.name.start()
        await scene.until(lambda: bool(scene.located))
        await asyncio.sleep(0.2)
        assert scene.lookups == 1, "one that answers is left alone"
        scene.serves = False
        await scene.until(lambda: len(scene.located) == 2)
        assert scene.located == [HERE, THERE]
        scene.name.stop()

    asyncio.run(play())


def test_what_was_found_last_is_used_where_nothing_can_be_found(tmp_path: Path) -> None:
    async def play(*results: HomeAgentAddress | Unresolved) -> Scene:
        scene = Scene(tmp_path, list(results))
        scene.name.start()
        await scene.until(lambda: bool(scene.told))
        scene.name.stop()
        return scene

    asyncio.run(play(HERE))
    later = asyncio.run(play(NOWHERE))
    assert later.located == [HERE]
    assert later.told[0] == "it is nowhere"
    file = tmp_path / FILE_NAME
    assert file.stat().st_mode & 0o077 == 0
    for damaged in ("", "{}", "[]", '{"name": "ha.example.org", "address": "x", "ipv4": null}', "\x00"):
        file.write_text(damaged)
        assert asyncio.run(play(NOWHERE)).located == []
    file.write_text('{"name": "other.example.org", "address": "2001:db8::9", "ipv4": null}')
    assert asyncio.run(play(NOWHERE)).located == []


def test_a_network_more_is_a_reason_to_try_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_agent_name, "FIRST_PAUSE", 1000.0)

    async def play() -> None:
        scene = Scene(tmp_path, [NOWHERE, HERE])
        scene.name.start()
        await scene.until(lambda: bool(scene.told))
        scene.name.network_changed()
        await scene.until(lambda: bool(scene.located))
        scene.name.stop()

    asyncio.run(play())


def test_a_lookup_that_takes_for_ever_holds_up_nobody(tmp_path: Path) -> None:
    release = threading.Event()

    def slow(_name: str) -> HomeAgentAddress | Unresolved:
        release.wait(20)
        return HERE

    async def play() -> list[Any]:
        located: list[Any] = []
        name = HomeAgentName(
            NAME, None, tmp_path, lambda: True, located.append, lambda _why: None, lookup=slow
        )
        name.start()
        await asyncio.sleep(0)
        name.stop()
        return located

    assert asyncio.run(play()) == []
    release.set()


@pytest.mark.parametrize(
    ("ipv6", "ipv4", "expected"),
    [
        ("2001:db8::1", "192.0.2.1", HERE),
        ("2001:db8::1", socket.EAI_NONAME, HomeAgentAddress(IPv6Address("2001:db8::1"))),
        (socket.EAI_NODATA, "192.0.2.1", "no IPv6 address: add its AAAA record"),
        (socket.EAI_AGAIN, socket.EAI_AGAIN, "no name server answers"),
        (socket.EAI_NONAME, socket.EAI_NONAME, "is not in the DNS"),
    ],
)
def test_what_the_resolver_says(
    ipv6: str | int, ipv4: str | int, expected: HomeAgentAddress | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_name: str, _port: None, family: int, _kind: int) -> list[Any]:
        found = ipv6 if family == socket.AF_INET6 else ipv4
        if isinstance(found, int):
            raise socket.gaierror(found, "no")
        return [(family, 2, 17, "", (found, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    result = look_up(NAME)
    if isinstance(expected, str):
        assert isinstance(result, Unresolved)
        assert NAME in result.sentence
        assert expected in result.sentence
    else:
        assert result == expected


def test_a_name_that_cannot_be_one_is_not_found() -> None:
    assert isinstance(look_up("x" * 64 + ".example.org"), Unresolved)
