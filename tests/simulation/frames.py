"""What travels: signalling as octets, data as names of addresses, in their outer headers."""

from __future__ import annotations

from typing import NamedTuple

from dsmip.core.types import IPAddress


class Inner(NamedTuple):
    """A data packet. `number` tells packets apart; `what` is "data", "forged", an "echo" that asks whether
    protocol 41 passes, a "probe" of a path's health (see `probe_number`), a "format" probe of one of several
    paths, or a reply to one of these."""

    source: IPAddress
    destination: IPAddress
    what: str = "data"
    number: int = 0


class Frame(NamedTuple):
    """A packet on the wire.

    Ports are those of UDP over IPv4, 0 = no UDP. The payload of signalling is an IPv6 packet, in octets: the
    frame itself if it is not in UDP. Data is tunnelled: the addresses here are those of the outer header.
    """

    source: IPAddress
    destination: IPAddress
    payload: bytes | Inner
    source_port: int = 0
    destination_port: int = 0


def probe_number(bid: int, sequence: int, hold: int) -> int:
    """What a path probe says, as a number. `hold` in milliseconds."""
    return bid << 64 | sequence << 32 | hold


def read_probe_number(number: int) -> tuple[int, int, int]:
    """Binding identifier, sequence number, hold."""
    return number >> 64, number >> 32 & 0xFFFF_FFFF, number & 0xFFFF_FFFF


class Violation(AssertionError):
    """Something happened that must never happen."""
