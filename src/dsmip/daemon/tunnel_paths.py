"""The mobile node's end of its tunnels in the data plane: paths, their order, flows, care-of addresses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from dsmip.core.actions import InstallPath, RemovePath, SetDuplication, SetFlowRules, SetPreference
from dsmip.core.types import IPAddress
from dsmip.dataplane.api import DataPlane, DataPlaneError, PathState

#: Seconds between looks at the traffic of each path, which decide how often it is probed.
LOOK = 0.5

log = logging.getLogger(__name__)

PathAction = InstallPath | RemovePath | SetPreference | SetFlowRules | SetDuplication


class TunnelPaths:
    """What the engine wants of the data plane for binding number `binding`.

    Care-of addresses go on receiving for `grace` seconds after they are gone: packets are in flight.
    """

    def __init__(self, dataplane: DataPlane, binding: int, grace: float) -> None:
        self._dataplane = dataplane
        self._binding = binding
        self._grace = grace
        self._local: dict[IPAddress, asyncio.TimerHandle | None] = {}
        self._identifiers: dict[IPAddress, int] = {}
        self._adopted = True

    def carry_out(self, action: PathAction) -> None:
        """Do what the engine wants. Raises DataPlaneError."""
        dataplane, binding = self._dataplane, self._binding
        match action:
            case InstallPath():
                self._install(action)
            case RemovePath():
                dataplane.remove_path(binding, action.bid)
            case SetPreference():
                dataplane.set_preference(binding, action.bids)
            case SetFlowRules():
                dataplane.set_flows(binding, action.rules)
            case SetDuplication():
                dataplane.set_duplication(binding, action.enabled)

    def _install(self, action: InstallPath) -> None:
        if self._adopted:
            self._forget_adopted(action.bid)
        self._identifiers[action.path.local] = action.bid
        self._dataplane.add_local(action.path.local, action.bid)
        self._dataplane.set_path(self._binding, action.path, action.bid)
        self._dataplane.set_networks(self._binding, action.networks)

    def _forget_adopted(self, bid: int) -> None:
        """Paths of an earlier process are used until the first of ours is there. A plain one would take all
        packets, and several would share them."""
        self._adopted = False
        for other in list(self._dataplane.paths(self._binding)):
            if (other == 0) != (bid == 0):
                self._dataplane.remove_path(self._binding, other)
        if bid == 0:
            self._dataplane.set_preference(self._binding, ())
            self._dataplane.set_flows(self._binding, ())

    def states(self) -> Mapping[int, PathState]:
        """Traffic and health of each path as the data plane sees them. Raises DataPlaneError."""
        return self._dataplane.paths(self._binding)

    def set_local(self, addresses: Iterable[IPAddress]) -> None:
        """These are our care-of addresses. Raises DataPlaneError."""
        loop = asyncio.get_running_loop()
        present = set(addresses)
        for address in present:
            timer = self._local.get(address)
            if timer is not None:
                timer.cancel()
            self._dataplane.add_local(address, self._identifiers.get(address, 0))
            self._local[address] = None
        for address, timer in list(self._local.items()):
            if address not in present and timer is None:
                self._local[address] = loop.call_later(self._grace, self._forget_local, address)

    def _forget_local(self, address: IPAddress) -> None:
        del self._local[address]
        self._identifiers.pop(address, None)
        self._dataplane.remove_local(address)


class TrafficWatch:
    """Looks at the traffic of each path now and then and tells `count`: packets sent and received, by BID."""

    def __init__(self, paths: TunnelPaths, count: Callable[[Mapping[int, tuple[int, int]]], None]) -> None:
        self._paths = paths
        self._count = count
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look from now on."""
        self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self.start()
        try:
            states = self._paths.states()
        except DataPlaneError as error:
            log.warning("the traffic of the paths cannot be read: %s", error)
            return
        self._count(
            {
                bid: (state.traffic.sent_packets, state.traffic.received_packets)
                for bid, state in states.items()
            }
        )
