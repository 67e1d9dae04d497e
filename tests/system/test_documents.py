"""Every command in the blocks of the documents is run: on a home agent, in a vehicle, in a lab. Some 30 s.

Two machines with the real systemd are set up with what the documents say and nothing else. A command that is
new in a document has to get its place in one of the lists here.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import PAGES, block, typed
from tests.system.conftest import Namespaces, wait_until
from tests.system.machine import Machine

HOME_AGENT, VEHICLE, LAB = "home agent", "vehicle", "lab"

#: Where and in which order. Those that go on until somebody ends them are ended.
STEPS: tuple[tuple[str, str], ...] = (
    (HOME_AGENT, "dsmip init home-agent --prefix 2001:db8:100::/48 --ipv4-network 198.51.100.0/24"),
    (HOME_AGENT, "dsmip check FILE"),
    (HOME_AGENT, "dsmip check /etc/dsmip/home-agent.toml"),
    (HOME_AGENT, "systemctl enable --now dsmip@home-agent"),
    (HOME_AGENT, "dsmip provision add bus-17 --uplink wan0 --out bus-17.toml"),
    (HOME_AGENT, "dsmip provision list"),
    (HOME_AGENT, "dsmip reload"),
    (VEHICLE, "install -m 640 -g dsmip bus-17.toml /etc/dsmip/"),
    (VEHICLE, "dsmip attachments"),
    (VEHICLE, "dsmip flows"),
    (VEHICLE, "dsmip attachments leave wlan0"),
    (VEHICLE, "dsmip status"),
    (HOME_AGENT, "dsmip status"),
    (HOME_AGENT, "dsmip bindings"),
    (HOME_AGENT, "dsmip bindings --filter udp4"),
    (HOME_AGENT, "dsmip stats"),
    (HOME_AGENT, "dsmip explain bus-17"),
    (HOME_AGENT, "dsmip web"),
    (HOME_AGENT, "dsmip events"),
    (HOME_AGENT, "dsmip events --follow"),
    (HOME_AGENT, "dsmip events --follow --json"),
    (HOME_AGENT, "dsmip watch"),
    (HOME_AGENT, "dsmip capture"),
    (HOME_AGENT, "dsmip capture -w out.pcap"),
    (HOME_AGENT, "dsmip capture -w signalling.pcap"),
    (HOME_AGENT, "ping -c 3 2001:db8:100::1"),
    (HOME_AGENT, "ping -c 3 198.51.100.1"),
    (HOME_AGENT, "systemctl kill -s USR1 dsmip@home-agent"),
    (HOME_AGENT, "dsmip man --out /usr/local/share/man"),
    (HOME_AGENT, "dsmip completion bash > /etc/bash_completion.d/dsmip"),
    (HOME_AGENT, "dsmip completion zsh > /usr/local/share/zsh/site-functions/_dsmip"),
    (HOME_AGENT, "dsmip completion fish > /etc/fish/completions/dsmip.fish"),
    (LAB, "dsmip lab up --multihomed"),
    (LAB, "dsmip lab move wifi6 --uplink wifi0"),
    (LAB, "dsmip lab link lte0 up nat4"),
    (LAB, "dsmip lab link lte0 loss 5%"),
    (LAB, "dsmip lab exec host ping 192.0.2.200"),
    (LAB, "dsmip lab link wifi0 silent"),
    (LAB, "dsmip lab link wifi0 down"),
)
#: Until a person has seen enough.
ENDLESS = ("dsmip watch", "dsmip capture", "dsmip events --follow", "dsmip lab exec")

#: Not here, for this reason.
ELSEWHERE = {
    "make demo": "tests/lab/test_tour.py runs the same tour, shorter",
    "make demo-protected": "tests/guest/inside/test_tour.py runs the same tour, shorter",
    "dsmip demo --protect all": "as above",
    "dsmip demo --tour multihomed": "tests/lab/test_multihomed.py runs the same tour, shorter",
    "dsmip demo --tour multihomed --out demo-out": "as above",
    "make test": "this is it",
    "make install": "would be on this machine: tests/system/machine.py does the same to a container",
    "make deb": "tests/system/test_package.py",
    "apt install ./dist/dsmip_*.deb": "tests/system/test_package.py",
    "dsmip run /etc/dsmip/home-agent.toml": "tests/system/test_readme.py",
    "dsmip run bus-17.toml": "tests/system/test_readme.py",
}


def test_every_command_has_its_place() -> None:
    known = {command for _, command in STEPS} | set(ELSEWHERE)
    found = {command: page.name for page in PAGES for command in typed(page.read_text())}
    assert {command: page for command, page in found.items() if command not in known} == {}
    assert {command for _, command in STEPS} <= set(found), "no longer in any document"


class Bed:
    """A home agent with fixed addresses, and a vehicle with two uplinks, all on one link."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self.machines = {HOME_AGENT: Machine(namespaces, "docha"), VEHICLE: Machine(namespaces, "docmr")}

    def open(self) -> None:
        namespaces = self.namespaces
        namespaces.add("docsw", "docha", "docmr")
        namespaces.run("docsw", "ip", "link", "add", "br0", "up", "type", "bridge", "mcast_snooping", "0")
        for number, (node, uplink) in enumerate((("docha", "eth0"), ("docmr", "wan0"), ("docmr", "wlan0"))):
            namespaces.cable(("docsw", f"port{number}"), (node, uplink))
            namespaces.run("docsw", "ip", "link", "set", f"port{number}", "master", "br0")
        for address in ("2001:db8:ffff::1/64", "192.0.2.1/24"):
            nodad = ("nodad",) if ":" in address else ()
            namespaces.run("docha", "ip", "addr", "add", address, "dev", "eth0", *nodad)
        namespaces.run("docha", "ip", "-6", "route", "add", "default", "via", "2001:db8:ffff::fe")
        namespaces.run("docha", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        advertised = namespaces.directory / "radvd.conf"
        advertised.write_text(
            "interface eth0 { AdvSendAdvert on; AdvIntervalOpt on; MinRtrAdvInterval 1; MaxRtrAdvInterval 3;"
            " MinDelayBetweenRAs 0.03; prefix 2001:db8:ffff::/64 {}; };"
        )
        pid = str(namespaces.directory / "radvd.pid")
        namespaces.start("docha", "radvd", "-n", "-C", str(advertised), "-p", pid)
        for machine in self.machines.values():
            machine.boot()

    def type(self, where: str, line: str, *, endless: bool = False) -> str:
        """In a shell of root's; what is endless gets a Ctrl-C."""
        shell = ("timeout", "-s", "INT", "2" if endless else "60", "sh", "-c", f"cd /root && {line}")
        done = self.machines[where].run(*shell, check=False)
        expected = (0, 124, 130) if endless else (0,)
        assert done.returncode in expected, f"{where}: {line}: {done.returncode} {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, f"{where}: {line}: {done.stderr}"
        return done.stdout

    def told(self) -> str:
        journals = [machine.journal("-n", "100") for machine in self.machines.values()]
        return "\n".join((*journals, self.namespaces.logs()))

    def close(self) -> None:
        for machine in self.machines.values():
            machine.close()


@pytest.fixture
def bed(namespaces: Namespaces) -> Iterator[Bed]:
    made = Bed(namespaces)
    try:
        made.open()
        yield made
    finally:
        made.close()


@pytest.mark.root
def test_home_agent_and_vehicle_as_the_documents_say(bed: Bed) -> None:
    def registered() -> bool:
        rows = json.loads(bed.type(HOME_AGENT, "dsmip bindings --json"))
        return [len(row["care_of_bindings"]) for row in rows] == [2]

    def state() -> str:
        told = bed.type(VEHICLE, "dsmip status --json || true")
        return str(json.loads(told)["state"]) if told else ""

    try:
        for where, command in STEPS:
            if where == LAB:
                continue
            line = command.replace("FILE", "/etc/dsmip/home-agent.toml")
            if " > " in line:  # of a directory that a system with the shell has
                bed.type(where, f"mkdir -p {Path(line.rpartition(' ')[2]).parent}")
            if command == "dsmip check /etc/dsmip/home-agent.toml":
                bed.type(
                    where, f"cat >>/etc/dsmip/home-agent.toml <<END\n{block('docs/observing.md', '[web]')}END"
                )
            if line.startswith("install"):
                carry(bed)
            bed.type(where, line, endless=line.startswith(ENDLESS))
            if line.startswith("install"):
                # As on the home agent: operations.md says so in words.
                bed.type(VEHICLE, "systemctl enable --now dsmip@bus-17")
                wait_until(registered, 30, "bus-17 is registered over both uplinks")
        wait_until(lambda: "bus-17" in bed.type(HOME_AGENT, "dsmip provision list"), 30, "it still serves")
        # The firewall rules: the daemon begins anew behind them.
        bed.type(HOME_AGENT, f"nft -f - <<END\n{block('docs/operations.md', 'table inet dsmip')}END")
        bed.type(VEHICLE, "systemctl restart dsmip@bus-17")
        wait_until(lambda: state() == "registered", 30, "registered again")
        wait_until(lambda: bed.namespaces.pings("docha", "2001:db8:100::1"), 20, "packets pass the firewall")
        # What people are told to look at.
        bed.type(HOME_AGENT, "journalctl --no-pager -u dsmip@home-agent -p warning")
        assert "bus-17" in bed.type(HOME_AGENT, "journalctl --no-pager -u dsmip@home-agent")
        bed.type(HOME_AGENT, "systemctl status dsmip@home-agent")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{bed.told()}") from error


def carry(bed: Bed) -> None:
    """To the vehicle, with a second uplink in it."""
    text = (bed.machines[HOME_AGENT].root / "root/bus-17.toml").read_text()
    place = bed.machines[VEHICLE].root / "root/bus-17.toml"
    place.touch(mode=0o600)
    place.write_text(text + '\n[[interface]]\nname = "wlan0"\n')


@pytest.mark.root
@pytest.mark.lab
def test_the_lab_by_hand() -> None:
    program = str(Path(sys.executable).with_name("dsmip"))

    def lab(*words: str, endless: bool = False) -> subprocess.CompletedProcess[str]:
        verb, *rest = words
        limit = ("timeout", "-s", "INT", "3" if endless else "100")
        argv = [*limit, program, "lab", verb, "--name", "docs", *rest]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    try:
        for where, command in STEPS:
            if where == LAB:
                endless = command.startswith(ENDLESS)
                done = lab(*shlex.split(command)[2:], endless=endless)
                assert done.returncode in ((0, 124) if endless else (0,)), (
                    f"{command}: {done.stdout}{done.stderr}"
                )
                if endless:
                    assert "bytes from 192.0.2.200" in done.stdout
    finally:
        lab("down")
