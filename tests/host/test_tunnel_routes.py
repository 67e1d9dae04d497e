"""Routes into a tunnel device, however many destinations there are behind it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address

import pytest

from dsmip.dataplane.tun import TunDevice
from dsmip.host.routing import Route, Routing, tunnel_route
from dsmip.lab import namespaces

NAMESPACE = "dsmip-tr-node"
NETWORK6, NETWORK4 = IPv6Network("2001:db8:100::/48"), IPv4Network("198.51.100.0/24")
DESTINATIONS = 64


@pytest.fixture
def device() -> Iterator[TunDevice]:
    """A tunnel device in a namespace of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with contextlib.suppress(Exception):
        namespaces.batch([f"netns del {NAMESPACE}"])
    namespaces.batch([f"netns add {NAMESPACE}"])
    made = namespaces.call(NAMESPACE, lambda: TunDevice.open("dsmip0"))
    try:
        addresses = ("2001:db8:ffff::1/128", "192.0.2.1/32")
        lines = [f"addr add {address} dev lo" for address in addresses]
        namespaces.batch(["link set lo up", "link set dsmip0 up", *lines], NAMESPACE)
        yield made
    finally:
        made.destroy()
        namespaces.batch([f"netns del {NAMESPACE}"])


def _shown(*words: str) -> list[dict[str, object]]:
    argv = ["ip", "-n", NAMESPACE, "-j", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    found: list[dict[str, object]] = json.loads(done.stdout or "[]")
    return found


def _number() -> int:
    return namespaces.call(NAMESPACE, lambda: socket.if_nametoindex("dsmip0"))


def _change(change: Callable[[Routing], None]) -> None:
    def inside() -> None:
        routing = Routing()
        change(routing)
        routing.close()

    namespaces.call(NAMESPACE, inside)


def _send_to_many(network: IPv6Network | IPv4Network) -> None:
    family = socket.AF_INET6 if network.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        for number in range(1, DESTINATIONS + 1):
            sender.sendto(b"", (str(network[number]), 9))


def _routed_into(device: TunDevice, network: IPv6Network | IPv4Network) -> int:
    """How many packets to this network wait to be read from the device."""
    place, size = (24, 16) if network.version == 6 else (16, 4)
    count = 0
    while packet := device.read():
        if packet[0] >> 4 == network.version:
            count += ip_address(packet[place : place + size]) in network
    return count


@pytest.mark.root
@pytest.mark.parametrize("network", [NETWORK6, NETWORK4])
def test_destinations_in_a_tunnel_are_no_neighbours(
    device: TunDevice, network: IPv6Network | IPv4Network
) -> None:
    """The kernel has room for 1,024 neighbours over IPv6, of all interfaces together."""
    _change(lambda routing: routing.add_route(tunnel_route(network, _number())))
    namespaces.call(NAMESPACE, lambda: _send_to_many(network))
    assert _routed_into(device, network) == DESTINATIONS
    neighbours = _shown(f"-{network.version}", "neigh", "show", "nud", "all", "dev", "dsmip0")
    assert not [entry for entry in neighbours if ip_address(str(entry["dst"])) in network]


@pytest.mark.root
@pytest.mark.usefixtures("device")
def test_a_route_takes_the_place_of_one_without_next_hop() -> None:
    """As an earlier version has left it; and whoever knows of no next hop can take it out."""
    bare, route = Route(NETWORK6, _number()), tunnel_route(NETWORK6, _number())

    def gateways() -> list[object]:
        return [found.get("gateway") for found in _shown("-6", "route", "show", str(NETWORK6))]

    for each, expected in ((bare, None), (route, "fe80::1"), (bare, None), (route, "fe80::1")):
        _change(lambda routing, each=each: routing.add_route(each))  # type: ignore[misc]
        assert gateways() == [expected]
    _change(lambda routing: routing.remove_route(bare))
    assert gateways() == []
