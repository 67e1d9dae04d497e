"""The shipped unit under the real systemd: start, reload, crash, hang, upgrade and stop of a home agent.

A mobile node elsewhere is registered all the time, and 1,000 packets a second go each way. Some 13 s.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dsmip.daemon import control
from dsmip.lab import streams
from tests.system.conftest import Namespaces, wait_until
from tests.system.machine import Machine

pytestmark = pytest.mark.root

UNIT = "dsmip@sd-ha"
HOME, PEER = "2001:db8:100::20", "2001:db8:400::cafe"
KEY = "000102030405060708090a0b0c0d0e0f"

HOME_AGENT = f"""\
role = "home-agent"
name = "sd-ha"
address = "2001:db8:ffff::1"
uplinks = ["eth0"]
home_prefixes = ["2001:db8:100::/64"]

[[mobile_node]]
name = "sd-mn"
home_address = "{HOME}"
key = "{KEY}"
"""

ANOTHER = """
[[mobile_node]]
name = "another"
home_address = "2001:db8:100::21"
key = "000102030405060708090a0b0c0d0e0f"
"""

MOBILE_NODE = f"""\
role = "mobile-node"
name = "sd-mn"
home_agent = "2001:db8:ffff::1"
home_address = "{HOME}"
home_prefix = "2001:db8:100::/64"
key = "{KEY}"
state_directory = "{{state}}"

[[interface]]
name = "eth0"
manage = false
"""


class Bed:
    """The machine with the home agent, and a mobile node on its uplink."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self.directory = namespaces.directory
        self.machine = Machine(namespaces, "sdha")

    def open(self) -> None:
        namespaces = self.namespaces
        namespaces.add("sdha", "sdmn")
        namespaces.cable(("sdha", "eth0"), ("sdmn", "eth0"))
        for node, address, interface in (
            ("sdha", "2001:db8:ffff::1/64", "eth0"),
            ("sdha", f"{PEER}/128", "lo"),
            ("sdmn", "2001:db8:ffff::33/64", "eth0"),
        ):
            namespaces.run(node, "ip", "addr", "add", address, "dev", interface, "nodad")
        namespaces.run("sdmn", "ip", "-6", "route", "add", "default", "via", "2001:db8:ffff::1")
        self.machine.boot()

    def configure(self, text: str) -> None:
        path = self.machine.root / "etc/dsmip/sd-ha.toml"
        path.touch(mode=0o600)
        path.write_text(text)
        self.machine.run("chgrp", "dsmip", "/etc/dsmip/sd-ha.toml")
        self.machine.run("chmod", "640", "/etc/dsmip/sd-ha.toml")

    def ask(self, command: str) -> Any:
        try:
            return control.ask("sd-ha", command, root=self.machine.root / "run/dsmip")
        except control.ControlError:
            return {}

    def main_process(self) -> int:
        return int(self.machine.show(UNIT, "MainPID"))

    def replaced(self, process: int) -> bool:
        """Whether another process serves, with the binding it found."""
        return self.main_process() not in (0, process) and bool(self.ask("bindings"))

    def stream(self) -> None:
        flow = msgspec.json.encode((streams.Flow("", streams.PORT, families=("v6",)),)).decode()
        self._senders = [
            self.namespaces.start(
                *(node, sys.executable, "-m", "dsmip.lab.streams", flow, str(self.directory)),
                *(sends, receives, local, "-", remote, "-"),
            )
            for node, sends, receives, local, remote in (
                ("sdha", streams.DOWN, streams.UP, PEER, HOME),
                ("sdmn", streams.UP, streams.DOWN, HOME, PEER),
            )
        ]

    def arrived(self) -> int:
        return min(streams.arrived(self.directory, way, "v6")[0] for way in (streams.DOWN, streams.UP))

    def lost(self) -> int:
        """End the streams; what they lost since their first packets arrived."""
        for sender in self._senders:
            sender.terminate()
        for sender in self._senders:
            sender.wait(30)
        found = 0
        for stream in streams.load(self.directory, streams.Flow("", streams.PORT, families=("v6",))).values():
            numbers = {number for number, _ in stream.received}
            found += len(range(min(numbers), len(stream.sent))) - len(numbers)
        return found


@pytest.fixture
def bed(namespaces: Namespaces) -> Iterator[Bed]:
    made = Bed(namespaces)
    try:
        made.open()
        yield made
    finally:
        made.machine.close()
        namespaces.close()
        shutil.rmtree(control.RUN_ROOT / "sd-mn", ignore_errors=True)


