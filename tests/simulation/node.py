"""A mobile node's machine: engine, data plane, interfaces, and a user who carries it about."""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from dsmip.core.actions import (
    Action,
    ComeHome,
    Event,
    HomeAddressesChanged,
    InstallPath,
    LeaveHome,
    RemovePath,
    SendDatagram,
    SendIPv4,
    SendPacket,
    SetDuplication,
    SetFlowRules,
    SetPreference,
    SettleHome,
    ShareHome,
)
from dsmip.core.binding_update_list import BindingUpdateListEntry
from dsmip.core.mobile_node.engine import MobileNode, MobileNodeConfig, MobileNodeState
from dsmip.core.network_memory import NetworkMemory
from dsmip.core.types import DSMIP_PORT, Attachments, CareOfAddress, HomeAttachment, IPAddress
from dsmip.dataplane.api import Role
from dsmip.wire.constants import NextHeader
from dsmip.wire.packet import UdpOuter, encapsulate_udp
from dsmip.wire.pathprobe import PROBE_FORMAT, PROBE_MAGIC, PROBE_SIZE, ProbePayload
from tests.simulation.clock import Machine, World
from tests.simulation.data_plane import ModelDataPlane
from tests.simulation.frames import Frame, Inner, Violation, probe_number, read_probe_number
from tests.simulation.internet import Access, Internet, care_of
from tests.simulation.ledger import Ledger
from tests.simulation.plan import HOME_INTERFACE, NodePlan, policy_of

if TYPE_CHECKING:
    from tests.simulation.agent import AgentHost

#: The mobile node's one binding, as in `dsmip.daemon.mobile_node.daemon`.
BINDING = 1

INTERFACES = {"wlan0": 3, "wwan0": 4, HOME_INTERFACE: 9}

