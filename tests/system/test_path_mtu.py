"""Uplinks of many sizes, and one that swallows what is too big: TCP goes on in both directions.

The chain is correspondent - home agent - core - edge - mobile router - host. Sizes are those of the cable
between edge and mobile router, and once of the one between core and edge, where nobody tells.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from dsmip.lab.namespaces import open_socket
from dsmip.lab.topology import segment_packets
from tests.system.conftest import PREFIX, Namespaces, wait_until

pytestmark = pytest.mark.root

HOME_AGENT = """\
role = "home-agent"
name = "ha"
address = "2001:db8:ffff::1"
ipv4_address = "192.0.2.1"
uplinks = ["eth0"]
home_prefixes = ["2001:db8:100::/64"]
ipv4_home_prefixes = ["198.51.100.0/24"]
state_directory = "{state}/ha"

[[mobile_node]]
name = "laptop"
home_address = "2001:db8:100::20"
ipv4_home_address = "198.51.100.20"
mobile_network_prefixes = ["2001:db8:aaaa::/64"]
ipv4_prefixes = ["203.0.113.64/28"]
key = "000102030405060708090a0b0c0d0e0f"
"""

MOBILE_ROUTER = """\
role = "mobile-router"
name = "laptop"
home_agent = "2001:db8:ffff::1"
home_agent_ipv4 = "192.0.2.1"
home_address = "2001:db8:100::20"
home_prefix = "2001:db8:100::/64"
ipv4_home_address = "198.51.100.20/24"
mobile_network_prefixes = ["2001:db8:aaaa::/64"]
ipv4_prefixes = ["203.0.113.64/28"]
key = "000102030405060708090a0b0c0d0e0f"
state_directory = "{state}/mn"

