"""Coming to the home link: what waits for the home agent's link-layer address."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from types import SimpleNamespace
from typing import Any

import pytest

from dsmip.core.actions import SendPacket
from dsmip.core.types import HomeAttachment
from dsmip.daemon import home_arrival
from dsmip.daemon.home_arrival import HomeArrival
from dsmip.wire.icmpv6 import NeighborAdvertisement, TargetLinkLayerAddress

PREFIX = IPv6Network("2001:db8:100::/64")
HOME_ADDRESS, HOME_AGENT = PREFIX[0x10], PREFIX[1]
ROUTER = IPv6Address("fe80::1")
MAC = bytes.fromhex("02005e100001")
HOME = HomeAttachment("wan0", 7, None, None)
UPDATE = SendPacket(b"update", "wan0")


class Link:
    """A movement service that only keeps what it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(home_arrival, "link_local_address", lambda _interface: ROUTER)
        self.asked: list[IPv6Address] = []
        self.learnt: list[tuple[int, IPv6Address, bytes]] = []
        self.happened: list[object] = []
        movement: Any = SimpleNamespace(
            on_neighbor=None,
            solicit_neighbor=lambda _interface, target, _source: self.asked.append(target),
            set_neighbor=lambda *what: self.learnt.append(what),
        )
        self.movement = movement
        self.arrival = HomeArrival(movement, HOME_ADDRESS, (PREFIX,), self.happened.append)

    def begin(self, home: HomeAttachment, home_agent: IPv6Address = HOME_AGENT) -> None:
        self.arrival.begin(home, home_agent, lambda: self.happened.append(home))

    def answer(self) -> None:
        answer = NeighborAdvertisement(HOME_AGENT, options=(TargetLinkLayerAddress(MAC),))
        self.movement.on_neighbor("wan0", answer, HOME_AGENT, MAC)


def test_a_binding_update_waits_for_the_home_agents_link_layer_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        link = Link(monkeypatch)
        link.begin(HOME)
        assert link.asked == [HOME_ADDRESS, HOME_AGENT]
        assert link.arrival.holds_back(UPDATE)
        assert link.happened == []
        link.answer()
        assert link.learnt == [(7, HOME_AGENT, MAC)]
        assert link.happened == [HOME, UPDATE]
        assert not link.arrival.holds_back(UPDATE)

    asyncio.run(scenario())


def test_a_second_router_or_a_lease_meanwhile_loses_no_binding_update(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        link = Link(monkeypatch)
        link.begin(HOME)
        assert link.arrival.holds_back(UPDATE)
        leased = replace(HOME, router=ROUTER, ipv4_router=IPv4Address("192.0.2.1"))
        link.begin(leased)
        link.answer()
        assert link.happened == [leased, UPDATE]

    asyncio.run(scenario())


def test_what_waited_for_another_link_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        link = Link(monkeypatch)
        link.begin(replace(HOME, interface="wlan0", ifindex=8))
        assert link.arrival.holds_back(SendPacket(b"update", "wlan0"))
        link.begin(HOME)
        link.answer()
        assert link.happened == [HOME]

    asyncio.run(scenario())


def test_a_home_agent_elsewhere_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        link = Link(monkeypatch)
        link.begin(HOME, IPv6Address("2001:db8:200::1"))
        assert (link.asked, link.happened) == ([], [HOME])
        assert not link.arrival.holds_back(UPDATE)

    asyncio.run(scenario())
