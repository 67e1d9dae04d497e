"""The Internet checksum once more, the slow way: an oracle must not share code with what it judges."""

from __future__ import annotations

from ipaddress import IPv6Address


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071: 16-bit words added with end-around carry; a lone last octet is the high one of its word."""
    total = 0
    for index in range(0, len(data), 2):
        word = data[index : index + 2]
        total += word[0] * 256 + (word[1] if len(word) == 2 else 0)
        if total > 0xFFFF:
            total -= 0xFFFF
    return total


def is_valid_ipv6(source: IPv6Address, destination: IPv6Address, protocol: int, payload: bytes) -> bool:
    """Whether the checksum in an upper-layer packet is right (RFC 8200 section 8.1)."""
    pseudo_header = source.packed + destination.packed + len(payload).to_bytes(4, "big")
    return ones_complement_sum(pseudo_header + bytes((0, 0, 0, protocol)) + payload) == 0xFFFF


def is_valid(data: bytes) -> bool:
    """Whether the checksum in an IPv4 header or an ICMP message is right."""
    return ones_complement_sum(data) == 0xFFFF
