"""Starting and stopping: what is missing is named before anything is changed; a clean stop leaves nothing."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from dsmip.daemon.control import ask, instances
from dsmip.lab import daemons
from dsmip.lab.lab import Lab
from tests.system.conftest import Namespaces, run, wait_until

pytestmark = pytest.mark.root

HOME_AGENT = """\
role = "home-agent"
name = "{name}"
address = "2001:db8:ffff::1"
ipv4_address = "192.0.2.1"
uplinks = ["{uplink}"]
home_prefixes = ["2001:db8:100::/64"]
ipv4_home_prefixes = ["198.51.100.0/24"]
state_directory = "{state}"
"""


def home_agent(directory: Path, uplink: str = "eth0") -> Path:
    path = directory / "ha.toml"
    path.write_text(HOME_AGENT.format(name="ha", uplink=uplink, state=directory / "state"))
    return path


def everything(namespaces: Namespaces, node: str) -> str:
    """Whatever a daemon might have changed in a namespace."""
    commands = (
        ("ip", "-br", "link"),
        ("ip", "-br", "addr"),
        ("ip", "rule"),
        ("ip", "-6", "rule"),
        ("ip", "route", "show", "table", "all"),
        ("ip", "-6", "route", "show", "table", "all"),
        ("ip", "neigh", "show", "proxy"),
        ("tc", "qdisc"),
        ("sh", "-c", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/*/forwarding"),
        ("sh", "-c", "cat /proc/sys/net/ipv6/conf/eth0/proxy_ndp /proc/sys/net/ipv4/conf/*/rp_filter"),
    )
    return "\n".join(namespaces.run(node, *command).stdout for command in commands)


@pytest.fixture
def node(namespaces: Namespaces) -> Namespaces:
    namespaces.add("ha", "peer")
    namespaces.cable(("ha", "eth0"), ("peer", "eth0"))
    namespaces.run("ha", "ip", "addr", "add", "2001:db8:ffff::1/64", "dev", "eth0", "nodad")
    namespaces.run("ha", "ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")

    def settled() -> bool:
        return "tentative" not in namespaces.run("ha", "ip", "-6", "addr").stdout

    wait_until(settled, 5, "addresses are there")
    return namespaces


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_leaves_the_machine_as_it_was(node: Namespaces, tmp_path: Path, number: int) -> None:
    before = everything(node, "ha")
    daemon = node.dsmip("ha", "run", str(home_agent(tmp_path)))
    wait_until(lambda: "ha" in instances(), 10, "the home agent runs")
    assert everything(node, "ha") != before
    daemon.send_signal(number)
    assert daemon.wait(10) == 0, node.logs()
    assert everything(node, "ha") == before
    assert not list(Path("/run/dsmip").glob("bpf/ha/*"))


def test_a_start_after_kill_9_cleans_up_when_it_stops(node: Namespaces, tmp_path: Path) -> None:
    before = everything(node, "ha")
    config = home_agent(tmp_path)
    first = node.dsmip("ha", "run", str(config))
    wait_until(lambda: "ha" in instances(), 10, "the home agent runs")
    first.kill()
    first.wait()
    second = node.dsmip("ha", "run", str(config))

    def answers() -> bool:
        done = node.run("ha", sys.executable, "-m", "dsmip", "status", "ha", check=False)
        return done.returncode == 0

    wait_until(answers, 10, "the second process answers")
    second.terminate()
    assert second.wait(10) == 0, node.logs()
    assert everything(node, "ha") == before


def test_a_missing_interface_is_named_before_anything_is_changed(node: Namespaces, tmp_path: Path) -> None:
    before = everything(node, "ha")
    daemon = node.dsmip("ha", "run", str(home_agent(tmp_path, uplink="wlan7")))
    assert daemon.wait(10) == 1
    assert "interface wlan7: does not exist" in node.logs()
    assert everything(node, "ha") == before


def test_the_same_name_twice_is_refused(node: Namespaces, tmp_path: Path) -> None:
    config = home_agent(tmp_path)
    node.dsmip("ha", "run", str(config))
    wait_until(lambda: "ha" in instances(), 10, "the home agent runs")
    second = node.dsmip("ha", "run", str(config))
    assert second.wait(10) == 1
    assert "is running already" in node.logs()


def test_without_privileges_every_missing_one_is_named(tmp_path: Path) -> None:
    config = home_agent(tmp_path, uplink="lo")
    done = run(
        *("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all"),
        *(sys.executable, "-m", "dsmip", "run", str(config)),
        check=False,
    )
    assert done.returncode == 1
    assert "CAP_NET_ADMIN" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.lab
def test_keep_forwarding_hands_over_to_the_next_start() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and eBPF")
    with Lab.up("keep", at="wifi6") as lab:
        lab.start_daemons()
        name = lab.instance("ha")
        wait_until(lambda: bool(ask(name, "bindings")), 15, "the mobile router registers")
        lab.stop_daemons(only="ha")
        assert "dsmip0" not in lab.exec("ha", ["ip", "-br", "link"], capture_output=True).stdout
        config = str(lab.directory / "ha.toml")
        child = lab.popen("ha", "kept", [sys.executable, "-m", "dsmip", "run", "--keep-forwarding", config])
        wait_until(lambda: name in instances() and bool(ask(name, "bindings")), 15, "the binding is back")
        child.terminate()
        child.wait(10)

        def goes_on() -> None:
            for target in ("2001:db8:100::10", "198.51.100.10"):
                done = lab.exec(
                    "cn", ["ping", "-c", "2", "-i", "0.2", "-W", "1", target], capture_output=True
                )
                assert done.returncode == 0, "traffic goes on with no daemon running"

        goes_on()
        lab.start_daemons(only="ha")
        assert ask(name, "status")["adopted"]
        assert len(ask(name, "bindings")) == 1
        # The signal says the same to one that was started without the option.
        lab.processes.signal(daemons.label("ha"), signal.SIGUSR1)
        lab.processes.wait(daemons.label("ha"), 10)
        goes_on()
        lab.start_daemons(only="ha")
        assert ask(name, "status")["adopted"]
