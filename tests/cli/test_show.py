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
    def ask(name: str, command: str) -> Any:
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
