"""The commands, against daemons in a lab: text for people, JSON for programs, exit codes for scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsmip.daemon.control import ask
from dsmip.lab.lab import Lab
from tests.system.conftest import wait_until


def dsmip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dsmip", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def answer(*arguments: str) -> Any:
    done = dsmip(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up("cmd", at="dual") as built:
        built.start_daemons()
        wait_until(lambda: bool(ask("cmd-ha", "bindings")), 15, "the mobile router registers")
        yield built


@pytest.mark.root
@pytest.mark.lab
def test_status_of_both_roles(lab: Lab) -> None:
    home_agent = answer("status", "cmd-ha")
    assert home_agent["role"] == "home-agent"
    assert home_agent["bindings"] == 1
    router = answer("status", "cmd-mr")
    assert router["state"] == "registered"
    assert router["tunnel"] == "ipv6"
    text = dsmip("status", "cmd-mr").stdout
    assert "state:" in text
    assert "registered" in text


@pytest.mark.root
@pytest.mark.lab
def test_bindings_and_attachments(lab: Lab) -> None:
    (binding,) = answer("bindings", "cmd-ha")
    assert binding["name"] == "mr1"
    assert binding["authentication"] == "mn-ha"
    attachments = answer("attachments", "cmd-mr")
    addresses = [row["address"] for row in attachments["care_of"]]
    assert binding["care_of"] in addresses
    wait_until(lambda: len(answer("attachments", "cmd-mr")["care_of"]) == 2, 5, "the DHCP lease is there too")
    assert binding["care_of"] in dsmip("bindings", "cmd-ha").stdout
    assert binding["care_of"] in dsmip("attachments", "cmd-mr").stdout


@pytest.mark.root
@pytest.mark.lab
def test_stats(lab: Lab) -> None:
    counters = answer("stats", "cmd-ha")
    assert set(counters) == {"signalling_refused", "dataplane_dropped"}
    assert dsmip("stats", "cmd-mr").returncode == 0


def test_a_daemon_that_does_not_run_is_said_so() -> None:
    done = dsmip("status", "nobody")
    assert done.returncode == 1
    assert "nobody is not running" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_prints_every_error_and_exits_2(tmp_path: Path) -> None:
    config = tmp_path / "ha.toml"
    config.write_text('role = "home-agent"\nadress = "2001:db8::1"\nuplinks = []\n')
    for command in ("check", "run"):
        done = dsmip(command, str(config))
        assert done.returncode == 2
        for text in (
            "line 2: adress is not known; did you mean 'address'?",
            "line 3: uplinks",
            "home_prefixes is missing",
        ):
            assert text in done.stderr
    config.write_text(
        'role = "home-agent"\naddress = "2001:db8::1"\n'
        'uplinks = ["eth0"]\nhome_prefixes = ["2001:db8:1::/64"]\n'
    )
    done = dsmip("check", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert "fine" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("dance",), ("run",), ("lab", "fly")])
def test_bad_usage_exits_2(arguments: tuple[str, ...]) -> None:
    assert dsmip(*arguments).returncode == 2
