"""Binding Updates under ESP with manual keys: IPv4 with and without a NAT, IPv6, and nothing without ESP."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import MobilePrefixAdvertisement, MobilePrefixSolicitation, encode_icmpv6
from dsmip.wire.packet import encode_packet
from tests.guest.inside.conftest import TRANSLATION, address_in, ask, send_in_clear
from tests.system.conftest import Namespaces, run, wait_until
from tests.system.two_machines import HOME_AGENT_OF_A_LAPTOP, LAPTOP, WATCHED_INTERFACE

KEYS = """\
[{table}.to_home_agent]
spi = 0x1001
cipher_key = "000102030405060708090a0b0c0d0e0f"
mac_key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

[{table}.from_home_agent]
spi = 0x2001
cipher_key = "f00102030405060708090a0b0c0d0e0f"
mac_key = "f00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
"""

IPSEC = 'authentication = "ipsec"\n'
HOME_AGENT = f"{HOME_AGENT_OF_A_LAPTOP}{IPSEC}\n" + KEYS.replace("{table}", "mobile_node.ipsec")
MOBILE_NODE = f"{LAPTOP}{IPSEC}{WATCHED_INTERFACE}\n" + KEYS.replace("{table}", "ipsec")

#: Behind IPv6 headers with and without extension, and behind UDP and IPv6.
CLEAR_SIGNALLING = (
    "ip6[6] = 135 or (ip6[6] = 60 and ip6[40] = 135) or (ip6[6] = 43 and ip6[40] = 135)"
    " or (udp port 4191 and udp[14] = 135)"
)
ESP_SIGNALLING = (
    "ip6[6] = 50 or (ip6[6] = 60 and ip6[40] = 50) or (ip6[6] = 43 and ip6[40] = 50)"
    " or (udp port 4191 and udp[14] = 50)"
)
#: Mobile Prefix Solicitations and Advertisements: on their own, behind one extension header, and in tunnels.
CLEAR_PREFIX_DISCOVERY = " or ".join(
    f"({carrier} and ({kind} = 146 or {kind} = 147))"
    for carrier, kind in (
        ("ip6[6] = 58", "ip6[40]"),
        ("(ip6[6] = 60 or ip6[6] = 43) and ip6[40] = 58", "ip6[64]"),
        ("ip6[6] = 41 and ip6[46] = 58", "ip6[80]"),
        ("ip proto 41 and ip[26] = 58", "ip[60]"),
        ("udp port 4191 and udp[14] = 58", "udp[48]"),
    )
)


@pytest.fixture
def node(network: Namespaces, tmp_path: Path) -> Namespaces:
    """With configuration files."""
    for name, text in (("ha", HOME_AGENT), ("mn", MOBILE_NODE)):
        path = tmp_path / f"{name}.toml"
        path.write_text(text.format(state=tmp_path))
        path.chmod(0o600)
    return network


def test_nat_is_detected_under_esp_and_nothing_is_in_clear(node: Namespaces, tmp_path: Path) -> None:
    capture = tmp_path / "access.pcap"
    listener = node.start(
        "gw", "tcpdump", "-i", "inside", "-U", "--immediate-mode", "-w", str(capture), "ip or ip6"
    )
    node.dsmip("ha", "run", str(tmp_path / "ha.toml"))
    node.dsmip("mn", "run", str(tmp_path / "mn.toml"))

    def mobile() -> Any:
        return ask("laptop", "status")

    def registered(tunnel: str, nat: str) -> bool:
        status = mobile()
        return (status.get("state"), status.get("tunnel"), status.get("nat")) == ("registered", tunnel, nat)

    try:
        wait_until(lambda: mobile().get("state") == "detached", 90, "running, with no address yet")
        address_in(node, "10.0.0.33/24", "10.0.0.1")
        wait_until(lambda: registered("ipv4", "none"), 60, "registered over IPv4, no NAT seen where none is")
        (binding,) = ask("ha", "bindings")
        assert binding["authentication"] == "ipsec"
        assert node.pings("ha", "2001:db8:100::20")

        node.run("gw", "nft", TRANSLATION)
        address_in(node, "10.0.0.44/24", "10.0.0.1")
        wait_until(lambda: registered("udp4", "detected"), 60, "NAT seen under ESP")
        wait_until(lambda: node.pings("ha", "2001:db8:100::20"), 20, "reached through the NAT")

        address_in(node, "2001:db8:1::33/64", "2001:db8:1::1")
        wait_until(lambda: registered("ipv6", "none"), 60, "registered over IPv6")
        assert node.pings("ha", "2001:db8:100::20")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{mobile()}\n{node.logs()}") from error

    def seen(what: str, check: bool = True) -> int:
        read = run("tcpdump", "-nr", str(capture), what, check=check)
        return len(read.stdout.splitlines())

    # The listener writes what it sees a little later.
    wait_until(lambda: seen(ESP_SIGNALLING, check=False) >= 6, 20, "signalling under ESP was seen")
    listener.terminate()
    listener.wait(20)
    assert seen(CLEAR_SIGNALLING) == 0

    # Prefix discovery in clear is believed by neither end.
    home_agent, home, care_of = map(IPv6Address, ("2001:db8:ffff::1", "2001:db8:100::20", "2001:db8:1::33"))
    asked = encode_icmpv6(MobilePrefixSolicitation(7), home, home_agent)
    solicitation = encode_packet(care_of, home_agent, asked, NextHeader.ICMPV6, home_address=home)
    send_in_clear("mn", "eth0", solicitation)
    wait_until(lambda: not_protected("ha") == 1, 20, "the home agent counts a solicitation")
    told = encode_icmpv6(MobilePrefixAdvertisement(7), home_agent, home)
    advertisement = encode_packet(home_agent, care_of, told, NextHeader.ICMPV6, routing_home_address=home)
    send_in_clear("ha", "eth0", advertisement)
    wait_until(lambda: not_protected("laptop") == 1, 20, "the mobile node counts an advertisement")


def not_protected(name: str) -> int:
    return int(ask(name, "stats")["signalling_refused"].get("not-protected", 0))


def test_without_esp_a_binding_update_does_nothing(node: Namespaces, tmp_path: Path) -> None:
    """Neither in clear nor under other keys."""
    node.dsmip("ha", "run", str(tmp_path / "ha.toml"))
    address_in(node, "2001:db8:1::33/64", "2001:db8:1::1")
    wait_until(lambda: bool(ask("ha", "status")), 60, "home agent running")
    text = (tmp_path / "mn.toml").read_text()
    plain = text[: text.index("[ipsec.to_home_agent]")]
    in_clear = plain.replace('"ipsec"', '"none"\nallow_unauthenticated = true')
    (tmp_path / "clear.toml").write_text(in_clear)
    (tmp_path / "wrong.toml").write_text(text.replace('"0001', '"0002'))
    for name in ("clear.toml", "wrong.toml"):
        (tmp_path / name).chmod(0o600)
        daemon = node.dsmip("mn", "run", str(tmp_path / name))
        wait_until(lambda: ask("laptop", "status").get("state") == "registering", 60, "trying")
        if name == "clear.toml":
            wait_until(
                lambda: not_protected("ha") > 0,
                30,
                "counted",
            )
        else:
            wait_until(
                lambda: any(
                    line.split() == ["XfrmInStateProtoError", count]
                    for line in node.run("ha", "cat", "/proc/net/xfrm_stat").stdout.splitlines()
                    for count in line.split()[1:]
                    if count != "0"
                ),
                30,
                "refused by the kernel",
            )
        assert ask("ha", "bindings") == []
        daemon.terminate()
        daemon.wait(30)
