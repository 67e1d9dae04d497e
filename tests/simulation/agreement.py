"""What must hold once the faults stop: both ends agree, and packets arrive, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.mobile_node.multihoming import Multihoming
from dsmip.core.mobile_node.uplink import UplinkReport
from dsmip.core.path_supervision import Health
from dsmip.core.retransmission import MAX_BINDACK_TIMEOUT
from dsmip.core.types import Binding, IPAddress, IPNetwork
from tests.simulation.agent import AgentHost
from tests.simulation.frames import Frame, Inner, Violation
from tests.simulation.internet import Access, Internet
from tests.simulation.node import NodeHost
from tests.simulation.plan import REMOTES

#: What three Binding Updates over IPv6 take before IPv4 is tried (RFC 5555 section 4.4.1: 1.5 + 3 + 6 s), and
#: corrections of sequence number and clock with a few retransmissions (RFC 6275 section 11.8).
RECOVERY = 10.5 + 15.0

#: The pause between probes of a path that is metered, and the probation of one that was silent.
_METERED_PAUSE = 30.0
_PROBATION = 25.0

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
    if node.config.multihoming is not None:
        return max(refresh, MAX_BINDACK_TIMEOUT) + turns * MAX_BINDACK_TIMEOUT + RECOVERY + _good_again(node)
    return max(refresh, MAX_BINDACK_TIMEOUT) + (turns - 1) * MAX_BINDACK_TIMEOUT + RECOVERY


def _good_again(node: NodeHost) -> float:
    """Seconds until a path that was silent counts as good, if there is one."""
    several = node.engine.multihoming if node.engine is not None else None
    paths = [uplink.path for uplink in several._uplinks.values()] if several is not None else []
    bad = [path.hold_down for path in paths if path.health is not Health.UP]
    return _METERED_PAUSE + (max(bad) + _PROBATION if bad else 0.0)


def is_busy(node: NodeHost) -> bool:
    """Something is on its way to the home agent or back: it cannot be told yet whether they agree."""
    several = node.engine.multihoming if node.engine is not None else None
    if several is None or not several.supported:
        return False
    waiting = any(one.outstanding or one._prober.due is not None for one in several.registrations)
    return waiting or several.arranger.joint.wanted is not None


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
    several = engine.multihoming
    if several is not None and several.supported and _is_abroad(node, several):
        return _check_several(node, several, internet)
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


def _is_abroad(node: NodeHost, several: Multihoming) -> bool:
    """Registered from outside, be it beside the home link."""
    return not node.home_attached or (bool(node.accesses) and several.may_share_home)


def _check_several(node: NodeHost, several: Multihoming, internet: Internet) -> int:
    """Both ends have the same care-of addresses, in the same order, and the same flows."""
    agent, home_address, now = node.agent, node.config.home_address, node.now()
    binding = agent.engine.bindings.get(home_address)
    where = f"{node.name} at {[access.plan.name for access in node.accesses]}, home {node.home_attached}"
    if not node.accesses and not node.home_attached:
        if several.primary is not None:
            raise Violation(f"{where}: {several.report(now)}")
        return 0
    if not any(_carries(node, access) for access in node.accesses) and not node.home_attached:
        return 0
    reports = {report.bid: report for report in several.report(now)}
    here = {bid: report for bid, report in reports.items() if report.address is not None}
    working = {bid for bid, report in here.items() if report.state != "registering"}
    for bid, report in here.items():
        access = node.access_of(report.interface)
        if bid not in working and (access is None or _carries(node, access)):
            raise Violation(f"{where}: {report} is not registered, last status {node.last_status_of(bid)}")
    if binding is None or {entry.bid for entry in binding.care_ofs} - working - _may_linger(node, reports):
        raise Violation(f"{where}: bound is {binding}, the mobile node has {reports}")
    bound = {entry.bid: entry for entry in binding.care_ofs}
    if not working <= set(bound):
        raise Violation(f"{where}: only {bound} of {here} are bound")
    for bid in working:
        entry, report = bound[bid], here[bid]
        expected = home_address if entry.at_home else report.address
        if entry.nat.value != "detected" and entry.care_of != expected:
            raise Violation(f"{where}: {entry} is not where {report} is")
    if binding.at_home != node.home_attached:
        raise Violation(f"{where}: {binding}")
    if node.home_attached and node.on_link == (home_address in agent.proxied):
        raise Violation(f"{where}: on the link {node.on_link}, proxied {agent.proxied}")
    order = [entry.bid for entry in binding.care_ofs if entry.bid in working]
    told = [bid for bid in several.arranger.told[0] if bid in working]
    if order != told and agent.file.bulk_registration:
        raise Violation(f"{where}: the home agent prefers {order}, the mobile node {told}")
    return _check_flows(node, several, binding, where) + _follow_all(node, binding, internet)


def _carries(node: NodeHost, access: Access) -> bool:
    """Binding Updates and the tunnel get through there, both ways."""
    plan = access.plan
    if plan.ipv4 is not None:
        filtered = plan.filters and access.nat is None and node.agent.file.udp_encapsulation == "refuse"
        return not filtered
    return not plan.breaks_ipv6


def _may_linger(node: NodeHost, reports: Mapping[int, UplinkReport]) -> set[int]:
    """What the mobile node cannot take back as long as nothing else works."""
    if all(_carries(node, access) for access in node.accesses):
        return set()
    return set(reports)


def _check_flows(node: NodeHost, several: Multihoming, binding: Binding, where: str) -> int:
    arranger = several.arranger
    if not node.agent.file.flow_bindings:
        if binding.flows:
            raise Violation(f"{where}: flows {binding.flows}")
        return 0
    wanted = {flow.fid: flow for flow in arranger.wanted if flow.fid not in arranger.flows.refused}
    known = {flow.fid: flow for flow in binding.flows if flow.fid not in arranger.flows.refused}
    if wanted != known:
        raise Violation(f"{where}: the home agent has {known}, the mobile node wants {wanted}")
    return len(known)


def _follow_all(node: NodeHost, binding: Binding, internet: Internet) -> int:
    """A packet each way for every address and prefix, of no flow and of each that there may be."""
    if not all(_carries(node, access) for access in node.accesses):
        return 0  # a path that does not work may be chosen as long as nobody has noticed
    followed = 0
    for network in binding.networks:
        address = _member(network)
        for remote in (
            _correspondent(address),
            *(net[3] for net in REMOTES if net.version == address.version),
        ):
            _follow_in(node.agent, node, Inner(remote, address), internet)
            _follow_out(node.agent, node, Inner(address, remote))
            followed += 2
    return followed


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
    _follow_in(agent, node, Inner(_correspondent(address), address), internet)


def _follow_in(agent: AgentHost, node: NodeHost, inner: Inner, internet: Internet) -> None:
    address = inner.destination
    ways = agent.dataplane.encapsulate(inner, agent.now().monotonic)
    if not ways:
        raise Violation(f"{address} of {node.name}: {agent.name} sends it nowhere")
    for outgoing, _ in ways:
        if isinstance(outgoing, Inner):
            if agent.neighbour(inner) is not node:
                reached = agent.neighbour(inner)
                raise Violation(f"{address} of {node.name}: on the home link it reaches {reached}")
            continue
        there = internet.deliver(outgoing)
        if not isinstance(there, tuple) or there[0] is not node:
            raise Violation(f"{address} of {node.name}: {outgoing} arrives at {there}")
        if node.dataplane.decapsulate(there[1], node.now().monotonic) != inner:
            raise Violation(f"{address} of {node.name}: it does not take {there[1]}")


def _follow_outwards(agent: AgentHost, node: NodeHost, network: IPNetwork) -> None:
    """A packet from the mobile node's side of the network."""
    address = _member(network)
    _follow_out(agent, node, Inner(address, _correspondent(address)))


def _follow_out(agent: AgentHost, node: NodeHost, inner: Inner) -> None:
    address = inner.source
    ways = node.outgoing(inner)
    if not ways and not node.leaves_at_home(inner):
        raise Violation(f"{address} of {node.name} cannot send")
    for access, frame in ways:
        outside: Frame | None = access.outward(frame, node.world.time)
        if outside is None:
            raise Violation(f"{address} of {node.name}: {access.plan.name} swallows {frame}")
        if agent.dataplane.decapsulate(outside, agent.now().monotonic) != inner:
            raise Violation(f"{address} of {node.name}: {agent.name} does not take {outside}")