#: Octets of an IPv6 header, and where identifier and sequence number are in the echo behind it, and its data.
_IPV6 = 40
_NUMBERS = slice(_IPV6 + 4, _IPV6 + 8)
_DATA = slice(_IPV6 + 8, None)
_IPV4 = 20


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
        #: The home address is answered for on the home link.
        self.on_link = False
        self._packets = 0
        self._plan = plan
        self._agents = agents
        self._internet = internet
        self._ledger = ledger
        self._memory = NetworkMemory()
        self._links: dict[str, _Link] = {}
        self._boots = 0
        #: When the engine wanted its next tick after the last one.
        self._late: float | None = None
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
        self.on_link = False
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
            home = HomeAttachment(
                HOME_INTERFACE,
                INTERFACES[HOME_INTERFACE],
                self.config.home_agent,
                None,
                link_layer=self.number.to_bytes(6),
            )
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
        if inner.what == "probe-reply" and self.engine is not None:
            bid, sequence, hold = read_probe_number(inner.number)
            self.dataplane.heard(BINDING, bid, hold, self.now().monotonic)
            data = ProbePayload(bid, hold, sequence, 0).encode()
            self.engine.echo_reply(bid, sequence & 0xFFFF, self.now(), data)
            self.turn()
        elif inner.what == "format-reply" and self.engine is not None:
            bid, sequence, _ = read_probe_number(inner.number)
            data = ProbePayload(bid, 0, sequence, 0, PROBE_SIZE | PROBE_FORMAT).encode()
            self.engine.echo_reply(bid, sequence & 0xFFFF, self.now(), data)
            self.turn()
        elif inner.what == "echo-reply" and self.engine is not None:
            self.engine.echo_reply(inner.number >> 16, inner.number & 0xFFFF, self.now())
            self.turn()
        else:
            self.delivered += 1

    def owns(self, address: IPv6Address) -> bool:
        """The address is ours, or in our mobile network."""
        return address == self.config.home_address or any(address in p for p in self.config.prefixes)

    def outgoing(self, inner: Inner) -> list[tuple[Access, Frame]]:
        """What leaves for a data packet of ours, and where; over the home link it leaves as it is."""
        found: list[tuple[Access, Frame]] = []
        for frame, path in self.dataplane.encapsulate(inner, self.now().monotonic):
            for interface, link in self._links.items():
                # The address alone does not say: every NAT hands out the same.
                if (
                    isinstance(frame, Frame)
                    and path is not None
                    and path.interface == INTERFACES[interface]
                    and frame.source in link.addresses
                ):
                    found.append((link.access, frame))
        return found

    def access_of(self, interface: str) -> Access | None:
        """The network on this interface."""
        link = self._links.get(interface)
        return link.access if link is not None else None

    @property
    def last_statuses(self) -> set[int | None]:
        """Those of the last acknowledgements, of each uplink."""
        if self.engine is None:
            return set()
        several = self.engine.multihoming
        registrations = several.registrations if several is not None else []
        return {self.engine.last_status, *(one.last_status for one in registrations)}

    def last_status_of(self, bid: int) -> int | None:
        """Status of the last acknowledgement about one uplink."""
        several = self.engine.multihoming if self.engine is not None else None
        tunnels = several.registrations if several is not None else []
        return next((one.last_status for one in tunnels if one.tunnel.bid == bid), None)

    def leaves_at_home(self, inner: Inner) -> bool:
        """True when one of our data packets goes out of the home link as it is."""
        return self.home_attached and any(
            frame == inner and path is not None and path.interface == INTERFACES[HOME_INTERFACE]
            for frame, path in self.dataplane.encapsulate(inner, self.now().monotonic)
        )

    def use(self) -> None:
        """Packets travel over each path: they are counted."""
        several = self.engine.multihoming if self.engine is not None else None
        if several is not None and self.engine is not None:
            self._packets += 1
            bids = self.dataplane.entries[BINDING].paths if BINDING in self.dataplane.entries else ()
            several.count(dict.fromkeys(bids, (self._packets, 0)), self.now())
            self.turn()

    def announce(self, interface: str, *, leaving: bool) -> None:
        """An uplink is going to end, or may be used again."""
        several = self.engine.multihoming if self.engine is not None else None
        if several is not None:
            change = several.leave if leaving else several.give_back
            change(interface, self.now())
            self.turn()

    def another_policy(self, rng: random.Random) -> None:
        """The owner wants something else of several uplinks."""
        if self.engine is not None and self.config.multihoming is not None:
            self.engine.use_policy(policy_of(rng), self.now())
            self.turn()

    # The engine --------------------------------------------------------------------------------------------

    def timer(self) -> None:
        """The engine's timer."""
        if self.engine is not None:
            self.engine.tick(self.now())
            self.turn(ticked=True)

    def turn(self, *, ticked: bool = False) -> None:
        """Carry out what the engine wants. `ticked`: it has just been told the time."""
        engine = self.engine
        if engine is None:
            return
        for action in engine.actions():
            self._carry_out(action)
        due = engine.timeout()
        self.arm(due)
        self._check(engine, due, ticked=ticked)

    def _carry_out(self, action: Action) -> None:
        match action:
            case SendPacket():
                self._send_ipv6(action.packet, action.interface)
            case SendDatagram():
                local, remote = action.local, action.remote
                payload: bytes | Inner = action.payload
                if action.payload[6] == NextHeader.ICMPV6:
                    payload = self._echo(action.payload)
                else:
                    self._ledger.note(action.payload)
                frame = Frame(local.address, remote.address, payload, local.port, remote.port)
                self._send(frame, action.interface)
            case SendIPv4(packet=packet):
                echo = self._echo(packet[_IPV4:])
                self._send(
                    Frame(IPv4Address(packet[12:16]), IPv4Address(packet[16:20]), echo), action.interface
                )
            case InstallPath():
                self.dataplane.set_path(BINDING, action.path, action.bid)
                self.dataplane.set_networks(BINDING, action.networks)
            case RemovePath():
                self.dataplane.remove_path(BINDING, action.bid)
            case SetPreference():
                self.dataplane.set_preference(BINDING, action.bids)
            case SetFlowRules():
                self.dataplane.set_flows(BINDING, action.rules)
            case SetDuplication():
                self.dataplane.set_duplication(BINDING, action.enabled)
            case ComeHome() | SettleHome() | ShareHome():
                self.on_link = True
            case LeaveHome():
                self.on_link = False
            case HomeAddressesChanged():
                self.dataplane.set_networks(BINDING, action.networks)
            case Event(kind="handover"):
                self.handovers += 1
            case _:
                pass

    def _send_ipv6(self, packet: bytes, interface: str) -> None:
        if packet[6] == NextHeader.IPV6:
            echo = self._echo(packet[_IPV6:])
            self._send(Frame(IPv6Address(packet[8:24]), IPv6Address(packet[24:40]), echo), interface)
            return
        self._ledger.note(packet)
        if interface == HOME_INTERFACE:
            if self.home_attached:
                self._internet.direct(self.agent.receive_at_home, packet, self.fate)
        else:
            self._send(Frame(IPv6Address(packet[8:24]), IPv6Address(packet[24:40]), packet), interface)

    def _echo(self, inner: bytes) -> Inner:
        """A probe in the tunnel: of a path's health, or whether protocol 41 passes."""
        what, number = "echo", int.from_bytes(inner[_NUMBERS])
        if inner[_DATA].startswith(PROBE_MAGIC):
            probe = ProbePayload.decode(inner[_DATA])
            what = "format" if probe.flags & PROBE_FORMAT else "probe"
            number = probe_number(probe.bid, probe.sequence, probe.hold)
        return Inner(self.config.home_address, self.config.home_agent, what, number)

    def _send(self, frame: Frame, interface: str) -> None:
        link = self._links.get(interface)
        if link is not None and frame.source in link.addresses:
            self._internet.from_node(self, link.access, frame)

    # Invariants --------------------------------------------------------------------------------------------

    def _check(self, engine: MobileNode, due: float | None, *, ticked: bool) -> None:
        """What holds at any time, whatever goes on around it. `due`: when the engine wants its next tick."""
        now = self.now()
        entries = [engine.entry]
        several = engine.multihoming
        if several is not None and several.supported:
            entries = [registration.entry for registration in several.registrations]
        for entry in entries:
            if entry is not None:
                self._check_end(entry, now.monotonic)
        if ticked:
            # A tick may find that something should have been done before, for the next one to do at once.
            if due is not None and due <= now.monotonic - 1 and due == self._late:
                raise Violation(f"{self.name} has had something to do since {due}, it is {now.monotonic}")
            self._late = due
        # Bindings of several uplinks are remembered until they end.
        allowed = now.monotonic + self.config.lifetime if several is not None else 0.0
        if not self._links and not self.home_attached and due is not None and due > allowed:
            raise Violation(f"{self.name} is nowhere and waits for {due}")
        state = engine.state(now)
        if state is MobileNodeState.REGISTERED and engine.entry is None:
            raise Violation(f"{self.name} is registered without an entry")
        if len(self._memory) > len(self._internet.accesses) + 1:  # and the home link
            raise Violation(f"{self.name} remembers {len(self._memory)} networks")

    def _check_end(self, entry: BindingUpdateListEntry, now: float) -> None:
        granted = self.agent.oracle.granted.get((self.config.home_address, entry.sequence))
        if granted is not None and entry.expires > now + 1e-3:
            ends = granted - self.booted
            if entry.expires > ends + 1e-3:
                raise Violation(f"{self.name} believes in a binding until {entry.expires}, it ends at {ends}")
