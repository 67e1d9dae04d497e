"""Payload under ESP: which policies stand when, with a kernel and a data plane in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest

from dsmip.core.types import IPAddress, IPNetwork
from dsmip.daemon.payload import PayloadAssociation, PayloadProtection, ProtectedNode, Situation
from dsmip.daemon.payload_policies import ESP_PRIORITY, EVERYTHING, PASS_PRIORITY, Ends, Side, policies
from dsmip.dataplane.fake import FakeDataPlane
from dsmip.host.routing import HostError
from dsmip.host.xfrm import Aead, Direction, Mode, Policy, State, Traffic

HA = IPv6Address("2001:db8:100::1")
HOME = IPv6Address("2001:db8:100::10")
HOME6, HOME4 = IPv6Network("2001:db8:100::10"), IPv4Network("198.51.100.10")
MOBILE = IPv6Network("2001:db8:aaaa:1::/64")
CORPORATE = IPv6Network("2001:db8:c::/48")
ALL6, ALL4 = EVERYTHING
TO, FROM = PayloadAssociation(0x3001, Aead(bytes(20))), PayloadAssociation(0x4001, Aead(bytes(36)))
INDEX = 5
AWAY, AT_HOME = Situation(), Situation(at_home=True)


@dataclass
class FakeKernel:
    """Implements `payload.Kernel`; `log` has what was asked of it, in order."""

    standing: dict[tuple[Traffic, Direction], Policy] = field(default_factory=dict)
    states: dict[tuple[IPAddress, int], State] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    closed: bool = False
    #: Of policies.
    room: int = 1000

    def set_policy(self, policy: Policy) -> None:
        if len(self.standing) == self.room and (policy.traffic, policy.direction) not in self.standing:
            raise HostError("IPsec: policy for somebody: Cannot allocate memory")
        self.log.append("+policy")
        self.standing[policy.traffic, policy.direction] = policy

    def remove_policy(self, traffic: Traffic, direction: Direction) -> None:
        self.log.append("-policy")
        self.standing.pop((traffic, direction), None)

    def policies(self, priorities: frozenset[int]) -> set[tuple[Traffic, Direction]]:
        return {key for key, policy in self.standing.items() if policy.priority in priorities}

    def has_state(self, state: State) -> bool:
        return self.states.get((state.destination, state.spi)) == state

    def set_state(self, state: State) -> None:
        self.log.append(f"+{state.spi:#x}")
        self.states[state.destination, state.spi] = state

    def remove_state(self, destination: IPAddress, spi: int) -> None:
        self.log.append(f"-{spi:#x}")
        self.states.pop((destination, spi), None)

    def close(self) -> None:
        self.closed = True


def ends(side: Side) -> Ends:
    return Ends(side, HA, HOME, 0x3001)


def node(side: Side = Side.HOME_AGENT, *networks: IPNetwork, **changes: object) -> ProtectedNode:
    inbound, outbound = (TO, FROM) if side is Side.HOME_AGENT else (FROM, TO)
    made = ProtectedNode(INDEX, ends(side), (HOME6, *networks), EVERYTHING, inbound, outbound)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def dataplane() -> FakeDataPlane:
    return FakeDataPlane()


@pytest.fixture
def payload(kernel: FakeKernel, dataplane: FakeDataPlane) -> PayloadProtection:
    return PayloadProtection(kernel, dataplane)


def protecting(found: list[Policy]) -> set[tuple[IPNetwork, IPNetwork, Direction]]:
    return {(p.traffic.source, p.traffic.destination, p.direction) for p in found if p.request is not None}


def esp_of(kernel: FakeKernel) -> set[tuple[IPNetwork, IPNetwork, Direction]]:
    return protecting(list(kernel.standing.values()))


# Policies --------------------------------------------------------------------------------------------------


def test_a_home_agent_wants_esp_towards_and_from_everything_of_the_mobile_node() -> None:
    found = policies(ends(Side.HOME_AGENT), [HOME6, HOME4], EVERYTHING)
    assert protecting(found) == {
        (ALL6, HOME6, Direction.OUT),
        (HOME6, ALL6, Direction.IN),
        (HOME6, ALL6, Direction.FORWARD),
        (ALL4, HOME4, Direction.OUT),
        (HOME4, ALL4, Direction.IN),
        (HOME4, ALL4, Direction.FORWARD),
    }
    for policy in found:
        if policy.request is not None:
            outward = policy.direction is Direction.OUT
            assert policy.ends == ((HA, HOME) if outward else (HOME, HA))
            assert policy.request == 0x3001
            assert policy.traffic.protocol == 0


def test_a_mobile_node_wants_the_same_the_other_way_round() -> None:
    found = policies(ends(Side.MOBILE_NODE), [HOME6, MOBILE], [CORPORATE])
    assert protecting(found) == {
        (HOME6, CORPORATE, Direction.OUT),
        (CORPORATE, HOME6, Direction.IN),
        (CORPORATE, HOME6, Direction.FORWARD),
        (MOBILE, CORPORATE, Direction.OUT),
        (CORPORATE, MOBILE, Direction.IN),
        (CORPORATE, MOBILE, Direction.FORWARD),
    }
    assert {policy.ends for policy in found if policy.request is not None} == {(HOME, HA), (HA, HOME)}


@pytest.mark.parametrize("side", Side)
def test_what_passes_is_decided_before_what_needs_esp(side: Side) -> None:
    found = policies(ends(side), [HOME6, MOBILE, HOME4], EVERYTHING)
    passing = [policy for policy in found if policy.request is None]
    assert {policy.priority for policy in passing} == {PASS_PRIORITY}
    assert PASS_PRIORITY < ESP_PRIORITY
    icmp = {(p.traffic.message, p.direction) for p in passing if p.traffic.protocol == 58}
    # No errors among them: they quote packets.
    messages = (128, 129, 135, 136, 146, 147)
    assert icmp == {(message, way) for message in messages for way in (Direction.IN, Direction.OUT)}
    discovered = {
        (p.traffic.source, p.traffic.destination)
        for p in passing
        if (p.traffic.message, p.direction) == (135, Direction.OUT)
    }
    own = {(ALL6, HOME6)} if side is Side.HOME_AGENT else {(HOME6, ALL6), (MOBILE, ALL6)}
    assert discovered == own


def test_what_stays_on_the_mobile_nodes_side_is_not_its_home_agents_business() -> None:
    """Hosts of its network talk to it, and it to them: over multicast and from link-local addresses, too."""
    found = policies(ends(Side.MOBILE_NODE), [HOME6, MOBILE, HOME4], EVERYTHING)
    passing = [policy for policy in found if policy.request is None and not policy.traffic.protocol]
    by_way = {
        way: {(p.traffic.source, p.traffic.destination) for p in passing if p.direction is way}
        for way in Direction
    }
    own = {(HOME6, HOME6), (HOME6, MOBILE), (MOBILE, HOME6), (MOBILE, MOBILE), (HOME4, HOME4)}
    assert by_way[Direction.FORWARD] == own
    link6, link4 = ("fe80::/10", "ff02::/16"), ("224.0.0.0/24", "255.255.255.255")
    link = {(network, ip_network(other)) for network in (HOME6, MOBILE) for other in link6}
    link |= {(HOME4, ip_network(other)) for other in link4}
    assert by_way[Direction.OUT] == own | link
    assert by_way[Direction.IN] == own | {(other, network) for network, other in link}
    served = policies(ends(Side.HOME_AGENT), [HOME6, MOBILE, HOME4], EVERYTHING)
    assert all(policy.traffic.protocol for policy in served if policy.request is None)


def test_each_policy_is_there_once() -> None:
    for side in Side:
        found = policies(ends(side), [HOME6, HOME4, MOBILE], [ALL6, ALL4, CORPORATE])
        assert len({(policy.traffic, policy.direction) for policy in found}) == len(found)


# Life ------------------------------------------------------------------------------------------------------


def test_a_node_is_protected_everywhere_at_once(
    payload: PayloadProtection, kernel: FakeKernel, dataplane: FakeDataPlane
) -> None:
    payload.start([(node(), AWAY)])
    assert dataplane.protection == {INDEX: (frozenset(EVERYTHING), frozenset({0x3001}))}
    assert kernel.log.index("+0x3001") > len(kernel.standing) - 1  # policies first
    inward, outward = kernel.states[HA, 0x3001], kernel.states[HOME, 0x4001]
    assert (inward.source, outward.source) == (HOME, HA)
    for state, association in ((inward, TO), (outward, FROM)):
        assert (state.mode, state.request, state.traffic) == (Mode.TUNNEL, 0x3001, None)
        assert state.algorithms == association.algorithm


def test_at_home_there_is_no_esp_but_the_tunnel_stays_closed(
    payload: PayloadProtection, kernel: FakeKernel, dataplane: FakeDataPlane
) -> None:
    payload.start([(node(), AT_HOME)])
    assert kernel.standing == {}
    assert dataplane.protected() == {INDEX}
    payload.situate(INDEX, AWAY)
    assert len(esp_of(kernel)) == 3
    payload.situate(INDEX, AT_HOME)
    assert kernel.standing == {}
    assert len(kernel.states) == 2


def test_networks_granted_come_and_go_with_the_binding(
    payload: PayloadProtection, kernel: FakeKernel
) -> None:
    payload.start([(node(), AWAY)])
    payload.situate(INDEX, Situation((HOME6, HOME4)))
    assert (ALL4, HOME4, Direction.OUT) in esp_of(kernel)
    assert (ALL6, HOME6, Direction.OUT) in esp_of(kernel)
    kernel.log.clear()
    payload.situate(INDEX, Situation((HOME6, HOME4)))
    assert kernel.log == []
    payload.situate(INDEX, AWAY)
    assert {network.version for network, _, _ in esp_of(kernel)} == {6}
    assert set(kernel.log) == {"-policy"}


def test_policies_that_the_kernel_refuses_are_there_or_gone_after_the_next_call(
    payload: PayloadProtection, kernel: FakeKernel
) -> None:
    payload.add(node(), AWAY)
    before, granted = dict(kernel.standing), Situation((CORPORATE, HOME4))
    kernel.room = len(before) + 1
    for back in (AWAY, granted):
        with pytest.raises(HostError, match="Cannot allocate memory"):
            payload.situate(INDEX, granted)
        assert kernel.standing.keys() > before.keys(), "one fitted, and none of those before is missing"
        if back is granted:
            kernel.room = 1000
        payload.situate(INDEX, back)
        assert (kernel.standing == before) == (back is AWAY)
    payload.remove(INDEX)
    payload.add(node(), granted)
    payload.remove(INDEX)
    assert kernel.standing == {}


def test_another_process_goes_on_with_what_is_there(dataplane: FakeDataPlane) -> None:
    kernel = FakeKernel()
    first = PayloadProtection(kernel, dataplane)
    first.start([(node(), Situation((HOME4,)))])
    first.close(keep=True)
    before = dict(kernel.standing), dict(kernel.states)
    kernel.log.clear()
    PayloadProtection(kernel, dataplane).start([(node(), Situation((HOME4,)))])
    assert (kernel.standing, kernel.states) == before
    # Security associations go on counting, and no policy was gone for a moment.
    assert set(kernel.log) == {"+policy"}


def test_what_nobody_wants_any_more_is_taken_out_at_the_start(dataplane: FakeDataPlane) -> None:
    kernel = FakeKernel()
    foreign = Policy(Traffic(ALL6, ALL6), Direction.OUT, 7, priority=2000)
    kernel.set_policy(foreign)
    PayloadProtection(kernel, dataplane).start([(node(), AWAY)])
    PayloadProtection(kernel, dataplane).start([])
    assert list(kernel.standing.values()) == [foreign]
    assert dataplane.protected() == frozenset()


def test_another_configuration_replaces_and_removal_removes(
    payload: PayloadProtection, kernel: FakeKernel, dataplane: FakeDataPlane
) -> None:
    payload.start([(node(), AWAY)])
    fresh = PayloadAssociation(0x3002, Aead(bytes(20)))
    payload.add(node(inbound=fresh, correspondents=(CORPORATE,)), AWAY)
    assert {spi for _, spi in kernel.states} == {0x3002, 0x4001}
    assert dataplane.protection[INDEX] == (frozenset({CORPORATE}), frozenset({0x3002}))
    assert esp_of(kernel) == {
        (CORPORATE, HOME6, Direction.OUT),
        (HOME6, CORPORATE, Direction.IN),
        (HOME6, CORPORATE, Direction.FORWARD),
    }
    payload.remove(INDEX)
    payload.remove(INDEX)
    assert (kernel.standing, kernel.states, dataplane.protection) == ({}, {}, {})


def test_without_keys_nothing_passes(payload: PayloadProtection, kernel: FakeKernel) -> None:
    """As long as nobody has negotiated any."""
    payload.start([(node(inbound=None, outbound=None), AWAY)])
    assert len(esp_of(kernel)) == 3
    assert kernel.states == {}


@pytest.mark.parametrize("keep", [True, False])
def test_the_end(payload: PayloadProtection, kernel: FakeKernel, keep: bool) -> None:
    payload.start([(node(), AWAY)])
    payload.close(keep=keep)
    assert kernel.closed
    assert bool(kernel.standing) is bool(kernel.states) is keep


def test_a_node_without_protection_is_nobodys_business(
    payload: PayloadProtection, kernel: FakeKernel
) -> None:
    payload.situate(7, Situation((ip_network("10.0.0.1"),), at_home=True))
    assert kernel.log == []
