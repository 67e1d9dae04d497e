"""Labs come, coexist and go without a trace, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsmip.lab import namespaces, plan, state
from dsmip.lab.errors import LabError
from dsmip.lab.lab import Lab

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.usefixtures("able")]

_HOLD = """
import signal, sys, time
from dsmip.lab.lab import Lab, ended_in_order
signal.signal(signal.SIGINT, signal.default_int_handler)  # even if whoever runs the tests ignores it
with ended_in_order(), Lab.up(sys.argv[1]) as lab:
    print("up", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"life{os.getpid()}"
    yield chosen
    Lab(chosen).down()


def traces(name: str) -> list[str]:
    """Everything that reminds of a lab: namespaces, files, processes with its directory as an argument."""
    found = [f"dsmip-{name}-{node}" for node in plan.NODES if namespaces.exists(f"dsmip-{name}-{node}")]
    directory = state.directory(name)
    if directory.exists():
        found.append(str(directory))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(directory) in (process / "cmdline").read_text():
                found.append(process.name)
        except OSError:
            continue
    return found


def hold(name: str) -> subprocess.Popen[str]:
    """A process that builds a lab and stays."""
    child = subprocess.Popen([sys.executable, "-c", _HOLD, name], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    return child


def test_down_leaves_nothing(name: str) -> None:
    lab = Lab.up(name, at="nat4")
    lab.popen("host", "sleeper", ["sleep", "60"])
    assert len(traces(name)) > len(plan.NODES)
    lab.down()
    assert traces(name) == []
    lab.down()  # and again, with nothing there


def test_a_program_that_ignores_sigterm_is_ended_too(name: str) -> None:
    with Lab.up(name) as lab:
        script = "trap '' TERM; echo deaf; while :; do sleep 1; done"
        child = lab.popen("host", "stubborn", ["sh", "-c", script])
        log = lab.processes.log("stubborn")
        deadline = time.monotonic() + 5
        while log.read_text() != "deaf\n" and time.monotonic() < deadline:
            time.sleep(0.01)
        lab.processes.stop(["stubborn"], patience=0.3)
        assert child.wait(2) == -signal.SIGKILL
    assert traces(name) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_lab_goes_with_its_program(name: str, number: signal.Signals) -> None:
    child = hold(name)
    child.send_signal(number)
    child.wait(60)
    assert traces(name) == []


def test_the_lab_of_a_killed_program_is_found_and_removed_by_the_next(name: str) -> None:
    child = hold(name)
    with pytest.raises(LabError, match=f"is in use by process {child.pid}"):
        Lab.up(name)
    child.kill()
    child.wait(5)
    assert name in state.leftovers()
    with Lab.up(name):
        assert state.leftovers() == []
    assert traces(name) == []


def test_the_lab_of_a_killed_program_is_taken_down_by_hand(name: str) -> None:
    child = hold(name)
    child.kill()
    child.wait(5)
    Lab.load(name).down()
    assert traces(name) == []


def test_a_failure_while_building_leaves_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plan.RULES, "fw4", "this is no rule")
    with pytest.raises(LabError, match="building node fw4"):
        Lab.up(name)
    assert traces(name) == []


def test_a_missing_program_is_told_before_anything_is_changed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsmip.lab.requirements.PROGRAMS", {"no-such-program": "its-package"})
    with pytest.raises(LabError, match="apt-get install its-package"):
        Lab.up(name)
    assert traces(name) == []


def test_a_lab_that_is_kept_is_found_by_name_and_not_built_over(name: str) -> None:
    Lab.up(name, at="", keep=True)
    lab = Lab.load(name)
    assert lab.at == ""
    assert lab.exec("cn", ["true"]).returncode == 0
    with pytest.raises(LabError, match="take it down first"):
        Lab.up(name)
    with Lab.up(name, replace=True) as again:
        assert again.at == plan.HOME
    with pytest.raises(LabError, match=f"there is no lab '{name}'"):
        Lab.load(name)


def test_two_labs_stand_side_by_side(lab: Lab, name: str) -> None:
    with Lab.up(name) as other:
        for one in (lab, other):
            ping = ["ping", "-q", "-c", "1", "-W", "2", str(plan.HOME_AGENT)]
            assert one.exec("cn", ping, capture_output=True).returncode == 0
    assert lab.exec("cn", ["true"]).returncode == 0
    assert traces(name) == []


def test_a_delay_is_added_each_way(name: str) -> None:
    with Lab.up(name, delay=0.02) as lab:
        done = lab.exec("cn", ["ping", "-c", "3", "-i", "0.1", "-q", "192.0.2.1"], capture_output=True)
        fastest = float(done.stdout.rpartition("= ")[2].split("/")[0])
        assert 40 <= fastest < 60


def test_configs_are_written_with_a_key_of_their_own(lab: Lab, tmp_path: Path) -> None:
    ha, mr = (tomllib.loads(path.read_text()) for path in lab.write_configs(tmp_path))
    assert ha["mobile_node"][0]["key"] == mr["key"]
    assert len(bytes.fromhex(mr["key"])) == 16
    assert (ha["name"], mr["name"]) == (f"{lab.name}-ha", f"{lab.name}-mr")
    assert mr["interface"] == [{"name": "wan0", "manage": True}]
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    again = tomllib.loads(lab.write_configs(tmp_path)[1].read_text())
    assert again["key"] != mr["key"]
