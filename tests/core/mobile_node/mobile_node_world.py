"""A small network in memory: real home agent, mobile node, access networks with NATs, filters and loss."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from mobile_node_bench import (
    CONFIG,
    HOME_ADDRESS,
    HOME_AGENT,
    HOME_AGENT_IPV4,
    HOME_PREFIX,
    KEY,
    SPI,
    at,
)

from dsmip.core.actions import (
    Action,
    InstallPath,
    LeaveHome,
    RemovePath,
    SendDatagram,
    SendIPv4,
    SendPacket,
    SettleHome,
)
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.mobile_node.engine import MobileNode, MobileNodeConfig
from dsmip.core.types import (
    Attachments,
    CareOfAddress,
    HomeAttachment,
    MobileNodeEntry,
    Path,
    TunnelFormat,
    UdpEndpoint,
)
from dsmip.wire.icmpv6 import EchoRequest, decode_icmpv6
from dsmip.wire.packet import UdpOuter, decode_packet, encapsulate_udp


@dataclass
class Access:
    """One visited network.

    `nat`: its public address; `filters`: protocols 41 and 4 do not get through; `dead`: nothing does.
    """

    care_of: CareOfAddress
    nat: IPv4Address | None = None
    filters: bool = False
    dead: bool = False
    ports: dict[int, int] = field(default_factory=dict)  #: NAT mappings: inside port -> outside port

    def outside(self, endpoint: UdpEndpoint, rng: random.Random) -> UdpEndpoint:
        """The endpoint as the home agent sees it."""
        if self.nat is None:
            return endpoint
        if endpoint.port not in self.ports:
            self.ports[endpoint.port] = rng.randrange(1024, 65536)
        return UdpEndpoint(self.nat, self.ports[endpoint.port])

    def inside(self, endpoint: UdpEndpoint) -> UdpEndpoint | None:
        """Where a packet from outside goes; None when the NAT has no mapping."""
        if self.nat is None:
            return endpoint
        for inner, outer in self.ports.items():
            if outer == endpoint.port and isinstance(self.care_of.address, IPv4Address):
                return UdpEndpoint(self.care_of.address, inner)
        return None


HOME_AGENT_CONFIG = HomeAgentConfig(
    address=HOME_AGENT,
    ipv4_address=HOME_AGENT_IPV4,
    home_prefixes=(HOME_PREFIX,),
    mobile_nodes=(MobileNodeEntry(HOME_ADDRESS, identifier=CONFIG.identifier, spi=SPI, key=KEY),),
)


class World:
    """Time, links and both engines. Everything takes `latency` seconds one way; `loss` is a probability."""

    def __init__(
        self,
        mobile_node: MobileNodeConfig = CONFIG,
        home_agent: HomeAgentConfig = HOME_AGENT_CONFIG,
        *,
        seed: int = 1,
        latency: float = 0.01,
        loss: float = 0.0,
    ) -> None:
        self.rng = random.Random(seed)
        self.latency = latency
        self.loss = loss
        self.time = 0.0
        self.node = MobileNode(mobile_node, at(0.0), random.Random(seed))
        self.home_agent = HomeAgent(home_agent)
        self.config = mobile_node
        self.here: tuple[Access, ...] = ()
        self.at_home = False
        self.path: Path | None = None
        self.log: list[tuple[float, Action]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    # Time -------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.time + seconds
        while True:
            times = [self.node.timeout(), self.home_agent.timeout()]
            timers = [time for time in times if time is not None]
            if self._queue:
                timers.append(self._queue[0][0])
            due = min(timers, default=None)
            if due is None or due > end:
                break
            self.time = max(self.time, due)
            if self._queue and self._queue[0][0] <= self.time:
                heapq.heappop(self._queue)[2]()
            self.node.tick(at(self.time))
            self.home_agent.tick(at(self.time))
            self._settle()
        self.time = end

    def move(self, *access: Access, home: HomeAttachment | None = None) -> None:
        """The mobile node is attached here from now on."""
        self.here = access
        attachments = Attachments(home, tuple(one.care_of for one in access))
        self.node.attachments_changed(attachments, at(self.time))
        self._settle()

    def _later(self, what: Callable[[], None]) -> None:
        if self.rng.random() >= self.loss:
            heapq.heappush(self._queue, (self.time + self.latency, next(self._count), what))

    # Actions ----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        while True:
            from_node, from_agent = self.node.actions(), self.home_agent.actions()
            if not from_node and not from_agent:
                return
            for action in from_node:
                self.log.append((self.time, action))
                self._node_does(action)
            for action in from_agent:
                self._agent_does(action)

    def _node_does(self, action: Action) -> None:
        match action:
            case InstallPath(path=path):
                self.path = path
            case RemovePath():
                self.path = None
            case SettleHome():
                self.at_home = True
            case LeaveHome():
                self.at_home = False
            case SendPacket(packet=data):
                sender = self._access(decode_packet(data).source)
                if sender is None or not sender.dead:
                    self._later(lambda: self.home_agent.receive(data, at(self.time)))
            case SendDatagram(payload=payload, local=local, remote=remote):
                access = self._access(local.address)
                if access is not None and not access.dead:
                    source = access.outside(local, self.rng)
                    data = encapsulate_udp(
                        payload, UdpOuter(source.address, source.port, remote.address, remote.port)
                    )
                    self._later(lambda: self.home_agent.receive(data, at(self.time)))
            case SendIPv4(packet=data):
                self._later(lambda: self._probe_arrives(data))
            case _:
                pass

    def _agent_does(self, action: Action) -> None:
        match action:
            case SendPacket(packet=data):
                self._later(lambda: self._ipv6_arrives(data))
            case SendDatagram(payload=payload, local=local, remote=remote):
                self._later(lambda: self._datagram_arrives(payload, local, remote))
            case _:
                pass

    def _ipv6_arrives(self, data: bytes) -> None:
        destination = decode_packet(data).destination
        attached = {access.care_of.address for access in self.here} | {HOME_ADDRESS}
        if destination in attached:
            self.node.receive(data, at(self.time))

    def _datagram_arrives(self, payload: bytes, source: UdpEndpoint, destination: UdpEndpoint) -> None:
        for access in self.here:
            inside = access.inside(destination)
            if inside is not None and inside.address == access.care_of.address:
                outer = UdpOuter(source.address, source.port, inside.address, inside.port)
                self.node.receive(encapsulate_udp(payload, outer), at(self.time))

    def _probe_arrives(self, data: bytes) -> None:
        """The home agent answers an echo request in protocol 41 over its binding."""
        access = self._access(IPv4Address(data[12:16]))
        if access is None or access.nat is not None or access.filters:
            return
        inner = decode_packet(data[20:])
        echo = decode_icmpv6(inner.payload, inner.source, inner.destination)
        assert isinstance(echo, EchoRequest)
        if self.reaches_mobile_node():
            reply = (echo.identifier, echo.sequence)
            self._later(lambda: self.node.echo_reply(*reply, at(self.time)))

    def _access(self, address: object) -> Access | None:
        for access in self.here:
            if access.care_of.address == address:
                return access
        return None

    # Data -------------------------------------------------------------------------------------------------

    def reaches_home_agent(self) -> bool:
        """True when a packet from the home address gets to the home agent and is accepted there."""
        binding = self.home_agent.bindings.get(HOME_ADDRESS)
        if self.at_home:
            return binding is None
        access = self._access(self.path.local) if self.path is not None else None
        if self.path is None or access is None or access.dead or binding is None:
            return False
        if self.path.format is TunnelFormat.IPV4:
            passes = access.nat is None and not access.filters
            return passes and binding.care_of == self.path.local
        if self.path.format is TunnelFormat.UDP4:
            local = self.path.local
            assert isinstance(local, IPv4Address)
            return binding.nat_source == access.outside(UdpEndpoint(local, self.path.local_port), self.rng)
        return binding.care_of == self.path.local

    def reaches_mobile_node(self) -> bool:
        """True when a packet for the home address gets to the mobile node."""
        binding = self.home_agent.bindings.get(HOME_ADDRESS)
        if self.at_home:
            return binding is None
        if binding is None:
            return False
        if binding.format is TunnelFormat.UDP4:
            assert binding.nat_source is not None
            places = [access.inside(binding.nat_source) for access in self.here]
            addresses = [access.care_of.address for access in self.here]
            return any(
                place is not None and place.address == address
                for place, address in zip(places, addresses, strict=True)
            )
        access = self._access(binding.care_of)
        if access is None:
            return False
        return binding.format is TunnelFormat.IPV6 or (access.nat is None and not access.filters)
