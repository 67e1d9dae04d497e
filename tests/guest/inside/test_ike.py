"""Keys by IKEv2 between two strongSwans: once for all networks, NAT or not, and none for somebody else."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsmip.host.vici import Vici
from dsmip.lab.namespaces import open_socket
from tests.guest.inside.charon import Charon, authority, certificate
from tests.guest.inside.conftest import TRANSLATION, address_in, ask, cable
from tests.guest.inside.test_payload import PATTERN
from tests.guest.inside.test_signalling import CLEAR_PREFIX_DISCOVERY, CLEAR_SIGNALLING, ESP_SIGNALLING
from tests.system.conftest import PREFIX, Namespaces, run, wait_until
from tests.system.two_machines import HOME_AGENT_OF_A_LAPTOP, LAPTOP, WATCHED_INTERFACE

SECRET = "000102030405060708090a0b0c0d0e0f"
LAPTOP_ADDRESS = "2001:db8:100::20"

#: A laptop with a secret and a tablet with a certificate.
HOME_AGENT = f"""{HOME_AGENT_OF_A_LAPTOP}authentication = "ipsec"
[mobile_node.ike]
psk = "{SECRET}"

[[mobile_node]]
name = "tablet"
home_address = "2001:db8:100::21"
authentication = "ipsec"
[mobile_node.payload]
[mobile_node.ike]
identity = "tablet.example"

