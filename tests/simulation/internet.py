"""The network between mobile nodes and home agents: access networks, NATs, filters, and what goes wrong.

A frame is looked up when it is sent (to draw its fate from the mobile node's own generator) and again when it
arrives: whoever has the address by then gets it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from dsmip.core.types import CareOfAddress, IPAddress, UdpEndpoint
from tests.simulation.clock import World
from tests.simulation.frames import Frame, Inner
from tests.simulation.plan import DECENT_NAT_TIMEOUT, AccessPlan

if TYPE_CHECKING:
    from tests.simulation.agent import AgentHost
    from tests.simulation.node import NodeHost

#: Seconds a frame takes at least.
BASE_DELAY = 0.005


@dataclass(frozen=True, slots=True)
class Weather:
    """Probabilities per frame, and seconds. `straggle`: it comes seconds later, behind others."""

    loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    straggle: float = 0.0
    jitter: float = 0.0

    @classmethod
    def of(cls, seed: int) -> Weather:
        """Anything from fair to foul."""
        rng = random.Random(f"{seed}/weather")
        return cls(
            loss=rng.choice((0.0, 0.05, 0.2, 0.4)),
            duplicate=rng.choice((0.0, 0.1, 0.3)),
            corrupt=rng.choice((0.0, 0.05, 0.2)),
            straggle=rng.choice((0.0, 0.05, 0.2)),
            jitter=rng.choice((0.0, 0.05, 0.5)),
        )


CALM = Weather()


@dataclass(slots=True)
class _Mapping:
    port: int
    used: float


@dataclass(slots=True)
class Nat:
    """A NAT in front of one access network: an outside port for each inside address and port."""

    public: IPv4Address
    timeout: float
    rng: random.Random
    _mappings: dict[UdpEndpoint, _Mapping] = field(default_factory=dict)
    _inside: dict[int, UdpEndpoint] = field(default_factory=dict)

    def outward(self, inside: UdpEndpoint, now: float) -> UdpEndpoint:
        """What a packet from `inside` looks like outside."""
        mapping = self._mappings.get(inside)
        if mapping is None or now - mapping.used > self.timeout:
            self.forget(inside)
            port = self.rng.randrange(1024, 65536)
            while port in self._inside:
                port = self.rng.randrange(1024, 65536)
            mapping = self._mappings[inside] = _Mapping(port, now)
            self._inside[port] = inside
        mapping.used = now
        return UdpEndpoint(self.public, mapping.port)

    def inward(self, port: int, now: float) -> UdpEndpoint | None:
        """Where a packet to this outside port goes, None if it goes nowhere."""
        inside = self._inside.get(port)
        if inside is None or now - self._mappings[inside].used > self.timeout:
            return None
        self._mappings[inside].used = now
        return inside

    def forget(self, inside: UdpEndpoint) -> None:
        """This mapping is gone."""
        mapping = self._mappings.pop(inside, None)
        if mapping is not None:
            del self._inside[mapping.port]

    def restart(self) -> None:
        """All mappings are gone."""
        self._mappings.clear()
        self._inside.clear()


class Access:
    """One visited network and who is in it, by inside address. Addresses are handed out lowest first."""

    def __init__(self, plan: AccessPlan, number: int, seed: int) -> None:
        self.plan = plan
        self.number = number
        self.members: dict[IPAddress, NodeHost] = {}
        rng = random.Random(f"{seed}/nat/{number}")
        self.nat = Nat(plan.public, plan.nat_timeout, rng) if plan.public is not None else None

    def join(self, node: NodeHost) -> tuple[IPAddress, ...]:
        """Take a node in; its addresses."""
        addresses: list[IPAddress] = []
        if self.plan.ipv6 is not None:
            addresses.append(self.plan.ipv6[0x1000 + node.number])
        if self.plan.ipv4 is not None:
            slot = 10
            while self.plan.ipv4[slot] in self.members:
                slot += 1
            addresses.append(self.plan.ipv4[slot])
        for address in addresses:
            self.members[address] = node
        return tuple(addresses)

    def leave(self, addresses: tuple[IPAddress, ...]) -> None:
        """These addresses are free again."""
        for address in addresses:
            self.members.pop(address, None)

    def gateway(self, address: IPAddress) -> IPAddress:
        """The router of that family."""
        return IPv6Address("fe80::1") if address.version == 6 else IPv4Address(int(address) & ~0xFFFF | 1)

    def outward(self, frame: Frame, now: float) -> Frame | None:
        """What of a member's frame comes out at the other side."""
        if frame.source.version == 6:
            return None if self.plan.breaks_ipv6 else frame
        if not frame.source_port and self.plan.filters == "both":
            return None
        if self.nat is None or not isinstance(frame.source, IPv4Address):
            return frame
        outside = self.nat.outward(UdpEndpoint(frame.source, frame.source_port), now)
        return frame._replace(source=outside.address, source_port=outside.port)

    def inward(self, frame: Frame, now: float) -> tuple[NodeHost, Frame] | None:
        """Who gets a frame from outside, and how it looks then."""
        if frame.destination.version == 6:
            if self.plan.breaks_ipv6:
                return None
        elif not frame.destination_port and self.plan.filters:
            return None
        elif self.nat is not None:
            inside = self.nat.inward(frame.destination_port, now)
            if inside is None:
                return None
            frame = frame._replace(destination=inside.address, destination_port=inside.port)
        node = self.members.get(frame.destination)
        return None if node is None else (node, frame)


