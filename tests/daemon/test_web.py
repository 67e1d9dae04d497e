"""The status page: its token, its data, and the page itself in a real browser."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from tests.daemon.home_agent_parts import HomeAgentParts

from dsmip.core.types import TunnelFormat
from dsmip.daemon.config.observation import WebTable
from dsmip.daemon.http import HttpServer, Listen, Request, Response
from dsmip.daemon.journal import Journal
from dsmip.daemon.web import WebPage, policy
from dsmip.daemon.web_token import TOKEN_FILE, token_of
from dsmip.dataplane.api import Traffic

TOKEN = "0123456789abcdef0123"

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def ask(page: WebPage, path: str, token: str | None = TOKEN, **query: str) -> Response:
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    return asyncio.run(page.answer(Request(path, query, headers, "192.0.2.99")))


def state(page: WebPage, **query: str) -> Any:
    response = ask(page, "/api/state", **query)
    assert response.status is HTTPStatus.OK
    return json.loads(response.body)


@pytest.fixture
def parts(tmp_path: Path) -> HomeAgentParts:
    made = HomeAgentParts(tmp_path)
    made.bind(1, ("2001:db8:6::1", TunnelFormat.IPV6), traffic=Traffic(1, 1000, 2, 2000))
    made.bind(2, ("192.0.2.9", TunnelFormat.UDP4), ("2001:db8:6::2", TunnelFormat.IPV6))
    return made


@pytest.fixture
def page(parts: HomeAgentParts) -> WebPage:
    return WebPage(parts.questions, parts.events, TOKEN)


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "\u00e9"])
@pytest.mark.parametrize("path", ["/api/state", "/api/explain", "/api/anything"])
def test_without_the_token_nothing_is_told(
    parts: HomeAgentParts, page: WebPage, path: str, token: str | None
) -> None:
    response = ask(page, path, token)
    assert response.status is HTTPStatus.UNAUTHORIZED
    assert b"bus" not in response.body
    assert parts.events.drops["web-token"] == 1


def test_the_page_itself_tells_nothing_and_lets_nothing_foreign_in(page: WebPage) -> None:
    response = ask(page, "/", None)
    csp = response.headers["Content-Security-Policy"]
    assert csp.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in csp
    text = response.body.decode()
    assert policy(text) == csp
    for foreign in ("http:", "https:", "src=", "href=", "@import", "url(", "innerHTML", "onclick"):
        assert foreign not in text.replace("http://www.w3.org/2000/svg", ""), foreign


def test_the_state_has_bindings_with_all_care_of_addresses(page: WebPage) -> None:
    told = state(page)
    assert told["status"]["bindings"] == 2
    first, second = told["bindings"]
    assert (first["name"], first["care_of"], first["received_bytes"]) == ("bus-1", "2001:db8:6::1", 2000)
    assert [path["care_of"] for path in second["care_of_bindings"]] == ["192.0.2.9", "2001:db8:6::2"]
    assert [path["tunnel"] for path in second["care_of_bindings"]] == ["udp4", "ipv6"]


@pytest.mark.parametrize("wanted", ["bus-2", "BUS-2", "udp", "192.0.2.9", "2001:db8:6::2", "2001:db8:100::2"])
def test_the_filter(page: WebPage, wanted: str) -> None:
    assert [row["name"] for row in state(page, filter=wanted)["bindings"]] == ["bus-2"]


def test_turns_are_told_once(parts: HomeAgentParts, page: WebPage) -> None:
    first = state(page)
    assert [event["event"] for event in first["events"]] == ["registered", "registered"]
    assert state(page, after=str(first["turns"]))["events"] == []
    parts.events.event("moved", {"name": "bus-1", "home_address": "2001:db8:100::1"})
    assert [event["event"] for event in state(page, after=str(first["turns"]))["events"]] == ["moved"]
    assert len(state(page, after="999")["events"]) == 3, "counted by an earlier process: everything"
    assert len(state(page, after="x")["events"]) == 3


def test_turns_beyond_what_is_kept() -> None:
    journal = Journal()
    for number in range(600):
        journal.event("moved", {"number": number, "unix": 1.0})
    assert len(journal.since(0)) == 512
    assert [record["number"] for record in journal.since(598)] == [598, 599]
    assert journal.since(600) == []


def test_a_story_is_told_and_an_unknown_node_is_not_found(page: WebPage) -> None:
    story = json.loads(ask(page, "/api/explain", node="bus-1").body)
    assert "is registered at 2001:db8:6::1" in story["story"][0]["text"]
    assert ask(page, "/api/explain", node="bus-9").status is HTTPStatus.NOT_FOUND
    assert ask(page, "/elsewhere").status is HTTPStatus.NOT_FOUND


def test_the_token_is_made_once_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    table = _table({})
    token = token_of(table, tmp_path)
    assert len(token) >= 32
    assert token_of(table, tmp_path) == token
    assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
    assert token_of(_table({"token": TOKEN}), tmp_path) == TOKEN


def _table(keys: Mapping[str, Any]) -> WebTable:
    from dsmip.daemon.config.observation import ListenAddress

    return WebTable(listen=ListenAddress("127.0.0.1:8418"), **keys)


@pytest.mark.programs
def test_a_browser_shows_bindings_timeline_and_events(
    parts: HomeAgentParts, page: WebPage, tmp_path: Path
) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    parts.events.event(
        "moved", {"name": "<b>bus-1</b>", "home_address": "2001:db8:100::1", "care_of": "2001:db8:6::1"}
    )

    async def scene(fragment: str) -> str:
        server = HttpServer(Listen(IPv4Address("127.0.0.1"), 0), page.answer)
        await server.start()
        browser = await asyncio.create_subprocess_exec(
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            *("--virtual-time-budget=4000", "--dump-dom", f"http://127.0.0.1:{server.port}/{fragment}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        output, _ = await asyncio.wait_for(browser.communicate(), 90)
        await server.stop()
        return output.decode()

    dom = asyncio.run(scene(f"#token={TOKEN}"))
    for shown in ("bus-1", "2001:db8:6::1", "192.0.2.9 (NAT), 2001:db8:6::2", "registered at"):
        assert shown in dom, dom
    assert '<section id="explained" hidden="">' in dom
    assert dom.count("<circle") == 3
    assert "&lt;b&gt;bus-1&lt;/b&gt;" in dom, "what others send is text"
    refused = asyncio.run(scene("#token=wrong"))
    assert "bus-1" not in refused
    assert '<main id="page" hidden="">' in refused
    assert '<main id="login">' in refused
