"""What must hold once the faults stop: both ends agree, and packets arrive, both ways."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

from dsmip.core.mobile_node import MobileNodeState
from dsmip.core.retransmission import MAX_BINDACK_TIMEOUT
from dsmip.core.types import IPAddress, IPNetwork
from tests.simulation.agent import AgentHost
from tests.simulation.frames import Frame, Inner, Violation
from tests.simulation.internet import Internet
from tests.simulation.node import NodeHost

#: What three Binding Updates over IPv6 take before IPv4 is tried (RFC 5555 section 4.4.1: 1.5 + 3 + 6 s), and
#: corrections of sequence number and clock with a few retransmissions (RFC 6275 section 11.8).
RECOVERY = 10.5 + 15.0

_CORRESPONDENT = IPv6Address("2001:db8:c::1")
_IPV4_CORRESPONDENT = IPv4Address("192.0.2.200")


def patience(node: NodeHost) -> float:
    """Seconds after which this node and its home agent must agree.

    The next Binding Update comes with the next refresh, or when the slowest retransmission is due (RFC 6275
    section 11.8).
    """
    engine = node.engine
    refresh = 0.0
    if engine is not None and engine.entry is not None:
        refresh = max(0.0, engine.entry.refresh_at - node.now().monotonic)
    # Care-of addresses that were all silent take turns, and some may be broken.
    turns = max(1, len(node.attachments().care_of))
    return max(refresh, MAX_BINDACK_TIMEOUT) + (turns - 1) * MAX_BINDACK_TIMEOUT + RECOVERY


def is_reachable(node: NodeHost) -> bool:
    """Binding Updates and data get through from wherever it chooses to be registered."""
    reachable = False
    for access in node.accesses:
        plan = access.plan
        if plan.ipv4 is not None and plan.filters and access.nat is None:
            if node.agent.file.udp_encapsulation == "refuse":
                return False  # protocol 41 is all it may use, and that is filtered
            reachable = True
        elif plan.ipv4 is not None or not plan.breaks_ipv6:
            reachable = True
    return reachable


def check(node: NodeHost, internet: Internet) -> int:
    """This mobile node and its home agent agree, and are in touch. Raises Violation.

    How many packets it has followed: one each way for every address and prefix it has, none if it is nowhere.
    """
    engine = node.engine
    if engine is None:
        return 0
    agent, home_address = node.agent, node.config.home_address
    state, binding = engine.state(node.now()), node.agent.engine.bindings.get(home_address)
    where = f"{node.name} at {[access.plan.name for access in node.accesses]}, {state.value}"
    if node.home_attached:
        if state is not MobileNodeState.AT_HOME or binding is not None:
            raise Violation(f"{where}, on its home link, bound as {binding}")
        home: list[IPNetwork] = [IPv6Network(home_address), *node.config.prefixes]
        for network in home:
            _follow_inwards(agent, node, network, internet)
        return len(home)
    if not node.accesses:
        if state is not MobileNodeState.DETACHED:
            raise Violation(f"{where}, attached to nothing")
        return 0
    if not is_reachable(node):
        return 0
    entry = engine.entry
    if entry is None or binding is None:
        raise Violation(f"{where}: entry {entry}, binding {binding}, last status {engine.last_status}")
    if state is not MobileNodeState.REGISTERED and not _is_trying_better(node):
        raise Violation(f"{where}: {entry}")
    granted = {grant.network for grant in engine.ipv4_grants}
    if granted != {grant.network for grant in binding.ipv4}:
        raise Violation(f"{where}: has {granted}, the home agent granted {binding.ipv4}")
    wants = node.config.ipv4_home_address is not None
    if wants and not any(network.prefixlen == 32 for network in granted):
        raise Violation(f"{where}: no IPv4 home address, refused with {engine.ipv4_refusals}")
    for network in binding.networks:
        _follow_inwards(agent, node, network, internet)
        _follow_outwards(agent, node, network)
    return 2 * len(binding.networks)


def _is_trying_better(node: NodeHost) -> bool:
    """A network whose IPv6 was silent is tried again, while data goes on over the one that works."""
    return any(access.plan.breaks_ipv6 for access in node.accesses)


def _member(network: IPNetwork) -> IPAddress:
    return network[0] if network.num_addresses == 1 else network[1]


def _correspondent(address: IPAddress) -> IPAddress:
    return _CORRESPONDENT if address.version == 6 else _IPV4_CORRESPONDENT


def _follow_inwards(agent: AgentHost, node: NodeHost, network: IPNetwork, internet: Internet) -> None:
    """A packet to the home agent's side of the network: from hand to hand, without delay."""
    address = _member(network)
    inner = Inner(_correspondent(address), address)
    outgoing = agent.dataplane.encapsulate(inner, agent.now().monotonic)
    if isinstance(outgoing, Inner):
        if agent.neighbour(inner) is not node:
            raise Violation(f"{address} of {node.name}: on the home link it reaches {agent.neighbour(inner)}")
        return
    if outgoing is None:
        raise Violation(f"{address} of {node.name}: {agent.name} sends it nowhere")
    there = internet.deliver(outgoing)
    if not isinstance(there, tuple) or there[0] is not node:
        raise Violation(f"{address} of {node.name}: {outgoing} arrives at {there}")
    if node.dataplane.decapsulate(there[1], node.now().monotonic) != inner:
        raise Violation(f"{address} of {node.name}: it does not take {there[1]}")


def _follow_outwards(agent: AgentHost, node: NodeHost, network: IPNetwork) -> None:
    """A packet from the mobile node's side of the network."""
    address = _member(network)
    inner = Inner(address, _correspondent(address))
    outgoing = node.outgoing(inner)
    if outgoing is None:
        raise Violation(f"{address} of {node.name} cannot send")
    access, frame = outgoing
    outside: Frame | None = access.outward(frame, node.world.time)
    if outside is None:
        raise Violation(f"{address} of {node.name}: {access.plan.name} swallows {frame}")
    if agent.dataplane.decapsulate(outside, agent.now().monotonic) != inner:
        raise Violation(f"{address} of {node.name}: {agent.name} does not take {outside}")
