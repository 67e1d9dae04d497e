"""The README's two machines: its very configuration files, in two namespaces that the lab did not make."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from dsmip.daemon.config import load
from tests.system.conftest import Namespaces, wait_until

README = Path(__file__).parents[2] / "README.md"


def configuration_files(directory: Path) -> tuple[Path, Path]:
    """ha.toml and mr.toml as the README prints them."""
    blocks = re.findall(r"```toml\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) == 2
    paths = (directory / "ha.toml", directory / "mr.toml")
    for path, text in zip(paths, blocks, strict=True):
        state = f'state_directory = "{directory / path.stem}"\n'
        path.write_text(state + text)
    return paths


def test_the_readme_files_are_valid(tmp_path: Path) -> None:
    for path in configuration_files(tmp_path):
        load(path)


def ask(namespaces: Namespaces, node: str, command: str, instance: str) -> Any:
    done = namespaces.run(node, sys.executable, "-m", "dsmip", command, instance, "--json", check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


@pytest.mark.root
def test_two_machines_as_the_readme_says(namespaces: Namespaces, tmp_path: Path) -> None:
    home_agent, mobile_router = configuration_files(tmp_path)
    namespaces.add("ha", "mr", "host")
    namespaces.cable(("ha", "eth0"), ("mr", "wan0"))
    namespaces.cable(("mr", "lan0"), ("host", "eth0"))
    namespaces.run("ha", "ip", "addr", "add", "2001:db8:ffff::1/64", "dev", "eth0", "nodad")
    namespaces.run("ha", "ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
    namespaces.run("mr", "ip", "addr", "add", "2001:db8:aaaa:17::1/64", "dev", "lan0", "nodad")
    namespaces.run("mr", "ip", "addr", "add", "203.0.113.17/28", "dev", "lan0")
    namespaces.run("host", "ip", "addr", "add", "2001:db8:aaaa:17::66/64", "dev", "eth0", "nodad")
    namespaces.run("host", "ip", "addr", "add", "203.0.113.18/28", "dev", "eth0")
    namespaces.run("host", "ip", "-6", "route", "add", "default", "via", "2001:db8:aaaa:17::1")
    namespaces.run("host", "ip", "route", "add", "default", "via", "203.0.113.17")
    # The visited network: somebody advertises a prefix there.
    advertised = tmp_path / "radvd.conf"
    advertised.write_text(
        "interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;"
        " prefix 2001:db8:ffff::/64 {}; };"
    )
    namespaces.run("ha", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    namespaces.start("ha", "radvd", "-n", "-C", str(advertised), "-p", str(tmp_path / "radvd.pid"))

    namespaces.dsmip("ha", "run", str(home_agent))
    router = namespaces.dsmip("mr", "run", str(mobile_router))

    def registered() -> bool:
        status = ask(namespaces, "mr", "status", "bus-17")
        return status is not None and status["state"] == "registered"

    try:
        wait_until(registered, 30, "bus-17 is registered")
        for target in ("2001:db8:100::17", "2001:db8:aaaa:17::66", "198.51.100.17", "203.0.113.18"):
            wait_until(lambda target=target: namespaces.pings("ha", target), 5, f"{target} answers")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{namespaces.logs()}") from error

    (binding,) = ask(namespaces, "ha", "bindings", "ha")
    assert binding["name"] == "bus-17"
    assert binding["care_of"].startswith("2001:db8:ffff:")
    assert binding["tunnel"] == "ipv6"
    assert binding["received_packets"] >= 4

    router.terminate()
    assert router.wait(10) == 0, namespaces.logs()
    left = namespaces.run("mr", "ip", "-br", "link").stdout
    assert "dsmip0" not in left, "a clean stop takes the tunnel device away"
    rules = namespaces.run("mr", "ip", "-6", "rule").stdout + namespaces.run("mr", "ip", "rule").stdout
    assert "5191" not in rules
