"""What uplinks and flows of a mobile node must mean together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dsmip.core.flow_selectors import Selector, covers
from dsmip.core.mobile_node.multihoming import MAX_UPLINKS
from dsmip.daemon.config import uplinks
from dsmip.daemon.config.problems import Problems
from dsmip.daemon.config.schema import MobileNodeFile

#: Flow rules of a mobile node; one for each IP version, and with `ports` one for each side.
MAX_SELECTORS = 64


def check_uplinks(config: MobileNodeFile, problems: Problems) -> None:
    """Interfaces, flows, and whether there is a choice at all."""
    multihomed = uplinks.is_multihomed(config.multihoming, config.interface)
    if multihomed and len(config.interface) > MAX_UPLINKS:
        problems.add(
            f"interface[{MAX_UPLINKS}].name", f"is one too many: at most {MAX_UPLINKS} work together"
        )
    if config.flow and not multihomed:
        problems.add("flow", "needs several interfaces to choose from, or [multihoming] enabled = true")
    intervals = config.multihoming
    if intervals.idle_probe_interval_ms < intervals.probe_interval_ms:
        problems.add("multihoming.idle_probe_interval_ms", "is shorter than probe_interval_ms")
    if intervals.metered_idle_probe_interval_ms < intervals.idle_probe_interval_ms:
        problems.add("multihoming.metered_idle_probe_interval_ms", "is shorter than idle_probe_interval_ms")
    for number, interface in enumerate(config.interface):
        if interface.leave_below_dbm is not None and not multihomed:
            where = f"interface[{number}].leave_below_dbm"
            problems.add(where, "needs several interfaces: there is no other one to move traffic to")
        for place, network in enumerate(interface.network):
            if (network.prefix is None) == (not network.network):
                where = f"interface[{number}].network[{place}].prefix"
                problems.add(where, "or network: one of them, and not both, says which network is meant")
    _check_flows(config, problems)


def _check_flows(config: MobileNodeFile, problems: Problems) -> None:
    names = {interface.name for interface in config.interface}
    before: list[tuple[str, tuple[Selector, ...]]] = []
    total = 0
    for number, flow in enumerate(config.flow):
        where = f"flow[{number}]."
        if any(flow.name == name for name, _ in before):
            problems.add(f"{where}name", f"{flow.name} is named twice")
        _check_choice(flow, names, where, problems)
        if not _check_description(flow, where, problems):
            continue
        selectors = uplinks.flow_policy(flow).description.selectors()
        total += len(selectors)
        _check_shadow(flow.name, selectors, before, where, problems)
        before.append((flow.name, selectors))
    if total > MAX_SELECTORS:
        problems.add("flow", f"needs {total} rules in the data plane, at most {MAX_SELECTORS} are possible")


def _check_choice(flow: uplinks.FlowTable, names: set[str], where: str, problems: Problems) -> None:
    for place, name in enumerate(flow.interfaces):
        if name not in names:
            problems.add(f"{where}interfaces[{place}]", f"{name} is none of the interfaces")
    if flow.interfaces and flow.use is not None:
        problems.add(f"{where}use", "and interfaces contradict each other: the order of interfaces decides")
    available = len(set(flow.interfaces)) if flow.interfaces else len(names)
    if flow.duplicate > available:
        problems.add(f"{where}duplicate", f"{flow.duplicate} copies need as many interfaces, not {available}")


def _check_description(flow: uplinks.FlowTable, where: str, problems: Problems) -> bool:
    """True when the packets are described in a way that makes sense."""
    found = len(problems.found)
    readers: tuple[tuple[str, int | str | None, Callable[[int | str], object]], ...] = (
        ("protocol", flow.protocol, uplinks.protocol),
        ("ports", flow.ports, uplinks.ports),
        ("remote_ports", flow.remote_ports, uplinks.ports),
        ("local_ports", flow.local_ports, uplinks.ports),
        ("dscp", flow.dscp, uplinks.dscp),
    )
    for key, value, read in readers:
        try:
            if value is not None:
                read(value)
        except ValueError as error:
            problems.add(f"{where}{key}", str(error))
    if len(problems.found) > found:
        return False
    sides = flow.remote_ports is not None or flow.local_ports is not None
    if flow.ports is not None and sides:
        problems.add(f"{where}ports", "is for either side: leave out remote_ports and local_ports")
    if (flow.ports is not None or sides) and not uplinks.has_ports(flow.protocol):
        problems.add(f"{where}protocol", "must be one with ports: tcp, udp, sctp, dccp or udplite")
    versions = {side.prefix.version for side in (flow.remote, flow.local) if side is not None}
    if len(versions) > 1:
        problems.add(f"{where}local", "and remote are of different IP versions")
    described = (flow.protocol, flow.remote, flow.local, flow.dscp)
    if all(value is None for value in described):
        problems.add(f"{where}name", "describes all packets: that is what the interfaces' preference is for")
    return len(problems.found) == found


def _check_shadow(
    name: str,
    selectors: Sequence[Selector],
    before: Sequence[tuple[str, Sequence[Selector]]],
    where: str,
    problems: Problems,
) -> None:
    """A flow all of whose packets belong to an earlier one contradicts it: it would never be looked at."""
    for other, earlier in before:
        if all(any(covers(wide, narrow) for wide in earlier) for narrow in selectors):
            same = all(any(covers(narrow, wide) for narrow in selectors) for wide in earlier)
            what = "describes the same packets as" if same else "describes only packets that belong to"
            problems.add(f"{where}name", f"{name} {what} {other}, which comes first and takes them all")
            return
