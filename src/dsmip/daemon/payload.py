"""Payload protection: ESP around what mobile nodes send and receive (RFC 3776 section 3.1, RFC 4877).

The kernel encrypts and decrypts; policies and security associations are put there, and the data plane is told
to let nothing else through the tunnels. All of it stays while no daemon runs, and a start finds it again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from dsmip.core.types import IPAddress, IPNetwork
from dsmip.daemon.payload_policies import PRIORITIES, Ends, policies
from dsmip.dataplane.api import DataPlane
from dsmip.host.xfrm import Aead, Direction, Mode, Policy, State, Traffic

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PayloadAssociation:
    """One direction's manual keys."""

    spi: int
    algorithm: Aead


@dataclass(frozen=True, slots=True)
class ProtectedNode:
    """A mobile node whose payload is under ESP, as its home agent or itself sees it.

    `index` is the binding's. `networks` are those of the mobile node that are known beforehand.
    `inbound` and `outbound` None: as long as nobody has negotiated any, nothing passes.
    """

    index: int
    ends: Ends
    networks: tuple[IPNetwork, ...]
    correspondents: tuple[IPNetwork, ...]
    inbound: PayloadAssociation | None = None
    outbound: PayloadAssociation | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What changes: networks that the mobile node was granted beside those known beforehand, and whether it
    is at home, as both ends know.

    On its home link a mobile node is an ordinary host, and neighbours talk to it directly: there is no ESP.
    In tunnels nothing passes in clear all the same.
    """

    networks: tuple[IPNetwork, ...] = ()
    at_home: bool = False


class Kernel(Protocol):
    """What is needed of `host.xfrm.Xfrm`."""

    def set_policy(self, policy: Policy) -> None: ...
    def remove_policy(self, traffic: Traffic, direction: Direction) -> None: ...
    def policies(self, priorities: frozenset[int]) -> set[tuple[Traffic, Direction]]: ...
    def has_state(self, state: State) -> bool: ...
    def set_state(self, state: State) -> None: ...
    def remove_state(self, destination: IPAddress, spi: int) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Standing:
    """A node, its situation, and its policies that stand. No situation: they may be those of two."""

    node: ProtectedNode
    situation: Situation | None
    policies: dict[tuple[Traffic, Direction], Policy]
    #: Of packets that come in, where they were negotiated.
    spis: frozenset[int] = frozenset()


class PayloadProtection:
    """Keeps policies, security associations and the data plane in step. Calls raise HostError or
    DataPlaneError."""

    def __init__(self, xfrm: Kernel, dataplane: DataPlane) -> None:
        self._xfrm = xfrm
        self._dataplane = dataplane
        self._standing: dict[int, _Standing] = {}

    def start(self, nodes: Iterable[tuple[ProtectedNode, Situation]]) -> None:
        """Protect these. What an earlier process left of others is taken out."""
        for node, situation in nodes:
            self.add(node, situation)
        ours = {key for standing in self._standing.values() for key in standing.policies}
        for traffic, direction in self._xfrm.policies(PRIORITIES) - ours:
            self._xfrm.remove_policy(traffic, direction)
        for index in self._dataplane.protected() - self._standing.keys():
            self._dataplane.set_protection(index, ())

    def close(self, *, keep: bool = False) -> None:
        """Let go; `keep`: everything stays in place."""
        if not keep:
            for index in list(self._standing):
                self.remove(index)
        self._xfrm.close()

    def add(self, node: ProtectedNode, situation: Situation) -> None:
        """From now on this node's payload is under ESP, and nothing passes without; also in place of what was
        said of this index before."""
        before = self._standing.get(node.index)
        standing = _Standing(node, None, before.policies if before is not None else {})
        if node.inbound is None and before is not None:
            standing.spis = before.spis
        self._dataplane.set_protection(node.index, node.correspondents, _spis(standing))
        self._standing[node.index] = standing
        # Policies first: there must be no moment at which the clear text would pass.
        self._adapt(standing, situation)
        wanted = _states(node)
        for state in wanted:
            # One that is there goes on counting where it is.
            if not self._xfrm.has_state(state):
                self._xfrm.set_state(state)
        kept = {(state.destination, state.spi) for state in wanted}
        self._remove_states(before, kept)

    def remove(self, index: int) -> None:
        """This binding's payload is protected no more."""
        standing = self._standing.pop(index, None)
        if standing is None:
            return
        self._dataplane.set_protection(index, ())
        for traffic, direction in standing.policies:
            self._xfrm.remove_policy(traffic, direction)
        self._remove_states(standing, set())

    def situate(self, index: int, situation: Situation) -> None:
        """A protected node is in another situation; nothing happens for others.

        When the kernel refuses a new policy, those of before are still there, and some of the new ones: the
        next call, for whichever situation, makes it right.
        """
        standing = self._standing.get(index)
        if standing is not None and standing.situation != situation:
            self._adapt(standing, situation)

    def negotiated(self, index: int, spis: frozenset[int]) -> None:
        """ESP of a protected node comes in with these SPIs, which its kernel's states have already; nothing
        happens for others."""
        standing = self._standing.get(index)
        if standing is not None and standing.spis != spis:
            standing.spis = spis
            self._dataplane.set_protection(index, standing.node.correspondents, _spis(standing))

    def _adapt(self, standing: _Standing, situation: Situation) -> None:
        """Make the kernel have the policies that are wanted now: those that are new first."""
        node, standing.situation = standing.node, None
        networks = dict.fromkeys((*node.networks, *situation.networks))
        found = policies(node.ends, networks, node.correspondents) if not situation.at_home else []
        wanted = {(policy.traffic, policy.direction): policy for policy in found}
        for key, policy in wanted.items():
            if standing.policies.get(key) != policy:
                self._xfrm.set_policy(policy)
                standing.policies[key] = policy
        for key in standing.policies.keys() - wanted.keys():
            self._xfrm.remove_policy(*key)
            del standing.policies[key]
        standing.situation = situation

    def _remove_states(self, standing: _Standing | None, kept: set[tuple[IPAddress, int]]) -> None:
        for state in _states(standing.node) if standing is not None else ():
            if (state.destination, state.spi) not in kept:
                self._xfrm.remove_state(state.destination, state.spi)


def _spis(standing: _Standing) -> frozenset[int]:
    inbound = standing.node.inbound
    return standing.spis if inbound is None else frozenset({inbound.spi})


def _states(node: ProtectedNode) -> list[State]:
    ends = node.ends
    ways = ((node.inbound, ends.remote, ends.local), (node.outbound, ends.local, ends.remote))
    return [
        State(
            source,
            destination,
            association.spi,
            association.algorithm,
            ends.request,
            None,
            Mode.TUNNEL,
        )
        for association, source, destination in ways
        if association is not None
    ]
