"""The state of a home agent and how authentic Binding Updates change it.

RFC 6275 sections 10.3.1 and 10.3.2, RFC 3963 section 6.2, RFC 5555 section 4.5. What comes here has been
checked for its sender; everything here may be believed, not everything may be had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from msgspec.structs import replace

from dsmip.core.actions import (
    Action,
    Drop,
    Event,
    NoteNeighbor,
    StartDad,
    StoreReplay,
    Value,
)
from dsmip.core.care_of_lifetimes import unexpired
from dsmip.core.care_of_registration import Registration, removal
from dsmip.core.flow_bindings import FlowRegistrar
from dsmip.core.home_agent import events as home_agent_events
from dsmip.core.home_agent.bindings import Bindings
from dsmip.core.home_agent.changes import NodeChanges
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.home_agent.nodes import MAX_DELETE_BCE_TIMEOUT, ServedNode, ServedNodes
from dsmip.core.home_agent.replies import NO_FLAGS, Answer, Replies
from dsmip.core.home_agent.undoing import Undoing
from dsmip.core.lifetime import Grant, whole_units
from dsmip.core.mobile_prefixes import granted
from dsmip.core.registration import Policy, Request, refusal
from dsmip.core.sequence import is_newer
from dsmip.core.types import (
    Binding,
    CareOfBinding,
    Instant,
    Nat,
    UdpEndpoint,
)
from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from dsmip.wire.extensions import Extensions
from dsmip.wire.flows import FlowIdentification

#: Seconds after which a registration is given up whose duplicate address detection nobody has reported on.
DAD_PATIENCE = 10.0

#: Bindings that end in one `tick`. A fleet that was cut off ends all at once: others want answers meanwhile,
#: and the data plane keeps to the lifetimes by itself. The next `tick` is due at once.
EXPIRED_AT_ONCE = 64

_LINK_LOCAL_PREFIX = 0xFE80 << 112
_INTERFACE_IDENTIFIER = (1 << 64) - 1
_K = int(BUFlag.K)


@dataclass(slots=True)
class _Pending:
    """A first registration that waits for duplicate address detection; `request` is the latest one, and came
    in `packet`."""

    request: Request
    packet: bytes
    node: ServedNode
    prefixes: tuple[IPv6Network, ...]
    deadline: float


class Registrar:
    """Decides upon Binding Updates. Actions go to `emit`, in order."""

    def __init__(
        self, config: HomeAgentConfig, nodes: ServedNodes, replies: Replies, emit: Callable[[Action], None]
    ) -> None:
        self.bindings = Bindings(config, nodes, emit)
        self._config = config
        self._nodes = nodes
        self._replies = replies
        self._emit = emit
        self._bound: Callable[[Binding, Instant], None] = lambda _binding, _now: None
        self._pending: dict[IPv6Address, _Pending] = {}
        self._policy = _policy(config)
        self.undoing = Undoing(nodes, self.bindings, self._refuse, emit)

    def watch(self, bound: Callable[[Binding, Instant], None]) -> None:
        """Have this called when a Binding Update is accepted."""
        self._bound = bound

    def reconfigure(self, config: HomeAgentConfig, changes: NodeChanges) -> None:
        """Go on with another configuration, the nodes served being told already."""
        self._config, self._policy = config, _policy(config)
        gone = {entry.home_address for entry in changes.gone}
        for address, pending in list(self._pending.items()):
            if not gone.isdisjoint((address, pending.node.entry.home_address)):
                del self._pending[address]
        self.bindings.reconfigure(config, changes)

    # Time --------------------------------------------------------------------------------------------------

    def timeout(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the next `tick`, None = not needed."""
        deadline = self.bindings.cache.next_deadline()
        if self._pending:
            # All wait equally long, so the first one in is the first one out.
            oldest = next(iter(self._pending.values())).deadline
            return oldest if deadline is None else min(deadline, oldest)
        return deadline

    def tick(self, now: Instant) -> None:
        """End bindings and waiting registrations whose time is over."""
        self.bindings.expire(now.monotonic, EXPIRED_AT_ONCE)
        while self._pending:
            home_address, pending = next(iter(self._pending.items()))
            if pending.deadline > now.monotonic:
                break
            del self._pending[home_address]
            self._emit(Drop("dad-unanswered", pending.node.name, pending.node.name))

    # Binding Updates ---------------------------------------------------------------------------------------

    def process(self, request: Request, node: ServedNode, now: Instant) -> None:
        """Decide upon a Binding Update that is fresh and from the mobile node."""
        entry = node.entry
        if entry.authentication == "mn-ha":
            node.timestamp = request.options.timestamp or 0
        home_address = request.home_address
        if request.at_home and request.options.link_layer and self._is_on_home_link(home_address):
            self._emit(NoteNeighbor(home_address, request.options.link_layer))
        binding = self.bindings.of(node)
        if binding is not None and binding.home_address is not home_address:
            binding = binding if binding.home_address == home_address else None
        compared = binding is not None or now.monotonic < node.deregistered_until
        status = refusal(
            request,
            entry,
            binding,
            node.sequence if compared else None,
            self._policy,
            permitted=self.bindings.may_have(node, home_address, request.options.identifier),
        )
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
            node, self.undoing.packet = pending.node, pending.packet
            self._accept(pending.request, node, pending.prefixes, self.bindings.of(node), now)

    def _register(self, request: Request, node: ServedNode, binding: Binding | None, now: Instant) -> None:
        prefixes: tuple[IPv6Network, ...] = ()
        if request.mobile_router:
            outcome = granted(node.entry.prefixes, request.options.prefixes)
            if isinstance(outcome, BAStatus):
                self._refuse(request, node, outcome, now)
                return
            prefixes = outcome
        if binding is not None:
            self._accept(request, node, prefixes, binding, now)
        elif request.home_address in self._pending:
            self._absorb(self._pending[request.home_address], request, prefixes)
        elif (held := self.bindings.of(node)) is None and self._is_full():
            self._refuse(request, node, BAStatus.INSUFFICIENT_RESOURCES, now)
        elif self._needs_dad(request, node):
            self._start_dad(request, node, prefixes, now)
        else:
            self._accept(request, node, prefixes, held, now)

    def _is_full(self) -> bool:
        return len(self.bindings.cache) + len(self._pending) >= self._config.max_bindings

    def _needs_dad(self, request: Request, node: ServedNode) -> bool:
        """On a home link, unless the address is from a mobile network prefix (RFC 3963 section 6.2) or the
        mobile node is on that link itself, where it would be found to be its own duplicate."""
        home_address = request.home_address
        if not self._config.dad or any(home_address in prefix for prefix in node.entry.prefixes):
            return False
        if any(option.home for option in request.options.bids):
            return False
        return self._is_on_home_link(home_address)

    def _is_on_home_link(self, home_address: IPv6Address) -> bool:
        config = self._config
        return config.home_link and any(home_address in prefix for prefix in config.home_prefixes)

    def _start_dad(
        self, request: Request, node: ServedNode, prefixes: tuple[IPv6Network, ...], now: Instant
    ) -> None:
        home_address = request.home_address
        addresses = [home_address]
        if request.link_local:
            addresses.append(IPv6Address(_LINK_LOCAL_PREFIX | int(home_address) & _INTERFACE_IDENTIFIER))
        self._pending[home_address] = _Pending(
            request, self.undoing.packet, node, prefixes, now.monotonic + DAD_PATIENCE
        )
        self._store_replay(node)
        self._emit(StartDad(home_address, tuple(addresses)))

    def _absorb(self, pending: _Pending, request: Request, prefixes: tuple[IPv6Network, ...]) -> None:
        """A retransmission while duplicate address detection runs: the latest one will be answered."""
        if is_newer(request.update.sequence, pending.request.update.sequence):
            pending.request, pending.packet, pending.prefixes = request, self.undoing.packet, prefixes
        self._store_replay(pending.node)

    def _accept(
        self,
        request: Request,
        node: ServedNode,
        prefixes: tuple[IPv6Network, ...],
        previous: Binding | None,
        now: Instant,
    ) -> None:
        """Bind the mobile node, or renew or change what it has, be it under another home address so far."""
        lifetime = self.bindings.lifetime(request, now)
        if not lifetime.units:
            self._refuse(request, node, BAStatus.NOT_HOME_SUBNET, now)
            return
        entry = node.entry
        registration = Registration(request, entry, self._config, lifetime, now)
        status = (
            BAStatus.ACCEPTED_PREFIX_DISCOVERY_NECESSARY if lifetime.prefix_discovery else BAStatus.ACCEPTED
        )
        bids: tuple[int, ...] = ()
        if request.multiple:
            held = unexpired(previous.care_ofs, now.monotonic) if previous is not None else ()
            outcome = registration.multiple([one for one in held if one.bid])
            status, bids = outcome.summary(status)
            if not outcome.done:
                self._refuse(request, node, status, now, bids)
                return
            care_ofs = outcome.care_ofs
        else:
            care_ofs = (registration.plain(),)
        grants, acknowledgements = self.bindings.ipv4.decide(
            entry, request.options.ipv4_home_addresses, previous.ipv4 if previous is not None else ()
        )
        self._nodes.give_index(node)
        node.sequence = request.update.sequence
        node.deregistered_until = 0.0
        offered = request.options.extensions
        agreed = Extensions.NONE if offered is None else offered & self._config.extensions
        binding = Binding(
            home_address=request.home_address,
            index=node.index,
            care_ofs=care_ofs,
            sequence=request.update.sequence,
            created=previous.created if previous is not None else now.unix,
            identifier=entry.identifier,
            mobile_router=request.mobile_router,
            link_local=request.link_local,
            prefixes=prefixes,
            ipv4=grants,
            authentication=entry.authentication,
            extensions=agreed,
            former=self.bindings.former(node, previous, request.home_address, now),
        )
        binding, flows = self._with_flows(binding, request, previous, node)
        self.bindings.put(binding, previous, node, self._config.grace)
        self._bound(binding, now)
        answer = Answer(
            status,
            request.update.sequence,
            lifetime.units,
            _flags(request, node),
            self._refresh_advice(lifetime),
            acknowledgements,
            bids,
            flows,
            None if offered is None else agreed,
            _nat_known(request, care_ofs),
        )
        acknowledgement = self._acknowledge(request, node, answer, now)
        self.undoing.accepted.append((binding, self.undoing.packet, acknowledgement))
        self._tell(home_agent_events.accepted(binding, previous, node.who))
        if len(grants) < len(acknowledgements):
            self._tell(home_agent_events.ipv4_refused(acknowledgements, node.who))

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
            self.bindings.put(left, binding, node, self._config.grace)
            flags = _flags(request, node)
            extensions = None if request.options.extensions is None else left.extensions
            nat = _nat_known(request, binding.care_ofs)
            answer = Answer(status, node.sequence, 0, flags, 0, (), bids, flows, extensions, nat)
            acknowledgement = self._acknowledge(request, node, answer, now)
            self.undoing.accepted.append((left, self.undoing.packet, acknowledgement))
            self._tell(home_agent_events.shrunk(left, binding, "deregistered", node.who))

    def _deregister(
        self, request: Request, node: ServedNode, binding: Binding, now: Instant, bids: tuple[int, ...] = ()
    ) -> None:
        """RFC 6275 section 10.3.2. Mobile network prefixes go with the binding (RFC 3963 section 6.7)."""
        node.sequence = request.update.sequence
        node.deregistered_until = now.monotonic + MAX_DELETE_BCE_TIMEOUT
        self._emit(StoreReplay(node.replay))
        self.bindings.end(binding, "deregistered", at_home=request.at_home)
        flags = _flags(request, node)
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
        told: dict[str, Value] = {"status": int(status), "reason": status.name, "care_of": request.tunnel_end}
        self._emit(Event("refused", node.who | told))

    # Details -----------------------------------------------------------------------------------------------

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            self._emit(event)

    def _store_replay(self, node: ServedNode) -> None:
        """Without an association nothing has changed: sequence numbers count with a binding only."""
        if node.has_association:
            self._emit(StoreReplay(node.replay))

    def _acknowledge(self, request: Request, node: ServedNode, answer: Answer, now: Instant) -> Action:
        acknowledgement = self._replies.acknowledge(request, answer, node.association, now.unix)
        self._emit(acknowledgement)
        return acknowledgement

    def _refresh_advice(self, lifetime: Grant) -> int:
        """Units of the Binding Refresh Advice, which has to be below the lifetime; 0 = none."""
        advice = self._config.refresh_advice
        units = whole_units(advice) if advice else 0
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


def _flags(request: Request, node: ServedNode) -> BAFlag:
    """Of an acknowledgement (RFC 6275 section 10.3.1, RFC 3963 section 6.6)."""
    flags = BAFlag.R if request.mobile_router else NO_FLAGS
    if request.flags & _K and node.entry.key_mobility:
        flags |= BAFlag.K
    return flags


def _nat_known(request: Request, care_ofs: Iterable[CareOfBinding]) -> bool | None:
    """Whether there is a NAT where an update in UDP came from that does not tell by itself.

    It does when it names an IPv4 care-of address; None then. Without, one is assumed unless that very
    endpoint was found to be without.
    """
    if request.udp is None or not request.multiple or isinstance(request.inside, IPv4Address):
        return None
    source = UdpEndpoint(request.udp.source, request.udp.source_port)
    return not any(entry.nat_source == source and entry.nat is Nat.NONE for entry in care_ofs)
