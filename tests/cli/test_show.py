"""Which of several daemons on a machine a question goes to."""

from __future__ import annotations

from typing import Any

import pytest

from dsmip.cli import asking, main
from dsmip.daemon.control import ControlError

DAEMONS: dict[str, dict[str, Any]] = {
    "ha": {"status": {"name": "ha"}, "bindings": []},
    "bus-17": {"status": {"name": "bus-17"}},
}


@pytest.fixture(autouse=True)
def daemons(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(name: str, command: str, **_arguments: Any) -> Any:
        if name not in DAEMONS:
            raise ControlError(f"{name} is not running")
        if command not in DAEMONS[name]:
            raise ControlError(f"unknown command {command!r}")
        return DAEMONS[name][command]

    monkeypatch.setattr(asking, "ask", ask)
    monkeypatch.setattr(asking, "instances", lambda: list(DAEMONS))


def test_the_only_one_that_knows_the_question_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bindings"]) == 0
    assert capsys.readouterr().out == "no bindings\n"


def test_among_several_one_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["status"]) == 1
    assert "name one of ha, bus-17" in capsys.readouterr().err
    assert main.main(["status", "bus-17"]) == 0
    assert "bus-17" in capsys.readouterr().out


def test_none_that_knows_the_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["attachments"]) == 1
    assert "unknown command 'attachments'" in capsys.readouterr().err


def test_none_at_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "instances", list)
    assert main.main(["status"]) == 1
    assert "no daemon is running here" in capsys.readouterr().err


PLACE = {
    "at_home": False,
    "nat": "none",
    "nat_source": None,
    "silent": False,
    "expires_in": 61.0,
    "sent_bytes": 1000,
    "received_bytes": 2000,
}
BUS = {
    "name": "bus-17",
    "home_address": "2001:db8:100::17",
    "signalling": "RFC 4285",
    "payload": "clear",
}


def test_bindings_have_a_line_for_each_care_of_address(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [
        {**PLACE, "bid": 2, "care_of": "2001:db8:6::1", "tunnel": "ipv6"},
        {**PLACE, "bid": 1, "care_of": "203.0.113.9", "tunnel": "udp4", "nat": "detected", "silent": True}
        | {"nat_source": "203.0.113.9:61000"},
        {**PLACE, "bid": 3, "care_of": "2001:db8:100::17", "tunnel": "link", "at_home": True},
    ]
    plain = {**PLACE, "bid": 0, "care_of": "2001:db8:7::1", "tunnel": "ipv6"}
    rows = [{**BUS, "care_of_bindings": places}, {**BUS, "name": "bus-18", "care_of_bindings": [plain]}]
    monkeypatch.setitem(DAEMONS["ha"], "bindings", rows)
    assert main.main(["bindings"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][3] == "BID"
    assert lines[1][:5] == ["bus-17", "2001:db8:100::17", "2", "2001:db8:6::1", "ipv6"]
    assert lines[2][:5] == ["1", "203.0.113.9:61000", "(NAT)", "udp4,", "silent"]
    assert lines[3][:4] == ["3", "home", "link", "link"]
    assert lines[4][:4] == ["bus-18", "2001:db8:100::17", "-", "2001:db8:7::1"]
    monkeypatch.setitem(DAEMONS["ha"], "bindings", rows[1:])
    assert main.main(["bindings"]) == 0
    shown = capsys.readouterr().out
    assert "BID" not in shown
    assert "PAYLOAD" not in shown
    rows = [*rows, {**rows[1], "name": "bus-19", "payload": "esp aes-gcm-128"}]
    monkeypatch.setitem(DAEMONS["ha"], "bindings", rows)
    assert main.main(["bindings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines[0].index("PAYLOAD")
    assert [line[at:].split("  ")[0] for line in lines[1:]] == ["clear", "", "", "clear", "esp aes-gcm-128"]


def test_flows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DAEMONS["ha"], "flows", [])
    assert main.main(["flows"]) == 0
    assert capsys.readouterr().out == "no flows\n"
    row = {"name": "bus-17", "fid": 7, "priority": 10, "selector": "udp from port 5004", "bids": [1, 2]}
    monkeypatch.setitem(DAEMONS["ha"], "flows", [{**row, "active": True}, {**row, "active": False}])
    assert main.main(["flows"]) == 0
    assert "bus-17  7     10        udp from port 5004  1, 2  active\n" in capsys.readouterr().out
