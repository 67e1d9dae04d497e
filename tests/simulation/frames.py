"""What travels: signalling as octets, data as names of addresses, in their outer headers."""

from __future__ import annotations

from typing import NamedTuple

from dsmip.core.types import IPAddress


class Inner(NamedTuple):
    """A data packet. `what` is "data", "echo", "echo-reply" or "forged"; `number` tells packets apart."""

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


class Violation(AssertionError):
    """Something happened that must never happen."""
