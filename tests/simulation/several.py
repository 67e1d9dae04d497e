"""Judges what an update with binding identifiers makes of a binding (RFC 5648 section 6.2, RFC 6089 5.3).

Written from the RFCs: what was bound, what was asked for and what is bound now go in; a Violation, or the
identifiers that were made or renewed, comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from dsmip.core.types import Binding, CareOfBinding, Nat, TunnelFormat
from dsmip.wire.multihoming import BindingIdentifier
from tests.simulation.data_plane import Source
from tests.simulation.frames import Violation
from tests.simulation.ledger import Authentic

if TYPE_CHECKING:
    from tests.simulation.agent import AgentHost

_EPSILON = 1e-3


def check_several(
    host: AgentHost,
    binding: Binding,
    previous: Binding | None,
    deadlines: Mapping[int, float],
    sent: Authentic,
    outer: set[Source],
) -> set[int]:
    """`deadlines` are those of `previous`, `outer` is where updates came from. Returns what was renewed."""
    file, now = host.file, host.world.time
    if not (
        file.multiple_care_of_addresses
        and (file.bulk_registration or len(sent.bids) == 1 or not sent.lifetime)
    ):
        raise Violation(f"{host.name} takes what it prohibits: {sent}")
    before = {entry.bid: entry for entry in previous.care_ofs} if previous is not None else {}
    bound = {entry.bid: entry for entry in binding.care_ofs}
    named = {one.bid: one for one in sent.bids}
    over = {bid for bid in before if deadlines[bid] <= now - _EPSILON}
    doubtful = {bid for bid in before if abs(deadlines[bid] - now) <= _EPSILON}
    _check_flows(binding, previous, sent)
    if not sent.lifetime:
        left = {bid for bid in before if bid not in named} - over
        if not left - doubtful <= set(bound) <= left or any(bound[bid] != before[bid] for bid in bound):
            raise Violation(
                f"{sent.home_address}: {set(bound)} are left of {set(before)} without {set(named)}"
            )
        return set()
    if 0 in before and not sent.overwrite:
        raise Violation(f"{sent.home_address}: identifiers beside a plain binding")
    if sum(entry.at_home for entry in bound.values()) > 1:
        raise Violation(f"{sent.home_address} is at home twice: {binding}")
    renewed = set()
    for bid, entry in bound.items():
        option, known = named.get(bid), before.get(bid)
        if option is not None and entry.updated == host.now().unix:
            _check_named(host, sent, entry, option, known, outer)
            renewed.add(bid)
        elif sent.overwrite or entry != known or bid in over:
            raise Violation(f"{sent.home_address}: nobody asked for {entry}, before it was {known}")
        if entry.at_home and not (option is not None and option.home):
            raise Violation(f"{sent.home_address}: still at home after {sent}")
    stays = {bid for bid, entry in before.items() if bid and not entry.at_home} - over - doubtful
    if not sent.overwrite and not stays <= set(bound):
        raise Violation(f"{sent.home_address}: {stays - set(bound)} are gone after {sent}")
    return renewed


def _check_named(
    host: AgentHost,
    sent: Authentic,
    entry: CareOfBinding,
    option: BindingIdentifier,
    known: CareOfBinding | None,
    outer: set[Source],
) -> None:
    where = f"{sent.home_address}: {entry} for {option}"
    if entry.priority != option.priority or entry.at_home != option.home:
        raise Violation(where)
    if option.home:
        allowed = host.file.home_link is not None and host.file.simultaneous_home
        if not allowed or entry.care_of != sent.home_address or entry.format is not TunnelFormat.LINK:
            raise Violation(f"{where}, which is not to be had")
    elif option.care_of is None:
        if known is None or _way(entry) != _way(known):
            raise Violation(f"{where}, it was {known}")
    elif isinstance(option.care_of, IPv6Address):
        if entry.care_of != option.care_of or entry.nat_source is not None:
            raise Violation(where)
    elif entry.nat_source is None:
        raise Violation(f"{where}, and no address it came from")
    elif tuple(entry.nat_source) in outer:
        nat = entry.nat_source.address != option.care_of
        if (entry.nat is Nat.DETECTED) != nat or entry.care_of != entry.nat_source.address:
            raise Violation(f"{where}: NAT {entry.nat}")
    elif known is None or _way(entry) != _way(known) or known.nat is not Nat.NONE:
        # Section 8.1: in bulk only where it is known that there is no NAT.
        raise Violation(f"{where}: it came from {outer}, it was {known}")


def _way(entry: CareOfBinding) -> tuple[object, ...]:
    return (entry.care_of, entry.format, entry.nat_source, entry.nat, entry.at_home)


def _check_flows(binding: Binding, previous: Binding | None, sent: Authentic) -> None:
    """Those that the update names and no others, each as it says or as it was."""
    before = {flow.fid: flow for flow in previous.flows} if previous is not None else {}
    asked = {flow.fid: flow for flow in sent.flows}
    if len({flow.priority for flow in binding.flows}) < len(binding.flows):
        raise Violation(f"{binding.home_address}: two flows of one priority in {binding.flows}")
    if list(binding.flows) != sorted(binding.flows, key=lambda flow: flow.priority):
        raise Violation(f"{binding.home_address}: flows out of order, {binding.flows}")
    for flow in binding.flows:
        option, known = asked.get(flow.fid), before.get(flow.fid)
        as_asked = option is not None and (flow.priority, flow.bids) == (option.priority, option.bids)
        if as_asked and option is not None and option.selector is not None:
            as_asked = flow.selector == option.selector
        elif as_asked:
            as_asked = known is not None and flow.selector == known.selector
        if not as_asked and not (flow == known and (option is not None or flow.fid in sent.kept)):
            raise Violation(f"{binding.home_address}: {flow} is not what {option} asks for, it was {known}")
