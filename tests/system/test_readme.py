"""The README's two machines: its very commands, in two bare namespaces that the lab did not make."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import Namespaces, wait_until
from tests.system.networks import advertise

README = Path(__file__).parents[2] / "README.md"
COMMANDS = 6

#: What `dsmip init` and the daemons write to goes to a directory of the test, for each command by itself.
APART = 'mount --bind "$0/etc" /etc/dsmip && mount --bind "$0/var" /var/lib/dsmip && cd "$0" && exec "$@"'


def commands() -> list[tuple[str, str]]:
    """Node and command, in the README's order."""
    section = README.read_text().split("## On two real machines")[1].split("\n## ")[0]
    found = []
    for block in re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL):
        where, *lines = block.splitlines()
        node = {"on the home agent": "ha", "in the vehicle": "mr", "from anywhere": "ha"}[
            re.split("[;,]", where.removeprefix("# "))[0]
        ]
        found += [(node, line) for line in lines]
    return found


def test_a_ping_through_the_tunnel_takes_six_commands() -> None:
    assert len(commands()) == COMMANDS
    assert [line.split()[0] for _, line in commands()] == ["dsmip"] * 4 + ["ping"] * 2


@contextmanager
def directories() -> Iterator[None]:
    """Somewhere to mount to; taken away if they were made for that."""
    made = []
    for path in (Path("/etc/dsmip"), Path("/var/lib/dsmip")):
        if not path.exists():
            path.mkdir(parents=True)
            made.append(path)
    yield
    for path in made:
        path.rmdir()


def ask(namespaces: Namespaces, node: str, command: str, instance: str) -> Any:
    done = namespaces.run(node, sys.executable, "-m", "dsmip", command, instance, "--json", check=False)
    return json.loads(done.stdout) if done.stdout else None


def started(namespaces: Namespaces, directory: Path, node: str, line: str) -> subprocess.Popen[bytes]:
    """A command of the README, with this environment's `dsmip`."""
    words = line.split()
    argv = [str(Path(sys.executable).with_name("dsmip")), *words[1:]] if words[0] == "dsmip" else words
    return namespaces.start(node, "unshare", "-m", "sh", "-c", APART, str(directory), *argv)


@pytest.mark.root
def test_two_machines_as_the_readme_says(namespaces: Namespaces, tmp_path: Path) -> None:
    for name in ("etc", "var"):
        (tmp_path / name).mkdir()
    namespaces.add("ha", "mr", "host")
    namespaces.cable(("ha", "eth0"), ("mr", "wan0"))
    namespaces.cable(("mr", "lan0"), ("host", "eth0"))
    namespaces.run("ha", "ip", "addr", "add", "2001:db8:ffff::1/64", "dev", "eth0", "nodad")
    namespaces.run("ha", "ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
    namespaces.run("ha", "ip", "-6", "route", "add", "default", "via", "2001:db8:ffff::fe")
    namespaces.run("mr", "ip", "addr", "add", "2001:db8:100:1::1/64", "dev", "lan0", "nodad")
    namespaces.run("host", "ip", "addr", "add", "2001:db8:100:1::66/64", "dev", "eth0", "nodad")
    namespaces.run("host", "ip", "-6", "route", "add", "default", "via", "2001:db8:100:1::1")
    # The visited network: somebody advertises a prefix there.
    advertise(namespaces, tmp_path, "ha", {"eth0": "2001:db8:ffff::/64"})

    def registered() -> bool:
        status = ask(namespaces, "mr", "status", "bus-17")
        return status is not None and status["state"] == "registered"

    daemons = {}
    with directories():
        try:
            for node, line in commands():
                process = started(namespaces, tmp_path, node, line)
                if line.startswith("dsmip run"):
                    # People type slowly enough for this.
                    daemons[node] = process
                    instance = "bus-17" if node == "mr" else "home-agent"
                    wait_until(
                        lambda node=node, name=instance: bool(ask(namespaces, node, "status", name)), 30, line
                    )
                    if node == "mr":
                        wait_until(registered, 30, "bus-17 is registered")
                else:
                    assert process.wait(30) == 0, line
            assert (tmp_path / "bus-17.toml").stat().st_mode & 0o077 == 0
            wait_until(
                lambda: namespaces.pings("ha", "2001:db8:100:1::66"), 5, "a host in the vehicle answers"
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{namespaces.logs()}") from error

        (binding,) = ask(namespaces, "ha", "bindings", "home-agent")
        assert binding["name"] == "bus-17"
        assert binding["care_of"].startswith("2001:db8:ffff:")
        assert binding["tunnel"] == "ipv6"
        assert binding["received_packets"] >= 7

        daemons["mr"].terminate()
        assert daemons["mr"].wait(10) == 0, namespaces.logs()
        left = namespaces.run("mr", "ip", "-br", "link").stdout
        assert "dsmip0" not in left, "a clean stop takes the tunnel device away"
        rules = namespaces.run("mr", "ip", "-6", "rule").stdout + namespaces.run("mr", "ip", "rule").stdout
        assert "5191" not in rules
    assert "Traceback" not in namespaces.logs()
