"""A running home agent: mobile nodes come and go, the file is read again, and nobody else loses a packet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import PREFIX, Namespaces, wait_until

pytestmark = pytest.mark.root

HOME_AGENT = """\
role = "home-agent"
name = "ha"
address = "2001:db8:ffff::1"
ipv4_address = "192.0.2.1"
uplinks = ["eth0"]
home_prefixes = ["2001:db8:100::/64"]
state_directory = "{state}"

[pools]
home_addresses = ["2001:db8:100::/64"]
mobile_network_prefixes = ["2001:db8:aaaa::/48"]
"""


class Site:
    """A home agent and a vehicle on one link, with fixed addresses."""

    def __init__(self, namespaces: Namespaces, directory: Path) -> None:
        self.namespaces = namespaces
        self.config = directory / "ha.toml"
        self.config.write_text(HOME_AGENT.format(state=directory / "state-ha"))
        self.directory = directory
        namespaces.add("ha", "mr")
        namespaces.cable(("ha", "eth0"), ("mr", "wan0"))
        for node, interface, host in (("ha", "eth0", 1), ("mr", "wan0", 2)):
            address = f"2001:db8:ffff::{host}/64"
            namespaces.run(node, "ip", "addr", "add", address, "dev", interface, "nodad")
        namespaces.run("mr", "ip", "-6", "route", "add", "default", "via", "2001:db8:ffff::1")
        self.home_agent = namespaces.dsmip("ha", "run", str(self.config))
        wait_until(lambda: self.ask("status") is not None, 15, "the home agent runs")

    def dsmip(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.namespaces.run("ha", sys.executable, "-m", "dsmip", *arguments, check=check)

    def provision(self, verb: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.dsmip("provision", verb, *arguments, "--config", str(self.config), check=check)

    def ask(self, command: str, instance: str = "ha") -> Any:
        done = self.dsmip(command, instance, "--json", check=False)
        return json.loads(done.stdout) if done.stdout else None

    def drive(self, text: str) -> None:
        """Start the vehicle with its configuration, and wait until it is registered."""
        path = self.directory / "vehicle.toml"
        path.write_text(
            f'state_directory = "{self.directory / "state-mr"}"\n{text}'.replace(
                'name = "wan0"', 'name = "wan0"\nmanage = false'
            )
        )
        self.vehicle = self.namespaces.dsmip("mr", "run", str(path))
        self.await_state("registered")

    def await_state(self, state: str) -> None:
        wait_until(
            lambda: (self.ask("status", "bus-17") or {}).get("state") == state, 20, f"bus-17 is {state}"
        )

    def bindings(self) -> list[str]:
        return [row["name"] for row in self.ask("bindings")]

    @contextmanager
    def no_packet_lost(self, target: str) -> Iterator[None]:
        """Ping the whole time, every 10 ms."""
        ping = subprocess.Popen(
            ["ip", "netns", "exec", f"{PREFIX}ha", "ping", "-i", "0.01", "-W", "1", target],
            stdout=subprocess.PIPE,
            text=True,
        )
        yield
        ping.send_signal(signal.SIGINT)
        output, _ = ping.communicate(timeout=10)
        assert " 0% packet loss" in output, output


@pytest.fixture
def site(namespaces: Namespaces, tmp_path: Path) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    try:
        yield Site(namespaces, tmp_path)
    finally:
        print(namespaces.logs())


def test_mobile_nodes_come_and_go_while_the_home_agent_runs(site: Site) -> None:
    done = site.provision("add", "bus-17")
    assert "serves bus-17 from now on" in done.stderr
    site.drive(done.stdout)
    home_address = site.ask("bindings")[0]["home_address"]
    assert site.namespaces.pings("ha", home_address)

    with site.no_packet_lost(home_address):
        for name in ("bus-18", "bus-19"):
            site.provision("add", name)
        site.provision("remove", "bus-18")
        site.config.write_text(site.config.read_text().replace("[pools]", "max_lifetime = 40\n\n[pools]"))
        assert "max_lifetime changed" in site.dsmip("reload", "ha").stdout
        site.home_agent.send_signal(signal.SIGHUP)
    assert site.ask("status")["mobile_nodes"] == 2
    assert site.bindings() == ["bus-17"]

    # The old key is worth nothing at once; the binding made with it stays, so that the vehicle is in reach.
    new = site.provision("rotate-key", "bus-17")
    assert "refuses the old key of bus-17" in new.stderr
    site.vehicle.terminate()
    site.vehicle.wait(10)
    site.namespaces.dsmip("mr", "run", str(site.directory / "vehicle.toml"))
    wait_until(
        lambda: site.ask("stats")["signalling_refused"].get("authentication-failed", 0) > 0,
        20,
        "it is refused",
    )
    assert site.ask("status", "bus-17")["state"] == "registering"

    site.provision("remove", "bus-17")
    assert site.bindings() == []
    assert not site.namespaces.pings("ha", home_address)
    assert [node["name"] for node in json.loads(site.provision("list", "--json").stdout)] == ["bus-19"]


def test_a_file_that_cannot_be_used_changes_nothing_and_says_why(site: Site) -> None:
    site.provision("add", "bus-17")
    before = site.ask("status")
    good = site.config.read_text()
    for change, complaint in (
        (("[pools]", "max_lifetime = 1\n[pools]"), "line 9: max_lifetime"),
        (('"eth0"', '"eth1"'), "line 5: uplinks cannot change while the daemon runs"),
        (("2001:db8:100::", "2001:db8:200::"), "home_prefixes cannot change while the daemon runs"),
        (("[pools]", "[pools"), "is not TOML"),
        (('"home-agent"', '"mobile-node"'), "is missing"),
    ):
        site.config.write_text(good.replace(*change))
        done = site.dsmip("reload", "ha", check=False)
        assert done.returncode == 2
        assert "nothing was changed" in done.stderr
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr
    assert "reload-refused" in site.namespaces.logs()
    assert "Traceback" not in site.namespaces.logs()
    after = site.ask("status")
    assert {**after, "uptime": 0} == {**before, "uptime": 0}

    # What the running home agent cannot serve is not kept either.
    site.config.write_text(good.replace("2001:db8:100::", "2001:db8:200::"))
    done = site.provision("add", "bus-18", check=False)
    assert done.returncode == 1
    assert "the running home agent refuses: provisioned bus-18.home_address" in done.stderr
    site.config.write_text(good)
    assert site.dsmip("reload", "ha").stdout.startswith("ha: nothing changed")
    assert site.ask("status")["mobile_nodes"] == 1