class Internet:
    """Carries frames. `tap` sees each frame that is sent, as an attacker near the home agent would."""

    def __init__(self, world: World, accesses: list[Access], seed: int) -> None:
        self.world = world
        self.weather = CALM
        self.accesses = accesses
        self.agents: dict[IPAddress, AgentHost] = {}
        self.tap: Callable[[Frame], None] = lambda frame: None
        self._rng = random.Random(f"{seed}/internet")
        self._outside: dict[IPAddress, Access] = {}
        self._networks: dict[tuple[int, int], Access] = {}
        for access in accesses:
            if access.nat is not None:
                self._outside[access.nat.public] = access
            elif access.plan.ipv4 is not None:
                self._networks[4, int(access.plan.ipv4.network_address) >> 16] = access
            if access.plan.ipv6 is not None:
                self._networks[6, int(access.plan.ipv6.network_address) >> 64] = access

    def calm(self) -> None:
        """Faults stop, and NATs hold mappings as long as RFC 5555 section 4.3 counts on."""
        self.weather = CALM
        for access in self.accesses:
            if access.nat is not None:
                access.nat.timeout = max(access.nat.timeout, DECENT_NAT_TIMEOUT)

    def from_node(self, node: NodeHost, access: Access, frame: Frame) -> None:
        """A mobile node sends this into its access network."""
        outside = access.outward(frame, self.world.time)
        if outside is not None:
            self.tap(outside)
            self._carry(outside, node.fate)

    def from_agent(self, frame: Frame) -> None:
        """A home agent sends this."""
        self.tap(frame)
        self._carry(frame, self._fate_of(frame))

    def inject(self, frame: Frame) -> None:
        """Somebody on the way sends this, whatever its addresses say."""
        self.world.after(BASE_DELAY, self._arrive, frame)

    def direct(self, call: Callable[[bytes], None], packet: bytes, rng: random.Random) -> None:
        """One link, no routers: the home link."""
        for delay, payload in self._copies(packet, rng):
            assert isinstance(payload, bytes)
            self.world.after(delay, call, payload)

    def deliver(self, frame: Frame) -> tuple[NodeHost, Frame] | AgentHost | None:
        """Who would get this frame now."""
        agent = self.agents.get(frame.destination)
        if agent is not None:
            return agent
        access = self._access_of(frame.destination)
        return None if access is None else access.inward(frame, self.world.time)

    def _carry(self, frame: Frame, rng: random.Random) -> None:
        for delay, payload in self._copies(frame.payload, rng):
            self.world.after(
                delay, self._arrive, frame if payload is frame.payload else frame._replace(payload=payload)
            )

    def _copies(self, payload: bytes | Inner, rng: random.Random) -> list[tuple[float, bytes | Inner]]:
        weather = self.weather
        if weather is CALM:
            return [(BASE_DELAY, payload)]
        if rng.random() < weather.loss:
            return []
        copies = []
        for _ in range(2 if rng.random() < weather.duplicate else 1):
            delay = BASE_DELAY + rng.random() * weather.jitter
            if rng.random() < weather.straggle:
                delay += rng.random() * 10
            copy = payload
            if isinstance(payload, bytes) and rng.random() < weather.corrupt:
                copy = corrupted(payload, rng)
            copies.append((delay, copy))
        return copies

    def _arrive(self, frame: Frame) -> None:
        there = self.deliver(frame)
        if there is None:
            return
        if isinstance(there, tuple):
            node, inside = there
            node.receive(inside)
        else:
            there.receive(frame)

    def _access_of(self, address: IPAddress) -> Access | None:
        access = self._outside.get(address)
        if access is not None:
            return access
        return self._networks.get((address.version, int(address) >> (64 if address.version == 6 else 16)))

    def _fate_of(self, frame: Frame) -> random.Random:
        access = self._access_of(frame.destination)
        node = access.members.get(frame.destination) if access is not None else None
        return node.fate if node is not None else self._rng


def corrupted(payload: bytes, rng: random.Random) -> bytes:
    """A few bits turned over, or the end lost."""
    octets = bytearray(payload)
    if rng.random() < 0.2:
        return bytes(octets[: rng.randrange(len(octets))])
    for _ in range(rng.randint(1, 3)):
        octets[rng.randrange(len(octets))] ^= 1 << rng.randrange(8)
    return bytes(octets)


def care_of(
    access: Access,
    address: IPAddress,
    interface: str,
    ifindex: int,
    preference: int,
    valid_until: float | None,
) -> CareOfAddress:
    """What the movement layer would say about an address in this network."""
    return CareOfAddress(
        address=address,
        interface=interface,
        ifindex=ifindex,
        gateway=access.gateway(address),
        network=access.plan.name,
        preference=preference,
        valid_until=valid_until,
    )
