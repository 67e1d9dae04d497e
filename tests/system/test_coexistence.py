"""dhcpcd, systemd-networkd and NetworkManager are restarted and reloaded under a mobile node without loss.

The mobile node is a machine with the real systemd (`tests.system.machine`); each program is the unit that
Debian ships. One uplink is IPv6 with addresses from router advertisements, the other one IPv4 with DHCP, and
1,000 packets a second go each way over either. Some 45 s in all.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dsmip.daemon import control
from dsmip.host.addressing import LINK_PROTOCOL
from dsmip.host.routing import ROUTE_PROTOCOL
from dsmip.lab import streams
from tests.guest.kernel import Unavailable
from tests.system import programs
from tests.system.conftest import Namespaces, wait_until
from tests.system.machine import UNITS, Machine

pytestmark = pytest.mark.root

NAME = "coexist"
HOME, HOME4 = "2001:db8:100::20", "198.51.100.20"
PEER, PEER4 = "2001:db8:400::cafe", "203.0.113.200"
KEY = "000102030405060708090a0b0c0d0e0f"

HOME_AGENT = f"""\
role = "home-agent"
name = "{NAME}-ha"
address = "2001:db8:ffff::1"
ipv4_address = "192.0.2.1"
uplinks = ["eth0", "eth1"]
home_prefixes = ["2001:db8:100::/64"]
ipv4_home_prefixes = ["198.51.100.0/24"]
state_directory = "{{state}}"

[[mobile_node]]
name = "{NAME}"
home_address = "{HOME}"
ipv4_home_address = "{HOME4}"
key = "{KEY}"
"""

MOBILE_NODE = f"""\
role = "mobile-node"
name = "{NAME}"
home_agent = "2001:db8:ffff::1"
home_agent_ipv4 = "192.0.2.1"
home_address = "{HOME}"
home_prefix = "2001:db8:100::/64"
ipv4_home_address = "{HOME4}/24"
key = "{KEY}"

[[interface]]
name = "eth0"
preference = 10
manage = false

[[interface]]
name = "eth1"
preference = 20
manage = false

