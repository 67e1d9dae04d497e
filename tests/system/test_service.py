"""As the service runs it: not root, with the capabilities of its unit and no others."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dsmip
from dsmip.daemon.control import ControlError, ask
from tests.system.conftest import Namespaces, wait_until
from tests.system.networks import advertise, lease

UNIT = Path(__file__).parents[2] / "packaging" / "systemd" / "dsmip@.service"
USER = 65534

HOME_AGENT = """\
role = "home-agent"
name = "ha"
address = "2001:db8:ffff::1"
ipv4_address = "192.0.2.1"
uplinks = ["eth0"]
home_prefixes = ["2001:db8:100::/64"]

[[mobile_node]]
name = "bus-17"
home_address = "2001:db8:100::17"
key = "6d6f62696c652d697076362d6b657921"
"""

MOBILE_NODE = """\
role = "mobile-node"
name = "bus-17"
home_agent = "2001:db8:ffff::1"
home_agent_ipv4 = "192.0.2.1"
home_address = "2001:db8:100::17"
home_prefix = "2001:db8:100::/64"
key = "6d6f62696c652d697076362d6b657921"

[[interface]]
name = "wan0"
"""

#: The user can reach neither a checkout in root's home nor pytest's directories: what it needs is mounted
#: where it can. What root does before is the part of dsmip-prepare.service.
START = """
mount -t tmpfs tmpfs /mnt && mkdir /mnt/venv /mnt/code /mnt/etc && mkdir -p /run/dsmip /var/lib/dsmip
mount --bind "$1" /mnt/venv && mount --bind "$2" /mnt/code && cp "$3"/*.toml /mnt/etc
mount --bind "$3/run" /run/dsmip && mount --bind "$3/var" /var/lib/dsmip
chown "$4" /var/lib/dsmip /mnt/etc/*
chmod 666 /dev/net/tun  # as udev has it, which an emulated machine lacks
export PYTHONPATH=/mnt/code PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1; cd /
/mnt/venv/bin/python -m dsmip prepare --user "$4" || exit
exec setpriv --reuid "$4" --regid "$4" --clear-groups --no-new-privs \
    --bounding-set "$6" --inh-caps "$6" --ambient-caps "$6" \
    /mnt/venv/bin/python -m dsmip run "/mnt/etc/$5.toml"
"""


def setting(name: str) -> str:
    """A setting of the unit."""
    found = re.search(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_units_are_well_formed(tmp_path: Path) -> None:
    """As systemd reads them; a unit with a key it does not know is one with a promise it does not keep."""
    assert setting("AmbientCapabilities") == setting("CapabilityBoundingSet")
    copies = []
    for unit in UNIT.parent.glob("*.service"):
        copies.append(tmp_path / unit.name)
        text = unit.read_text().replace("/usr/bin/dsmip", "/bin/true").replace("man:dsmip(1)", "file:/x")
        copies[-1].write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, copies)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in done.stderr


class Services:
    """Both daemons, each in a namespace and a mount namespace of its own."""

    def __init__(self, namespaces: Namespaces, directory: Path) -> None:
        self.namespaces = namespaces
        self._roots: dict[str, Path] = {}
        self._directory = directory
        self.told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def start(self, node: str, instance: str, text: str, *environment: str) -> subprocess.Popen[bytes]:
        place = self._directory / node
        for name in ("run", "var"):
            (place / name).mkdir(parents=True)
        (place / f"{instance}.toml").write_text(text)
        self._roots[instance] = place / "run"
        capabilities = ",".join(
            [
                "-all",
                *("+" + name.removeprefix("CAP_").lower() for name in setting("AmbientCapabilities").split()),
            ]
        )
        code = str(Path(dsmip.__file__).parents[1])
        arguments = ("start", sys.prefix, code, str(place), str(USER), instance, capabilities)
        return self.namespaces.start(
            node, "env", *environment, "unshare", "-m", "sh", "-c", START, *arguments
        )

    def ask(self, instance: str, command: str) -> Any:
        try:
            return ask(instance, command, root=self._roots[instance])
        except ControlError:
            return None

    def listen(self, path: Path) -> None:
        """Be the service manager of who has this path."""
        self.told.bind(str(path))
        path.chmod(0o777)

    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.told.recv(4096).decode())
            except BlockingIOError:
                return found


def processes(end: bytes) -> list[Path]:
    """Those that were started with these last arguments, but not who starts them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if words.endswith(end) and b"setpriv" not in words:
            found.append(process)
    return found


@pytest.fixture
def services(namespaces: Namespaces, tmp_path: Path) -> Iterator[Services]:
    made = Services(namespaces, tmp_path)
    yield made
    made.told.close()


@pytest.mark.root
def test_a_mobile_node_registers_with_nobody_being_root(services: Services, tmp_path: Path) -> None:
    namespaces = services.namespaces
    namespaces.add("ha", "mr")
    namespaces.cable(("ha", "eth0"), ("mr", "wan0"))
    namespaces.run("ha", "ip", "addr", "add", "2001:db8:ffff::1/64", "dev", "eth0", "nodad")
    namespaces.run("ha", "ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
    advertise(namespaces, tmp_path, "ha", {"eth0": "2001:db8:ffff::/64"})
    lease(namespaces, tmp_path, "ha", "eth0", "--dhcp-range=192.0.2.100,192.0.2.110,1h")
    ear = Path("/run") / f"dsmip-test-{os.getpid()}.sock"
    services.listen(ear)
    try:
        services.start("ha", "ha", HOME_AGENT, f"NOTIFY_SOCKET={ear}", "WATCHDOG_USEC=200000")
        services.start("mr", "bus-17", MOBILE_NODE)

        told: list[str] = []

        def registered() -> bool:
            told.extend(services.heard())
            return (services.ask("bus-17", "status") or {}).get("state") == "registered"

        wait_until(registered, 100, "bus-17 is registered")  # an emulator takes most of it
        wait_until(lambda: namespaces.pings("ha", "2001:db8:100::17"), 5, "the home address answers")

        def families() -> set[int]:
            return {
                6 if ":" in row["address"] else 4 for row in services.ask("bus-17", "attachments")["care_of"]
            }

        wait_until(lambda: families() == {4, 6}, 15, "router advertisements and DHCP are heard")
        (process,) = processes(b"\0run\0/mnt/etc/ha.toml\0")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        assert status["Uid"].split() == [str(USER)] * 4
        assert int(status["CapEff"], 16).bit_count() == len(setting("AmbientCapabilities").split())
        told += services.heard()
        assert told[0] == "READY=1"
        assert told.count("WATCHDOG=1") >= 2
        namespaces.close()
        assert services.heard()[-1] == "STOPPING=1"
    except AssertionError as error:
        raise AssertionError(f"{error}\n{namespaces.logs()}") from error
    finally:
        ear.unlink()
    assert "Traceback" not in namespaces.logs()
    assert "host-error" not in namespaces.logs()
