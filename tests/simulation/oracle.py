"""Judges a home agent by its actions: what it may do, from what the simulation knows and it does not.

Nothing here asks the engine anything. The oracle keeps its own binding cache out of the actions, and its own
idea of what the data plane has to look like.
"""

from __future__ import annotations

import itertools
from ipaddress import IPv4Network, IPv6Address
from typing import TYPE_CHECKING

from msgspec import structs

from dsmip.core.actions import (
    Action,
    ForgetBinding,
    InstallBinding,
    RemoveBinding,
    StartDad,
    StoreBinding,
    StoreReplay,
)
from dsmip.core.types import (
    DSMIP_PORT,
    Binding,
    CareOfBinding,
    FlowRule,
    IPAddress,
    Nat,
    ReplayState,
    TunnelFormat,
)
from tests.simulation.clock import EPOCH
from tests.simulation.data_plane import Source, prefix_of
from tests.simulation.frames import Violation
from tests.simulation.in_force import EPSILON, NTP_OFFSET, InForce, Probe
from tests.simulation.ledger import Authentic, Ledger
from tests.simulation.outer import outer_sources, route_of
from tests.simulation.plan import AgentPlan, entry_of
from tests.simulation.several import check_several
from tests.simulation.undone import Former

if TYPE_CHECKING:
    from tests.simulation.agent import AgentHost


