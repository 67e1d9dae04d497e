"""Somebody who hears everything near the home agents, says what he likes, and has no key."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import BEStatus, NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.messages import BindingError, BindingRefreshRequest, encode_message
from dsmip.wire.packet import decode_packet, encode_packet
from tests.simulation.agent import AgentHost
from tests.simulation.frames import Frame, Inner
from tests.simulation.internet import Internet, corrupted
from tests.simulation.node import NodeHost

_ADDRESS = IPv6Address("2001:db8:bad::1")
_IPV4_ADDRESS = IPv4Address("203.0.113.250")

#: Frames remembered.
_MEMORY = 64


class Attacker:
    """Each deed takes one generator, made for the step it belongs to."""

    def __init__(self, internet: Internet, agents: list[AgentHost], nodes: list[NodeHost], seed: int) -> None:
        self._internet = internet
        self._agents = agents
        self._nodes = nodes
        self._rng = random.Random(f"{seed}/attacker")
        self._heard: list[Frame] = []
        internet.tap = self._hear
        self.deeds: dict[str, Callable[[random.Random], None]] = {
            "replay": self.replay,
            "replay elsewhere": self.replay_elsewhere,
            "replay from elsewhere": self.replay_from_elsewhere,
            "forge update": self.forge_update,
            "forge tunnel": self.forge_tunnel,
            "forge answer": self.forge_answer,
            "garbage": self.garbage,
        }

    def _hear(self, frame: Frame) -> None:
        if isinstance(frame.payload, Inner):
            return
        if len(self._heard) < _MEMORY:
            self._heard.append(frame)
        else:
            self._heard[self._rng.randrange(_MEMORY)] = frame

    def replay(self, rng: random.Random) -> None:
        """The same again, later."""
        if self._heard:
            self._internet.inject(rng.choice(self._heard))

    def replay_from_elsewhere(self, rng: random.Random) -> None:
        """The same from our own address, so that the answer comes to us."""
        if self._heard:
            frame = rng.choice(self._heard)
            if frame.source_port:
                self._internet.inject(
                    frame._replace(source=_IPV4_ADDRESS, source_port=rng.randrange(1, 65536))
                )
            elif isinstance(frame.payload, bytes):
                payload = frame.payload[:8] + _ADDRESS.packed + frame.payload[24:]
                self._internet.inject(frame._replace(source=_ADDRESS, payload=payload))

    def replay_elsewhere(self, rng: random.Random) -> None:
        """To another home agent, addressed as if it were meant for that."""
        frames = [frame for frame in self._heard if frame.destination in self._internet.agents]
        if not frames:
            return
        frame, agent = rng.choice(frames), rng.choice(self._agents)
        payload = _readdressed(frame.payload, agent.file.address)
        destination = agent.file.ipv4_address if frame.source_port else agent.file.address
        if payload is not None and destination is not None:
            self._internet.inject(frame._replace(destination=destination, payload=payload))

    def forge_update(self, rng: random.Random) -> None:
        """A heard message with some octets changed and the checksum put right."""
        if not self._heard:
            return
        frame = rng.choice(self._heard)
        if isinstance(frame.payload, bytes):
            payload = _altered(frame.payload, rng)
            if payload is not None:
                self._internet.inject(frame._replace(payload=payload))

    def forge_tunnel(self, rng: random.Random) -> None:
        """Data in the name of a mobile node, or of its home agent."""
        victim = rng.choice(self._nodes)
        config = victim.config
        insiders = [a for node in self._nodes for access in node.accesses for a in access.members]
        source = rng.choice((_ADDRESS, _IPV4_ADDRESS, *insiders))
        port = rng.choice((0, 4191, rng.randrange(1, 65536))) if source.version == 4 else 0
        named = rng.choice((config.home_address, *(prefix[5] for prefix in config.prefixes)))
        if rng.random() < 0.5:
            agent = victim.agent.file
            destination = agent.ipv4_address if source.version == 4 else agent.address
            assert destination is not None
            if victim.agent.oracle.may_come_from(
                config.home_address, (source, port), self._internet.world.time
            ):
                return  # what comes from there is the mobile node's by definition
            inner = Inner(named, IPv6Address("2001:db8:c::1"), "forged")
            self._internet.inject(Frame(source, destination, inner, port, 4191 if port else 0))
        else:
            towards = [a for access in victim.accesses for a in access.members if a.version == source.version]
            if towards:
                inner = Inner(IPv6Address("2001:db8:c::1"), named, "forged")
                destination_port = config.udp_port if port else 0
                self._internet.inject(Frame(source, rng.choice(towards), inner, port, destination_port))

    def forge_answer(self, rng: random.Random) -> None:
        """Binding Errors and Refresh Requests are not authenticated: these have the right addresses."""
        victim = rng.choice(self._nodes)
        agent, home_address = victim.config.home_agent, victim.config.home_address
        for address in (
            a for access in victim.accesses for a in access.members if access.members[a] is victim
        ):
            if isinstance(address, IPv6Address):
                message: BindingError | BindingRefreshRequest = BindingError(
                    BEStatus.UNKNOWN_BINDING, home_address
                )
                packet = encode_packet(agent, address, encode_message(message, agent, address))
                if rng.random() < 0.5:
                    message = BindingRefreshRequest(())
                    header = encode_message(message, agent, home_address)
                    packet = encode_packet(agent, address, header, routing_home_address=home_address)
                self._internet.inject(Frame(agent, address, packet))

    def garbage(self, rng: random.Random) -> None:
        """Octets of all kinds."""
        if self._heard and rng.random() < 0.7:
            frame = rng.choice(self._heard)
            assert isinstance(frame.payload, bytes)
            payload = frame.payload
            for _ in range(rng.randint(1, 8)):
                payload = corrupted(payload, rng) or b"\0"
            self._internet.inject(frame._replace(payload=payload))
        else:
            agent = rng.choice(self._agents).file.address
            self._internet.inject(Frame(_ADDRESS, agent, rng.randbytes(rng.randint(0, 200))))


def _readdressed(payload: bytes | Inner, destination: IPv6Address) -> bytes | None:
    """A mobility message for another destination, with the checksum for that."""
    if isinstance(payload, Inner):
        return None
    try:
        packet = decode_packet(payload)
    except DecodeError:
        return None
    if packet.next_header != NextHeader.MOBILITY:
        return None
    header = _summed(packet.payload, packet.sender, destination)
    return packet.raw[:24] + destination.packed + packet.raw[40 : packet.payload_offset] + header


def _altered(payload: bytes, rng: random.Random) -> bytes | None:
    try:
        packet = decode_packet(payload)
    except DecodeError:
        return None
    if packet.next_header != NextHeader.MOBILITY or len(packet.payload) < 12:
        return None
    header = bytearray(packet.payload)
    for _ in range(rng.randint(1, 4)):
        header[rng.randrange(6, len(header))] = rng.randrange(256)
    return packet.raw[: packet.payload_offset] + _summed(bytes(header), packet.sender, packet.recipient)


def _summed(header: bytes, source: IPv6Address, destination: IPv6Address) -> bytes:
    blank = header[:4] + b"\0\0" + header[6:]
    checksum = pseudo_checksum_v6(source, destination, NextHeader.MOBILITY, blank)
    return header[:4] + checksum.to_bytes(2) + header[6:]
