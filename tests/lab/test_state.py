"""Which labs are leftovers, without root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsmip.lab import requirements, state
from dsmip.lab.errors import LabError
from dsmip.lab.state import Owner, State
from dsmip.lab.uplinks import MULTIHOMED


@pytest.fixture(autouse=True)
def run_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(state, "RUN_ROOT", tmp_path / "dsmip" / "lab")
    return tmp_path / "dsmip" / "lab"


def test_state_survives_a_round_trip() -> None:
    there = State("a", Owner.this_process(), complete=True, uplinks=MULTIHOMED, plugged={"lte0": "nat4"})
    state.save(there)
    assert state.load("a") == there
    assert state.names() == ["a"]
    assert state.load("b") is None


def test_a_lab_whose_builder_ended_is_leftover() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner(ended.pid, state._began(ended.pid) or 0)
    state.save(State("a", owner, complete=True))
    state.save(State("b", Owner.this_process(), complete=True))
    state.save(State("c", None, complete=True))
    assert state.leftovers() == []
    ended.communicate(b"\n")
    assert state.leftovers() == ["a"]


def test_a_pid_given_to_another_process_is_not_the_owner() -> None:
    assert not Owner(os.getpid(), Owner.this_process().began + 1).lives()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owner": {"pid": 1}}', '{"colour": "red"}'])
def test_a_state_that_cannot_be_read_is_leftover(run_root: Path, content: str) -> None:
    (run_root / "a").mkdir(parents=True)
    (run_root / "a" / "state.json").write_text(content)
    assert state.leftovers() == ["a"]


@pytest.mark.parametrize("name", ["", "../x", "a b", "UP", "-a", "x" * 25])
def test_names_that_could_leave_the_run_directory_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="is no name for a lab"):
        state.directory(name)


def test_forgetting_the_last_lab_removes_the_directories(run_root: Path) -> None:
    state.save(State("a", None))
    state.save(State("b", None))
    state.forget("a")
    assert run_root.exists()
    state.forget("b")
    assert not run_root.exists()


def test_every_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(requirements.PROGRAMS, "no-such-program", "its-package")
    with pytest.raises(LabError) as raised:
        requirements.check()
    assert "program no-such-program is not installed" in str(raised.value)
    assert "apt-get install its-package" in str(raised.value)
