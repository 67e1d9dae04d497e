"""Metrics and status page as long as the daemon serves; and when they cannot be had."""

from __future__ import annotations

import asyncio
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.daemon.home_agent_parts import HomeAgentParts

from dsmip.daemon.watching import watched


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
        async with watched(parts.config, parts.runtime, parts.questions):
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
        async with watched(parts.config, parts.runtime, parts.questions):
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
        async with watched(parts.config, parts.runtime, parts.questions):
            pass
        return parts

    (told,) = asyncio.run(scene()).events.recent
    assert "prometheus_client is missing: apt install python3-prometheus-client" in str(told["error"])
