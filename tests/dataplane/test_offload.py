"""What is counted of packets that are many on the wire, whether or not the network card says how many."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from dsmip.core.types import TunnelFormat
from dsmip.dataplane.api import Role, Traffic
from tests.dataplane.bench import BINDING, Bench
from tests.dataplane.packets import HEADER_LENGTH, HOME4, HOME6, PEER4, PEER6, TUNNELS, wrap

pytestmark = pytest.mark.root

SEGMENT = 1000
OPTIONS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
TCP_LENGTH = 20 + 12
IP_LENGTH = {6: 40, 4: 20}
#: linux/virtio_net.h: a checksum to be completed, and the kinds of segmentation.
NEEDS_CHECKSUM, SEGMENTATION = 1, {6: 4, 4: 1}
CHECKSUM = 16
#: linux/if_packet.h
SOL_PACKET, PACKET_VNET_HDR = 263, 15


@pytest.fixture(scope="module")
def home_agent(bpf_directory: FilePath) -> Iterator[Bench]:
    with Bench("offload", Role.HOME_AGENT, bpf_directory) as made:
        yield made


def segments(version: int, octets: int, *, to_home: bool) -> bytes:
    """A TCP packet with so much payload."""
    ends: tuple[Any, Any] = (PEER6, HOME6) if version == 6 else (PEER4, HOME4)
    source, destination = map(str, ends if to_home else reversed(ends))
    kind: Any = IPv6 if version == 6 else IP
    tcp = TCP(sport=5000, dport=80, flags="A", options=OPTIONS)
    return bytes(kind(src=source, dst=destination) / tcp / bytes(octets))


def offloaded(packet: bytes, version: int, outer: int = 0) -> bytes:
    """As it comes from a virtual machine's network card: without the number of segments."""
    transport = outer + IP_LENGTH[version]
    fields = (NEEDS_CHECKSUM, SEGMENTATION[version], transport + TCP_LENGTH, SEGMENT, transport, CHECKSUM)
    return struct.pack("=BBHHHH", *fields) + packet


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
@pytest.mark.parametrize(("octets", "count"), [(10 * SEGMENT, 10), (10 * SEGMENT + 1, 11)])
def test_segments_out_of_the_tunnel_are_counted(
    home_agent: Bench, tunnel: TunnelFormat, version: int, octets: int, count: int
) -> None:
    home_agent.bind(tunnel)
    inside = segments(version, octets, to_home=False)
    packet = offloaded(wrap(tunnel, inside), version, HEADER_LENGTH[tunnel])
    os.write(home_agent.raw.fileno(), packet)
    [received] = home_agent.unwrapped()
    assert len(received) == len(inside)
    expected = Traffic(received_packets=count, received_bytes=len(inside))
    assert home_agent.plane.traffic(BINDING) == expected


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_segments_into_the_tunnel_are_counted(home_agent: Bench, tunnel: TunnelFormat, version: int) -> None:
    home_agent.bind(tunnel)
    inside = segments(version, 10 * SEGMENT + 1, to_home=True)
    with home_agent.node.inside():
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with sender:
        sender.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        protocol = {6: 0x86DD, 4: 0x0800}[version]
        sender.sendto(offloaded(inside, version), ("dsmip0", protocol))
    assert home_agent.plane.traffic(BINDING) == Traffic(sent_packets=11, sent_bytes=len(inside))
