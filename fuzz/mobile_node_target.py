"""Fuzz target of the mobile node: networks come and go, and a home agent and others answer.

What is judged: no exception; everything sent can be read; the timer moves on; and no acknowledgement without
the home agent's key makes a path or gives addresses.
"""

from __future__ import annotations

from dataclasses import replace

from dsmip.core.actions import Action, ComeHome, HomeAddressesChanged, InstallPath
from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import MobilePrefixAdvertisement, PrefixInformation
from dsmip.wire.options import (
    BindingRefreshAdvice,
    IPv4AddressAcknowledgement,
    MobilityOption,
    NatDetection,
    UnknownOption,
)
from dsmip.wire.packet import decode_packet, encapsulate_udp, encode_packet
from fuzz.fixtures import ha_scenario
from fuzz.fixtures import mobile_node_bench as bench
from fuzz.script import Script

_NETWORKS = (bench.WIFI6, bench.OTHER6, bench.CAFE4, bench.NAT4)
_STATUSES = (0, 0, 0, 1, 128, 129, 130, 133, 134, 135, 139, 140, 141, 143, 144, 145, 146, 174)
_LIFETIMES = (None, None, 0, 1, 10, 0xFFFF)
_WRONG_KEY = bytes(16)
_CONFIGS = (
    bench.CONFIG,
    replace(bench.CONFIG, udp="always", ipv4_home_address="dynamic"),
    replace(bench.CONFIG, mobile_router=True, prefixes=(bench.MOBILE_PREFIX,)),
    replace(bench.CONFIG, home_agent_ipv4=None),
    replace(bench.CONFIG, mobile_router=True, nemo_mode="implicit", ipv4_prefix_request=28),
)
_GIVING = (InstallPath, HomeAddressesChanged, ComeHome)


class Story:
    """One mobile node on its bench."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.bench = bench.Bench(script.choice(_CONFIGS))

    def tell(self) -> None:
        steps = (
            self.attach,
            self.attach,
            self.time,
            self.answered,
            self.answered,
            self.answered_by_a_stranger,
            self.answered_with_a_change,
            self.raw,
            self.icmpv6,
            self.prefix,
        )
        while not self.script.ended:
            self.script.choice(steps)()

    def attach(self) -> None:
        mask = self.script.number()
        networks = [network for bit, network in enumerate(_NETWORKS) if mask >> bit & 1]
        home = bench.HOME if mask & 0xF0 == 0xF0 else None
        self.bench.attach(self.bench.time + 0.5, *networks, home=home)

    def time(self) -> None:
        self.bench.run(self.bench.time + self.script.choice((0.01, 0.5, 3.0, 40.0, 700.0)))

    # Acknowledgements -------------------------------------------------------------------------------------

    def acknowledgement(self, key: bytes) -> bytes | None:
        script = self.script
        if not self.bench.sent:
            return None
        sent = self.bench.last if script.flag() else script.choice(self.bench.sent)
        return self.bench.acknowledgement(
            sent,
            self.options(),
            status=script.choice(_STATUSES),
            lifetime=script.choice(_LIFETIMES),
            sequence=None if script.flag() else script.number(2),
            flags=None if script.flag() else script.number() & 0xFE,
            key=key,
        )

    def options(self) -> tuple[MobilityOption, ...]:
        script = self.script
        options: list[MobilityOption] = []
        for _ in range(script.number() % 4):
            match script.number() % 4:
                case 0:
                    refresh = script.choice((0, 1, 110, bench.NO_KEEPALIVE))
                    options.append(NatDetection(script.flag(), refresh))
                case 1:
                    status, length = script.choice((0, 128, 132)), script.number() % 64
                    address = script.choice((ha_scenario.HOME4, ha_scenario.NAT4))
                    options.append(IPv4AddressAcknowledgement(status, address, length))
                case 2:
                    options.append(BindingRefreshAdvice(script.number(2)))
                case _:
                    options.append(UnknownOption(200 + script.number() % 50, script.octets(5)))
        return tuple(options)

    def answered(self) -> None:
        packet = self.acknowledgement(bench.KEY)
        if packet is not None:
            self.bench.receive(packet)

    def answered_by_a_stranger(self) -> None:
        packet = self.acknowledgement(_WRONG_KEY)
        if packet is not None:
            self.gives_nothing(self.bench.receive(packet))

    def answered_with_a_change(self) -> None:
        """A genuine acknowledgement with another octet in it, and the checksum right again."""
        octets = self.acknowledgement(bench.KEY)
        position, change = self.script.number(2), self.script.number()
        if octets is None:
            return
        packet = decode_packet(octets)
        header = bytearray(packet.payload)
        position %= len(header)
        if position in (4, 5) or not change:
            return
        header[position] ^= change
        header[4:6] = bytes(2)
        checksum = pseudo_checksum_v6(packet.sender, packet.recipient, NextHeader.MOBILITY, header)
        header[4:6] = checksum.to_bytes(2, "big")
        again = encode_packet(
            packet.source,
            packet.destination,
            bytes(header),
            routing_home_address=packet.routing_home_address,
        )
        self.gives_nothing(self.bench.receive(encapsulate_udp(again, packet.udp) if packet.udp else again))

    def gives_nothing(self, actions: list[Action]) -> None:
        assert not any(isinstance(action, _GIVING) for action in actions), actions

    # Anything else ----------------------------------------------------------------------------------------

    def raw(self) -> None:
        self.bench.receive(self.script.some())

    def icmpv6(self) -> None:
        script = self.script
        source = script.choice((bench.HOME_AGENT, bench.HOME_ADDRESS, ha_scenario.CORRESPONDENT))
        destination = script.choice((bench.WIFI6.address, bench.HOME_ADDRESS))
        assert destination.version == 6
        self.bench.node.icmpv6(script.some(), source, destination, bench.at(self.bench.time))
        self.bench.drain()

    def prefix(self) -> None:
        script = self.script
        if not self.bench.sent:
            return
        option = PrefixInformation(
            script.choice((bench.HOME_PREFIX, ha_scenario.MNP1)),
            True,
            script.flag(),
            False,
            script.number(4),
            script.number(4),
        )
        self.bench.prefix_advertisement(MobilePrefixAdvertisement(script.number(2), options=(option,)))


def mobile_node(data: bytes) -> None:
    """The target."""
    Story(Script(data)).tell()