[[interface]]
name = "eth0"
manage = false
"""

CORRESPONDENT = {6: "2001:db8:400::9", 4: "192.0.2.130"}
HOST = {6: "2001:db8:aaaa::66", 4: "203.0.113.66"}
FAMILY: dict[int, int] = {6: socket.AF_INET6, 4: socket.AF_INET}

#: Both ends of each cable, with their addresses.
CABLES = (
    (
        ("cn", "eth0"),
        ("ha", "lan0"),
        "2001:db8:400::9/64 192.0.2.130/26",
        "2001:db8:400::1/64 192.0.2.129/26",
    ),
    (("ha", "eth0"), ("core", "ha"), "2001:db8:ffff::1/64 192.0.2.1/26", "2001:db8:ffff::2/64 192.0.2.2/26"),
    (("core", "edge"), ("edge", "core"), "2001:db8:1::1/64 10.0.1.1/24", "2001:db8:1::2/64 10.0.1.2/24"),
    (("edge", "mn"), ("mn", "eth0"), "2001:db8:2::1/64 10.0.2.1/24", ""),
    (
        ("mn", "lan0"),
        ("host", "eth0"),
        "2001:db8:aaaa::1/64 203.0.113.65/28",
        "2001:db8:aaaa::66/64 203.0.113.66/28",
    ),
)
ROUTES = {
    "cn": "default via 2001:db8:400::1|default via 192.0.2.129",
    "ha": "default via 2001:db8:ffff::2|default via 192.0.2.2",
    "core": "2001:db8:2::/64 via 2001:db8:1::2|10.0.2.0/24 via 10.0.1.2",
    "edge": "default via 2001:db8:1::1|default via 10.0.1.1",
    "host": "default via 2001:db8:aaaa::1|default via 203.0.113.65",
}
#: The address of the mobile router on its uplink, and the outer headers that come with it.
UPLINKS = {
    "ipv6": ("2001:db8:2::33/64", "2001:db8:2::1", 40),
    "ipv4": ("10.0.2.33/24", "10.0.2.1", 20),
}
MEGABYTES = 10
NO_ICMP_ERRORS = """
table inet hole {
  chain output {
    type filter hook output priority filter;
    icmp type destination-unreachable drop
    icmpv6 type packet-too-big drop
  }
}
"""


@pytest.fixture
def chain(namespaces: Namespaces, tmp_path: Path) -> Namespaces:
    namespaces.add("cn", "ha", "core", "edge", "mn", "host")
    for one, other, *addresses in CABLES:
        namespaces.cable(one, other)
        for (node, interface), some in zip((one, other), addresses, strict=True):
            segment_packets(PREFIX + node, interface)
            for address in some.split():
                options = ("nodad",) if ":" in address else ()
                namespaces.run(node, "ip", "addr", "add", address, "dev", interface, *options)
    for node in ("ha", "core", "edge", "mn"):
        namespaces.run(node, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    for node, routes in ROUTES.items():
        for route in routes.split("|"):
            namespaces.run(node, "ip", "route", "add", *route.split())
    for name, text in (("ha", HOME_AGENT), ("mn", MOBILE_ROUTER)):
        file = tmp_path / f"{name}.toml"
        file.touch(0o600)
        file.write_text(text.format(state=tmp_path))
        namespaces.dsmip(name, "run", str(file))
    return namespaces


class Session:
    """A TCP connection between correspondent and host."""

    def __init__(self, version: int) -> None:
        self._version = version
        with open_socket(PREFIX + "host", FAMILY[version], socket.SOCK_STREAM) as listener:
            listener.bind((HOST[version], 0))
            listener.listen()
            listener.settimeout(10)
            self._correspondent = open_socket(PREFIX + "cn", FAMILY[version], socket.SOCK_STREAM)
            self._correspondent.settimeout(10)
            self._correspondent.connect(listener.getsockname()[:2])
            self._host, _ = listener.accept()
            self._host.settimeout(10)

    def transfer(self) -> None:
        """MEGABYTES in one direction, then in the other."""
        for sender, receiver, way in (
            (self._correspondent, self._host, "to the host"),
            (self._host, self._correspondent, "from the host"),
        ):
            thread = threading.Thread(target=_push, args=(sender,), daemon=True)
            thread.start()
            left = MEGABYTES << 20
            while left:
                try:
                    got = len(receiver.recv(1 << 20))
                except TimeoutError:
                    raise AssertionError(
                        f"IPv{self._version} {way}: stuck with {left} octets to go"
                    ) from None
                assert got, "closed"
                left -= got
            thread.join()

    def close(self) -> None:
        self._correspondent.close()
        self._host.close()


def _push(sender: socket.socket) -> None:
    try:
        sender.sendall(bytes(MEGABYTES << 20))
    except OSError:
        return  # the receiver tells


def set_size(chain: Namespaces, cable: int, mtu: int) -> None:
    for node, interface in CABLES[cable][:2]:
        chain.run(node, "ip", "link", "set", interface, "mtu", str(mtu))


def tunnel_mtu(chain: Namespaces) -> int:
    return int(chain.run("mn", "cat", "/sys/class/net/dsmip0/mtu").stdout)


@pytest.mark.parametrize("uplink", UPLINKS)
def test_tcp_over_uplinks_of_many_sizes(chain: Namespaces, uplink: str) -> None:
    address, gateway, outside = UPLINKS[uplink]
    options = ("nodad",) if uplink == "ipv6" else ()
    chain.run("mn", "ip", "addr", "add", address, "dev", "eth0", *options)
    chain.run("mn", "ip", "route", "add", "default", "via", gateway, "dev", "eth0")
    sessions: list[Session] = []
    try:
        wait_until(lambda: chain.pings("cn", HOST[6]), 20, "registered")
        wait_until(lambda: chain.pings("cn", HOST[4]), 20, "registered")
        for uplink_mtu, middle_mtu, expected in (
            (1500, 1500, min(1460, 1500 - outside)),
            (1492, 1500, min(1460, 1492 - outside)),
            (1428, 1500, 1428 - outside),
            (1280, 1500, 1280),
            (1500, 1400, 1400 - outside),
        ):
            if middle_mtu < uplink_mtu:
                for node in ("core", "edge"):
                    (chain.directory / "hole.nft").write_text(NO_ICMP_ERRORS)
                    chain.run(node, "nft", "-f", str(chain.directory / "hole.nft"))
            set_size(chain, 2, middle_mtu)
            set_size(chain, 3, uplink_mtu)
            what = f"uplink of {uplink_mtu}, {middle_mtu} behind it"
            wait_until(lambda m=expected: tunnel_mtu(chain) == m, 20, f"{what}: {expected} expected")
            sessions += [Session(6), Session(4)]
            # What was opened on a wider uplink is told; nobody can be told of less than IPv6's minimum.
            for session in sessions if uplink_mtu - outside >= 1280 else sessions[-2:]:
                try:
                    session.transfer()
                except AssertionError as error:
                    raise AssertionError(f"{what}, {sessions.index(session)}: {error}") from error
    except AssertionError as error:
        raise AssertionError(f"{error}\n{tunnel_mtu(chain)}\n{chain.logs()}") from error
    finally:
        for session in sessions:
            session.close()
