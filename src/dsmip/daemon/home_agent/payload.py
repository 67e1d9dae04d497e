"""A home agent's payload protection: who is protected, and what becomes of it as bindings come and go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address

from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.types import Binding
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeTable
from dsmip.daemon.home_agent.plan import protected_node
from dsmip.daemon.payload import ProtectedNode, Situation
from dsmip.daemon.runtime import Runtime
from dsmip.host.routing import HostError


class NotProtected(HostError):
    """The kernel refused a policy that payload of a binding needs."""


Nodes = Mapping[IPv6Address, MobileNodeTable]


class HomeAgentPayload:
    """Every call raises HostError or DataPlaneError when the kernel refuses something; then what was not
    changed is as strict as before. `config` is asked for anew each time."""

    def __init__(self, runtime: Runtime, config: Callable[[], HomeAgentFile], engine: HomeAgent) -> None:
        self._runtime = runtime
        self._config = config
        self._engine = engine

    def start(self, nodes: Nodes) -> None:
        """Protect these mobile nodes, and no others that an earlier process did."""
        found = [protected for node in nodes.values() if (protected := self._protected(node)) is not None]
        if found or self._runtime.dataplane.protected():
            situated = [(node, self._situation(node.ends.home_address)) for node in found]
            self._runtime.protect_payload().start(situated)

    def changed(self, before: Nodes, after: Nodes, former: Mapping[IPv6Address, int]) -> None:
        """Other mobile nodes are served. `former` are the indexes of those that were."""
        for address, node in before.items():
            if node.payload is not None and (address not in after or after[address].payload is None):
                self._runtime.protect_payload().remove(former[address])
        for address, node in after.items():
            found = self._protected(node)
            if found is not None and before.get(address) != node:
                self._runtime.protect_payload().add(found, self._situation(address))

    def installing(self, binding: Binding) -> None:
        """The data plane is about to have this binding. Raises NotProtected: then it must not."""
        try:
            self.put_back(binding.index, binding)
        except HostError as error:
            raise NotProtected(str(error)) from error

    def put_back(self, index: int, kept: Binding | None) -> None:
        """The data plane has this binding instead of one that was refused."""
        if self._runtime.payload is not None:
            self._runtime.payload.situate(index, self._unbound if kept is None else self._bound(kept))

    def removed(self, binding: Binding) -> None:
        """It does not have it any more."""
        self.put_back(binding.index, None)

    def _situation(self, home_address: IPv6Address) -> Situation:
        binding = self._engine.binding_of_node(home_address)
        return self._unbound if binding is None else self._bound(binding)

    def _bound(self, binding: Binding) -> Situation:
        return Situation(binding.networks, self._has_home_link and binding.at_home)

    @property
    def _unbound(self) -> Situation:
        """Then a mobile node is at home, if there is a home link. Without one nobody reaches it."""
        return Situation(at_home=self._has_home_link)

    @property
    def _has_home_link(self) -> bool:
        return self._config().home_link is not None

    def _protected(self, node: MobileNodeTable) -> ProtectedNode | None:
        if node.payload is None:
            return None
        index = self._engine.index_of(node.home_address)
        return protected_node(self._config(), node, node.payload, index)
