"""What ICMP sockets give the home agent's engine, and what they only have a copy of."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest

from dsmip.daemon.home_agent import icmp
from dsmip.daemon.home_agent.icmp import HomeAgentIcmpPort
from dsmip.host.icmp_sockets import ReceivedIcmpv6

HA, HOME, OTHER = (IPv6Address(f"2001:db8:100::{rest}") for rest in ("1", "10", "11"))


class Sockets:
    """Takes what it is to call."""

    def __init__(self, received: Any, _received_ipv4: Any) -> None:
        self.received = received

    def start(self) -> None:
        pass


class Engine:
    """Notes who has sent which type."""

    def __init__(self) -> None:
        self.told: list[tuple[IPv6Address, int]] = []

    def receive_icmpv6(self, data: bytes, source: IPv6Address, _destination: IPv6Address, **_: Any) -> None:
        self.told.append((source, data[0]))


def test_a_solicitation_under_ipsec_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket of what is decrypted has it, too, and knows that it was."""
    monkeypatch.setattr(icmp, "IcmpSockets", Sockets)
    engine: Any = Engine()
    port: Any = HomeAgentIcmpPort(
        engine,
        lambda: None,
        lambda local, remote: (local, remote) == (HA, HOME),
        prefixes=(),
        interface=1,
        home_link="",
        home_link_index=0,
    )
    for source, kind in ((HOME, 146), (OTHER, 146), (HOME, 1), (HOME, 144)):
        port._sockets.received(ReceivedIcmpv6(bytes([kind, *bytes(7)]), source, HA, 2, 64))
    assert engine.told == [(OTHER, 146), (HOME, 1), (HOME, 144)]
