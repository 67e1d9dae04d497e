"""A mobile node without a network behind it, on an interface that somebody else configures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import Namespaces, wait_until
from tests.system.two_machines import HOME_AGENT_OF_A_LAPTOP, LAPTOP, WATCHED_INTERFACE

pytestmark = pytest.mark.root

KEY = 'key = "000102030405060708090a0b0c0d0e0f"\n'
HOME_AGENT = HOME_AGENT_OF_A_LAPTOP + KEY
MOBILE_NODE = LAPTOP + KEY + WATCHED_INTERFACE


@pytest.fixture
def node(namespaces: Namespaces, tmp_path: Path) -> Namespaces:
    namespaces.add("ha", "mn")
    namespaces.cable(("ha", "eth0"), ("mn", "eth0"))
    namespaces.run("ha", "ip", "addr", "add", "2001:db8:ffff::1/64", "dev", "eth0", "nodad")
    namespaces.run("ha", "ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
    for name, text in (("ha", HOME_AGENT), ("mn", MOBILE_NODE)):
        path = tmp_path / f"{name}.toml"
        path.touch(mode=0o600)
        path.write_text(text.format(state=tmp_path))
    return namespaces


def status(namespaces: Namespaces) -> dict[str, Any]:
    done = namespaces.run("mn", sys.executable, "-m", "dsmip", "status", "laptop", "--json", check=False)
    # A daemon with problems is one that answers, too.
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    return found


def test_watched_interface_dynamic_ipv4_home_address(node: Namespaces, tmp_path: Path) -> None:
    ha = node.dsmip("ha", "run", str(tmp_path / "ha.toml"))
    mn = node.dsmip("mn", "run", str(tmp_path / "mn.toml"))
    wait_until(lambda: status(node).get("state") == "detached", 10, "running, with no address yet")

    # Somebody else brings the interface up over IPv4 only ...
    node.run("mn", "ip", "addr", "add", "192.0.2.33/24", "dev", "eth0")
    node.run("mn", "ip", "route", "add", "default", "via", "192.0.2.1", "dev", "eth0")
    try:
        wait_until(lambda: status(node).get("tunnel") == "ipv4", 10, "registered over IPv4, no NAT: no UDP")
        granted = status(node)["ipv4_home_address"]
        assert granted.startswith("198.51.100.")
        for target in ("2001:db8:100::20", granted):
            wait_until(lambda t=target: node.pings("ha", t), 5, f"{target} answers")

        # ... and then IPv6 as well, which is preferred.
        node.run("mn", "ip", "addr", "add", "2001:db8:ffff::33/64", "dev", "eth0", "nodad")
        node.run("mn", "ip", "-6", "route", "add", "default", "via", "2001:db8:ffff::1", "dev", "eth0")
        wait_until(lambda: status(node)["tunnel"] == "ipv6", 10, "registered over IPv6")
        assert status(node)["ipv4_home_address"] == granted
        for target in ("2001:db8:100::20", granted):
            assert node.pings("ha", target)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{status(node)}\n{node.logs()}") from error

    # New sessions of the node itself use the home address.
    for target, source in (("203.0.113.9", granted), ("2001:db8:400::9", "2001:db8:100::20")):
        route = json.loads(node.run("mn", "ip", "-j", "route", "get", target).stdout)[0]
        assert (route["dev"], route["prefsrc"]) == ("dsmip0", source)

    for daemon in (mn, ha):
        daemon.terminate()
        assert daemon.wait(10) == 0, node.logs()
    kept = node.run("mn", "ip", "-br", "addr", "show", "eth0").stdout
    assert "192.0.2.33/24" in kept
    assert "2001:db8:ffff::33/64" in kept, "what others configured stays"
