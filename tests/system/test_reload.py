"""By `dsmip reload` alone: a vehicle gets a second uplink and loses it, and daemons are watched or not."""

from __future__ import annotations

import json
import re
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from dsmip.lab import namespaces as lab_namespaces
from tests.system.conftest import PREFIX, Namespaces, wait_until
from tests.system.networks import advertise
from tests.system.two_machines import bus, home_agent_on_two_links

HOME_AGENT = home_agent_on_two_links("reload-ha")
MOBILE_NODE = (
    bus("reload-mn")
    + """
[multihoming]
enabled = true

[[interface]]
name = "lte0"
"""
)

WLAN = '[[interface]]\nname = "wlan0"\npreference = 200\n'


class Site:
    """Both ends of two cables, and their configuration files."""

    def __init__(self, namespaces: Namespaces, directory: Path) -> None:
        self.namespaces = namespaces
        self.directory = directory
        namespaces.add("ha", "mr")
        prefixes = {}
        for number, name in enumerate(("lte0", "wlan0")):
            namespaces.cable(("ha", f"eth{number}"), ("mr", name))
            address = "2001:db8:ffff::1" if number == 0 else "2001:db8:fffe::1"
            namespaces.run("ha", "ip", "addr", "add", f"{address}/64", "dev", f"eth{number}", "nodad")
            prefixes[f"eth{number}"] = f"{address[:-1]}/64"
        advertise(namespaces, directory, "ha", prefixes)
        for node, text in (("ha", HOME_AGENT), ("mn", MOBILE_NODE)):
            self.write(node, text)
        namespaces.dsmip("ha", "run", str(directory / "ha.toml"))
        namespaces.dsmip("mr", "run", str(directory / "mn.toml"))

    def write(self, node: str, text: str) -> None:
        path = self.directory / f"{node}.toml"
        path.touch(mode=0o600)
        path.write_text(text.format(state=self.directory))

    def reload(self, node: str, text: str) -> list[str]:
        """The keys that changed."""
        self.write(node, text)
        return list(self.ask(node, "reload")["changed"])

    def ask(self, node: str, command: str) -> Any:
        argv = (sys.executable, "-m", "dsmip", command, f"reload-{node}", "--json")
        done = self.namespaces.run("mr" if node == "mn" else node, *argv, check=False)
        assert done.stdout or command != "reload", done.stderr
        return json.loads(done.stdout) if done.stdout else {}

    def care_of_addresses(self) -> int:
        """Bound at the home agent."""
        (binding,) = self.ask("ha", "bindings")
        return len(binding["care_of_bindings"])

    def paths(self) -> dict[str, str]:
        return {row["interface"]: row["state"] for row in self.ask("mn", "attachments").get("paths", [])}

    def addresses(self) -> str:
        """Global addresses of the second uplink."""
        argv = ("ip", "-6", "-br", "addr", "show", "dev", "wlan0", "scope", "global")
        return self.namespaces.run("mr", *argv).stdout

    def fetch(self, node: str, port: int, path: str) -> int:
        """Status of a page; 0 when nobody listens."""

        def get() -> int:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code
            except urllib.error.URLError:
                return 0

        return lab_namespaces.call(PREFIX + node, get)


def metrics(port: int) -> str:
    return f'\n[metrics]\nlisten = "127.0.0.1:{port}"\n'


@pytest.mark.root
def test_uplinks_and_watching_come_and_go_without_a_packet_lost(
    namespaces: Namespaces, tmp_path: Path
) -> None:
    site = Site(namespaces, tmp_path)
    try:
        wait_until(lambda: site.paths().get("lte0") == "up", 60, "the first uplink is registered")
        wait_until(lambda: namespaces.pings("ha", "2001:db8:100::17"), 10, "the home address answers")
        stream = namespaces.start("ha", "ping", "-i", "0.01", "2001:db8:100::17")

        assert site.reload("mn", MOBILE_NODE + WLAN + metrics(9418)) == ["interface", "metrics"]
        wait_until(lambda: site.paths() == {"lte0": "up", "wlan0": "up"}, 60, "the second one too")
        assert site.fetch("mr", 9418, "/metrics") == 200
        assert site.care_of_addresses() == 2

        assert site.reload("mn", MOBILE_NODE + metrics(9419)) == ["interface", "metrics"]
        assert (site.fetch("mr", 9418, "/metrics"), site.fetch("mr", 9419, "/metrics")) == (0, 200)
        wait_until(lambda: site.paths() == {"lte0": "up"}, 60, "the second one is forgotten")
        assert site.care_of_addresses() == 1
        assert site.addresses() == ""
        accepts = namespaces.run("mr", "sysctl", "-n", "net.ipv6.conf.wlan0.accept_ra").stdout
        assert accepts == "1\n", "the interface is the kernel's again"

        assert site.reload("mn", MOBILE_NODE) == ["metrics"]
        assert site.fetch("mr", 9419, "/metrics") == 0
        web = f'\n[web]\nlisten = "127.0.0.1:9420"\n{metrics(9421)}'
        assert site.reload("ha", HOME_AGENT + web) == ["metrics", "web"]
        assert (site.fetch("ha", 9420, "/"), site.fetch("ha", 9421, "/metrics")) == (200, 200)

        stream.send_signal(signal.SIGINT)
        stream.wait(10)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{namespaces.logs()}") from error
    (log,) = tmp_path.glob("ha-ping-*.log")
    answered = [int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", log.read_text())]
    assert len(answered) > 100
    assert answered == list(range(1, len(answered) + 1)), "one after the other, none is missing"
    assert "Traceback" not in namespaces.logs()