[ike]
vici = "{{vici}}"
{{files}}
"""
MOBILE_NODE = f"""{LAPTOP}authentication = "ipsec"
{WATCHED_INTERFACE}
[ike]
vici = "{{vici}}"
{{keys}}
"""


class World:
    """A home agent with its charon, a router that translates IPv4, and a mobile node with its charon."""

    def __init__(self, namespaces: Namespaces, directory: Path) -> None:
        self.namespaces = namespaces
        self.directory = directory
        cable(namespaces)
        namespaces.run("gw", "nft", TRANSLATION)
        self.charon = {node: Charon(namespaces, node, directory) for node in ("ha", "mn")}
        for name in ("ca", "other"):
            authority(directory, name)
        self.daemon: subprocess.Popen[bytes] | None = None

    def start_home_agent(self) -> None:
        self.charon["ha"].start()
        files = certificate(self.directory, "ca", "ha.example")
        text = HOME_AGENT.format(state=self.directory, vici=self.charon["ha"].vici, files=files)
        self.namespaces.dsmip("ha", "run", str(self._file("ha.toml", text)))
        wait_until(lambda: bool(ask("ha", "status")), 60, "home agent running")

    def start(self, keys: str, home_address: str = LAPTOP_ADDRESS) -> None:
        text = MOBILE_NODE.format(state=self.directory, vici=self.charon["mn"].vici, keys=keys)
        text = text.replace(f'"{LAPTOP_ADDRESS}"', f'"{home_address}"')
        self.daemon = self.namespaces.dsmip("mn", "run", str(self._file("mn.toml", text)))
        wait_until(lambda: "state" in self.status(), 60, "mobile node running")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self.daemon is not None
        self.daemon.send_signal(number)
        self.daemon.wait(60)

    def _file(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def status(self) -> Any:
        return ask("laptop", "status")

    def is_registered(self, tunnel: str) -> bool:
        status = self.status()
        return (status.get("state"), status.get("tunnel")) == ("registered", tunnel)

    def problem(self) -> str:
        return " ".join(self.status().get("problems", ()))

    def use_ipv4(self, address: str) -> None:
        self._drop_addresses()
        address_in(self.namespaces, f"{address}/24", "10.0.0.1")

    def use_ipv6(self, address: str) -> None:
        self._drop_addresses()
        address_in(self.namespaces, f"{address}/64", "2001:db8:1::1")

    def _drop_addresses(self) -> None:
        self.namespaces.run("mn", "ip", "addr", "flush", "dev", "eth0", "scope", "global")

    def spis(self, node: str = "ha") -> set[str]:
        return set(re.findall(r"spi (0x[0-9a-f]+)", self.namespaces.run(node, "ip", "xfrm", "state").stdout))

    def sequences(self) -> dict[str, int]:
        """By home address: who is registered, and how far it has counted."""
        return {row["home_address"]: row["sequence"] for row in ask("ha", "bindings")}

    def xfrm_errors(self, name: str) -> int:
        lines = self.namespaces.run("ha", "cat", "/proc/net/xfrm_stat").stdout.splitlines()
        return next(int(line.split()[1]) for line in lines if line.split()[0] == name)

    def logs(self) -> str:
        charons = "\n".join(f"--- charon of {node}\n{one.log[-6000:]}" for node, one in self.charon.items())
        return f"{self.status()}\n{ask('ha', 'bindings')}\n{self.namespaces.logs()[-6000:]}\n{charons}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("ike")
    namespaces = Namespaces(directory)
    try:
        made = World(namespaces, directory)
        made.start_home_agent()
        yield made
    finally:
        namespaces.close()


@pytest.fixture(autouse=True)
def _shown(world: World) -> Iterator[None]:
    """What was said, when something has failed."""
    yield
    if world.daemon is not None and world.daemon.poll() is None:
        world.stop()


@pytest.fixture
def both_charons(world: World) -> None:
    """Whichever test is the first."""
    if not world.charon["mn"].runs:
        world.charon["mn"].start()


def told(world: World, true: Any, seconds: float, what: str) -> None:
    try:
        wait_until(true, seconds, what)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{world.logs()}") from None


def test_one_negotiation_serves_all_networks(world: World) -> None:
    capture = world.directory / "access.pcap"
    listener = world.namespaces.start(
        "gw", "tcpdump", "-i", "inside", "--immediate-mode", "-w", str(capture), "ip or ip6"
    )
    world.use_ipv4("10.0.0.44")
    world.start(f'psk = "{SECRET}"')
    told(world, lambda: "strongSwan cannot be reached" in world.problem(), 60, "charon is missed")
    told(world, lambda: world.status().get("state") == "registering", 60, "there is a network")
    assert ask("ha", "bindings") == []

    world.charon["mn"].start()
    told(world, lambda: world.is_registered("udp4"), 90, "registered through the NAT")
    assert world.status()["nat"] == "detected"
    assert world.status()["signalling"] == "ESP, IKEv2, AES-GCM-256"
    assert world.status()["ike"].startswith("keys negotiated")
    wait_until(lambda: world.namespaces.pings("ha", "2001:db8:100::20"), 20, "reached through the NAT")
    told(
        world,
        lambda: [row["signalling"] for row in ask("ha", "bindings")] == ["ESP, IKEv2, AES-GCM-256"],
        60,
        "the home agent says how",
    )

    world.use_ipv6("2001:db8:1::33")
    told(world, lambda: world.is_registered("ipv6"), 90, "registered over IPv6")
    world.use_ipv4("10.0.0.55")
    told(world, lambda: world.is_registered("udp4"), 90, "registered through the NAT again")
    # The keys are good for prefix discovery. What the daemon itself has not asked, it does not believe.
    with open_socket(f"{PREFIX}mn", socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.bind((LAPTOP_ADDRESS, 0))
        raw.sendto(bytes([146, 0, 0, 0, 0, 7, 0, 0]), ("2001:db8:ffff::1", 0))
    told(
        world,
        lambda: "unknown-sender" in ask("laptop", "stats")["signalling_refused"],
        30,
        "a solicitation under ESP is answered under ESP",
    )
    assert "not-protected" not in ask("ha", "stats")["signalling_refused"]
    assert world.status()["ike_negotiations"] == 1
    for charon in world.charon.values():
        assert charon.log.count("IKE_SA_INIT request 0") == 1

    listener.terminate()
    listener.wait(20)

    def seen(what: str) -> int:
        return len(run("tcpdump", "-nr", str(capture), what).stdout.splitlines())

    assert seen(CLEAR_SIGNALLING) == seen(CLEAR_PREFIX_DISCOVERY) == 0
    assert seen(ESP_SIGNALLING) >= 6


@pytest.mark.usefixtures("both_charons")
def test_daemons_restart_under_each_other(world: World) -> None:
    """charon killed under the mobile node, the mobile node replaced over its charon, the home agent's charon
    stopped."""
    world.use_ipv6("2001:db8:1::33")
    capture = world.directory / "old.pcap"
    updates = ("-w", str(capture), "ip6[6] = 60")
    listener = world.namespaces.start("gw", "tcpdump", "-i", "inside", "--immediate-mode", *updates)
    world.start(f'psk = "{SECRET}"')
    told(world, lambda: world.is_registered("ipv6"), 90, "registered")
    listener.terminate()
    listener.wait(20)

    replay = [sys.executable, "-c", REPLAY, str(capture), "outside"]
    before = world.xfrm_errors("XfrmInStateSeqError")
    world.namespaces.run("gw", *replay)
    told(world, lambda: world.xfrm_errors("XfrmInStateSeqError") > before, 30, "a replay is refused")

    before_charon_died = world.spis("mn")
    world.charon["mn"].kill()
    told(world, lambda: "strongSwan cannot be reached" in world.problem(), 60, "charon is missed")
    world.charon["mn"].start()
    told(world, lambda: world.status().get("ike_negotiations") == 2, 60, "negotiated anew")
    told(world, lambda: world.is_registered("ipv6") and not world.problem(), 60, "all is well again")
    told(
        world,
        lambda: not world.spis("mn") & before_charon_died,
        30,
        "nothing is left of the charon that died",
    )
    before = world.xfrm_errors("XfrmInNoStates")
    world.namespaces.run("gw", *replay)
    told(world, lambda: world.xfrm_errors("XfrmInNoStates") > before, 30, "ESP of the old SA is refused")

    world.stop(signal.SIGUSR1)
    world.start(f'psk = "{SECRET}"')
    told(world, lambda: world.is_registered("ipv6"), 60, "registered by the next process")
    assert world.status()["ike_negotiations"] == 0

    world.charon["ha"].stop()
    told(world, lambda: "does not answer IKE" in world.problem(), 90, "the other charon is missed")
    world.charon["ha"].start()
    told(world, lambda: not world.problem(), 90, "negotiated when it is back")

    world.charon["ha"].kill()
    world.charon["ha"].start()
    world.use_ipv6("2001:db8:1::35")
    places = {"2001:db8:1::35"}
    told(
        world,
        lambda: {row["care_of"] for row in ask("ha", "bindings")} == places,
        90,
        "what a charon that died has left in the kernel serves on",
    )


#: Sends the first Binding Update of a capture once more, to the home agent's link-layer address.
REPLAY = """
import socket, subprocess, sys
from scapy.utils import PcapReader
capture, interface = sys.argv[1:]
octets = next(o for o in map(bytes, PcapReader(capture)) if o[20] == 60 and o[14 + 40] == 50)
shown = subprocess.check_output(["ip", "-6", "neigh", "show", "2001:db8:ffff::1"], text=True)
target = bytes.fromhex(shown.split("lladdr ")[1].split()[0].replace(":", ""))
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
    out.sendto(target + octets[6:], (interface, 0))