[[flow]]
name = "ipv4"
remote = "203.0.113.0/24"
interfaces = ["eth1"]
"""

ADVERTISED = """\
interface eth0 {
    AdvSendAdvert on; AdvIntervalOpt on; MinRtrAdvInterval 1; MaxRtrAdvInterval 3; MinDelayBetweenRAs 0.03;
    prefix 2001:db8:ffff::/64 {};
};
"""


@dataclass(frozen=True)
class Program:
    """`reload`: what an administrator types after a change. `anew`: what takes addresses away and gets them
    again. `ready`: fails, or prints something else than `answer`, until the program has done its work."""

    unit: str
    files: dict[str, str]
    reload: tuple[tuple[str, ...], ...]
    anew: tuple[tuple[str, ...], ...] = ()
    ready: tuple[str, ...] = ("true",)
    answer: str = ""


DHCPCD = Program(
    unit="dhcpcd",
    # As Debian has it: all interfaces. Its unit takes for granted that wpasupplicant is installed, and that
    # udev runs, which it would wait for.
    files={
        "wpa_supplicant/README": "",
        "systemd/system/dhcpcd.service.d/no-udev.conf": (
            "[Service]\nExecStart=\nExecStart=/usr/sbin/dhcpcd -q -b --nodev\n"
        ),
    },
    reload=(("dhcpcd", "--rebind"),),
)

NETWORKD = Program(
    unit="systemd-networkd",
    files={
        "systemd/network/10-eth0.network": "[Match]\nName=eth0\n[Network]\nIPv6AcceptRA=yes\n",
        "systemd/network/10-eth1.network": "[Match]\nName=eth1\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n",
        "systemd/networkd.conf.d/50-dsmip.conf": (UNITS / "networkd.conf").read_text(),
    },
    reload=(("systemctl", "reload", "systemd-networkd"),),
    anew=(("networkctl", "reconfigure", "eth0", "eth1"),),
    ready=("networkctl", "--no-legend", "list", "eth0", "eth1"),
    answer="configured configured",
)

NETWORK_MANAGER = Program(
    unit="NetworkManager",
    files={
        f"NetworkManager/system-connections/{name}.nmconnection": (
            f"[connection]\nid={name}\ntype=ethernet\ninterface-name={name}\n"
            f"[ipv4]\nmethod={ipv4}\n[ipv6]\nmethod={ipv6}\n"
        )
        for name, ipv4, ipv6 in (("eth0", "disabled", "auto"), ("eth1", "auto", "disabled"))
    },
    reload=(
        ("systemctl", "reload", "NetworkManager"),
        ("nmcli", "connection", "reload"),
    ),
    anew=(("nmcli", "device", "reapply", "eth0"), ("nmcli", "device", "reapply", "eth1")),
    ready=("nmcli", "--terse", "--fields", "DEVICE,STATE", "device"),
    answer="eth0:connected eth1:connected",
)


class Bed:
    """A home agent with two links, and the mobile node on both."""

    def __init__(self, namespaces: Namespaces, unpacked: Path) -> None:
        self.namespaces = namespaces
        self.directory = namespaces.directory
        self.machine = Machine(namespaces, "comn", unpacked)

    def open(self) -> None:
        namespaces = self.namespaces
        namespaces.add("coha", "comn")
        for name in ("eth0", "eth1"):
            namespaces.cable(("coha", name), ("comn", name))
        for interface, *addresses in (
            ("eth0", "2001:db8:ffff::1/64"),
            ("eth1", "192.0.2.1/24"),
            ("lo", f"{PEER}/128", f"{PEER4}/32"),
        ):
            for address in addresses:
                nodad = ("nodad",) if ":" in address else ()
                namespaces.run("coha", "ip", "addr", "add", address, "dev", interface, *nodad)
        # The kernel itself configures nothing.
        namespaces.run("comn", "sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=0")
        namespaces.run("coha", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", "net.ipv4.ip_forward=1")
        advertised = self.directory / "radvd.conf"
        advertised.write_text(ADVERTISED)
        namespaces.start(
            "coha", "radvd", "-n", "-C", str(advertised), "-p", str(self.directory / "radvd.pid")
        )
        namespaces.start(
            *("coha", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0"),
            *("--no-ping", "--interface=eth1", "--bind-interfaces"),
            *("--dhcp-range=192.0.2.100,192.0.2.110,1h", "--dhcp-option=option:dns-server,192.0.2.1"),
            *(
                f"--dhcp-leasefile={self.directory / 'leases'}",
                f"--pid-file={self.directory / 'dnsmasq.pid'}",
            ),
        )
        config = self.directory / "ha.toml"
        config.touch(mode=0o600)
        config.write_text(HOME_AGENT.format(state=self.directory / "ha"))
        namespaces.dsmip("coha", "run", str(config))
        self.machine.boot()
        try:
            place = self.machine.root / "etc/dsmip" / f"{NAME}.toml"
            place.touch(mode=0o600)
            place.write_text(MOBILE_NODE)
            self.machine.run("chgrp", "dsmip", f"/etc/dsmip/{NAME}.toml")
            self.machine.run("chmod", "640", f"/etc/dsmip/{NAME}.toml")
            wait_until(lambda: bool(self.ask_home_agent("status")), 30, "the home agent runs")
            self.machine.run("systemctl", "start", f"dsmip@{NAME}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.machine.journal()}\n{namespaces.logs()}") from error

    def close(self) -> None:
        self.machine.close()
        self.namespaces.close()
        shutil.rmtree(control.RUN_ROOT / f"{NAME}-ha", ignore_errors=True)

    def ask(self, command: str, **arguments: int) -> Any:
        try:
            return control.ask(NAME, command, root=self.machine.root / "run/dsmip", **arguments)
        except control.ControlError:
            return {}

    def ask_home_agent(self, command: str) -> Any:
        try:
            return control.ask(f"{NAME}-ha", command)
        except control.ControlError:
            return {}

    def care_of(self) -> set[str]:
        """As the home agent has it."""
        return {
            path["care_of"]
            for row in self.ask_home_agent("bindings") or []
            for path in row["care_of_bindings"]
        }

    def ours(self) -> str:
        """Everything that dsmip has in the routing tables, and its addresses."""
        told = [self.namespaces.run("comn", "ip", "-o", "address", "show", "dev", "dsmip0").stdout]
        for family in ("-4", "-6"):
            told.append(self.namespaces.run("comn", "ip", family, "rule").stdout)
            for protocol in (ROUTE_PROTOCOL, LINK_PROTOCOL):
                routes = ("route", "show", "table", "all", "proto", str(protocol))
                told.append(self.namespaces.run("comn", "ip", family, *routes).stdout)
        return "\n".join(told)

    def configure(self, program: Program) -> None:
        etc = self.machine.root / "etc"
        for name, text in program.files.items():
            path = etc / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600 if "connection" in name else 0o644)
            path.write_text(text)

    def is_ready(self, program: Program) -> bool:
        """Whether it has done its part."""
        done = self.machine.run(*program.ready, check=False)
        words = done.stdout.split()
        if program is NETWORKD:
            words = [line.split()[-1] for line in done.stdout.splitlines()]
            return words == program.answer.split()
        return done.returncode == 0 and set(program.answer.split()) <= set(words)

    def end(self, program: Program) -> None:
        """Stop it, for the next one to find nothing."""
        # Sockets of its first: they would start it again.
        self.machine.run("systemctl", "stop", f"{program.unit}.socket", check=False)
        self.machine.run("systemctl", "stop", program.unit, check=False)
        for name in ("eth0", "eth1"):
            for words in (
                f"address flush dev {name} scope global",
                f"link set {name} down",
                f"link set {name} up",
            ):
                self.namespaces.run("comn", "ip", *words.split())
        wait_until(lambda: self.ask("status").get("state") == "detached", 30, "nothing is left of it")

    def stream(self) -> None:
        """Start the flows, each way."""
        flow = msgspec.json.encode((streams.PLAIN,)).decode()
        place = self.directory / "streams"
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        near, far = (PEER, PEER4), (HOME, HOME4)
        self._senders = [
            self.namespaces.start(
                *(node, sys.executable, "-m", "dsmip.lab.streams", flow, str(place)),
                *(sends, receives, *local, *remote),
            )
            for node, sends, receives, local, remote in (
                ("coha", streams.DOWN, streams.UP, near, far),
                ("comn", streams.UP, streams.DOWN, far, near),
            )
        ]

    def arrived(self) -> int:
        """Packets of the flow that has got least."""
        place = self.directory / "streams"
        return min(
            streams.arrived(place, direction, family)[0]
            for direction in (streams.DOWN, streams.UP)
            for family in streams.FAMILIES
        )

    def lost(self) -> dict[str, int]:
        """End the flows; what each lost since its first packet arrived."""
        for sender in self._senders:
            sender.terminate()
        for sender in self._senders:
            sender.wait(30)
        found = {}
        for name, stream in streams.load(self.directory / "streams").items():
            numbers = {number for number, _ in stream.received}
            found[name] = len(range(min(numbers), len(stream.sent))) - len(numbers)
        return found


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    try:
        unpacked = programs.fetch("dhcpcd", "network-manager")
    except Unavailable as reason:
        pytest.skip(f"the programs cannot be had: {reason}")
    made = Bed(Namespaces(tmp_path_factory.mktemp("coexistence")), unpacked)
    try:
        made.open()
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("program", [DHCPCD, NETWORKD, NETWORK_MANAGER], ids=lambda program: program.unit)
def test_restarts_and_reloads_lose_nothing(bed: Bed, program: Program) -> None:
    machine = bed.machine
    bed.configure(program)
    try:
        machine.run("systemctl", "start", program.unit)
        wait_until(lambda: bed.is_ready(program), 30, f"{program.unit} is ready")
        wait_until(lambda: len(bed.care_of()) == 2, 30, "registered over both uplinks")
        care_of, ours = bed.care_of(), bed.ours()
        assert "dsmip0" in ours
        bed.stream()
        wait_until(lambda: bed.arrived() > 500, 30, "packets pass on both uplinks, each way")
        for commands in ((("systemctl", "restart", program.unit),), program.reload):
            for command in commands:
                machine.run(*command)
            wait_until(lambda: bed.is_ready(program), 30, f"{program.unit} is ready again")
            seen = bed.arrived()
            wait_until(lambda seen=seen: bed.arrived() > seen + 2000, 30, "packets pass afterwards")
        assert bed.lost() == dict.fromkeys(streams.load(bed.directory / "streams"), 0)
        assert bed.care_of() == care_of
        assert bed.ours() == ours
        for command in program.anew:
            machine.run(*command)
            wait_until(lambda: bed.is_ready(program), 30, f"{program.unit} is ready again")
            wait_until(lambda: len(bed.care_of()) == 2, 30, "registered over both uplinks again")
        for address in (HOME, HOME4):
            wait_until(lambda target=address: bed.namespaces.pings("coha", target), 30, f"{address} answers")
        assert bed.ours() == ours
        assert restored(bed) == 0
    except AssertionError as error:
        said = f"{error}\n{json.dumps(bed.ask('attachments'), indent=1)}\n{machine.journal('-n', '200')}"
        raise AssertionError(f"{said}\n{bed.namespaces.logs()}") from error
    finally:
        bed.end(program)


def test_networkd_without_the_drop_in_takes_rules_out_and_they_are_put_back(bed: Bed) -> None:
    """That the drop-in is needed, and what becomes of a mobile node whose owner has not put it there."""
    machine = bed.machine
    bed.configure(NETWORKD)
    (machine.root / "etc/systemd/networkd.conf.d/50-dsmip.conf").unlink()
    try:
        machine.run("systemctl", "start", NETWORKD.unit)
        wait_until(lambda: bed.is_ready(NETWORKD), 30, "networkd is ready")
        wait_until(lambda: len(bed.care_of()) == 2, 30, "registered over both uplinks")
        ours = bed.ours()
        assert restored(bed) == 0, "nothing was missed so far"
        # Without udev it does not know of any rules yet when it configures links at its start.
        machine.run(*NETWORKD.anew[0])
        wait_until(lambda: restored(bed) > 0, 30, "rules were missed")
        wait_until(lambda: bed.ours() == ours, 30, "everything is there again")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{bed.ours()}\n{machine.journal('-n', '100')}") from error
    finally:
        bed.end(NETWORKD)


def restored(bed: Bed) -> int:
    """Rules and routes that dsmip missed so far."""
    events = bed.ask("events", past=256)
    return sum(event["missed"] for event in events if event["event"] == "routes-restored")


def test_nothing_under_etc_is_written(bed: Bed) -> None:
    """By a daemon that is root and has the uplinks to itself, where DHCP offers a name server."""
    machine = bed.machine
    etc = machine.root / "etc"
    machine.run("systemctl", "stop", f"dsmip@{NAME}")
    config = etc / "dsmip" / f"{NAME}.toml"
    config.write_text(MOBILE_NODE.replace("manage = false\n", ""))

    def files() -> dict[Path, tuple[int, int, int]]:
        found = {path: path.lstat() for path in etc.rglob("*")}
        return {path: (each.st_ino, each.st_mtime_ns, each.st_size) for path, each in found.items()}

    before = files()
    assert etc / "resolv.conf" in before
    try:
        service = ("--unit=as-root", "--service-type=notify", "--collect")
        machine.run("systemd-run", *service, "dsmip", "run", f"/etc/dsmip/{NAME}.toml")
        wait_until(
            lambda: {":" in address for address in bed.care_of()} == {True, False},
            30,
            "an address from DHCP and one from router advertisements are registered",
        )
        lease = next(address for address in bed.care_of() if ":" not in address)
        assert lease in machine.run("ip", "address", "show", "dev", "eth1").stdout
        machine.run("systemctl", "stop", "as-root")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{machine.journal('-n', '100')}") from error
    assert files() == before
