"""The bindings of a home agent, and what keeps, reduces and ends them besides Binding Updates.

Lifetimes (RFC 6275 section 10.3.1), restarts, and other configurations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from itertools import islice

from msgspec.structs import replace

from dsmip.core.actions import (
    Action,
    Event,
    ForgetBinding,
    InstallBinding,
    RemoveBinding,
    StoreBinding,
)
from dsmip.core.address_owners import AddressOwners
from dsmip.core.binding_cache import BindingCache
from dsmip.core.binding_record import decode_binding, row_of
from dsmip.core.binding_resumption import end_of
from dsmip.core.care_of_lifetimes import cut_short, resumed, unexpired
from dsmip.core.frozen_bindings import freeze_row
from dsmip.core.frozen_entries import fields_of
from dsmip.core.home_agent import events as home_agent_events
from dsmip.core.home_agent.changes import NodeChanges
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.home_agent.ipv4 import IPv4Assignments
from dsmip.core.home_agent.nodes import ServedNode, ServedNodes
from dsmip.core.lifetime import ENDLESS, Grant, PrefixLifetime, grant
from dsmip.core.mobile_prefixes import still_own
from dsmip.core.registration import Request
from dsmip.core.types import Binding, CareOfBinding, Instant, IPAddress, MobileNodeEntry


class Bindings:
    """Binding cache and address pools. Actions go to `emit`, in order."""

    def __init__(self, config: HomeAgentConfig, nodes: ServedNodes, emit: Callable[[Action], None]) -> None:
        self.cache = BindingCache()
        self.ipv4 = IPv4Assignments(config)
        self._config = config
        self._nodes = nodes
        self._emit = emit
        self._prefix_lifetimes: dict[IPv6Network, PrefixLifetime] = {}
        self._over: set[IPv6Network] = set()  #: prefixes that are not valid any more, as far as was looked
        self._owners = AddressOwners(config.mobile_nodes)
        self._unbound: Callable[[IPv6Address], None] = lambda _home_address: None

    def watch(self, unbound: Callable[[IPv6Address], None]) -> None:
        """Have this called when a binding has ended."""
        self._unbound = unbound

    # Changes -----------------------------------------------------------------------------------------------

    def put(self, binding: Binding, previous: Binding | None, node: ServedNode, grace: float) -> None:
        """Enter the binding instead of `previous`, whose addresses are good for `grace` seconds more.

        The home address of the mobile node may change with it.
        """
        node.home_address = binding.home_address
        if previous is not None and _differ(previous.home_address, binding.home_address):
            self.cache.remove(previous.home_address)
            self._emit(ForgetBinding(previous.home_address))
            self._unbound(previous.home_address)
            moved = {"from": previous.home_address, "to": binding.home_address}
            self._emit(Event("renumbered", {**node.who, **moved}))
        self.cache.store(binding, node.number)
        self._emit(StoreBinding(binding, node.replay))
        self._emit(InstallBinding(binding, previous, grace))

    def put_back(self, binding: Binding, kept: Binding | None, node: ServedNode) -> None:
        """Undo the last change: `kept` takes the place of the binding, None = nothing does.

        Dynamic addresses that it had and gave up come back, unless somebody else has them by now.
        """
        if kept is None:
            self.end(binding, "no-room")
            return
        self.ipv4.release(binding.ipv4)
        ipv4 = self.ipv4.restore(node.entry, kept.ipv4)
        self.put(kept if ipv4 == kept.ipv4 else replace(kept, ipv4=ipv4), binding, node, 0.0)

    def end(self, binding: Binding, reason: str, *, at_home: bool = False) -> None:
        """Take the binding out, and give back what it had from pools."""
        self.cache.remove(binding.home_address)
        self.ipv4.release(binding.ipv4)
        self.withdraw(binding, reason, at_home=at_home)

    def withdraw(self, binding: Binding, reason: str, *, at_home: bool = False) -> None:
        """Take out of store and data plane what is in the cache no more."""
        self._emit(ForgetBinding(binding.home_address))
        self._emit(RemoveBinding(binding, reason, at_home))
        self._unbound(binding.home_address)

    # Questions ---------------------------------------------------------------------------------------------

    def of(self, node: ServedNode) -> Binding | None:
        """The binding of a mobile node, whichever its home address is."""
        index = node.index
        binding = self.cache.find(node.number, node.entry) if index else None
        return binding if binding is not None and binding.index == index else None

    def may_have(self, node: ServedNode, home_address: IPv6Address, identifier: str | None) -> bool:
        """Whether the mobile node may have this home address, as configured or by renumbering (RFC 6275
        section 11.4.3): see `nodes`. The latter must be nobody else's, nor ours."""
        if not _differ(home_address, node.entry.home_address):
            return True
        return (
            self._nodes.may_use(node, home_address, identifier)
            and home_address != self._config.address
            and self._owners.owner(home_address) in (None, node.entry.home_address)
        )

    def former(
        self, node: ServedNode, previous: Binding | None, home_address: IPv6Address, now: Instant
    ) -> IPv6Address | None:
        """What a binding with this home address keeps as its former one, which ends with its prefix. Who has
        been at home, or unbound, since the renumbering may have sessions with the configured one."""
        if previous is None:
            configured = node.entry.home_address
            former = configured if any(configured in p for p in self._config.home_prefixes) else None
        elif _differ(previous.home_address, home_address):
            former = previous.home_address
        else:
            former = previous.former
        if former is None or former == home_address:
            return None
        end = self._prefix_lifetime(former).valid_until
        return former if end is None or end > now.monotonic else None

    def binding_of(self, address: IPAddress) -> Binding | None:
        """The binding an inner address belongs to: home address, prefix, or what was assigned from a pool."""
        # The table of owners takes long to make, and a home address does without.
        node = self._nodes.get(address) if isinstance(address, IPv6Address) else None
        if node is None and (owner := self._owners.owner(address)) is not None:
            node = self._nodes.get(owner)
        if node is not None:
            binding = self.of(node)
            return binding if binding is not None and _has(binding, address) else None
        if isinstance(address, IPv4Address) and self.ipv4.is_pooled(address):
            candidates = self.cache.containing(address)
            return next((binding for binding in candidates if _has(binding, address)), None)
        return None

    def lifetime(self, request: Request, now: Instant) -> Grant:
        """What to grant to a Binding Update (RFC 6275 section 10.3.1)."""
        prefix = self._prefix_lifetime(request.home_address)
        return grant(request.update.lifetime, self._config.max_lifetime, now.monotonic, prefix)

    def _prefix_lifetime(self, home_address: IPv6Address) -> PrefixLifetime:
        found = ENDLESS
        for network, lifetime in self._prefix_lifetimes.items():
            if home_address in network:
                found = lifetime
        return found

    # Time --------------------------------------------------------------------------------------------------

    def set_prefix_lifetime(
        self, prefix: IPv6Network, lifetime: PrefixLifetime, now: Instant
    ) -> list[Binding]:
        """How long a home prefix goes on. No binding outlasts it (RFC 6275 section 10.3.1), nor does what a
        renumbered mobile node keeps of it.

        Returns the bindings that were cut and are not over yet.
        """
        before = self._prefix_lifetimes.get(prefix, ENDLESS).valid_until
        self._prefix_lifetimes[prefix] = lifetime
        valid_until = lifetime.valid_until
        over = valid_until is not None and valid_until <= now.monotonic
        if over and prefix not in self._over:
            self._end_former(prefix)
        (self._over.add if over else self._over.discard)(prefix)
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
                self.put(binding, self.cache[binding.home_address], node, 0.0)
        self.expire(now.monotonic)
        return [binding for binding in cut if binding.home_address in self.cache]

    def _end_former(self, prefix: IPv6Network) -> None:
        """The home addresses before a renumbering are not valid any more."""
        for binding in list(self.cache.values()):
            node = self._nodes.get(binding.home_address)
            if node is not None and binding.former is not None and binding.former in prefix:
                self.put(replace(binding, former=None), binding, node, 0.0)

    def expire(self, monotonic: float, most: int | None = None) -> None:
        """End the care-of addresses, and the bindings, whose time is over: of so many bindings at most."""
        for binding in list(islice(self.cache.expire(monotonic), most)):
            left = unexpired(binding.care_ofs, monotonic)
            if left:
                self._shrink(binding, left)
                continue
            self.ipv4.release(binding.ipv4)
            self.withdraw(binding, "expired")
            node = self._nodes.get(binding.home_address)
            if node is not None:
                self._emit(Event("expired", {**node.who, "care_of": binding.care_of}))

    def _shrink(self, binding: Binding, left: tuple[CareOfBinding, ...]) -> None:
        """Some care-of addresses have ended, others go on. Flows stay, some of them inactive maybe."""
        node = self._nodes.get(binding.home_address)
        if node is not None:
            shrunk = replace(binding, care_ofs=left)
            self.put(shrunk, binding, node, 0.0)
            for event in home_agent_events.shrunk(shrunk, binding, "expired", node.who):
                self._emit(event)

    # Restarts and other configurations ---------------------------------------------------------------------

    def resume(self, records: Iterable[bytes], now: Instant) -> list[int]:
        """As `restore`, from the records. Returns the home addresses, as numbers, of bindings that are what
        they were: nothing more is said of them. Raises ValueError for a record that cannot be read."""
        kept = []
        for record in records:
            row = row_of(record)
            node = self._nodes.configured(int.from_bytes(row.home_address))
            end = None
            if node is not None and node.index == row.index:
                end = end_of(row, row.home_address, fields_of(node.record), now)
            if node is None or end is None:
                self.restore([decode_binding(record)], now)
            else:
                self.cache.store_frozen(node.number, freeze_row(row, end))
                kept.append(node.number)
        return kept

    def restore(self, bindings: Iterable[Binding], now: Instant) -> None:
        """Put stored bindings back, less what has ended or is no longer configured."""
        for binding in bindings:
            node = self._nodes.get(binding.home_address)
            care_ofs = resumed(binding.care_ofs, now)
            if node is None or not self.may_have(node, binding.home_address, binding.identifier):
                self.withdraw(binding, "not-configured")
            elif not care_ofs:
                self.withdraw(binding, "expired")
            else:
                # With the objects of the configuration where they are equal, which saves their memory.
                same = binding.home_address == node.entry.home_address
                node.home_address = node.entry.home_address if same else binding.home_address
                alive = replace(
                    binding,
                    home_address=node.home_address,
                    care_ofs=care_ofs,
                    identifier=node.entry.identifier,
                    prefixes=still_own(node.entry.prefixes, binding.prefixes),
                )
                kept = self._still_granted(alive, node)
                if kept != binding:
                    self._emit(StoreBinding(kept, node.replay))
                self.cache.store(kept, node.number)
                self._emit(InstallBinding(kept, None, 0.0, restored=True))

    def reconfigure(self, config: HomeAgentConfig, changes: NodeChanges) -> None:
        """Go on with another configuration, the nodes served being told already.

        A binding ends with its mobile node, and loses what is no longer configured.
        """
        self._config = config
        # Who is added takes its home address from whoever has had it by renumbering.
        over = (*(self._nodes.in_use(e.home_address) for e in changes.removed), *map(_address, changes.added))
        removed = [self.cache.remove(home_address) for home_address in over]
        touched = [self.cache.get(self._nodes.in_use(entry.home_address)) for _, entry in changes.replaced]
        if self.ipv4.concerns_pools(changes):
            touched = list(self.cache.values())
        elif config.renumbering and changes.added:
            added = set(map(_address, changes.added))
            touched += [binding for binding in self.cache.values() if binding.former in added]
        for binding in (*removed, *touched):
            if binding is not None:
                self.ipv4.release(binding.ipv4)
        self.ipv4.change(changes)
        self._owners = AddressOwners(config.mobile_nodes)
        for binding in removed:
            if binding is not None:
                self.withdraw(binding, "not-configured")
        for binding in touched:
            node = self._nodes.get(binding.home_address) if binding is not None else None
            if binding is not None and node is not None:
                self._reduce(binding, node)

    def _reduce(self, binding: Binding, node: ServedNode) -> None:
        kept = self._still_granted(binding, node)
        if kept is not binding:
            self.put(kept, binding, node, self._config.grace)

    def _still_granted(self, binding: Binding, node: ServedNode) -> Binding:
        """The binding under the present configuration and under an index of its own.

        The same object if there is nothing to change.
        """
        self._nodes.claim_index(node, binding.index)
        prefixes = still_own(node.entry.prefixes, binding.prefixes)
        ipv4 = self.ipv4.restore(node.entry, binding.ipv4)
        former = binding.former
        if former is not None and self._nodes.get(former) is not node:
            former = None  # somebody else's by now
        if (node.index, prefixes, ipv4, former) == (
            binding.index,
            binding.prefixes,
            binding.ipv4,
            binding.former,
        ):
            return binding
        return replace(binding, index=node.index, prefixes=prefixes, ipv4=ipv4, former=former)


def _differ(one: IPv6Address, other: IPv6Address) -> bool:
    """Nearly always they are one object, which is seen in a fraction of the time of a comparison."""
    return one is not other and one != other


def _address(entry: MobileNodeEntry) -> IPv6Address:
    return entry.home_address


def _has(binding: Binding, address: IPAddress) -> bool:
    return any(address in network for network in binding.networks)
