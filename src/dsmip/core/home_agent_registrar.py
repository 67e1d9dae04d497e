"""The state of a home agent and how authentic Binding Updates change it.

RFC 6275 sections 10.3.1 and 10.3.2, RFC 3963 section 6.2, RFC 5555 section 4.5. What comes here has been
checked for its sender; everything here may be believed, not everything may be had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from dsmip.core import home_agent_events
from dsmip.core.actions import (
    Action,
    Drop,
    Event,
    ForgetBinding,
    InstallBinding,
    RemoveBinding,
    StartDad,
    StoreBinding,
    StoreReplay,
)
from dsmip.core.address_owners import AddressOwners
from dsmip.core.binding_cache import BindingCache
from dsmip.core.care_of_lifetimes import cut_short, resumed, unexpired
from dsmip.core.care_of_registration import Registration, removal
from dsmip.core.flow_bindings import FlowRegistrar
from dsmip.core.home_agent_changes import NodeChanges
from dsmip.core.home_agent_config import HomeAgentConfig
from dsmip.core.home_agent_ipv4 import IPv4Assignments
from dsmip.core.home_agent_nodes import MAX_DELETE_BCE_TIMEOUT, ServedNode, ServedNodes
from dsmip.core.home_agent_replies import NO_FLAGS, Answer, Replies
from dsmip.core.lifetime import ENDLESS, Grant, PrefixLifetime, grant, whole_units
from dsmip.core.prefix_table import PrefixTable
from dsmip.core.registration import Policy, Request, refusal
from dsmip.core.sequence import is_newer
from dsmip.core.types import (
    Binding,
    CareOfBinding,
    Instant,
    IPAddress,
    Nat,
    UdpEndpoint,
)
from dsmip.wire.constants import BAFlag, BAStatus
from dsmip.wire.extensions import Extensions
from dsmip.wire.flows import FlowIdentification

#: Seconds after which a registration is given up whose duplicate address detection nobody has reported on.
DAD_PATIENCE = 10.0

_LINK_LOCAL_PREFIX = 0xFE80 << 112
_INTERFACE_IDENTIFIER = (1 << 64) - 1


@dataclass(slots=True)
class _Pending:
    """A first registration that waits for duplicate address detection; `request` is the latest one."""

    request: Request
    node: ServedNode
    prefixes: tuple[IPv6Network, ...]
    deadline: float


class Registrar:
    """Binding cache, prefix table, address pools and what is in between. Actions go to `emit`, in order."""

    def __init__(
        self, config: HomeAgentConfig, nodes: ServedNodes, replies: Replies, emit: Callable[[Action], None]
    ) -> None:
        self.cache = BindingCache()
        self._config = config
        self._nodes = nodes
        self._replies = replies
        self._emit = emit
        self._prefixes = PrefixTable(config.mobile_nodes)
        self._prefix_lifetimes: dict[IPv6Network, PrefixLifetime] = {}
        self._ipv4 = IPv4Assignments(config)
        self._owners = AddressOwners(config.mobile_nodes)
        self._bound: Callable[[Binding, Instant], None] = lambda _binding, _now: None
        self._unbound: Callable[[IPv6Address], None] = lambda _home_address: None
        self._pending: dict[IPv6Address, _Pending] = {}
        self._policy = _policy(config)

    def watch(
        self, bound: Callable[[Binding, Instant], None], unbound: Callable[[IPv6Address], None]
    ) -> None:
        """Have these called when a Binding Update is accepted, and when a binding has ended."""
        self._bound, self._unbound = bound, unbound

    def set_prefix_lifetime(
        self, prefix: IPv6Network, lifetime: PrefixLifetime, now: Instant
    ) -> list[Binding]:
        """How long a home prefix goes on. No binding outlasts it (RFC 6275 section 10.3.1).

        Returns the bindings that were cut and are not over yet.
        """
        before = self._prefix_lifetimes.get(prefix, ENDLESS).valid_until
        self._prefix_lifetimes[prefix] = lifetime
        valid_until = lifetime.valid_until
        if valid_until is None or (before is not None and valid_until >= before):
            return []
        expires = now.unix + max(0.0, valid_until - now.monotonic)
        cut = [
            cut_short(binding, expires, valid_until)
            for binding in self.cache.values()
            if binding.expires > expires and binding.home_address in prefix
        ]
        for binding in cut:
            node = self._nodes.get(binding.home_address)
            if node is not None:
                previous = self.cache[binding.home_address]
                self.cache.store(binding, binding.next_end)
                self._emit(StoreBinding(binding, node.replay))
                self._emit(InstallBinding(binding, previous, 0.0))
        self.tick(now)
        return [binding for binding in cut if binding.home_address in self.cache]

    def binding_of(self, address: IPAddress) -> Binding | None:
        """The binding an inner address belongs to: home address, prefix, or what was assigned from a pool."""
        home_address = self._owners.owner(address)
        if home_address is not None:
            binding = self.cache.get(home_address)
            return binding if binding is not None and _has(binding, address) else None
        if isinstance(address, IPv4Address) and self._ipv4.is_pooled(address):
            return next((binding for binding in self.cache.values() if _has(binding, address)), None)
        return None

    # Time --------------------------------------------------------------------------------------------------

    def timeout(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the next `tick`, None = not needed."""
        deadline = self.cache.next_deadline()
        if self._pending:
            # All wait equally long, so the first one in is the first one out.
            oldest = next(iter(self._pending.values())).deadline
            return oldest if deadline is None else min(deadline, oldest)
        return deadline

    def tick(self, now: Instant) -> None:
        """End bindings and waiting registrations whose time is over."""
        for binding in list(self.cache.expire(now.monotonic)):
            left = unexpired(binding.care_ofs, now.monotonic)
            if left:
                self._shrink(binding, left)
                continue
            self._ipv4.release(binding.ipv4)
            self._withdraw(binding, "expired")
            node = self._nodes.get(binding.home_address)
            if node is not None:
                self._emit(Event("expired", {**node.who, "care_of": str(binding.care_of)}))
        while self._pending:
            home_address, pending = next(iter(self._pending.items()))
            if pending.deadline > now.monotonic:
                break
            del self._pending[home_address]
            self._emit(Drop("dad-unanswered", pending.node.name, pending.node.name))

    def _shrink(self, binding: Binding, left: tuple[CareOfBinding, ...]) -> None:
        """Some care-of addresses have ended, others go on. Flows stay, some of them inactive maybe."""
        node = self._nodes.get(binding.home_address)
        if node is not None:
            shrunk = replace(binding, care_ofs=left)
            self.cache.store(shrunk, shrunk.next_end)
            self._emit(StoreBinding(shrunk, node.replay))
            self._emit(InstallBinding(shrunk, binding, 0.0))
            self._tell(home_agent_events.removed(shrunk, binding, "expired", node.who))
            self._tell(home_agent_events.flows_changed(shrunk, binding, node.who))

    def restore(self, bindings: Iterable[Binding], now: Instant) -> None:
        """Put stored bindings back, less what has ended or is no longer configured."""
        for binding in bindings:
            node = self._nodes.get(binding.home_address)
            care_ofs = resumed(binding.care_ofs, now)
            if node is None:
                self._withdraw(binding, "not-configured")
            elif not care_ofs:
                self._withdraw(binding, "expired")
            else:
                alive = replace(binding, care_ofs=care_ofs)
                kept = self._still_granted(alive, node)
                if kept is not alive or len(care_ofs) < len(binding.care_ofs):
                    self._emit(StoreBinding(kept, node.replay))
                self.cache.store(kept, kept.next_end)
                self._emit(InstallBinding(kept, None, 0.0))

    def reconfigure(self, config: HomeAgentConfig, changes: NodeChanges) -> None:
        """Go on with another configuration, the nodes served being told already.

        A binding ends with its mobile node, and loses what is no longer configured.
        """
        self._config, self._policy = config, _policy(config)
        removed = [self.cache.remove(entry.home_address) for entry in changes.removed]
        touched = [self.cache.get(entry.home_address) for _, entry in changes.replaced]
        if self._ipv4.concerns_pools(changes):
            touched = list(self.cache.values())
        for binding in (*removed, *touched):
            if binding is not None:
                self._ipv4.release(binding.ipv4)
        self._prefixes.change(changes)
        self._ipv4.change(changes)
        self._owners = AddressOwners(config.mobile_nodes)
        for entry in changes.gone:
            self._pending.pop(entry.home_address, None)
        for binding in removed:
            if binding is not None:
                self._withdraw(binding, "not-configured")
        for binding in touched:
            node = self._nodes.get(binding.home_address) if binding is not None else None
            if binding is not None and node is not None:
                self._reduce(binding, node)

    def _reduce(self, binding: Binding, node: ServedNode) -> None:
        kept = self._still_granted(binding, node)
        if kept is not binding:
            self.cache.store(kept, kept.next_end)
            self._emit(StoreBinding(kept, node.replay))
            self._emit(InstallBinding(kept, binding, self._config.grace))

    def _still_granted(self, binding: Binding, node: ServedNode) -> Binding:
        """The binding under the present configuration and under an index of its own.

        The same object if there is nothing to change, which is what a hundred thousand of them count on.
        """
        self._nodes.claim_index(node, binding.index)
        node.sequence = binding.sequence
        prefixes = self._prefixes.still_own(binding.home_address, binding.prefixes)
        ipv4 = self._ipv4.restore(node.entry, binding.ipv4)
        if (node.index, prefixes, ipv4) == (binding.index, binding.prefixes, binding.ipv4):
            return binding
        return replace(binding, index=node.index, prefixes=prefixes, ipv4=ipv4)

    # Binding Updates ---------------------------------------------------------------------------------------

    def process(self, request: Request, node: ServedNode, now: Instant) -> None:
        """Decide upon a Binding Update that is fresh and from the mobile node."""
        if node.association is not None:
            node.timestamp = request.options.timestamp or 0
        home_address = node.entry.home_address
        binding = self.cache.get(home_address)
        compared = binding is not None or now.monotonic < node.deregistered_until
        status = refusal(request, node.entry, binding, node.sequence if compared else None, self._policy)
        if isinstance(status, str):
            self._store_replay(node)
            self._emit(Drop(status, node.name, node.name))
        elif status is not None:
            if request.deregistration:
                self._pending.pop(home_address, None)
            self._refuse(request, node, status, now)
        elif binding is not None and request.deregistration:
            if request.multiple:
                self._remove(request, node, binding, now)
            else:
                self._deregister(request, node, binding, now)
        else:
            self._register(request, node, binding, now)

    def dad_finished(self, home_address: IPv6Address, duplicate: bool, now: Instant) -> None:
        """The home link is free of duplicates, or not (RFC 6275 section 10.3.1)."""
        pending = self._pending.pop(home_address, None)
        if pending is None:
            return
        if duplicate:
            self._refuse(pending.request, pending.node, BAStatus.DUPLICATE_ADDRESS_DETECTION_FAILED, now)
        else:
            self._accept(pending.request, pending.node, pending.prefixes, None, now)

    def _register(self, request: Request, node: ServedNode, binding: Binding | None, now: Instant) -> None:
        prefixes: tuple[IPv6Network, ...] = ()
        if request.mobile_router:
            outcome = self._prefixes.register(request.home_address, request.options.prefixes)
            if isinstance(outcome, BAStatus):
                self._refuse(request, node, outcome, now)
                return
            prefixes = outcome
        if binding is not None:
            self._accept(request, node, prefixes, binding, now)
        elif request.home_address in self._pending:
            self._absorb(self._pending[request.home_address], request, prefixes)
        elif len(self.cache) + len(self._pending) >= self._config.max_bindings:
            self._refuse(request, node, BAStatus.INSUFFICIENT_RESOURCES, now)
        elif self._needs_dad(request):
            self._start_dad(request, node, prefixes, now)
        else:
            self._accept(request, node, prefixes, None, now)

    def _needs_dad(self, request: Request) -> bool:
        """On a home link, unless the address is from a mobile network prefix (RFC 3963 section 6.2) or the
        mobile node is on that link itself, where it would be found to be its own duplicate."""
        config, home_address = self._config, request.home_address
        if not (config.home_link and config.dad) or self._prefixes.contains_home_address(home_address):
            return False
        if any(option.home for option in request.options.bids):
            return False
        return any(home_address in prefix for prefix in config.home_prefixes)

    def _start_dad(
        self, request: Request, node: ServedNode, prefixes: tuple[IPv6Network, ...], now: Instant
    ) -> None:
        home_address = request.home_address
        addresses = [home_address]
        if request.link_local:
            addresses.append(IPv6Address(_LINK_LOCAL_PREFIX | int(home_address) & _INTERFACE_IDENTIFIER))
        self._pending[home_address] = _Pending(request, node, prefixes, now.monotonic + DAD_PATIENCE)
        self._store_replay(node)
        self._emit(StartDad(home_address, tuple(addresses)))

    def _absorb(self, pending: _Pending, request: Request, prefixes: tuple[IPv6Network, ...]) -> None:
        """A retransmission while duplicate address detection runs: the latest one will be answered."""
        if is_newer(request.update.sequence, pending.request.update.sequence):
            pending.request, pending.prefixes = request, prefixes
        self._store_replay(pending.node)

    def _accept(
        self,
        request: Request,
        node: ServedNode,
        prefixes: tuple[IPv6Network, ...],
        previous: Binding | None,
        now: Instant,
    ) -> None:
        lifetime = self._lifetime(request, now)
        if not lifetime.units:
            self._refuse(request, node, BAStatus.NOT_HOME_SUBNET, now)
            return
        registration = Registration(request, node.entry, self._config, lifetime, now)
        status = (
            BAStatus.ACCEPTED_PREFIX_DISCOVERY_NECESSARY if lifetime.prefix_discovery else BAStatus.ACCEPTED
        )
        bids: tuple[int, ...] = ()
        if request.multiple:
            held = unexpired(previous.care_ofs, now.monotonic) if previous is not None else ()
            outcome = registration.multiple([entry for entry in held if entry.bid])
            status, bids = outcome.summary(status)
            if not outcome.done:
                self._refuse(request, node, status, now, bids)
                return
            care_ofs = outcome.care_ofs
        else:
            care_ofs = (registration.plain(),)
        grants, acknowledgements = self._ipv4.decide(
            node.entry, request.options.ipv4_home_addresses, previous.ipv4 if previous is not None else ()
        )
        self._nodes.give_index(node)
        node.sequence = request.update.sequence
        node.deregistered_until = 0.0
        offered = request.options.extensions
        agreed = Extensions.NONE if offered is None else offered & self._config.extensions
        binding = Binding(
            home_address=node.entry.home_address,
            index=node.index,
            care_ofs=care_ofs,
            sequence=request.update.sequence,
            created=previous.created if previous is not None else now.unix,
            identifier=node.entry.identifier,
            mobile_router=request.mobile_router,
            link_local=request.link_local,
            prefixes=prefixes,
            ipv4=grants,
            authentication=node.entry.authentication,
            extensions=agreed,
        )
        binding, flows = self._with_flows(binding, request, previous, node)
        self.cache.store(binding, binding.next_end)
        self._emit(StoreBinding(binding, node.replay))
        self._emit(InstallBinding(binding, previous, self._config.grace))
        self._bound(binding, now)
        answer = Answer(
            status,
            request.update.sequence,
            lifetime.units,
            BAFlag.R if request.mobile_router else NO_FLAGS,
            self._refresh_advice(lifetime),
            acknowledgements,
            bids,
            flows,
            None if offered is None else agreed,
            _nat_known(request, care_ofs),
        )
        self._acknowledge(request, node, answer, now)
        self._tell(home_agent_events.accepted(binding, previous, node.who))

    def _with_flows(
        self, binding: Binding, request: Request, previous: Binding | None, node: ServedNode
    ) -> tuple[Binding, tuple[FlowIdentification, ...]]:
        """The binding with the flows the update leaves it with, and what to answer to those asked for."""
        options = request.options
        if not options.flows and not options.kept_flows:
            return (replace(binding, flows=()) if binding.flows else binding), ()
        registrar = FlowRegistrar(
            frozenset(entry.bid for entry in binding.care_ofs if entry.bid),
            binding.networks,
            self._config.max_flows,
            self._config.flow_bindings,
        )
        held = previous.flows if previous is not None else ()
        outcome = registrar.update(options.flows, options.kept_flows, held)
        for status in outcome.refused:
            self._emit(Drop(f"flow-{status.name.lower().replace('_', '-')}", node.name, node.name))
        return replace(binding, flows=outcome.flows), outcome.answers

    def _remove(self, request: Request, node: ServedNode, binding: Binding, now: Instant) -> None:
        """De-register some care-of addresses (RFC 5648 section 5.4). Flows are moved before they are lost
        (RFC 6089 section 5.3.3); prefixes and IPv4 home addresses stay with the others."""
        outcome = removal(request.options.bids, unexpired(binding.care_ofs, now.monotonic))
        status, bids = outcome.summary()
        if not outcome.done:
            self._refuse(request, node, status, now, bids)
        elif not outcome.care_ofs:
            self._deregister(request, node, binding, now, bids)
        else:
            node.sequence = request.update.sequence
            left = replace(binding, care_ofs=outcome.care_ofs, sequence=node.sequence)
            left, flows = self._with_flows(left, request, binding, node)
            self.cache.store(left, left.next_end)
            self._emit(StoreBinding(left, node.replay))
            self._emit(InstallBinding(left, binding, self._config.grace))
            flags = BAFlag.R if request.mobile_router else NO_FLAGS
            extensions = None if request.options.extensions is None else left.extensions
            nat = _nat_known(request, binding.care_ofs)
            answer = Answer(status, node.sequence, 0, flags, 0, (), bids, flows, extensions, nat)
            self._acknowledge(request, node, answer, now)
            self._tell(home_agent_events.removed(left, binding, "deregistered", node.who))
            self._tell(home_agent_events.flows_changed(left, binding, node.who))

    def _deregister(
        self, request: Request, node: ServedNode, binding: Binding, now: Instant, bids: tuple[int, ...] = ()
    ) -> None:
        """RFC 6275 section 10.3.2. Mobile network prefixes go with the binding (RFC 3963 section 6.7)."""
        self.cache.remove(binding.home_address)
        self._ipv4.release(binding.ipv4)
        node.sequence = request.update.sequence
        node.deregistered_until = now.monotonic + MAX_DELETE_BCE_TIMEOUT
        self._emit(StoreReplay(node.replay))
        self._withdraw(binding, "deregistered", at_home=request.at_home)
        flags = BAFlag.R if request.mobile_router else NO_FLAGS
        status = BAStatus.MCOA_NOTCOMPLETE if any(bids) else BAStatus.ACCEPTED
        answer = Answer(
            status,
            request.update.sequence,
            flags=flags,
            bids=bids,
            nat=_nat_known(request, binding.care_ofs),
        )
        self._acknowledge(request, node, answer, now)
        self._emit(Event("deregistered", {**node.who, "at_home": request.at_home}))

    def _refuse(
        self,
        request: Request,
        node: ServedNode,
        status: BAStatus,
        now: Instant,
        bids: tuple[int, ...] = (),
    ) -> None:
        """Answer with a status of 128 or more, or one in each of `bids`. Only the replay state of the mobile
        node changes."""
        self._store_replay(node)
        out_of_window = status is BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
        sequence = node.sequence if out_of_window else request.update.sequence
        self._acknowledge(request, node, Answer(status, sequence, bids=bids), now)
        care_of = str(request.tunnel_end)
        self._emit(
            Event("refused", {**node.who, "status": int(status), "reason": status.name, "care_of": care_of})
        )

    # Details -----------------------------------------------------------------------------------------------

    def _withdraw(self, binding: Binding, reason: str, *, at_home: bool = False) -> None:
        self._emit(ForgetBinding(binding.home_address))
        self._emit(RemoveBinding(binding, reason, at_home))
        self._unbound(binding.home_address)

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self._emit(event)

    def _store_replay(self, node: ServedNode) -> None:
        """Without an association nothing has changed: sequence numbers count with a binding only."""
        if node.association is not None:
            self._emit(StoreReplay(node.replay))

    def _acknowledge(self, request: Request, node: ServedNode, answer: Answer, now: Instant) -> None:
        self._emit(self._replies.acknowledge(request, answer, node.association, now.unix))

    def _lifetime(self, request: Request, now: Instant) -> Grant:
        prefix = ENDLESS
        for network, lifetime in self._prefix_lifetimes.items():
            if request.home_address in network:
                prefix = lifetime
        return grant(request.update.lifetime, self._config.max_lifetime, now.monotonic, prefix)

    def _refresh_advice(self, lifetime: Grant) -> int:
        """Units of the Binding Refresh Advice, which has to be below the lifetime; 0 = none."""
        units = whole_units(self._config.refresh_advice)
        return units if 0 < units < lifetime.units else 0


def _policy(config: HomeAgentConfig) -> Policy:
    return Policy(
        config.address,
        config.home_prefixes,
        config.udp == "refuse",
        config.min_lifetime,
        config.multiple_care_of_addresses,
        config.bulk_registration,
    )


def _has(binding: Binding, address: IPAddress) -> bool:
    return any(address in network for network in binding.networks)


def _nat_known(request: Request, care_ofs: Iterable[CareOfBinding]) -> bool | None:
    """Whether there is a NAT where an update in UDP came from that does not tell by itself.

    It does when it names an IPv4 care-of address; None then. Without, one is assumed unless that very
    endpoint was found to be without.
    """
    if request.udp is None or not request.multiple or isinstance(request.inside, IPv4Address):
        return None
    source = UdpEndpoint(request.udp.source, request.udp.source_port)
    return not any(entry.nat_source == source and entry.nat is Nat.NONE for entry in care_ofs)
