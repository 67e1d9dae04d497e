"""What goes wrong at night: one sentence that helps, in `status`, in the log and as an exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import PREFIX, Namespaces, wait_until

pytestmark = pytest.mark.root

KEY = "6d6f62696c652d697076362d6b657921"

HOME_AGENT = """\
role = "home-agent"
name = "ha"
address = "2001:db8:ffff::1"
uplinks = ["eth0"]
home_prefixes = ["2001:db8:100::/64"]
state_directory = "{state}"

[[mobile_node]]
name = "bus-17"
home_address = "2001:db8:100::17"
key = "6d6f62696c652d697076362d6b657921"
"""

MOBILE_NODE = """\
role = "mobile-node"
name = "bus-17"
home_agent = "ha.example.org"
home_agent_discovery = false
home_address = "2001:db8:100::17"
home_prefix = "2001:db8:100::/64"
key = "00112233445566778899aabbccddeeff"
state_directory = "{state}"

[[interface]]
name = "wan0"
manage = false
"""


class Site:
    """A home agent, and a vehicle that knows its name but not its key."""

    def __init__(self, namespaces: Namespaces, directory: Path) -> None:
        self.namespaces = namespaces
        #: What `ip netns exec` puts in place of /etc/hosts and /etc/resolv.conf.
        self.etc = Path("/etc/netns") / f"{PREFIX}mr"
        self.etc.mkdir(parents=True)
        (self.etc / "hosts").write_text("127.0.0.1 localhost\n")
        (self.etc / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        namespaces.add("ha", "mr")
        namespaces.cable(("ha", "eth0"), ("mr", "wan0"))
        for node, interface, host in (("ha", "eth0", 1), ("mr", "wan0", 2)):
            address = f"2001:db8:ffff::{host}/64"
            namespaces.run(node, "ip", "addr", "add", address, "dev", interface, "nodad")
        namespaces.run("mr", "ip", "-6", "route", "add", "default", "via", "2001:db8:ffff::1")
        self.vehicle = directory / "mr.toml"
        self.vehicle.write_text(MOBILE_NODE.format(state=directory / "state-mr"))
        agent = directory / "ha.toml"
        agent.write_text(HOME_AGENT.format(state=directory / "state-ha"))
        agent.chmod(0o600)
        namespaces.dsmip("ha", "run", str(agent))
        namespaces.dsmip("mr", "run", str(self.vehicle))

    def dsmip(self, node: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.namespaces.run(node, sys.executable, "-m", "dsmip", *arguments, check=False)

    def problems(self, node: str, instance: str, key: str = "problems") -> list[str]:
        done = self.dsmip(node, "status", instance, "--json")
        return json.loads(done.stdout)[key] if done.stdout else []

    def await_problem(
        self, text: str, node: str = "mr", instance: str = "bus-17", key: str = "problems"
    ) -> None:
        def there() -> bool:
            return any(text in problem for problem in self.problems(node, instance, key))

        wait_until(there, 30, f"{text!r} among {self.problems(node, instance, key)}")


@pytest.fixture
def site(namespaces: Namespaces, tmp_path: Path) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    try:
        yield Site(namespaces, tmp_path)
    finally:
        print(namespaces.logs())
        shutil.rmtree(Path("/etc/netns") / f"{PREFIX}mr", ignore_errors=True)


def test_a_vehicle_with_every_mistake_is_put_right_without_a_restart(site: Site) -> None:
    # Its home agent's name leads nowhere, and its key lies open.
    site.await_problem("no name server answers about ha.example.org")
    site.await_problem("mr.toml has keys in it and can be read by everybody: chmod o-r")
    done = site.dsmip("mr", "status", "bus-17")
    assert done.returncode == 1
    assert "problem: no name server answers about ha.example.org" in done.stdout
    check = site.dsmip("mr", "check", str(site.vehicle))
    assert check.returncode == 0
    assert "warning: " in check.stderr

    # The name is found, the key is wrong: both ends say so.
    (site.etc / "hosts").write_text("127.0.0.1 localhost\n2001:db8:ffff::1 ha.example.org\n")
    site.await_problem("The keys at the two ends differ")
    site.await_problem("bus-17: ", "ha", "ha", "refused")
    assert "The keys at the two ends differ" in site.problems("ha", "ha", "refused")[0]
    assert site.dsmip("ha", "status", "ha").returncode == 0, "whoever sent that, the home agent is well"
    assert not any("ha.example.org" in problem for problem in site.problems("mr", "bus-17"))

    # The right key, and a file for its owner only.
    site.vehicle.write_text(site.vehicle.read_text().replace("00112233445566778899aabbccddeeff", KEY))
    site.vehicle.chmod(0o600)
    assert site.dsmip("mr", "reload", "bus-17").returncode == 0
    wait_until(lambda: site.dsmip("mr", "status", "bus-17").returncode == 0, 30, "all is well")
    wait_until(lambda: site.namespaces.pings("ha", "2001:db8:100::17"), 5, "the home address answers")
    wait_until(lambda: not site.problems("ha", "ha", "refused"), 10, "the home agent has nothing to say")
    log = site.namespaces.logs()
    assert "problem about=home_agent problem=" in log
    assert "problem-over about=home_agent" in log
    assert "Traceback" not in log


def test_a_file_that_everybody_can_write_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "mr.toml"
    path.write_text(MOBILE_NODE.format(state=tmp_path))
    path.chmod(0o666)
    for command in ("check", "run"):
        argv = [sys.executable, "-m", "dsmip", command, str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2
        assert f"can be written by everybody: chmod o-w {path}" in done.stderr
