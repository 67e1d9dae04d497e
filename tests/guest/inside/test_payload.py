"""Payload under ESP: through a NAT and over IPv6, with the same security associations, and never in clear."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from tests.guest.inside.conftest import TRANSLATION, address_in, ask
from tests.system.conftest import Namespaces, run, wait_until
from tests.system.two_machines import HOME_AGENT_OF_A_LAPTOP, LAPTOP, WATCHED_INTERFACE

KEYS = """\
[{table}.to_home_agent]
spi = 0x3001
key = "000102030405060708090a0b0c0d0e0f01020304"

[{table}.from_home_agent]
spi = 0x4001
key = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfefff1f2f3f4"
"""

KEY = 'key = "6d6f62696c652d697076362d6b657921"\n'
HOME_AGENT = f"{HOME_AGENT_OF_A_LAPTOP}{KEY}\n" + KEYS.replace("{table}", "mobile_node.payload")
MOBILE_NODE = f"{LAPTOP}{KEY}{WATCHED_INTERFACE}\n" + KEYS.replace("{table}", "payload")

HOME, CN, CN4 = "2001:db8:100::20", "2001:db8:400::cafe", "203.0.113.200"
#: What a ping of ours carries, as tcpdump's filters cannot look for it behind headers of any length.
PATTERN = "c1ea12c1ea12"


def spis(network: Namespaces, node: str) -> set[str]:
    return set(re.findall(r"spi (0x[0-9a-f]+)", network.run(node, "ip", "xfrm", "state").stdout))


def dropped(name: str) -> int:
    return int(ask(name, "stats")["dataplane_dropped"]["not-protected"])


def test_payload_is_under_esp_wherever_the_mobile_node_is(network: Namespaces, tmp_path: Path) -> None:
    for name, text in (("ha", HOME_AGENT), ("mn", MOBILE_NODE)):
        path = tmp_path / f"{name}.toml"
        path.write_text(text.format(state=tmp_path))
        path.chmod(0o600)
    capture = tmp_path / "access.pcap"
    listener = network.start(
        "gw", "tcpdump", "-i", "inside", "-U", "--immediate-mode", "-w", str(capture), "ip or ip6"
    )
    network.run("gw", "nft", TRANSLATION)
    daemons = {
        "ha": network.dsmip("ha", "run", str(tmp_path / "ha.toml")),
        "mn": network.dsmip("mn", "run", str(tmp_path / "mn.toml")),
    }

    def registered(tunnel: str) -> bool:
        status = ask("laptop", "status")
        return (status.get("state"), status.get("tunnel")) == ("registered", tunnel)

    def talks(target: str, *options: str) -> bool:
        return network.pings("cn", target, "-p", PATTERN, *options)

    try:
        wait_until(lambda: ask("laptop", "status").get("state") == "detached", 90, "running")
        address_in(network, "10.0.0.44/24", "10.0.0.1")
        wait_until(lambda: registered("udp4"), 60, "registered through the NAT")
        assert ask("laptop", "status")["payload"] == "esp aes-gcm-128"
        (binding,) = ask("ha", "bindings")
        assert binding["payload"] == "esp aes-gcm-128"
        ipv4 = binding["ipv4_home_address"]
        wait_until(lambda: talks(HOME), 20, "IPv6 through the NAT")
        assert talks(ipv4)
        # More than fits: the kernel says how much, leaving room for ESP.
        wait_until(lambda: talks(HOME, "-s", "3000"), 30, "packets as large as may be")
        assert network.pings("mn", CN4, "-I", ipv4, "-p", PATTERN)
        # What the home agent's daemon itself says of this payload quotes it, and is under ESP like it.
        for nobody, own, words in (
            ("2001:db8:100::99", HOME, "Address unreachable"),
            ("198.51.100.99", ipv4, "Destination Host Unreachable"),
        ):
            ping = ("ping", "-c", "1", "-W", "5", "-I", own, "-p", PATTERN, nobody)
            assert words in network.run("mn", *ping, check=False).stdout
        assert dropped("ha") == dropped("laptop") == 0

        before = spis(network, "ha"), spis(network, "mn")
        assert before == ({"0x00003001", "0x00004001"}, {"0x00003001", "0x00004001"})
        address_in(network, "2001:db8:1::33/64", "2001:db8:1::1")
        wait_until(lambda: registered("ipv6"), 60, "registered over IPv6")
        assert talks(HOME)
        assert talks(ipv4)
        assert (spis(network, "ha"), spis(network, "mn")) == before
        # A narrower link: the home agent tells its own kernel, which tells the correspondent.
        for node, interface in (("mn", "eth0"), ("gw", "inside")):
            network.run(node, "ip", "link", "set", interface, "mtu", "1400")
        wait_until(lambda: ask("laptop", "status").get("mtu") == 1360, 60, "the MTU found out")
        wait_until(lambda: talks(HOME, "-s", "1350"), 60, "packets that do not fit under ESP")
        wait_until(lambda: talks(ipv4, "-s", "1350"), 60, "the same over IPv4")
        assert dropped("ha") == dropped("laptop") == 0

        # Without daemons, and with daemons that start anew, nothing changes.
        for name in ("ha", "mn"):
            daemons[name].send_signal(signal.SIGKILL)
            daemons[name].wait(30)
        assert talks(HOME)
        for name in ("ha", "mn"):
            network.dsmip(name, "run", str(tmp_path / f"{name}.toml"))
        wait_until(lambda: registered("ipv6"), 90, "registered again")
        assert talks(HOME)
        assert talks(ipv4)

        # Whoever takes the policies away gets no clear text for it.
        for node, name, stimulus in (
            ("mn", "laptop", lambda: network.pings("mn", CN, "-I", HOME)),
            ("ha", "ha", lambda: talks(HOME)),
        ):
            saved = dropped(name)
            network.run(node, "ip", "xfrm", "policy", "flush")
            assert not stimulus()
            wait_until(lambda name=name, saved=saved: dropped(name) > saved, 20, "counted")  # type: ignore[misc]
    except AssertionError as error:
        policies = network.run("mn", "ip", "xfrm", "policy").stdout
        counters = "".join(network.run(node, "cat", "/proc/net/xfrm_stat").stdout for node in ("ha", "mn"))
        raise AssertionError(
            f"{error}\n{ask('laptop', 'status')}\n{ask('ha', 'stats')}{ask('laptop', 'stats')}\n"
            f"{counters}\n{policies}\n{network.logs()}"
        ) from error
    listener.terminate()
    listener.wait(20)
    assert bytes.fromhex(PATTERN) not in capture.read_bytes()
    for under_esp in ("udp port 4191 and udp[14] = 50", "ip6[6] = 41 and ip6[46] = 50"):
        assert len(run("tcpdump", "-nr", str(capture), under_esp).stdout.splitlines()) >= 4