def test_the_unit_through_its_life(bed: Bed, tmp_path: Path) -> None:
    machine = bed.machine
    # A broken file: it says why, and is not tried again and again.
    bed.configure(HOME_AGENT.replace("/64", "/640"))
    assert machine.run("systemctl", "start", UNIT, check=False).returncode
    wait_until(lambda: machine.show(UNIT, "ActiveState") == "failed", 30, "it gives up")
    assert machine.show(UNIT, "ExecMainStatus") == "2"
    assert machine.show(UNIT, "NRestarts") == "0"
    assert "home_prefixes" in machine.journal("-u", UNIT)
    machine.run("systemctl", "reset-failed", UNIT)

    bed.configure(HOME_AGENT)
    machine.run("install", "-d", f"/etc/systemd/system/{UNIT}.service.d")
    quick = machine.root / f"etc/systemd/system/{UNIT}.service.d/quick.conf"
    quick.write_text("[Service]\nWatchdogSec=3\n")
    machine.run("systemctl", "daemon-reload")
    config = tmp_path / "mn.toml"
    config.touch(mode=0o600)
    config.write_text(MOBILE_NODE.format(state=tmp_path / "mn"))
    bed.namespaces.dsmip("sdmn", "run", str(config))
    try:
        # `start` returns when it has said READY: it serves.
        machine.run("systemctl", "start", UNIT)
        assert machine.show(UNIT, "ActiveState") == "active"
        assert bed.ask("status")["name"] == "sd-ha"
        check_privileges(machine, bed.main_process())
        wait_until(lambda: bool(bed.ask("bindings")), 60, "the mobile node registers")
        bed.stream()
        wait_until(lambda: bed.arrived() > 100, 60, "packets pass, each way")

        process = bed.main_process()
        bed.configure(HOME_AGENT + ANOTHER)
        machine.run("systemctl", "reload", UNIT)
        assert bed.ask("status")["mobile_nodes"] == 2
        bed.configure(HOME_AGENT.replace("/64", "/640"))
        assert machine.run("systemctl", "reload", UNIT, check=False).returncode
        assert bed.ask("status")["mobile_nodes"] == 2
        assert bed.main_process() == process
        bed.configure(HOME_AGENT)

        for signal, what in (
            ("KILL", "a crash"),
            ("STOP", "a daemon that hangs"),
            ("USR1", "handing over after an upgrade"),
        ):
            (before,) = bed.ask("bindings")
            process = bed.main_process()
            machine.run("systemctl", "kill", "--kill-whom=main", "-s", signal, UNIT)
            wait_until(lambda process=process: bed.replaced(process), 60, what)
            (after,) = bed.ask("bindings")
            assert ip_address(after["home_address"]) == ip_address(HOME)
            assert after["registered_for"] >= before["registered_for"], f"{what}: the binding is a new one"
            assert bed.ask("status")["adopted"] is True
            assert machine.show(UNIT, "ActiveState") == "active"
        assert machine.show(UNIT, "NRestarts") == "3"
        assert machine.show(UNIT, "StartLimitIntervalUSec") == "0", "it would give up after a few crashes"
        assert "Watchdog timeout" in machine.journal("-u", UNIT)
        seen = bed.arrived()
        wait_until(lambda: bed.arrived() > seen + 500, 60, "packets pass afterwards")
        assert bed.lost() == 0

        machine.run("systemctl", "stop", UNIT)
        assert machine.show(UNIT, "ActiveState") == "inactive"
        assert machine.show(UNIT, "Result") == "success"
        assert "dsmip0" not in bed.namespaces.run("sdha", "ip", "-br", "link").stdout
    except AssertionError as error:
        raise AssertionError(f"{error}\n{machine.journal()}\n{bed.namespaces.logs()}") from error
    assert "Traceback" not in machine.journal("-u", UNIT)
    levels = {json.loads(line)["PRIORITY"] for line in journal_lines(machine)}
    assert "6" in levels, "events come with their priorities"


def journal_lines(machine: Machine) -> list[str]:
    """What the daemon itself said, with the journal's fields."""
    told = machine.run("journalctl", "--no-pager", "-o", "json", "-u", UNIT, "SYSLOG_IDENTIFIER=dsmip")
    return told.stdout.splitlines()


def check_privileges(machine: Machine, process: int) -> None:
    """Not root, no way to become it, and no more than the four capabilities."""
    status = dict(
        line.split(":", 1) for line in (machine.root / f"proc/{process}/status").read_text().splitlines()
    )
    user = machine.run("id", "-u", "dsmip").stdout.strip()
    assert status["Uid"].split() == [user] * 4 != ["0"] * 4
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16).bit_count() == 4, kind
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    told = machine.run("systemd-analyze", "security", "--no-pager", UNIT, check=False).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert exposure is not None, told
    assert float(exposure[1]) < 3, told
