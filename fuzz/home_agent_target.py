"""Fuzz target of the home agent: a story of packets, good and bad, told by the fuzzer's octets.

What is judged: no exception; everything sent can be read; the timer moves on; and no packet but a fresh
Binding Update, signed with the mobile node's key and untouched, changes a binding or the replay state.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import pairwise
from typing import Any

from dsmip.core.actions import StoreReplay
from dsmip.core.binding_record import encode_binding
from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.types import Instant
from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import BUFlag, NextHeader
from dsmip.wire.option import UnknownOption
from dsmip.wire.options import (
    AlternateCareOfAddress,
    IPv4HomeAddress,
    MobileNetworkPrefix,
    MobilityOption,
    NonceIndices,
)
from dsmip.wire.packet import decode_packet, encapsulate_udp, encode_packet
from fuzz.fixtures import ha_scenario as scene
from fuzz.script import Script

_CARE_OF = (scene.COA1, scene.COA2, scene.HOME, scene.HA, IPv6Address("::"), IPv6Address("ff02::1"))
_CARE_OF_4 = (scene.COA4, scene.NAT4, scene.HA4, IPv4Address("0.0.0.0"), IPv4Address("255.255.255.255"))
_LIFETIMES = (0, 1, 2, 105, 0xFFFF)
_PREFIXES = (scene.MNP1, scene.MNP2, scene.HOME_PREFIX, IPv6Network("::/0"), IPv6Network("2001:db8:9::/127"))
_HOME_4 = (scene.HOME4, IPv4Address("0.0.0.0"), IPv4Address("192.0.2.64"), IPv4Address("192.0.2.200"))
_ADDRESSES = (scene.HA, scene.HOME, scene.COA1, scene.CORRESPONDENT, scene.ROUTER, scene.ALL_NODES)
_WRONG_KEY = bytes(16)
_CONFIGS = (
    scene.CONFIG,
    replace(scene.CONFIG, udp="force"),
    replace(scene.CONFIG, ipv4_address=None, ipv4_home_prefixes=()),
    replace(scene.CONFIG, mobile_nodes=(replace(scene.ENTRY, prefixes=(), ipv4_prefixes=()),)),
    replace(scene.CONFIG, ipv4_home_prefixes=(IPv4Network("192.0.2.44/32"),)),
)


class Story:
    """One home agent, one mobile node's key, and everything sent so far."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.config = script.choice(_CONFIGS)
        self.scenario = scene.Scenario(self.config)
        self.mobile = scene.Mobile()
        self.sent: list[bytes] = []

    def tell(self) -> None:
        steps = (
            self.genuine,
            self.genuine,
            self.forged,
            self.tampered,
            self.replayed,
            self.raw,
            self.time,
            self.dad,
            self.icmp,
            self.unreachable,
            self.restart,
        )
        while not self.script.ended:
            self.script.choice(steps)()

    # What a mobile node may do ----------------------------------------------------------------------------

    def genuine(self) -> None:
        packet = self.update(scene.KEY)
        self.sent.append(packet)
        self.scenario.receive(packet)

    def update(self, key: bytes) -> bytes:
        """A Binding Update of the mobile node, made with `key`."""
        script = self.script
        self.mobile.key = key
        common: dict[str, Any] = {
            "now": self.scenario.now,
            "sequence": script.number(2),
            "flags": BUFlag(script.number(2) & sum(BUFlag)) | script.choice((scene.AH, scene.AHR, BUFlag(0))),
            "lifetime": script.choice(_LIFETIMES),
            "options": self.options(),
        }
        if script.flag():
            return self.mobile.update(**common, source=script.choice(_CARE_OF), hao=script.flag())
        address = script.choice(_CARE_OF_4)
        outer = address if script.flag() else script.choice(_CARE_OF_4)
        return self.mobile.update_in_udp(**common, care_of=address, outer=outer, port=script.number(2))

    def options(self) -> tuple[MobilityOption, ...]:
        script = self.script
        options: list[MobilityOption] = []
        for _ in range(script.number() % 4):
            match script.number() % 5:
                case 0:
                    options.append(AlternateCareOfAddress(script.choice(_CARE_OF)))
                case 1:
                    options.append(MobileNetworkPrefix.of(script.choice(_PREFIXES)))
                case 2:
                    length = script.number() % 64
                    options.append(IPv4HomeAddress(script.choice(_HOME_4), length, script.flag()))
                case 3:
                    options.append(NonceIndices(1, 2))
                case _:
                    options.append(UnknownOption(200 + script.number() % 50, script.octets(5)))
        return tuple(options)

    # What anybody may try ---------------------------------------------------------------------------------

    def forged(self) -> None:
        self.ineffective(self.update(_WRONG_KEY))

    def tampered(self) -> None:
        """A genuine update with other octets in its mobility header, and the checksum right again."""
        packet = decode_packet(self.update(scene.KEY))
        header = bytearray(packet.payload)
        position = self.script.number(2) % len(header)
        change = self.script.number()
        if position in (4, 5) or not change:
            return
        header[position] ^= change
        header[4:6] = bytes(2)
        checksum = pseudo_checksum_v6(packet.sender, packet.recipient, NextHeader.MOBILITY, header)
        header[4:6] = checksum.to_bytes(2, "big")
        again = encode_packet(
            packet.source, packet.destination, bytes(header), home_address=packet.home_address
        )
        self.ineffective(encapsulate_udp(again, packet.udp) if packet.udp else again)

    def replayed(self) -> None:
        if self.sent:
            self.ineffective(self.script.choice(self.sent))

    def raw(self) -> None:
        self.ineffective(self.script.some())

    def ineffective(self, packet: bytes) -> None:
        before = dict(self.scenario.agent.bindings)
        outcome = self.scenario.receive(packet)
        assert not outcome.changed, outcome.actions
        assert not any(isinstance(action, StoreReplay) for action in outcome.actions), outcome.actions
        assert self.scenario.agent.bindings == before

    def icmp(self) -> None:
        script = self.script
        source, destination = script.choice(_ADDRESSES), script.choice(_ADDRESSES)
        agent, now = self.scenario.agent, self.scenario.now
        if script.flag():
            agent.receive_icmpv4(script.some(), now)
        else:
            agent.receive_icmpv6(
                script.some(),
                source,
                destination,
                hop_limit=script.choice((255, 64)),
                home_link=script.flag(),
                own=script.flag(),
                now=now,
            )
        scene.Outcome(agent.actions())

    def unreachable(self) -> None:
        self.scenario.agent.unreachable(self.script.some(), self.scenario.now)
        scene.Outcome(self.scenario.agent.actions())

    # What happens -----------------------------------------------------------------------------------------

    def time(self) -> None:
        """Time passes; the timer fires when it is due, and moves on."""
        scenario = self.scenario
        end = scenario.now.monotonic + self.script.choice((0.01, 1.0, 7.5, 60.0, 700.0))
        fired = [scenario.now.monotonic]
        while (due := scenario.agent.timeout()) is not None and due <= end:
            scenario.after(max(0.0, due - scenario.now.monotonic))
            fired.append(scenario.now.monotonic)
            assert len(fired) < 5000, "the timer does not move on"
        assert all(earlier <= later for earlier, later in pairwise(fired))
        scenario.after(end - scenario.now.monotonic)

    def dad(self) -> None:
        self.scenario.dad(scene.HOME, duplicate=self.script.flag())

    def restart(self) -> None:
        """A new process, with what the store kept of the bindings."""
        old = self.scenario.agent
        agent = HomeAgent(self.config)
        agent.resume(map(encode_binding, old.bindings.values()), (), self.scenario.now)
        self.scenario.agent = agent
        scene.Outcome(agent.actions())
        # Without the replay state, which a store keeps too, updates sent before may be taken again.
        self.sent.clear()
        self.scenario.now = Instant(self.scenario.now.monotonic + 1, self.scenario.now.unix + 1)


def home_agent(data: bytes) -> None:
    """The target."""
    Story(Script(data)).tell()
