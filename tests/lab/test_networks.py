"""The access networks, from where the mobile router is plugged in, without dsmip in it."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptHAInfo, ICMPv6NDOptPrefixInfo

from dsmip.lab import namespaces, plan
from dsmip.lab.errors import LabError
from dsmip.lab.lab import Lab

pytestmark = [pytest.mark.root, pytest.mark.lab]

IPV6_NETWORKS = [access.name for access in plan.ACCESS if access.address6]
IPV4_NETWORKS = [access.name for access in plan.ACCESS if access.address4]
PORT = 4000
_CLIENT = "from pyroute2.dhcp.cli import run; run()"


def eventually(condition: Callable[[], bool], within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def addresses(lab: Lab, family: int) -> list[str]:
    done = lab.exec("mr", ["ip", "-j", f"-{family}", "addr", "show", "dev", plan.UPLINK], capture_output=True)
    found = [entry for link in json.loads(done.stdout) for entry in link.get("addr_info", [])]
    return [entry["local"] for entry in found if entry["scope"] == "global" and not entry.get("tentative")]


def gateway(lab: Lab, family: int) -> str | None:
    done = lab.exec("mr", ["ip", "-j", f"-{family}", "route", "show", "default"], capture_output=True)
    routes = json.loads(done.stdout or "[]")
    return routes[0]["gateway"] if routes else None


def reaches(lab: Lab, node: str, target: object) -> bool:
    argv = ["ping", "-q", "-c", "1", "-W", "2", str(target)]
    return lab.exec(node, argv, capture_output=True).returncode == 0


@contextlib.contextmanager
def dhcp_client(lab: Lab, directory: Path) -> Iterator[str]:
    """An ordinary DHCP client on the uplink; yields the address it got."""
    lab.exec("mr", ["ip", "addr", "flush", "dev", plan.UPLINK, "scope", "global"])
    script = f'cd {directory} && exec {sys.executable} -c "{_CLIENT}" {plan.UPLINK}'
    lab.popen("mr", "dhcp-client", ["sh", "-c", script])
    try:
        assert eventually(lambda: bool(addresses(lab, 4)) and gateway(lab, 4) is not None), lab.processes.log(
            "dhcp-client"
        ).read_text()
        yield addresses(lab, 4)[0]
    finally:
        lab.processes.stop(["dhcp-client"])
        lab.exec("mr", ["ip", "addr", "flush", "dev", plan.UPLINK, "scope", "global"])


def udp(lab: Lab, node: str, address: object) -> socket.socket:
    def opened() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((str(address), PORT))
        made.settimeout(2)
        return made

    return namespaces.call(lab.namespace(node), opened)


def raw(lab: Lab, node: str, protocol: int) -> socket.socket:
    made = namespaces.open_socket(lab.namespace(node), socket.AF_INET, socket.SOCK_RAW, protocol)
    made.settimeout(0.3)
    return made


@pytest.mark.parametrize("name", IPV6_NETWORKS)
def test_ipv6_networks_give_an_address_and_reach_the_home_agent(lab: Lab, name: str) -> None:
    access = plan.NETWORKS[name]
    assert access.address6 is not None
    # With forwarding on, 2 makes the kernel take router advertisements all the same.
    namespaces.set_sysctls(lab.namespace("mr"), {f"ipv6/conf/{plan.UPLINK}/accept_ra": 2})
    try:
        lab.move(name)
        in_prefix = access.address6.network
        assert eventually(lambda: any(ip_address(found) in in_prefix for found in addresses(lab, 6)))
        assert eventually(lambda: gateway(lab, 6) is not None)
        assert reaches(lab, "mr", plan.HOME_AGENT)
        assert reaches(lab, "mr", plan.CORRESPONDENT)
    finally:
        namespaces.set_sysctls(lab.namespace("mr"), {f"ipv6/conf/{plan.UPLINK}/accept_ra": 0})
        for off in (1, 0):  # the kernel keeps what it learnt when the carrier goes
            namespaces.set_sysctls(lab.namespace("mr"), {f"ipv6/conf/{plan.UPLINK}/disable_ipv6": off})


@pytest.mark.parametrize("name", IPV4_NETWORKS)
def test_ipv4_networks_lease_an_address_and_translate_as_planned(lab: Lab, name: str, tmp_path: Path) -> None:
    access = plan.NETWORKS[name]
    assert access.address4 is not None
    lab.move(name)
    with dhcp_client(lab, tmp_path) as address:
        assert IPv4Address(address) in access.address4.network
        assert gateway(lab, 4) == str(access.address4.ip)
        assert reaches(lab, "mr", plan.HOME_AGENT_IPV4)
        with udp(lab, "mr", address) as there, udp(lab, "cn", plan.CORRESPONDENT_IPV4) as here:
            there.sendto(b"?", (str(plan.CORRESPONDENT_IPV4), PORT))
            data, (source, port) = here.recvfrom(10)
            assert data == b"?"
            assert source == str(access.public4 or address)
            if name == "cgn4":
                assert port != PORT
            here.sendto(b"!", (source, port))
            assert there.recvfrom(10)[0] == b"!"
        if name == plan.HOME:
            assert address == str(plan.IPV4_HOME_ADDRESS)


@pytest.mark.parametrize(("name", "passes"), [("cafe4", True), ("fw4", False)])
@pytest.mark.parametrize("protocol", [4, 41])
def test_only_fw4_drops_protocols_41_and_4_both_ways(
    lab: Lab, name: str, passes: bool, protocol: int, tmp_path: Path
) -> None:
    lab.move(name)
    with (
        dhcp_client(lab, tmp_path) as address,
        raw(lab, "mr", protocol) as there,
        raw(lab, "cn", protocol) as here,
    ):
        for sender, receiver, target in (
            (there, here, str(plan.CORRESPONDENT_IPV4)),
            (here, there, address),
        ):
            sender.sendto(b"\0" * 40, (target, 0))
            if passes:
                assert receiver.recv(100)[9] == protocol
            else:
                with pytest.raises(TimeoutError):
                    receiver.recv(100)


def test_wifi6_has_no_ipv4_and_the_ipv4_networks_no_ipv6(lab: Lab) -> None:
    for access in plan.ACCESS:
        port = lab.exec(access.router, ["ip", "-j", "addr", "show", "dev", access.port], capture_output=True)
        found = {
            entry["family"] for entry in json.loads(port.stdout)[0]["addr_info"] if entry["scope"] == "global"
        }
        expected = {"inet"} if access.address4 else set()
        assert found == expected | ({"inet6"} if access.address6 else set())


def test_rfc6275_7_home_link_advertisements_name_the_home_agent(lab: Lab) -> None:
    lab.move(plan.HOME)
    index = namespaces.call(lab.namespace("mr"), lambda: socket.if_nametoindex(plan.UPLINK))
    with namespaces.open_socket(
        lab.namespace("mr"), socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6
    ) as listening:
        listening.settimeout(5)
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        group = socket.inet_pton(socket.AF_INET6, "ff02::1") + struct.pack("@I", index)
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        routers: dict[bool, ICMPv6ND_RA] = {}
        asked = 0.0
        deadline = time.monotonic() + 10
        while set(routers) != {True, False} and time.monotonic() < deadline:
            if time.monotonic() - asked > 0.5:
                asked = time.monotonic()
                with contextlib.suppress(OSError):  # the link-local address may still be tentative
                    listening.sendto(bytes([133, *bytes(7)]), ("ff02::2", 0, 0, index))
            data = listening.recv(1500)
            if data[0] == 134:
                advertisement = ICMPv6ND_RA(data)
                routers[bool(advertisement.H)] = advertisement
    home_agent, router = routers[True], routers[False]
    assert home_agent.routerlifetime == 0  # it is nobody's default router
    assert ICMPv6NDOptHAInfo in home_agent
    assert home_agent[ICMPv6NDOptPrefixInfo].R == 1
    assert home_agent[ICMPv6NDOptPrefixInfo].prefix == str(plan.HOME_AGENT)
    assert router.routerlifetime > 0
    assert router[ICMPv6NDOptPrefixInfo].prefix == str(plan.HOME_PREFIX.network_address)


def test_a_solicitation_is_answered_at_once(lab: Lab) -> None:
    namespaces.set_sysctls(lab.namespace("mr"), {f"ipv6/conf/{plan.UPLINK}/accept_ra": 0})
    lab.move("wifi6")
    index = namespaces.call(lab.namespace("mr"), lambda: socket.if_nametoindex(plan.UPLINK))
    with namespaces.open_socket(
        lab.namespace("mr"), socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6
    ) as asking:
        asking.settimeout(2)
        asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        time.sleep(1.5)  # duplicate address detection of the link-local address
        waits = []
        for _ in range(5):
            began = time.monotonic()
            asking.sendto(bytes([133, *bytes(7)]), ("ff02::2", 0, 0, index))
            while asking.recv(1500)[0] != 134:
                pass
            waits.append(time.monotonic() - began)
            time.sleep(0.1)
        assert sorted(waits)[2] < 0.03


def test_a_move_is_a_carrier_event_on_the_mobile_router(lab: Lab) -> None:
    lab.move("cafe4")
    time.sleep(1.1)  # the kernel passes on at most one loss of carrier a second
    plug = lab.move("nat4", unplugged=0.05)
    assert lab.at == "nat4"
    assert plug.heard_down is not None
    assert plug.heard_up is not None
    assert plug.cut < plug.heard_down < plug.plugged < plug.heard_up
    assert plug.plugged - plug.cut >= 0.05


def test_the_host_has_its_address_from_the_mobile_routers_advertisement(lab: Lab) -> None:
    done = lab.exec("host", ["ip", "-j", "-6", "addr", "show", "dev", "eth0"], capture_output=True)
    found = {entry["local"]: entry for entry in json.loads(done.stdout)[0]["addr_info"]}
    assert found[str(plan.HOST)]["dynamic"]


def test_what_does_not_exist_is_named_with_what_does(lab: Lab) -> None:
    with pytest.raises(LabError, match="no network 'moon'; there are: home, wifi6"):
        lab.move("moon")
    with pytest.raises(LabError, match="no node 'moon'; there are: links, core"):
        lab.exec("moon", ["true"])


def test_show_tells_nodes_networks_and_where_the_mobile_router_is(lab: Lab) -> None:
    lab.move("wifi6")
    shown = json.loads(json.dumps(lab.show()))
    assert shown["at"] == "wifi6"
    assert [network["network"] for network in shown["networks"]] == list(plan.NETWORKS)
    nodes = {node["node"]: node for node in shown["nodes"]}
    assert "2001:db8:400::cafe/64" in nodes["cn"]["interfaces"][0]["addresses"]
    assert nodes["ha"]["namespace"] == lab.namespace("ha")
    assert all(process["pid"] for process in shown["processes"] if process["label"].startswith("radvd"))
