"""A home agent's bindings in the data plane: paths, outer sources, preference, flows, and what ends later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address
from itertools import islice

from dsmip.core.actions import InstallBinding
from dsmip.core.types import Binding, CareOfBinding, FlowRule
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeTable
from dsmip.daemon.home_agent.plan import (
    OuterSource,
    SourceKey,
    networks_at_home,
    on_home_link,
    outer_sources,
    path_of,
)
from dsmip.daemon.runtime import Runtime
from dsmip.wire.extensions import Extensions

#: Seconds by which an outer source may be taken out early: a timer for less could fire at the very same time.
_GRACE_RESOLUTION = 0.001

#: Graces ended at a time, so that others get their turn when many end at once: some milliseconds.
_GRACES_AT_ONCE = 512


class Forwarding:
    """Brings the data plane from one state of a binding to the next, without a packet lost in between.

    `config` is asked for anew each time. `home_link` is the ifindex of the home link, 0 =
    there is none.
    """

    def __init__(self, runtime: Runtime, config: Callable[[], HomeAgentFile]) -> None:
        self.home_link = 0
        #: What the data plane has instead of the last binding it was to have, by index: it was refused.
        self.instead: dict[int, Binding | None] = {}
        self._runtime = runtime
        self._config = config
        #: Outer sources that are good for a moment longer, and when that ends. None is among those that its
        #: binding has.
        self._graces: dict[tuple[int, SourceKey], tuple[OuterSource, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def install(self, action: InstallBinding) -> None:
        """Make the data plane have this binding instead of the previous one."""
        dataplane, binding, previous = self._runtime.dataplane, action.binding, action.previous
        index = binding.index
        if self.instead:
            previous = self.instead.pop(index, previous)
        sources = outer_sources(binding)
        before = outer_sources(previous) if previous is not None else {}
        for key, source in sources.items():
            known = before.get(key)
            if known is None or (known.until, known.bid) != (source.until, source.bid):
                dataplane.allow_source(index, source.address, source.port, source.until, source.bid)
                self._graces.pop((index, key), None)
        former = previous.care_ofs if previous is not None else ()
        for entry in binding.care_ofs:
            if not any(entry is other for other in former):
                path = path_of(entry, binding.home_address, self._config(), self.home_link)
                dataplane.set_path(index, path, entry.bid, moved=_has_moved(entry, action, previous))
        if previous is None or not (_is_plain(previous) and _is_plain(binding)):
            self._choose(binding, previous)
        if previous is None or _inside(previous) != _inside(binding):
            dataplane.set_networks(index, binding.networks)
        if previous is None:
            # A crash loses the end of a grace period, or a change of care-of address already stored.
            dataplane.retain_sources(index, ((source.address, source.port) for source in sources.values()))
        for key, source in before.items():
            if key not in sources:
                self._grant_grace(index, source, action.grace)

    def put_back(
        self, refused: Sequence[Binding], kept: Binding | None, node: MobileNodeTable | None
    ) -> None:
        """The data plane had no room for the last of these bindings, of this mobile node, each of which
        replaced the one before it: make it have what it had before them all."""
        index = refused[-1].index
        if kept is None:
            self.lead_home(index, node, refused[-1].home_address)
        else:
            self.install(InstallBinding(kept, refused[-1], 0.0))
            for binding in refused[:-1]:
                self._end_graces_of(binding, kept)
        self.instead[index] = kept

    def remove(self, binding: Binding, node: MobileNodeTable | None) -> None:
        """Make the data plane forget a binding, of a mobile node that may be configured no more; what it
        carried stays counted."""
        self.instead.pop(binding.index, None)
        self._runtime.retired += self._runtime.dataplane.traffic(binding.index)
        self.lead_home(binding.index, node, binding.home_address)

    def lead_home(self, index: int, node: MobileNodeTable | None, home_address: IPv6Address) -> None:
        """Until it registers, a mobile router's prefixes are reached over the home link: there it has this
        home address, which after a renumbering is another one than it is configured with."""
        dataplane, config = self._runtime.dataplane, self._config()
        dataplane.remove_binding(index)
        networks = networks_at_home(node, home_address, config) if node and self.home_link else []
        if networks:
            dataplane.set_path(index, on_home_link(home_address, config, self.home_link))
            dataplane.set_networks(index, networks)

    def _choose(self, binding: Binding, previous: Binding | None) -> None:
        """Which care-of address packets take (RFC 6089 section 5.3.6), and then no others.

        The path of a plain binding takes everything while it exists, so it is the last to be removed and the
        first to be set.
        """
        dataplane, index = self._runtime.dataplane, binding.index
        adopted = previous is None and dataplane.adopted
        order = _order(binding)
        if adopted or order != (_order(previous) if previous is not None else ()):
            dataplane.set_preference(index, order)
        flows = previous.flows if previous is not None else ()
        if adopted or binding.flows != flows:
            dataplane.set_flows(index, [FlowRule(flow.selector, flow.bids) for flow in binding.flows])
        before = previous.extensions if previous is not None else Extensions.NONE
        if adopted or binding.extensions != before:
            dataplane.set_duplication(index, Extensions.DUPLICATION in binding.extensions)
        for bid in self._former_paths(binding, previous):
            dataplane.remove_path(index, bid)

    def _former_paths(self, binding: Binding, previous: Binding | None) -> list[int]:
        """Paths that the binding has no more. Where nothing is known of before, an earlier process may have
        left some, and the way home one without an identifier."""
        if previous is not None:
            former = [entry.bid for entry in previous.care_ofs]
        elif self._runtime.dataplane.adopted:
            former = list(self._runtime.dataplane.paths(binding.index))
        else:
            former = [0]
        return [bid for bid in former if binding.care_of_binding(bid) is None]

    # Graces ------------------------------------------------------------------------------------------------

    def _grant_grace(self, index: int, source: OuterSource, grace: float) -> None:
        """Packets in flight from a former care-of address are still good for a moment."""
        dataplane, address, port = self._runtime.dataplane, source.address, source.port
        if grace <= 0:
            dataplane.deny_source(index, address, port)
            return
        ends = asyncio.get_running_loop().time() + grace
        dataplane.allow_source(index, address, port, ends, source.bid)
        # All graces are equally long, so the order of insertion is the order in which they end.
        key = (index, source.key)
        self._graces.pop(key, None)
        self._graces[key] = source, ends
        if self._timer is None:
            self._await_end_of_grace(grace)

    def _end_graces_of(self, undone: Binding, kept: Binding) -> None:
        """Outer sources that were good for a moment, as others followed them, are good no more."""
        here = outer_sources(kept)
        for key, source in outer_sources(undone).items():
            if key not in here and self._graces.pop((undone.index, key), None) is not None:
                self._runtime.dataplane.deny_source(undone.index, source.address, source.port)

    def _await_end_of_grace(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self._end_graces)

    def _end_graces(self) -> None:
        """Take outer sources out whose time is over."""
        now = asyncio.get_running_loop().time()
        with self._runtime.changes():
            for key, (source, ends) in list(islice(self._graces.items(), _GRACES_AT_ONCE)):
                if ends - now > _GRACE_RESOLUTION:
                    break
                del self._graces[key]
                self._runtime.dataplane.deny_source(key[0], source.address, source.port)
        self._timer = None
        if self._graces:
            _, ends = next(iter(self._graces.values()))
            self._await_end_of_grace(max(0.0, ends - now))


def _has_moved(entry: CareOfBinding, action: InstallBinding, previous: Binding | None) -> bool:
    """Whether packets certainly have another destination than so far: in the data plane, too.

    Without a grace the binding may be put back, to where the data plane never ceased to have it.
    """
    former = None if previous is None or action.grace <= 0 else previous.care_of_binding(entry.bid)
    return former is not None and former.care_of != entry.care_of


def _is_plain(binding: Binding) -> bool:
    """A single care-of address without identifier, and nothing to choose: the one that most have."""
    return not binding.multiple and not binding.flows and binding.extensions is Extensions.NONE


def _inside(binding: Binding) -> tuple[object, ...]:
    """What the inner networks follow from."""
    return (binding.home_address, binding.former, binding.prefixes, binding.ipv4)


def _order(binding: Binding) -> tuple[int, ...]:
    """The preference of a binding with identifiers; a plain one needs none."""
    return tuple(entry.bid for entry in binding.care_ofs) if binding.multiple else ()
