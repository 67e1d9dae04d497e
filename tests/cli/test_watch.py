"""The screen, driven by its keys, against a control socket; and the text it is without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.daemon.home_agent_parts import HomeAgentParts
from textual.pilot import Pilot
from textual.widgets import DataTable, RichLog, Static

from dsmip.cli import asking, main, watch
from dsmip.cli.watch_screen import Story, WatchScreen
from dsmip.cli.watch_view import Rates, Watcher
from dsmip.core.types import TunnelFormat
from dsmip.daemon.control import SOCKET_NAME
from dsmip.daemon.control_server import ControlServer, whole_number
from dsmip.dataplane.api import Traffic

STATUS: dict[str, Any] = {
    "name": "bus-1",
    "role": "mobile-router",
    "state": "registered",
    "tunnel": "udp4",
    "nat": "detected",
    "care_of": "192.0.2.9",
    "round_trip_ms": 12.5,
    "uptime": 60.0,
    "sent_bytes": 0,
    "received_bytes": 0,
}
ATTACHMENTS: dict[str, Any] = {
    "home": None,
    "care_of": [
        {"interface": "wan0", "address": "192.0.2.9", "gateway": "192.0.2.1", "network": "[wifi]"},
        {"interface": "wan0", "address": "2001:db8:6::1", "gateway": None, "network": "ra"},
    ],
    "interfaces": {"wan0": {"state": "up", "managed": True}, "wan1": {"state": "down", "managed": False}},
}

App = Callable[[Pilot[None], HomeAgentParts], Awaitable[None]]


def drive(tmp_path: Path, scene: App) -> None:
    async def run() -> None:
        (tmp_path / "ha").mkdir()
        parts = HomeAgentParts(tmp_path)
        parts.bind(1, ("2001:db8:6::1", TunnelFormat.IPV6), traffic=Traffic(1, 1000, 2, 2000))
        parts.bind(2, ("192.0.2.9", TunnelFormat.UDP4), ("2001:db8:6::2", TunnelFormat.IPV6))
        server = ControlServer(
            tmp_path / "ha" / SOCKET_NAME,
            parts.questions.handlers(),
            {"events": lambda arguments: parts.events.follow(whole_number(arguments, "past", 0))},
        )
        await server.start()
        app = WatchScreen("ha", tmp_path)
        async with app.run_test(size=(130, 30)) as pilot:
            await until(pilot, lambda: app.query_one(DataTable).row_count == 2)
            await scene(pilot, parts)
        await server.stop()

    asyncio.run(run())


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    for _ in range(400):
        if true():
            return
        await pilot.pause(0.05)
    raise AssertionError("not within 20 s")


def cells(pilot: Pilot[None], row: int) -> list[str]:
    return [cell.plain for cell in pilot.app.query_one(DataTable).get_row_at(row)]


def turns(pilot: Pilot[None]) -> str:
    return "\n".join(strip.text for strip in pilot.app.query_one(RichLog).lines)


def test_bindings_rates_and_handovers_as_they_happen(tmp_path: Path) -> None:
    async def scene(pilot: Pilot[None], parts: HomeAgentParts) -> None:
        assert cells(pilot, 0)[:4] == ["bus-1", "2001:db8:100::1", "2001:db8:6::1", "ipv6"]
        assert cells(pilot, 1)[2:4] == ["192.0.2.9:40000 (NAT), 2001:db8:6::2", "udp4, ipv6"]
        assert "2 of 3 mobile nodes are registered" in str(pilot.app.query_one("#summary", Static).render())
        parts.dataplane.counters[1, 0] = Traffic(1, 1000, 2, 9_000_000)
        await until(pilot, lambda: "Mbit/s" in cells(pilot, 0)[4])
        await until(pilot, lambda: "registered" in turns(pilot))
        parts.events.event("refreshed", {"name": "bus-1"})
        parts.events.event(
            "moved",
            {
                "name": "bus-1",
                "home_address": "2001:db8:100::1",
                "care_of": "192.0.2.77",
                "previous": "192.0.2.9",
            },
        )
        await until(pilot, lambda: "bus-1 moved to 192.0.2.77" in turns(pilot))
        assert "refreshed" not in turns(pilot)
        await pilot.press("a")
        parts.events.event("refreshed", {"name": "bus-1"})
        await until(pilot, lambda: "refreshed" in turns(pilot))

    drive(tmp_path, scene)


def test_slash_filters_escape_shows_all_and_q_quits(tmp_path: Path) -> None:
    async def scene(pilot: Pilot[None], parts: HomeAgentParts) -> None:
        await pilot.press("slash", *"bus-2", "enter")
        await until(pilot, lambda: pilot.app.query_one(DataTable).row_count == 1)
        assert cells(pilot, 0)[0] == "bus-2"
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.query_one(DataTable).row_count == 2)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Story))
        assert "bus-2 (2001:db8:100::2) is registered" in str(
            pilot.app.screen.query_one("#story", Static).render()
        )
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, Story))
        await pilot.press("q")
        assert pilot.app.return_code == 0

    drive(tmp_path, scene)


def test_a_daemon_that_goes_away_is_said_so_and_found_again(tmp_path: Path) -> None:
    async def scene(pilot: Pilot[None], parts: HomeAgentParts) -> None:
        path = tmp_path / "ha" / SOCKET_NAME
        path.rename(path.with_suffix(".away"))
        summary = pilot.app.query_one("#summary", Static)
        await until(pilot, lambda: "ha is not running" in str(summary.render()))
        path.with_suffix(".away").rename(path)
        await until(pilot, lambda: "registered" in str(summary.render()))

    drive(tmp_path, scene)


def answers(command: str, **_arguments: Any) -> Any:
    return {"status": STATUS, "attachments": ATTACHMENTS, "events": []}[command]


def test_paths_of_a_mobile_node() -> None:
    watcher = Watcher(answers)
    view = watcher.look("", 1.0)
    assert view.title == "bus-1 (mobile-router)"
    assert view.summary == "registered; tunnel udp4, NAT; round trip 12.5 ms; up 1 min"
    assert [row.cells for row in view.rows] == [
        ("wan0", "up", "192.0.2.9", "192.0.2.1", "[wifi]", "yes"),
        ("wan0", "up", "2001:db8:6::1", "", "ra", ""),
        ("wan1", "down (watched)", "", "", "", ""),
    ]
    assert "in 0 bit/s, out 0 bit/s" in watcher.look("", 2.0).summary
    assert [row.cells[0] for row in watcher.look("WAN1", 3.0).rows] == ["wan1"]


def test_several_uplinks_of_a_mobile_node() -> None:
    path = {"interface": "wan0", "state": "up", "in_use": True, "care_of": "192.0.2.9", "tunnel": "udp4"}
    path |= {"delay_ms": 20.0, "loss": 0.001, "received_bytes": 0, "sent_bytes": 0, "network": "wifi"}
    other = {**path, "interface": "wan1", "state": "gone", "in_use": False, "care_of": None, "tunnel": None}
    other |= {"delay_ms": None, "network": ""}

    def several(command: str, **arguments: Any) -> Any:
        if command == "attachments":
            return {**ATTACHMENTS, "paths": [path, other]}
        return answers(command, **arguments)

    watcher = Watcher(several)
    watcher.look("", 1.0)
    path["received_bytes"] = 1000
    assert [row.cells for row in watcher.look("", 2.0).rows] == [
        ("wan0", "up, in use", "192.0.2.9", "udp4", "20.0 ms", "0.1%", "8.0 kbit/s", "0 bit/s", "wifi"),
        ("wan1", "gone", "", "", "", "0.1%", "0 bit/s", "0 bit/s", ""),
    ]


def test_rates() -> None:
    rates = Rates()
    assert rates.of("a", 1000, 1.0) == ""
    assert rates.of("a", 2000, 2.0) == "8.0 kbit/s"
    assert rates.of("a", 100, 3.0) == "0 bit/s", "a counter that began anew"
    rates.keep(set())
    assert rates.of("a", 200, 4.0) == ""


def test_without_a_terminal_it_is_one_look_as_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(asking, "instances", lambda: ["bus-1"])
    monkeypatch.setattr(asking, "ask", lambda _name, command: answers(command))
    monkeypatch.setattr(watch, "ask", lambda _name, command, **more: answers(command, **more))
    assert main.main(["watch"]) == 0
    text = capsys.readouterr().out
    assert "bus-1 (mobile-router): registered; tunnel udp4" in text
    assert "192.0.2.9" in text
