"""The state of a home agent and how authentic Binding Updates change it.

RFC 6275 sections 10.3.1 and 10.3.2, RFC 3963 section 6.2, RFC 5555 section 4.5. What comes here has been
checked for its sender; everything here may be believed, not everything may be had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

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
    TunnelFormat,
    UdpEndpoint,
)
from dsmip.wire.constants import BAFlag, BAStatus

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
            _cut(binding, expires, valid_until)
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
        for binding in self.cache.expire(now.monotonic):
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

    def restore(self, bindings: Iterable[Binding], now: Instant) -> None:
        """Put stored bindings back, less what has ended or is no longer configured."""
        for binding in bindings:
            node = self._nodes.get(binding.home_address)
            care_ofs = _resumed(binding.care_ofs, now)
            if node is None:
                self._withdraw(binding, "not-configured")
            elif not care_ofs:
                self._withdraw(binding, "expired")
            else:
                resumed = replace(binding, care_ofs=care_ofs)
                kept = self._still_granted(resumed, node)
                if kept is not resumed or len(care_ofs) < len(binding.care_ofs):
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
        elif self._needs_dad(request.home_address):
            self._start_dad(request, node, prefixes, now)
        else:
            self._accept(request, node, prefixes, None, now)

    def _needs_dad(self, home_address: IPv6Address) -> bool:
        """On a home link, unless the address is from a mobile network prefix (RFC 3963 section 6.2)."""
        config = self._config
        if not (config.home_link and config.dad) or self._prefixes.contains_home_address(home_address):
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
        held = previous.ipv4 if previous is not None else ()
        grants, acknowledgements = self._ipv4.decide(node.entry, request.options.ipv4_home_addresses, held)
        self._nodes.give_index(node)
        node.sequence = request.update.sequence
        node.deregistered_until = 0.0
        udp = request.udp
        care_of = CareOfBinding(
            bid=0,
            care_of=request.tunnel_end,
            format=self._format(request),
            lifetime=lifetime.seconds,
            updated=now.unix,
            expires=now.unix + lifetime.seconds,
            nat_source=UdpEndpoint(udp.source, udp.source_port) if udp is not None else None,
            nat=_nat(request),
            home_agent_ipv4=udp.destination if udp is not None else None,
            ends=now.monotonic + lifetime.seconds,
        )
        binding = Binding(
            home_address=node.entry.home_address,
            index=node.index,
            care_ofs=(care_of,),
            sequence=request.update.sequence,
            created=previous.created if previous is not None else now.unix,
            identifier=node.entry.identifier,
            mobile_router=request.mobile_router,
            link_local=request.link_local,
            prefixes=prefixes,
            ipv4=grants,
            authentication=node.entry.authentication,
        )
        self.cache.store(binding, care_of.ends)
        self._emit(StoreBinding(binding, node.replay))
        self._emit(InstallBinding(binding, previous, self._config.grace))
        self._bound(binding, now)
        answer = Answer(
            BAStatus.ACCEPTED_PREFIX_DISCOVERY_NECESSARY if lifetime.prefix_discovery else BAStatus.ACCEPTED,
            request.update.sequence,
            lifetime.units,
            BAFlag.R if request.mobile_router else NO_FLAGS,
            self._refresh_advice(lifetime),
            acknowledgements,
        )
        self._acknowledge(request, node, answer, now)
        self._emit(_registration_event(binding, previous, node))

    def _deregister(self, request: Request, node: ServedNode, binding: Binding, now: Instant) -> None:
        """RFC 6275 section 10.3.2. Mobile network prefixes go with the binding (RFC 3963 section 6.7)."""
        self.cache.remove(binding.home_address)
        self._ipv4.release(binding.ipv4)
        node.sequence = request.update.sequence
        node.deregistered_until = now.monotonic + MAX_DELETE_BCE_TIMEOUT
        self._emit(StoreReplay(node.replay))
        self._withdraw(binding, "deregistered", at_home=request.at_home)
        flags = BAFlag.R if request.mobile_router else NO_FLAGS
        self._acknowledge(request, node, Answer(BAStatus.ACCEPTED, request.update.sequence, flags=flags), now)
        self._emit(Event("deregistered", {**node.who, "at_home": request.at_home}))

    def _refuse(self, request: Request, node: ServedNode, status: BAStatus, now: Instant) -> None:
        """Answer with a status of 128 or more. Only the replay state of the mobile node changes."""
        self._store_replay(node)
        out_of_window = status is BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
        sequence = node.sequence if out_of_window else request.update.sequence
        self._acknowledge(request, node, Answer(status, sequence), now)
        care_of = str(request.tunnel_end)
        self._emit(
            Event("refused", {**node.who, "status": int(status), "reason": status.name, "care_of": care_of})
        )

    # Details -----------------------------------------------------------------------------------------------

    def _withdraw(self, binding: Binding, reason: str, *, at_home: bool = False) -> None:
        self._emit(ForgetBinding(binding.home_address))
        self._emit(RemoveBinding(binding, reason, at_home))
        self._unbound(binding.home_address)

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

    def _format(self, request: Request) -> TunnelFormat:
        """RFC 5555 section 4.5: UDP where a NAT was found, or where either end wants it."""
        if request.udp is None:
            return TunnelFormat.IPV6
        forced = request.forces_udp or self._config.udp == "force"
        return TunnelFormat.UDP4 if request.nat or forced else TunnelFormat.IPV4


def _cut(binding: Binding, expires: float, ends: float) -> Binding:
    """The binding with no care-of address that ends later than this: in Unix and in monotonic time."""
    care_ofs = tuple(
        replace(entry, expires=expires, ends=ends) if entry.expires > expires else entry
        for entry in binding.care_ofs
    )
    return replace(binding, care_ofs=care_ofs)


def _resumed(care_ofs: Iterable[CareOfBinding], now: Instant) -> tuple[CareOfBinding, ...]:
    """Stored care-of addresses that have not ended, with their ends on the clock of this process.

    None lives longer than granted, wherever the time of day has gone since.
    """
    return tuple(
        replace(entry, ends=now.monotonic + remaining)
        for entry in care_ofs
        if (remaining := min(entry.expires - now.unix, entry.lifetime)) > 0
    )


def _policy(config: HomeAgentConfig) -> Policy:
    return Policy(config.address, config.home_prefixes, config.udp == "refuse", config.min_lifetime)


def _has(binding: Binding, address: IPAddress) -> bool:
    return any(address in network for network in binding.networks)


def _nat(request: Request) -> Nat:
    if request.udp is None:
        return Nat.UNKNOWN
    return Nat.DETECTED if request.nat else Nat.NONE


def _registration_event(binding: Binding, previous: Binding | None, node: ServedNode) -> Event:
    if previous is not None and (previous.care_of, previous.nat_source) == (
        binding.care_of,
        binding.nat_source,
    ):
        return Event("refreshed", {**node.who, "lifetime": binding.lifetime})
    return Event(
        "registered" if previous is None else "moved",
        {
            **node.who,
            "care_of": str(binding.care_of),
            "previous": str(previous.care_of) if previous is not None else "",
            "format": binding.format.value,
            "nat": binding.nat.value,
            "lifetime": binding.lifetime,
        },
    )