class Oracle(InForce):
    """One home agent's judge. Times are the world's unless they say otherwise."""

    def __init__(self, plan: AgentPlan, ledger: Ledger) -> None:
        super().__init__(plan)
        self._ledger = ledger
        self._rights = {table.home_address: entry_of(table) for table in plan.file.mobile_node}

    # What it does ------------------------------------------------------------------------------------------

    def judge(self, host: AgentHost, actions: list[Action], outer: set[Source]) -> list[IPv6Address]:
        """Check a turn's actions; `outer` is where the turn's packets came from. Home addresses concerned."""
        concerned: list[IPv6Address] = []
        self.former.clear()
        for action in actions:
            match action:
                case StoreBinding():
                    if host.dataplane.room is not None:
                        self._remember(action.binding.home_address)
                    self._stored(host, action, outer)
                    concerned.append(action.binding.home_address)
                case StoreReplay():
                    self.replay_state(host, action.replay)
                case InstallBinding():
                    home_address = action.binding.home_address
                    if self.bindings.get(home_address) != action.binding:
                        raise Violation(
                            f"{host.name} installs another binding than it stored: {action.binding}"
                        )
                    concerned.append(home_address)
                case ForgetBinding():
                    self.detached.add(action.home_address)
                case RemoveBinding():
                    self.removed(host, action)
                    concerned.append(action.binding.home_address)
                case StartDad():
                    # A probe that nobody reported on is forgotten with what it was for.
                    self.probing[action.home_address] = Probe(
                        {self.believed[action.home_address]}, set(outer)
                    )
                case _:
                    pass
        for probe in self.probing.values():
            probe.outer |= outer
        if self.detached:
            raise Violation(f"{host.name} forgets without removing: {self.detached}")
        return concerned

    def _remember(self, home_address: IPv6Address) -> None:
        binding = self.bindings.get(home_address)
        known = None
        if binding is not None:
            known = Former(binding, self.deadlines[home_address], self.permitted[home_address])
        self.former.setdefault(home_address, []).append(known)

    def take_back(self, known: Former, binding: Binding) -> None:
        """It is bound as it was, less some dynamic addresses maybe."""
        home_address = binding.home_address
        self.release(home_address, binding)
        self.holders.update((grant.network, home_address) for grant in binding.ipv4)
        self.bindings[home_address] = binding
        self.deadlines[home_address] = known.deadlines
        self.permitted[home_address] = known.permitted

    def probed(self, home_address: IPv6Address) -> None:
        """Duplicate address detection has reported, and the engine has acted."""
        self.probing.pop(home_address, None)

    def _stored(self, host: AgentHost, action: StoreBinding, outer: set[Source]) -> None:
        binding, replay = action.binding, action.replay
        home_address, time = binding.home_address, host.world.time
        previous = self.bindings.get(home_address)
        if previous is not None and binding.sequence == previous.sequence:
            self._shrunk(host, binding, previous)
            return
        sent = self._authentic(host, binding, replay)
        if sent.deregistration and not sent.bids:
            raise Violation(f"{host.name} binds {home_address} upon a de-registration")
        if previous is not None:
            last = self.sequences.get(home_address, previous.sequence)
            if not 1 <= (binding.sequence - last) % 0x10000 < 0x8000:
                raise Violation(f"{home_address}: sequence number {binding.sequence} after {last}")
        self.sequences[home_address] = binding.sequence
        probe = self.probing.get(home_address)
        sources = outer | probe.outer if probe is not None else outer
        before = self.deadlines.get(home_address, {})
        if sent.bids:
            renewed = check_several(host, binding, previous, before, sent, sources)
        else:
            if binding.multiple:
                raise Violation(f"{home_address} has identifiers nobody asked for: {binding}")
            self._check_care_of(binding, sent, sources)
            renewed = {0}
        deadlines = {entry.bid: before.get(entry.bid, 0.0) for entry in binding.care_ofs}
        for entry in binding.care_ofs:
            if entry.bid in renewed:
                self._check_lifetime(host, entry, sent)
                deadlines[entry.bid] = time + entry.lifetime
                self.skews[home_address, entry.bid, entry.updated] = (deadlines[entry.bid], host.skew)
        self._check_rights(binding, sent)
        self.believed[home_address] = max(replay.timestamp, self.believed.get(home_address, 0))
        self.enter(host, binding, deadlines)
        self.granted[home_address, binding.sequence] = max(deadlines.values())

    def _check_lifetime(self, host: AgentHost, entry: CareOfBinding, sent: Authentic) -> None:
        now = host.now()
        if not 0 < entry.lifetime <= min(sent.lifetime, self.file.max_lifetime):
            raise Violation(f"{sent.home_address}: {entry.lifetime} s granted, {sent.lifetime} s asked for")
        if abs(entry.expires - now.unix - entry.lifetime) > EPSILON:
            raise Violation(
                f"{sent.home_address} expires at {entry.expires}, granted {entry.lifetime} at {now.unix}"
            )

    def _shrunk(self, host: AgentHost, binding: Binding, previous: Binding) -> None:
        """Nobody asked for it: some care-of addresses have come to their end, and nothing else is new.

        Or a restart has found that the time of day was set back, and writes down when they end by that.
        """
        home_address, deadlines = binding.home_address, self.deadlines[binding.home_address]
        now, left = host.now().unix, {entry.bid: entry for entry in binding.care_ofs}
        kept = tuple(
            structs.replace(entry, expires=min(entry.expires, left[entry.bid].expires))
            for entry in previous.care_ofs
            if entry.bid in left
        )
        for entry in kept:
            if entry not in previous.care_ofs:
                if abs(entry.expires - now - entry.lifetime) > EPSILON:
                    raise Violation(f"{home_address}: {previous} becomes {binding} by itself")
                self.skews[home_address, entry.bid, entry.updated] = (deadlines[entry.bid], host.skew)
        if structs.replace(previous, care_ofs=kept) != binding:
            raise Violation(f"{home_address}: {previous} becomes {binding} by itself")
        early = [bid for bid, end in deadlines.items() if bid not in left and end > host.world.time + EPSILON]
        if early:
            raise Violation(f"{home_address}: care-of addresses {early} end before their time")
        self.enter(host, binding, {bid: deadlines[bid] for bid in left}, grace=0.0)

    def _authentic(self, host: AgentHost, binding: Binding, replay: ReplayState) -> Authentic:
        """The Binding Update behind a binding; there has to be one, fresh and for this home agent."""
        home_address, believed = binding.home_address, self.believed.get(binding.home_address, 0)
        sent = self._ledger.numbered(self.file.address, home_address, binding.sequence)
        if home_address in self.probing:
            # Judged when they came. After a reboot two may have the same number.
            sent = [update for update in sent if update.timestamp in self.probing[home_address].timestamps]
        else:
            sent = [update for update in sent if update.timestamp == replay.timestamp]
            if sent and replay.timestamp <= believed:
                raise Violation(f"{host.name} accepts a replay: {sent[0]}")
            self._check_fresh(host, replay.timestamp)
        if not sent:
            raise Violation(f"{host.name} has a binding nobody asked for: {binding}")
        return next((update for update in sent if update.care_of == binding.care_of), sent[-1])

    def _check_fresh(self, host: AgentHost, timestamp: int) -> None:
        """Close to a time of day that is never set back, and hurries after none (RFC 4285 section 6).

        What has been accepted tells how early it can be at most, the highest the clock has been how late. The
        seconds of NTP run over in 2036; the simulation begins in 2030.
        """
        time, unix, tolerance = host.world.time, host.now().unix, self.file.timestamp_tolerance
        stamped = timestamp / 2**32 - NTP_OFFSET
        shown, at = self.no_earlier
        earliest = max(unix, shown + 0.99 * (time - at))
        latest = time + EPOCH + host.highest_skew
        if not earliest - tolerance - EPSILON <= stamped <= latest + tolerance + EPSILON:
            raise Violation(
                f"{host.name} believes a timestamp of {stamped:.3f}, it is {earliest:.3f} to {latest:.3f}"
            )
        self.no_earlier = (max(earliest, stamped - tolerance), time)

    def _check_care_of(self, binding: Binding, sent: Authentic, outer: set[Source]) -> None:
        if binding.nat_source is None:
            if binding.care_of != sent.care_of:
                raise Violation(
                    f"{binding.home_address}: care-of address {binding.care_of}, asked for {sent.care_of}"
                )
            return
        if tuple(binding.nat_source) not in outer or binding.care_of != binding.nat_source.address:
            raise Violation(f"{binding.home_address}: {binding.nat_source} did not send it, only {outer}")
        nat = binding.nat_source.address != sent.care_of
        if (binding.nat is Nat.DETECTED) != nat:
            raise Violation(
                f"{binding.home_address}: NAT {binding.nat} from {binding.nat_source} for {sent.care_of}"
            )

    def _check_rights(self, binding: Binding, sent: Authentic) -> None:
        """Only what is the mobile node's own or free, and of that nothing twice."""
        rights = self._rights[binding.home_address]
        if binding.mobile_router != sent.router or not set(binding.prefixes) <= set(rights.prefixes):
            raise Violation(f"{binding.home_address}: prefixes {binding.prefixes}")
        pools = [pool for pool in (self.file.ipv4_pool, self.file.ipv4_prefix_pool) if pool is not None]
        for grant in binding.ipv4:
            own = rights.ipv4_home_address is not None and grant.network == IPv4Network(
                rights.ipv4_home_address
            )
            own = own or grant.network in rights.ipv4_prefixes
            free = rights.allow_dynamic_ipv4 and any(grant.network.subnet_of(pool) for pool in pools)
            if not (free if grant.dynamic else own):
                raise Violation(f"{binding.home_address} has no right to {grant}")
            if self.holders.setdefault(grant.network, binding.home_address) != binding.home_address:
                raise Violation(f"{grant.network} is granted twice, now to {binding.home_address}")

    def replay_state(self, host: AgentHost, replay: ReplayState) -> None:
        """What is written down as believed."""
        home_address, timestamp = replay.home_address, replay.timestamp
        believed = self.believed.get(home_address, 0)
        if timestamp < believed:
            raise Violation(f"{home_address}: the last timestamp goes back")
        if timestamp > believed:
            sent = self._ledger.stamped(self.file.address, home_address, timestamp)
            if not sent:
                raise Violation(f"{host.name} believes a timestamp {home_address} never sent")
            self._check_fresh(host, timestamp)
            self.believed[home_address] = timestamp
            if all(update.deregistration for update in sent):
                self.probing.pop(home_address, None)  # what waited for it is not wanted any more
            elif home_address in self.probing:
                self.probing[home_address].timestamps.add(timestamp)

    def removed(self, host: AgentHost, action: RemoveBinding) -> None:
        """A binding has ended: there has to be a reason."""
        home_address = action.binding.home_address
        self.detached.discard(home_address)
        if action.reason == "expired":
            ended = max(self.deadlines[home_address].values()) <= host.world.time + EPSILON
        elif action.reason == "deregistered":
            sent = self._ledger.stamped(self.file.address, home_address, self.believed.get(home_address, 0))
            left = {b for b, end in self.deadlines[home_address].items() if end > host.world.time + EPSILON}
            ended = any(
                update.deregistration and (not update.bids or left <= {one.bid for one in update.bids})
                for update in sent
            )
        else:
            ended = action.reason == "no-room" and host.dataplane.room is not None
        if not ended:
            raise Violation(f"{host.name} removes the binding of {home_address}: {action.reason}")
        self.release(home_address, None)
        del self.bindings[home_address], self.deadlines[home_address], self.permitted[home_address]

    # The data plane ----------------------------------------------------------------------------------------

    def may_come_from(self, home_address: IPv6Address, source: Source, now: float) -> bool:
        """A tunnelled packet of this mobile node may have this outer source."""
        until = self.permitted.get(home_address, {}).get(source)
        return until is not None and now <= until + EPSILON

    def owner_of(self, index: int | None, address: IPAddress) -> IPv6Address | None:
        """Whose this inner address is, which the data plane thinks belongs to this index."""
        home_address = self.indices.get(index or 0)
        binding = self.bindings.get(home_address) if home_address is not None else None
        if binding is not None and any(address in network for network in binding.networks):
            return home_address
        return None

    def check(self, host: AgentHost, home_address: IPv6Address) -> None:
        """Engine and data plane have exactly this binding."""
        binding = self.bindings.get(home_address)
        if host.engine.bindings.get(home_address) != binding:
            raise Violation(f"{host.name}: the engine's binding of {home_address} is not what it stored")
        if binding is None:
            return
        entry = host.dataplane.entries.get(binding.index)
        if entry is None:
            raise Violation(f"{host.name}: no path for {binding}")
        if set(entry.networks) != {prefix_of(network) for network in binding.networks}:
            raise Violation(f"{home_address}: networks {entry.networks}, expected {binding.networks}")
        deadlines = self.deadlines[home_address]
        if set(entry.paths) != set(deadlines):
            raise Violation(f"{home_address}: paths {set(entry.paths)}, bound are {set(deadlines)}")
        for care_of in binding.care_ofs:
            path, deadline = entry.paths[care_of.bid], deadlines[care_of.bid]
            if route_of(path) != self._route(home_address, care_of):
                raise Violation(f"{home_address}: {path}, expected {self._route(home_address, care_of)}")
            if path.expires is None or abs(host.world_time(path.expires) - deadline) > EPSILON:
                raise Violation(f"{home_address}: the path ends at {path.expires}, the binding at {deadline}")
        order = tuple(care_of.bid for care_of in binding.care_ofs) if binding.multiple else ()
        if entry.preference != order:
            raise Violation(f"{home_address}: preference {entry.preference}, expected {order}")
        if entry.flows != tuple(FlowRule(flow.selector, flow.bids) for flow in binding.flows):
            raise Violation(f"{home_address}: flows {entry.flows}, expected {binding.flows}")
        permitted = self.permitted[home_address]
        for source, until in entry.sources.items():
            if source not in permitted or until is None:
                raise Violation(f"{home_address}: packets from {source} are accepted")
            if host.world_time(until) > permitted[source] + EPSILON:
                excess = host.world_time(until) - permitted[source]
                raise Violation(f"{home_address}: packets from {source} are accepted {excess:.3f} s too long")
        for source in outer_sources(binding):
            if source not in entry.sources:
                raise Violation(f"{home_address}: packets from {source} are not accepted")

    def check_all(self, host: AgentHost) -> None:
        """Engine, data plane and disk have these bindings and no others; nothing is left over."""
        for home_address in self.bindings:
            self.check(host, home_address)
        if set(host.engine.bindings) != set(self.bindings):
            raise Violation(f"{host.name}: bindings of {set(host.engine.bindings) ^ set(self.bindings)}")
        now, alive = host.world.time, {binding.index for binding in self.bindings.values()}
        for index, entry in host.dataplane.entries.items():
            if index not in alive and (
                entry.sources or entry.path is None or entry.path.format is not TunnelFormat.LINK
            ):
                raise Violation(f"{host.name}: index {index} has no binding but {entry}")
            late = [
                s
                for s, until in entry.sources.items()
                if until is not None and host.world_time(until) < now - 1
            ]
            if late:
                raise Violation(f"{host.name}: index {index} still lists {late}")
        held = sorted(self.holders, key=lambda network: int(network.network_address))
        for one, following in itertools.pairwise(held):
            if one.overlaps(following):
                raise Violation(f"{host.name}: {one} and {following} are granted to different mobile nodes")
        for home_address, deadlines in self.deadlines.items():
            if min(deadlines.values()) < now - 1:
                raise Violation(f"{host.name}: {home_address} should have expired: {deadlines}")
        if not host.disk.full and not host.disk.dirty:
            stored = {binding.home_address: binding for binding in host.disk.load()[0]}
            if stored != self.bindings:
                raise Violation(f"{host.name}: on disk {stored}, in force {self.bindings}")
        if host.file.home_link is not None and set(host.proxied) != self._defended():
            raise Violation(f"{host.name} answers for {set(host.proxied)}, should for {self._defended()}")
        # A timer may outlive its binding until the binding would have ended: it is one in a heap.
        over = not self.bindings and not self.probing and self.latest < now - 1
        if over and host.engine.timeout() is not None:
            raise Violation(f"{host.name} waits for nothing until {host.engine.timeout()}")

    def _defended(self) -> set[IPAddress]:
        addresses: set[IPAddress] = set()
        for home_address, binding in self.bindings.items():
            if binding.at_home:
                continue  # it answers for itself (RFC 5648 section 6.3)
            if home_address in self.file.home_prefixes[0]:
                addresses.add(home_address)
                if binding.link_local:
                    addresses.add(IPv6Address((0xFE80 << 112) | (int(home_address) & (1 << 64) - 1)))
            for grant in binding.ipv4:
                address = grant.address
                if grant.prefixlen == 32 and any(address in p for p in self.file.ipv4_home_prefixes):
                    addresses.add(address)
        return addresses

    def _route(self, home_address: IPv6Address, entry: CareOfBinding) -> tuple[object, ...]:
        if entry.at_home:
            return (TunnelFormat.LINK, self.file.address, home_address, 0, 0)
        if entry.nat_source is None:
            return (TunnelFormat.IPV6, self.file.address, entry.care_of, 0, 0)
        if entry.format is TunnelFormat.UDP4:
            remote, port = entry.nat_source
            return (TunnelFormat.UDP4, self.file.ipv4_address, remote, DSMIP_PORT, port)
        if entry.nat is Nat.DETECTED:
            raise Violation(f"{home_address} is behind a NAT but not tunnelled in UDP")
        return (TunnelFormat.IPV4, self.file.ipv4_address, entry.care_of, 0, 0)
