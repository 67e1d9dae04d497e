"""A mobile node's machine: engine, data plane, interfaces, and a user who carries it about."""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from dsmip.core.actions import (
    Action,
    Event,
    HomeAddressesChanged,
    InstallPath,
    RemovePath,
    SendDatagram,
    SendIPv4,
    SendPacket,
)
from dsmip.core.mobile_node import MobileNode, MobileNodeConfig, MobileNodeState
from dsmip.core.network_memory import NetworkMemory
from dsmip.core.types import DSMIP_PORT, Attachments, CareOfAddress, HomeAttachment, IPAddress
from dsmip.dataplane.api import Role
from dsmip.wire.packet import UdpOuter, encapsulate_udp
from tests.simulation.clock import Machine, World
from tests.simulation.data_plane import ModelDataPlane
from tests.simulation.frames import Frame, Inner, Violation
from tests.simulation.internet import Access, Internet, care_of
from tests.simulation.ledger import Ledger
from tests.simulation.plan import NodePlan

if TYPE_CHECKING:
    from tests.simulation.agent import AgentHost

#: The mobile node's one binding, as in `dsmip.daemon.mobile_node`.
BINDING = 1

#: Interfaces: two radios, and one for the home link.
INTERFACES = {"wlan0": 3, "wwan0": 4, "eth0": 9}
HOME_INTERFACE = "eth0"


#: IPv4 and IPv6 headers before the echo of a path probe, and where identifier and sequence number are in it.
_PROBE_NUMBERS = slice(20 + 40 + 4, 20 + 40 + 8)


@dataclass(slots=True)
class _Link:
    """What one interface is attached to. `lease_end` on the monotonic clock."""

    access: Access
    addresses: tuple[IPAddress, ...]
    lease_end: float | None


