"""`dsmip attachments`: the tables, and moving traffic away from an interface."""

from __future__ import annotations

from typing import Any

import pytest

from dsmip.cli import attachments, main, show
from dsmip.cli.attachments import render

RESULT: dict[str, Any] = {
    "home": None,
    "interfaces": {"wlan0": {"state": "up", "managed": True, "routers": []}},
    "care_of": [
        {
            "interface": "wlan0",
            "address": "2001:db8::5",
            "gateway": "fe80::1",
            "network": "cafe",
            "portal": "https://portal.example/",
            "cut_off": False,
        },
    ],
    "paths": [
        {
            "bid": 1,
            "interface": "wlan0",
            "state": "up",
            "in_use": True,
            "metered": False,
            "fallback_only": True,
            "care_of": "2001:db8::5",
            "tunnel": "ipv6",
            "delay_ms": 21.34,
            "loss": 0.0125,
            "sent_bytes": 2048,
            "received_bytes": 0,
        }
    ],
}


def test_networks_and_paths() -> None:
    networks, paths = render(RESULT).split("\n\n")
    assert "2001:db8::5" in networks
    assert "up, in use, fallback" in paths
    assert "21.3 ms" in paths
    assert "1.2 %" in paths
    assert render({**RESULT, "paths": []}) == networks


def test_a_network_that_lets_nothing_through_is_named_with_its_portal() -> None:
    closed = {**RESULT["care_of"][0], "cut_off": True}
    told = render({**RESULT, "care_of": [closed]}).split("\n\n")[-1]
    assert told == (
        "wlan0: nothing gets from 2001:db8::5 to the home agent; log in at https://portal.example/"
    )
    assert render({**RESULT, "care_of": [{**closed, "portal": None}]}).endswith("to the home agent")


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], (None, "attachments", {})),
        (["bus-17"], ("bus-17", "attachments", {})),
        (["leave", "wlan0"], (None, "leave", {"interface": "wlan0"})),
        (["return", "wlan0", "bus-17"], ("bus-17", "return", {"interface": "wlan0"})),
    ],
)
def test_words(
    words: list[str],
    asked: tuple[str | None, str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    questions = []

    def question(instance: str | None, command: str, **arguments: str) -> dict[str, Any]:
        questions.append((instance, command, arguments))
        return RESULT

    monkeypatch.setattr(attachments, "question", question)
    assert main.main(["attachments", *words]) == 0
    assert questions == [asked]
    assert capsys.readouterr().out


@pytest.mark.parametrize("words", [["leave"], ["bus-17", "bus-18"]])
def test_words_that_make_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["attachments", *words]) == 1
    assert capsys.readouterr().err


def test_flows_name_interfaces_where_they_are_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "name": "video",
        "fid": 1,
        "priority": 10,
        "selector": "udp",
        "bids": [1, 3],
        "active": True,
    }
    for extra, text in (({}, "1, 3"), ({"interfaces": ["wlan0", "lte1"]}, "1 (wlan0), 3 (lte1)")):
        monkeypatch.setattr(show, "question", lambda *_, extra=extra, **__: [{**row, **extra}])
        assert main.main(["flows"]) == 0
        assert text in capsys.readouterr().out