"""


@pytest.mark.usefixtures("both_charons")
def test_whoever_is_somebody_else_gets_no_keys(world: World) -> None:
    world.use_ipv6("2001:db8:1::33")
    directory, home_agent = world.directory, 'home_agent_identity = "ha.example"\n'
    right = certificate(directory, "ca", "tablet.example") + home_agent
    laptop, tablet = LAPTOP_ADDRESS, "2001:db8:100::21"
    attempts = (
        ("another secret", f'psk = "{SECRET[::-1]}"', laptop, "did not accept"),
        (
            "another authority",
            certificate(directory, "other", "tablet.example") + home_agent,
            tablet,
            "did not",
        ),
        ("a home agent of another authority", right.replace("ca.pem", "other.pem"), tablet, "ike.ca"),
        (
            "a certificate that is good for somebody else",
            certificate(directory, "ca", "stranger.example") + home_agent,
            tablet,
            "did not accept",
        ),
    )
    before = world.sequences()
    for what, keys, home_address, words in attempts:
        world.start(keys, home_address)
        told(world, lambda words=words: words in world.problem(), 90, f"{what}: {words}")
        assert world.status()["state"] == "registering"
        world.stop()
    assert world.sequences() == before

    world.start(right, tablet)
    told(world, lambda: world.is_registered("ipv6"), 90, "the right certificate")


@pytest.mark.usefixtures("both_charons")
def test_keys_of_payload_stay_at_handovers_and_are_renewed(world: World) -> None:
    home_address = "2001:db8:100::21"
    capture = world.directory / "payload.pcap"
    listener = world.namespaces.start(
        "gw", "tcpdump", "-i", "inside", "--immediate-mode", "-w", str(capture), "ip or ip6"
    )
    keys = certificate(world.directory, "ca", "tablet.example") + 'home_agent_identity = "ha.example"\n'
    world.use_ipv4("10.0.0.66")
    world.start(keys + "[payload]\n", home_address)
    told(world, lambda: world.is_registered("udp4"), 90, "registered through the NAT")
    told(world, lambda: world.status().get("payload") == "esp aes-gcm-256", 60, "keys of payload")

    def talks() -> bool:
        return world.namespaces.pings("cn", home_address, "-p", PATTERN)

    told(world, talks, 30, "payload through the NAT")
    before = world.spis()
    world.use_ipv6("2001:db8:1::34")
    told(world, lambda: world.is_registered("ipv6"), 90, "registered over IPv6")
    told(world, talks, 30, "payload over IPv6")
    assert world.spis() == before
    world.use_ipv4("10.0.0.67")
    told(world, lambda: world.is_registered("udp4"), 90, "registered through the NAT again")
    told(world, talks, 30, "payload through the NAT again")
    assert world.spis() == before
    assert world.status()["ike_negotiations"] == 1

    asyncio.run(renew(world.charon["mn"].vici))
    told(world, lambda: len(world.spis() - before) == 2, 30, "other keys of payload")
    told(world, talks, 30, "payload with other keys")
    listener.terminate()
    listener.wait(20)
    assert bytes.fromhex(PATTERN) not in capture.read_bytes()


async def renew(vici: Path) -> None:
    async with await Vici.connect(vici) as charon:
        await charon.request("rekey", {"child": "payload"})
