"""The Internet checksum, and the pseudo-headers it is computed over.

2**16 is congruent to 1 modulo 65535, so the ones' complement sum of the 16-bit words of a string is the
whole string, read as one big integer, modulo 65535. Python does that division in C, which beats any loop
over words. The same argument lets addresses take part in a pseudo-header as the integers they already are.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

_MODULUS = 0xFFFF


def internet_checksum(data: bytes | bytearray) -> int:
    """The checksum of `data` (RFC 1071), padded with a zero octet if its length is odd.

    0 over octets that already contain their checksum means that it is right.
    """
    return _complement(_number(data))


def pseudo_checksum_v6(
    source: IPv6Address, destination: IPv6Address, next_header: int, payload: bytes | bytearray
) -> int:
    """The checksum of `payload` behind the pseudo-header of IPv6 (RFC 8200 section 8.1).

    With a home address option `source` is the home address in it, and with a type 2 routing header
    `destination` is the home address in that (RFC 6275 sections 6.1.1 and 11.3.1).
    """
    # `_number` and `_complement` spelt out: every signalling message comes through here twice.
    size = len(payload)
    number = int.from_bytes(payload, "big") << 8 * (size & 1)
    total = int(source) + int(destination) + size + next_header + number
    return -total % _MODULUS if total else _MODULUS


def pseudo_checksum_v4(
    source: IPv4Address, destination: IPv4Address, protocol: int, payload: bytes | bytearray
) -> int:
    """The checksum of `payload` behind the pseudo-header of IPv4, as UDP uses it (RFC 768)."""
    return _complement(int(source) + int(destination) + len(payload) + protocol + _number(payload))


def _number(data: bytes | bytearray) -> int:
    number = int.from_bytes(data, "big")
    return number << 8 if len(data) & 1 else number


def _complement(total: int) -> int:
    # A multiple of 65535 stands for the ones' complement sum 0xFFFF, except for zero itself.
    return -total % _MODULUS if total else _MODULUS