class NodeHost(Machine):
    """One mobile node. `engine` is None while it is switched off."""

    def __init__(
        self,
        world: World,
        internet: Internet,
        plan: NodePlan,
        agents: list[AgentHost],
        ledger: Ledger,
        seed: int,
    ) -> None:
        super().__init__(world, uptime=10.0 + plan.number, skew=plan.skew)
        self.number = plan.number
        self.name = f"mn{plan.number}"
        self.fate = random.Random(f"{seed}/fate/{plan.number}")
        self.engine: MobileNode | None = None
        self.handovers = 0
        self.delivered = 0
        self.config: MobileNodeConfig = plan.configs[0][1]
        self.agent = agents[plan.configs[0][0]]
        self.home_attached = False
        self._plan = plan
        self._agents = agents
        self._internet = internet
        self._ledger = ledger
        self._memory = NetworkMemory()
        self._links: dict[str, _Link] = {}
        self._boots = 0
        self.dataplane = ModelDataPlane(Role.MOBILE_NODE)

    # Switched on and off -----------------------------------------------------------------------------------

    def boot(self, *, other_agent: bool = False) -> None:
        """Switch it on, or off and on again."""
        self.vanish()
        if other_agent:
            now_at = [number for number, _ in self._plan.configs].index(self.agent.number)
            number, self.config = self._plan.configs[(now_at + 1) % len(self._plan.configs)]
            self.agent = self._agents[number]
        self._boots += 1
        self.booted = self.world.time - 20.0
        self._memory = NetworkMemory()
        config = self.config
        self.dataplane = ModelDataPlane(Role.MOBILE_NODE)
        assert config.home_agent_ipv4 is not None
        for address, port in (
            (config.home_agent, 0),
            (config.home_agent_ipv4, 0),
            (config.home_agent_ipv4, DSMIP_PORT),
        ):
            self.dataplane.allow_source(BINDING, address, port, None)
        rng = random.Random(self.fate.random())
        self.engine = MobileNode(config, self.now(), rng, self._memory)

    def vanish(self) -> None:
        """Switched off, without a word."""
        for interface in list(self._links):
            self._unplug(interface)
        self._leave_home()
        self.engine = None
        self.disarm()

    # Attachments -------------------------------------------------------------------------------------------

    @property
    def accesses(self) -> list[Access]:
        """Where it is attached."""
        return [link.access for link in self._links.values()]

    def attach(self, interface: str, access: Access) -> None:
        """Another network on this interface; a node that was off is switched on."""
        if self.engine is None:
            self.boot()
        self._unplug(interface)
        addresses = access.join(self)
        lease = access.plan.lease
        self._links[interface] = _Link(
            access, addresses, None if lease is None else self.now().monotonic + lease
        )
        if lease is not None:
            self.world.after(lease / 2, self._renew, interface, addresses, self._boots)
        self._attachments_changed()

    def detach(self, interface: str) -> None:
        """Out of range."""
        if interface in self._links:
            self._unplug(interface)
            self._attachments_changed()

    def come_home(self) -> None:
        """On the home link, if there is one."""
        if self.agent.file.home_link is None:
            return
        if self.engine is None:
            self.boot()
        self.home_attached = True
        self.agent.at_home[self.config.home_address] = self
        self._attachments_changed()

    def leave_home(self) -> None:
        """Off the home link."""
        if self.home_attached:
            self._leave_home()
            self._attachments_changed()

    def _leave_home(self) -> None:
        self.home_attached = False
        if self.agent.at_home.get(self.config.home_address) is self:
            del self.agent.at_home[self.config.home_address]

    def _unplug(self, interface: str) -> None:
        link = self._links.pop(interface, None)
        if link is not None:
            link.access.leave(link.addresses)

    def _renew(self, interface: str, addresses: tuple[IPAddress, ...], boots: int) -> None:
        link = self._links.get(interface)
        if (
            link is None
            or link.addresses != addresses
            or self._boots != boots
            or link.access.plan.lease is None
        ):
            return
        link.lease_end = self.now().monotonic + link.access.plan.lease
        self.world.after(link.access.plan.lease / 2, self._renew, interface, addresses, boots)
        self._attachments_changed()

    def attachments(self) -> Attachments:
        """What the movement layer would report."""
        home = None
        if self.home_attached:
            home = HomeAttachment(HOME_INTERFACE, INTERFACES[HOME_INTERFACE], self.config.home_agent, None)
        found: list[CareOfAddress] = []
        for interface, link in self._links.items():
            preference = 100 if interface == "wlan0" else self._plan.preference
            for address in link.addresses:
                end = link.lease_end if address.version == 4 else None
                found.append(care_of(link.access, address, interface, INTERFACES[interface], preference, end))
        return Attachments(home, tuple(found))

    def _attachments_changed(self) -> None:
        if self.engine is not None:
            self.engine.attachments_changed(self.attachments(), self.now())
            self.turn()

    # Packets -----------------------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> None:
        """A frame to one of our care-of addresses."""
        if self.engine is None:
            return
        if isinstance(frame.payload, Inner):
            inner = self.dataplane.decapsulate(frame, self.now().monotonic)
            if inner is not None:
                self._take(inner)
            return
        data = frame.payload
        if frame.source_port:
            if frame.destination_port != self.config.udp_port:
                return
            outer = UdpOuter(frame.source, frame.source_port, frame.destination, frame.destination_port)  # type: ignore[arg-type]
            data = encapsulate_udp(data, outer)
        self.engine.receive(data, self.now())
        self.turn()

    def signalled_at_home(self, packet: bytes) -> None:
        """Octets from the home link."""
        if self.engine is not None and self.home_attached:
            self.engine.receive(packet, self.now())
            self.turn()

    def receive_at_home(self, inner: Inner) -> None:
        """A data packet from the home link."""
        if self.engine is not None:
            self._take(inner)

    def _take(self, inner: Inner) -> None:
        if inner.what == "forged":
            raise Violation(f"{self.name} takes {inner} for a packet from its home agent")
        if isinstance(inner.destination, IPv6Address) and not self.owns(inner.destination):
            raise Violation(f"{self.name} gets somebody else's packet: {inner}")
        if inner.what == "echo-reply" and self.engine is not None:
            self.engine.echo_reply(inner.number >> 16, inner.number & 0xFFFF, self.now())
            self.turn()
        else:
            self.delivered += 1

    def owns(self, address: IPv6Address) -> bool:
        """The address is ours, or in our mobile network."""
        return address == self.config.home_address or any(address in p for p in self.config.prefixes)

    def outgoing(self, inner: Inner) -> tuple[Access, Frame] | None:
        """What leaves for a data packet of ours, and where."""
        frame = self.dataplane.encapsulate(inner, self.now().monotonic)
        if not isinstance(frame, Frame):
            return None
        path = self.dataplane.entries[BINDING].path
        for interface, link in self._links.items():
            # The address alone does not say: every NAT hands out the same.
            if (
                path is not None
                and path.interface == INTERFACES[interface]
                and frame.source in link.addresses
            ):
                return link.access, frame
        return None

    # The engine --------------------------------------------------------------------------------------------

    def timer(self) -> None:
        """The engine's timer."""
        if self.engine is not None:
            self.engine.tick(self.now())
            self.turn()

    def turn(self) -> None:
        """Carry out what the engine wants."""
        engine = self.engine
        if engine is None:
            return
        for action in engine.actions():
            self._carry_out(action)
        due = engine.timeout()
        self.arm(due)
        self._check(engine, due)

    def _carry_out(self, action: Action) -> None:
        match action:
            case SendPacket():
                self._ledger.note(action.packet)
                self._send_ipv6(action.packet, action.interface)
            case SendDatagram():
                self._ledger.note(action.payload)
                local, remote = action.local, action.remote
                frame = Frame(local.address, remote.address, action.payload, local.port, remote.port)
                self._send(frame, action.interface)
            case SendIPv4():
                self._send_probe(action.packet, action.interface)
            case InstallPath():
                self.dataplane.set_path(BINDING, action.path)
                self.dataplane.set_networks(BINDING, action.networks)
            case RemovePath():
                self.dataplane.remove_path(BINDING)
            case HomeAddressesChanged():
                self.dataplane.set_networks(BINDING, action.networks)
            case Event(kind="handover"):
                self.handovers += 1
            case _:
                pass

    def _send_ipv6(self, packet: bytes, interface: str) -> None:
        if interface == HOME_INTERFACE:
            if self.home_attached:
                self._internet.direct(self.agent.receive_at_home, packet, self.fate)
        else:
            self._send(Frame(IPv6Address(packet[8:24]), IPv6Address(packet[24:40]), packet), interface)

    def _send_probe(self, packet: bytes, interface: str) -> None:
        echo = Inner(
            self.config.home_address, self.config.home_agent, "echo", int.from_bytes(packet[_PROBE_NUMBERS])
        )
        self._send(Frame(IPv4Address(packet[12:16]), IPv4Address(packet[16:20]), echo), interface)

    def _send(self, frame: Frame, interface: str) -> None:
        link = self._links.get(interface)
        if link is not None and frame.source in link.addresses:
            self._internet.from_node(self, link.access, frame)

    # Invariants --------------------------------------------------------------------------------------------

    def _check(self, engine: MobileNode, due: float | None) -> None:
        """What holds at any time, whatever goes on around it. `due`: when the engine wants its next tick."""
        now = self.now()
        entry = engine.entry
        granted = self.agent.oracle.granted.get((self.config.home_address, entry.sequence)) if entry else None
        if entry is not None and granted is not None and entry.expires > now.monotonic + 1e-3:
            ends = granted - self.booted
            if entry.expires > ends + 1e-3:
                raise Violation(f"{self.name} believes in a binding until {entry.expires}, it ends at {ends}")
        if due is not None and due <= now.monotonic - 1:
            raise Violation(f"{self.name} has had something to do since {due}, it is {now.monotonic}")
        if not self._links and not self.home_attached and due is not None:
            raise Violation(f"{self.name} is nowhere and waits for {due}")
        state = engine.state(now)
        if state is MobileNodeState.REGISTERED and entry is None:
            raise Violation(f"{self.name} is registered without an entry")
        if len(self._memory) > len(self._internet.accesses):
            raise Violation(f"{self.name} remembers {len(self._memory)} networks")
