"""Packets for the tests, built by scapy and by hand: an independent opinion on every octet."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from dsmip.core.types import IPAddress, TunnelFormat

HOME_AGENT6, HOME_AGENT4 = ip_address("2001:db8:100::1"), ip_address("192.0.2.1")
CARE_OF6, CARE_OF4 = ip_address("2001:db8:200::5678"), ip_address("10.1.2.3")
HOME6, HOME4 = ip_address("2001:db8:100::1234"), ip_address("198.51.100.10")
PEER6, PEER4 = ip_address("2001:db8:400::cafe"), ip_address("192.0.2.200")
PORT = 4191

ETHERNET_IPV6 = bytes(12) + b"\x86\xdd"
ETHERNET_IPV4 = bytes(12) + b"\x08\x00"
UDP_HEADER = 8

TUNNELS = [TunnelFormat.IPV6, TunnelFormat.IPV4, TunnelFormat.UDP4, TunnelFormat.UDP6]
HEADER_LENGTH = dict(zip(TUNNELS, (40, 20, 28, 48), strict=True))


def over_ipv4(tunnel: TunnelFormat) -> bool:
    """Whether the outer header is IPv4."""
    return tunnel in (TunnelFormat.IPV4, TunnelFormat.UDP4)


def in_udp(tunnel: TunnelFormat) -> bool:
    """Whether there is an outer UDP header."""
    return tunnel in (TunnelFormat.UDP4, TunnelFormat.UDP6)


def ends(tunnel: TunnelFormat) -> tuple[IPAddress, IPAddress]:
    """Care-of address and home agent's address for a format."""
    return (CARE_OF4, HOME_AGENT4) if over_ipv4(tunnel) else (CARE_OF6, HOME_AGENT6)


def care_of_bid(bid: int, tunnel: TunnelFormat) -> IPAddress:
    """The mobile node's address on the path with this BID, which is in its last two octets."""
    start = ip_address("10.1.0.0" if over_ipv4(tunnel) else "2001:db8:200::")
    return start + bid


def inner(version: int, *, to_home: bool = True, traffic_class: int = 0, size: int = 11) -> bytes:
    """A UDP datagram between the peer and the home address."""
    if version == 6:
        source, destination = (PEER6, HOME6) if to_home else (HOME6, PEER6)
        header: Any = IPv6(src=str(source), dst=str(destination), tc=traffic_class, hlim=63)
    else:
        source, destination = (PEER4, HOME4) if to_home else (HOME4, PEER4)
        header = IP(src=str(source), dst=str(destination), tos=traffic_class, ttl=63, id=7)
    return bytes(header / UDP(sport=5000, dport=6000) / bytes(size))


def wrap(
    tunnel: TunnelFormat,
    payload: bytes,
    source: IPAddress | None = None,
    destination: IPAddress | None = None,
    *,
    source_port: int = PORT,
    destination_port: int = PORT,
    traffic_class: int = 0,
    flow_label: int = 0,
    protocol: int | None = None,
) -> bytes:
    """`payload` in a tunnel, as it should look: hop limit 64, IPv4 with DF and without identification, UDP
    without a checksum. From the mobile node to the home agent unless told otherwise."""
    care_of, home_agent = ends(tunnel)
    source, destination = source or care_of, destination or home_agent
    if protocol is None:
        protocol = 41 if payload[0] >> 4 == 6 else 4
    if in_udp(tunnel):
        protocol = 17
        length = UDP_HEADER + len(payload)
        payload = (
            source_port.to_bytes(2, "big")
            + destination_port.to_bytes(2, "big")
            + length.to_bytes(2, "big")
            + b"\0\0"
            + payload
        )
    if over_ipv4(tunnel):
        header: Any = IP(
            src=str(source), dst=str(destination), tos=traffic_class, id=0, flags="DF", ttl=64, proto=protocol
        )
        header.len = 20 + len(payload)
    else:
        header = IPv6(
            src=str(source), dst=str(destination), tc=traffic_class, fl=flow_label, hlim=64, nh=protocol
        )
        header.plen = len(payload)
    return bytes(header) + payload


def frame(packet: bytes) -> bytes:
    """With an Ethernet header in front, as on an uplink."""
    return (ETHERNET_IPV6 if packet[0] >> 4 == 6 else ETHERNET_IPV4) + packet


def ipv6(source: IPAddress, destination: IPAddress, next_header: int, payload: bytes) -> bytes:
    """An IPv6 packet by hand."""
    start = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([next_header, 64])
    return start + source.packed + destination.packed + payload


def mobility_header() -> bytes:
    """A Binding Update with nothing in it."""
    return bytes([59, 1, 5, 0, 0, 0, 0, 1, 0xC0, 0, 0, 100, 1, 2, 0, 0])


def home_address_option(next_header: int = 135, home_address: IPAddress = HOME6) -> bytes:
    """Destination options with PadN and the home address."""
    return bytes([next_header, 2, 1, 2, 0, 0, 0xC9, 16]) + home_address.packed


def type_2_routing_header(next_header: int = 135) -> bytes:
    """With one segment left."""
    return bytes([next_header, 2, 2, 1, 0, 0, 0, 0]) + HOME6.packed
