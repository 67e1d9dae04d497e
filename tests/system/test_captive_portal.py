"""A visited network that lets nothing but web pages through before somebody has logged in (RFC 8910)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import Namespaces, wait_until
from tests.system.networks import advertise, lease
from tests.system.two_machines import bus, home_agent_on_two_links

PORTAL = "https://portal.example/log-in"

HOME_AGENT = home_agent_on_two_links("portal-ha", ipv4=True)
MOBILE_NODE = (
    bus("portal-mn", ipv4=True)
    + """
[[interface]]
name = "wlan0"
preference = 10

[[interface]]
name = "lte0"
preference = 20
"""
)

#: A NAT that lets nothing through but web pages and their names.
GATEWAY = """
table ip portal {
  chain postrouting { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
  chain forward {
    type filter hook forward priority filter;
    tcp dport { 80, 53 } accept
    udp dport 53 accept
    ct state established accept
    drop
  }
}
"""
LOGGED_IN = "flush chain ip portal forward"


def served(namespaces: Namespaces, directory: Path) -> None:
    """Two networks: one behind a portal, and one that is a cable to the home agent."""
    namespaces.add("ha", "portal", "mr")
    namespaces.cable(("portal", "lan"), ("mr", "wlan0"))
    namespaces.cable(("portal", "wan"), ("ha", "eth0"))
    namespaces.cable(("ha", "eth1"), ("mr", "lte0"))
    for node, interface, address in (
        ("ha", "eth0", "192.0.2.1/24"),
        ("ha", "eth1", "2001:db8:ffff::1/64"),
        ("portal", "wan", "192.0.2.2/24"),
        ("portal", "lan", "10.0.0.1/24"),
    ):
        nodad = ("nodad",) if ":" in address else ()
        namespaces.run(node, "ip", "addr", "add", address, "dev", interface, *nodad)
    namespaces.run("portal", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    shape(namespaces, directory, GATEWAY)
    advertise(namespaces, directory, "ha", {"eth1": "2001:db8:ffff::/64"})
    lease(
        *(namespaces, directory, "portal", "lan"),
        *("--dhcp-range=10.0.0.100,10.0.0.110,1h", f"--dhcp-option=114,{PORTAL}"),
    )


def shape(namespaces: Namespaces, directory: Path, rules: str) -> None:
    """Give the gateway these rules."""
    file = directory / "rules.nft"
    file.write_text(rules)
    namespaces.run("portal", "nft", "-f", str(file))


@pytest.mark.root
def test_a_captive_portal_is_recognised_left_and_used_after_the_log_in(
    namespaces: Namespaces, tmp_path: Path
) -> None:
    served(namespaces, tmp_path)

    def ask(command: str) -> Any:
        argv = (sys.executable, "-m", "dsmip", command, "portal-mn", "--json")
        done = namespaces.run("mr", *argv, check=False)
        return json.loads(done.stdout) if done.stdout else {}

    def problems() -> str:
        return "\n".join(ask("status").get("problems", []))

    def path(interface: str) -> dict[str, Any]:
        rows = ask("attachments").get("paths", [])
        return next((row for row in rows if row["interface"] == interface), {})

    for node, name, text in (("ha", "portal-ha", HOME_AGENT), ("mr", "portal-mn", MOBILE_NODE)):
        file = tmp_path / f"{name}.toml"
        file.touch(mode=0o600)
        file.write_text(text.format(state=tmp_path))
        namespaces.dsmip(node, "run", str(file))
    try:
        wait_until(lambda: "wlan0 has the address 10.0.0.1" in problems(), 60, "the portal is recognised")
        assert PORTAL in problems()
        (closed,) = [row for row in ask("attachments")["care_of"] if row["cut_off"]]
        assert (closed["interface"], closed["portal"]) == ("wlan0", PORTAL)
        told = namespaces.run("mr", sys.executable, "-m", "dsmip", "attachments", "portal-mn").stdout
        assert f"to the home agent; log in at {PORTAL}" in told
        assert path("lte0")["state"] == "up"
        wait_until(lambda: namespaces.pings("ha", "2001:db8:100::17"), 10, "the other network is used")

        shape(namespaces, tmp_path, LOGGED_IN)
        wait_until(lambda: path("wlan0").get("state") == "up", 60, "the network is tried again")
        assert PORTAL not in problems()

        def sent() -> int:
            return int(path("wlan0")["sent_packets"])

        before = sent()
        wait_until(lambda: namespaces.pings("ha", "2001:db8:100::17"), 10, "and all works")
        wait_until(lambda: sent() > before, 10, "traffic goes over the better network")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{namespaces.logs()}") from error
    assert "Traceback" not in namespaces.logs()
