"""Metrics and status page as long as the daemon serves; and when they cannot be had."""

from __future__ import annotations

import asyncio
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.daemon.home_agent_parts import HomeAgentParts

from dsmip.daemon.config.problems import ConfigError
from dsmip.daemon.config.schema import HomeAgentFile
from dsmip.daemon.watching import Watching


def port_of(listener: asyncio.Server) -> int:
    return int(listener.sockets[0].getsockname()[1])


async def free_port() -> int:
    listener = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = port_of(listener)
    listener.close()
    await listener.wait_closed()
    return port


def get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_both_are_served_while_the_daemon_serves(tmp_path: Path) -> None:
    async def scene() -> list[int]:
        metrics, web = await free_port(), await free_port()
        tables = f'[metrics]\nlisten = "127.0.0.1:{metrics}"\n[web]\nlisten = "127.0.0.1:{web}"\n'
        parts = HomeAgentParts(tmp_path, tables=tables)
        urls = (
            f"http://127.0.0.1:{metrics}/metrics",
            f"http://127.0.0.1:{metrics}/",
            f"http://127.0.0.1:{web}/",
        )
        async with Watching(parts.runtime, parts.questions).serving(parts.config):
            answers = [await asyncio.to_thread(get, url) for url in urls]
        with pytest.raises(urllib.error.URLError):
            await asyncio.to_thread(get, urls[0])
        assert parts.questions.web()["url"].startswith(f"http://127.0.0.1:{web}/#token=")
        return answers

    assert asyncio.run(scene()) == [200, 404, 200]


def test_an_address_in_use_is_told_and_stops_nothing(tmp_path: Path) -> None:
    async def scene() -> HomeAgentParts:
        taken = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        parts = HomeAgentParts(tmp_path, tables=f'[metrics]\nlisten = "127.0.0.1:{port_of(taken)}"\n')
        async with Watching(parts.runtime, parts.questions).serving(parts.config):
            pass
        taken.close()
        return parts

    (told,) = asyncio.run(scene()).events.recent
    assert (told["event"], told["what"]) == ("not-watched", "metrics")
    assert "in use" in str(told["error"])


def test_a_missing_package_is_told_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dsmip.daemon.metrics", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    async def scene() -> HomeAgentParts:
        parts = HomeAgentParts(tmp_path, tables='[metrics]\nlisten = "127.0.0.1:9418"\n')
        async with Watching(parts.runtime, parts.questions).serving(parts.config):
            pass
        return parts

    (told,) = asyncio.run(scene()).events.recent
    assert "prometheus_client is missing: apt install python3-prometheus-client" in str(told["error"])


def test_what_could_not_be_served_does_not_stand_in_the_way_of_a_reload(tmp_path: Path) -> None:
    async def scene() -> None:
        taken = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        parts = HomeAgentParts(tmp_path, tables=f'[metrics]\nlisten = "127.0.0.1:{port_of(taken)}"\n')
        watching = Watching(parts.runtime, parts.questions)
        async with watching.serving(parts.config):
            await watching.change(parts.config, Path("ha.toml"))
        taken.close()

    asyncio.run(scene())


def tables(**ports: int) -> str:
    """A table for each, on its port."""
    return "".join(f'[{what}]\nlisten = "127.0.0.1:{port}"\n' for what, port in ports.items())


def test_a_reload_changes_what_differs_and_nothing_else(tmp_path: Path) -> None:
    async def scene() -> None:
        one, two, three = await free_port(), await free_port(), await free_port()

        async def answers() -> list[int]:
            found = []
            for port, path in ((one, "/metrics"), (two, "/"), (three, "/metrics")):
                try:
                    found.append(await asyncio.to_thread(get, f"http://127.0.0.1:{port}{path}"))
                except urllib.error.URLError:
                    found.append(0)
            return found

        def config(name: str, text: str) -> HomeAgentFile:
            (tmp_path / name).mkdir()
            return HomeAgentParts(tmp_path / name, tables=text).config

        parts = HomeAgentParts(tmp_path)
        watching = Watching(parts.runtime, parts.questions)
        file = Path("ha.toml")
        async with watching.serving(parts.config):
            assert await answers() == [0, 0, 0]
            await watching.change(config("both", tables(metrics=one, web=two)), file)
            assert await answers() == [200, 200, 0]
            web, door = watching._servers["web"], watching._servers["metrics"]
            await watching.change(
                config("each", tables(web=two) + tables(metrics=one) + "per_mobile_node = true\n"), file
            )
            assert await answers() == [200, 200, 0]
            assert watching._servers["metrics"] is door, "the door stayed open"
            await watching.change(config("moved", tables(metrics=three, web=two)), file)
            assert await answers() == [0, 200, 200]
            assert watching._servers["web"] is web, "not touched"
            taken = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
            with pytest.raises(ConfigError, match="in use"):
                await watching.change(config("taken", tables(metrics=port_of(taken))), file)
            taken.close()
            assert await answers() == [0, 200, 200], "as before"
            await watching.change(config("none", ""), file)
            assert await answers() == [0, 0, 0]

    asyncio.run(scene())
