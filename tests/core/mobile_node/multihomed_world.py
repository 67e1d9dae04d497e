"""Several uplinks in memory: the mobile node's engine, a home agent by hand, links that can die silently."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

from mobile_node_bench import CAFE4, CONFIG, HOME_ADDRESS, HOME_AGENT, NAT4, OTHER6, WIFI6, Bench, Sent, at

from dsmip.core.actions import (
    Action,
    Event,
    InstallPath,
    RemovePath,
    SendDatagram,
    SendIPv4,
    SendPacket,
    SetDuplication,
    SetFlowRules,
    SetPreference,
)
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.policy import InterfacePolicy, Policy, UplinkChoice
from dsmip.core.types import CareOfAddress, FlowRule, IPAddress, Path
from dsmip.wire.constants import BUFlag, NextHeader
from dsmip.wire.extensions import Extensions, extensions_option
from dsmip.wire.flows import FlowIdentification, FlowSummary
from dsmip.wire.icmpv6 import EchoRequest, decode_icmpv6
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.option import MobilityOption
from dsmip.wire.options import AlternateCareOfAddress, IPv4CareOfAddress, NatDetection, find, find_all
from dsmip.wire.packet import decode_packet
from dsmip.wire.pathprobe import ProbePayload

#: Wi-Fi, a modem with IPv6, a modem behind a NAT, a satellite.
WLAN = WIFI6
LTE = OTHER6
NATED = replace(NAT4, interface="lte1", ifindex=7, network="lte1")
SAT = replace(CAFE4, interface="sat0", ifindex=8, network="sat")

POLICY = Policy(
    (
        InterfacePolicy("wlan0", UplinkChoice(preference=10)),
        InterfacePolicy("wwan0", UplinkChoice(preference=20, cost=5)),
        InterfacePolicy("lte1", UplinkChoice(preference=30, cost=1)),
        InterfacePolicy("sat0", UplinkChoice(preference=40, cost=9, metered=True, fallback_only=True)),
    )
)
WLAN_BID, LTE_BID, NATED_BID, SAT_BID = 1, 2, 3, 4

MULTIHOMED = replace(CONFIG, multihoming=POLICY)

_BOTH = Extensions.DUPLICATION | Extensions.PROBES


@dataclass
class Bound:
    """A binding of the home agent."""

    care_of: IPAddress
    priority: int


@dataclass
class HomeAgentByHand:
    """Does what RFC 5648 and RFC 6089 ask for, as far as a mobile node can tell."""

    answers: bool = True  #: Binding Updates; probes are the business of its data plane
    knows_bids: bool = True
    knows_flows: bool = True
    extensions: Extensions | None = _BOTH
    bindings: dict[int, Bound] = field(default_factory=dict)
    plain: IPAddress | None = None
    flows: dict[int, FlowIdentification] = field(default_factory=dict)
    refuses: dict[int, int] = field(default_factory=dict)  #: status by binding identifier

    def restart(self) -> None:
        """All is lost."""
        self.bindings.clear()
        self.flows.clear()
        self.plain = None

    @property
    def order(self) -> list[int]:
        """Binding identifiers, the preferred one first."""
        return sorted(self.bindings, key=lambda bid: (self.bindings[bid].priority, bid))

    def update(self, sent: Sent) -> tuple[int, tuple[MobilityOption, ...]]:
        """Status and options of the acknowledgement."""
        identifiers = find_all(sent.update.options, BindingIdentifier) if self.knows_bids else ()
        nat = (NatDetection(forced=False, refresh=110),) if isinstance(sent.action, SendDatagram) else ()
        if not identifiers:
            self.bindings.clear()
            self.flows.clear()
            alternate = find(sent.update.options, AlternateCareOfAddress)
            ipv4 = find(sent.update.options, IPv4CareOfAddress)
            given = alternate or ipv4
            care_of = sent.packet.source if given is None else given.address
            self.plain = care_of if sent.update.lifetime else None
            return 0, nat
        if sent.update.flags & BUFlag.O:
            self.bindings.clear()
            self.plain = None
        if self.plain is not None:
            return 165, tuple(BindingIdentifier(one.bid) for one in identifiers)
        answers = [BindingIdentifier(one.bid, status=self._bind(one, sent)) for one in identifiers]
        statuses = {answer.status for answer in answers}
        options: list[MobilityOption] = [*nat, *answers]
        if self.extensions is not None:
            options.append(extensions_option(self.extensions))
        if self.knows_flows:
            options += self._flows(sent)
        if statuses == {0}:
            return 0, tuple(options)
        return (statuses.pop() if len(statuses) == 1 else 4), tuple(options)

    def _bind(self, one: BindingIdentifier, sent: Sent) -> int:
        if one.bid in self.refuses:
            return self.refuses[one.bid]
        if not sent.update.lifetime:
            return 0 if self.bindings.pop(one.bid, None) is not None else 133
        known = self.bindings.get(one.bid)
        if one.care_of is None and known is None:
            return 167
        care_of = one.care_of if one.care_of is not None else known.care_of  # type: ignore[union-attr]
        self.bindings[one.bid] = Bound(care_of, one.priority)
        return 0

    def _flows(self, sent: Sent) -> list[FlowIdentification]:
        summary = find(sent.update.options, FlowSummary)
        kept = summary.fids if summary is not None else ()
        answers = [FlowIdentification(fid, 1, status=132) for fid in kept if fid not in self.flows]
        flows = {fid: flow for fid, flow in self.flows.items() if fid in kept}
        for flow in find_all(sent.update.options, FlowIdentification):
            known = self.flows.get(flow.fid)
            selector = flow.selector or (known.selector if known is not None else None)
            status = 130 if selector is None else 0
            status = status or (131 if any(bid not in self.bindings for bid in flow.bids) else 0)
            if not status:
                flows[flow.fid] = FlowIdentification(flow.fid, flow.priority, 0, flow.bids, selector)
            answers.append(FlowIdentification(flow.fid, flow.priority, status))
        self.flows = flows
        return answers


class MultihomedWorld(Bench):
    """Everything takes `latency` seconds one way. `dead` has the interfaces on which nothing gets through."""

    def __init__(
        self,
        config: MobileNodeConfig = MULTIHOMED,
        *,
        latency: float = 0.01,
        lose: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(config)
        self.latency = latency
        self.agent = HomeAgentByHand()
        self.dead: set[str] = set()
        self.here: tuple[CareOfAddress, ...] = ()
        self.paths: dict[int, Path] = {}
        self.preference: tuple[int, ...] = ()
        self.rules: tuple[FlowRule, ...] = ()
        self.duplication = False
        self.events: list[tuple[float, Event]] = []
        self.probes: list[tuple[float, ProbePayload]] = []
        self._lose = lose or (lambda: False)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def move(self, *care_of: CareOfAddress) -> None:
        """These care-of addresses are there from now on."""
        self.here = care_of
        self.attach(self.time, *care_of)

    def run(self, until: float) -> list[Action]:
        """As the bench does, with the network."""
        actions: list[Action] = []
        for _ in range(200_000):
            times = [
                time
                for time in (self.node.timeout(), self._queue[0][0] if self._queue else None)
                if time is not None
            ]
            if not times or min(times) > until:
                break
            self.time = max(self.time, min(times))
            if self._queue and self._queue[0][0] <= self.time:
                heapq.heappop(self._queue)[2]()
            self.node.tick(at(self.time))
            actions += self.drain()
        else:
            raise AssertionError("the timer does not move on")
        self.time = until
        return actions

    def wait(self, seconds: float) -> list[Action]:
        """Let time pass."""
        return self.run(self.time + seconds)

    def drain(self) -> list[Action]:
        """Carry out what the mobile node wants."""
        before = len(self.sent)
        actions = super().drain()
        for action in actions:
            self._does(action)
        for sent in self.sent[before:]:
            self._later(self._interface(sent.action), lambda sent=sent: self._update_arrives(sent))
        return actions

    def _does(self, action: Action) -> None:
        match action:
            case InstallPath(path=path, bid=bid):
                self.paths[bid] = path
            case RemovePath(bid=bid):
                self.paths.pop(bid, None)
            case SetPreference(bids=bids):
                self.preference = bids
            case SetFlowRules(rules=rules):
                self.rules = rules
            case SetDuplication(enabled=enabled):
                self.duplication = enabled
            case Event():
                self.events.append((self.time, action))
            case SendPacket() | SendDatagram() | SendIPv4():
                payload = probe_in(action)
                if payload is not None:
                    self.probes.append((self.time, payload))
                    self._later(self._interface(action), lambda: self._probe_arrives(action, payload))
            case _:
                pass

    def _interface(self, action: SendPacket | SendDatagram | SendIPv4) -> str:
        return action.interface

    def _alive(self, interface: str) -> bool:
        present = any(care_of.interface == interface for care_of in self.here)
        return present and interface not in self.dead

    def _later(self, interface: str, what: Callable[[], None]) -> None:
        """`what` happens at the other end, if the packet gets there."""

        def arrive() -> None:
            if self._alive(interface):
                what()

        if not self._lose():
            heapq.heappush(self._queue, (self.time + self.latency, next(self._count), arrive))

    def _update_arrives(self, sent: Sent) -> None:
        if not self.agent.answers:
            return
        status, options = self.agent.update(sent)
        interface = self._interface(sent.action)
        care_of = None
        if isinstance(sent.action, SendDatagram) and find_all(sent.update.options, BindingIdentifier):
            named = [one.care_of for one in find_all(sent.update.options, BindingIdentifier)]
            care_of = next((one for one in named if isinstance(one, IPv4Address)), HOME_ADDRESS)
        elif isinstance(sent.action, SendPacket):
            care_of = sent.packet.source
        data = self.acknowledgement(sent, options, status=status, care_of=care_of)
        self._later(interface, lambda: self.node.receive(data, at(self.time)))

    def _probe_arrives(self, action: SendPacket | SendDatagram | SendIPv4, payload: ProbePayload) -> None:
        if self.agent.extensions is None or payload.bid not in self.agent.bindings:
            return
        sequence = payload.sequence & 0xFFFF
        data = payload.encode()
        self._later(
            action.interface, lambda: self.node.echo_reply(payload.bid, sequence, at(self.time), data)
        )

    # Questions --------------------------------------------------------------------------------------------

    def use(self, *bids: int) -> None:
        """Traffic flows over these paths."""
        self._sent = getattr(self, "_sent", 0) + 100
        several = self.node.multihoming
        assert several is not None
        several.count(dict.fromkeys(bids, (self._sent, 0)), at(self.time))

    def kinds(self, kind: str) -> list[Event]:
        """The events of one kind so far."""
        return [event for _, event in self.events if event.kind == kind]

    def agree(self) -> None:
        """Both ends know the same care-of addresses, in the same order, and the same flows."""
        several = self.node.multihoming
        assert several is not None
        working = {
            report.bid: report for report in several.report(at(self.time)) if report.address is not None
        }
        assert set(self.agent.bindings) == set(working)
        for bid, bound in self.agent.bindings.items():
            assert bound.care_of == working[bid].address
        assert list(self.preference) == self.agent.order
        if self.agent.knows_flows:
            assert {flow.fid: flow.bids for flow in several.arranger.wanted} == {
                fid: flow.bids for fid, flow in self.agent.flows.items()
            }


def probe_in(action: SendPacket | SendDatagram | SendIPv4) -> ProbePayload | None:
    """The path probe in a packet, if it is one."""
    if isinstance(action, SendDatagram):
        inner = action.payload
    elif isinstance(action, SendIPv4):
        inner = action.packet[20:]
    elif action.packet[6] == NextHeader.IPV6:
        inner = action.packet[40:]
    else:
        return None
    packet = decode_packet(inner)
    if packet.next_header != NextHeader.ICMPV6:
        return None
    echo = decode_icmpv6(packet.payload, packet.source, packet.destination)
    if not isinstance(echo, EchoRequest) or not echo.data.startswith(b"dsmP"):
        return None
    assert packet.destination == HOME_AGENT
    return ProbePayload.decode(echo.data)


def ipv6(number: int) -> IPv6Address:
    """Some other address."""
    return IPv6Address(f"2001:db8:999::{number:x}")


def settled(*care_of: object, **options: object) -> MultihomedWorld:
    """A mobile node with these care-of addresses, all of them registered."""
    world = MultihomedWorld(**options)  # type: ignore[arg-type]
    world.move(*(care_of or (WLAN, LTE, NATED)))  # type: ignore[arg-type]
    world.wait(2.0)
    world.agree()
    return world


def identifiers(world: MultihomedWorld, number: int = -1) -> tuple[BindingIdentifier, ...]:
    """The binding identifiers of one of the Binding Updates sent."""
    return find_all(world.sent[number].update.options, BindingIdentifier)


def keep_using(world: MultihomedWorld, seconds: float, *bids: int) -> None:
    """Traffic over these paths for so long."""
    for _ in range(round(seconds / 0.1)):
        world.use(*bids)
        world.wait(0.1)


def moved_after(world: MultihomedWorld, since: float) -> float:
    """Seconds from `since` to the moment when traffic went elsewhere."""
    return next(time for time, event in world.events if time >= since and event.kind == "arrangement") - since
