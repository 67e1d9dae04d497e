"""Seeing what goes on: events, stories, captures, of real daemons in a lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsmip.daemon.control import ask
from dsmip.lab.lab import Lab
from tests.system.conftest import wait_until

pytestmark = [pytest.mark.root, pytest.mark.lab]

DSMIP = (sys.executable, "-m", "dsmip")


def dsmip(*arguments: str) -> str:
    done = subprocess.run([*DSMIP, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up("obs", at="dual") as built:
        built.start_daemons()
        wait_until(lambda: bool(ask("obs-ha", "bindings")), 15, "the mobile router registers")
        yield built


def move(lab: Lab, network: str) -> str:
    """Move, and wait until the home agent knows; the new care-of address."""
    (before,) = ask("obs-ha", "bindings")
    lab.move(network)
    wait_until(
        lambda: [row["care_of"] for row in ask("obs-ha", "bindings")] != [before["care_of"]],
        20,
        f"the mobile router registers from {network}",
    )
    return str(ask("obs-ha", "bindings")[0]["care_of"])


def test_events_are_followed_as_they_happen(lab: Lab) -> None:
    assert "registered" in dsmip("events", "obs-ha")
    command = [*DSMIP, "events", "--follow", "--json", "obs-ha"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        records = (json.loads(line) for line in following.stdout)
        first = next(record for record in records if record["event"] == "registered")
        assert first["name"] == "mr1"
        move(lab, "wifi6")
        moved = next(record for record in records if record["event"] == "moved")
        assert moved["previous"] == first["care_of"]
        following.terminate()


def test_both_ends_explain_themselves(lab: Lab) -> None:
    care_of = move(lab, "nat4")
    story = dsmip("explain", "mr1")
    assert f"is registered at {care_of}" in story
    assert "There is a NAT in between" in story
    assert f"moved to {care_of}" in story
    own = dsmip("explain", "--daemon", "obs-mr")
    assert "is registered at" in own
    assert "in UDP in IPv4, through a NAT" in own
    told = json.loads(dsmip("explain", "mr1", "--json"))
    assert told["registered"] is True
    assert {sentence["kind"] for sentence in told["story"]} >= {"state", "fact", "moment"}


def test_an_unknown_name_gets_a_hint(lab: Lab) -> None:
    done = subprocess.run([*DSMIP, "explain", "mr2"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no mobile node 'mr2' is configured; did you mean 'mr1'?" in done.stderr


def test_tshark_reads_a_capture_with_its_outer_headers(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "signalling.pcap"
    command = [*DSMIP, "capture", "obs-ha", "-w", str(file), "--count", "4"]
    text = [*DSMIP, "capture", "obs-ha", "--count", "2"]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as capturing,
        subprocess.Popen(text, stdout=subprocess.PIPE, text=True) as telling,
    ):
        assert capturing.stderr is not None
        assert telling.stdout is not None
        assert "capturing" in capturing.stderr.readline()
        move(lab, "dual")
        move(lab, "nat4")
        move(lab, "dual")
        assert capturing.wait(60) == 0
        assert telling.wait(60) == 0
        lines = telling.stdout.read().splitlines()
    assert len(lines) == 2
    assert any("Binding update" in line for line in lines)
    fields = ("-e", "frame.protocols", "-e", "ip.src", "-e", "mip6.mhtype")
    read = subprocess.run(
        ["tshark", "-r", str(file), "-d", "udp.port==4191,ipv6", "-T", "fields", *fields],
        capture_output=True,
        text=True,
        check=True,
    )
    packets = [line.split("\t") for line in read.stdout.splitlines()]
    assert len(packets) == 4
    kinds = {(mhtype, bool(source)) for _, source, mhtype in packets}
    assert {mhtype for mhtype, _ in kinds} >= {"5", "6"}, read.stdout
