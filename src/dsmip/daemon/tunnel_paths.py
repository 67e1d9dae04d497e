"""The mobile node's end of its tunnels in the data plane: paths, their order, flows, care-of addresses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from dsmip.core.actions import InstallPath, RemovePath, SetDuplication, SetFlowRules, SetPreference
from dsmip.core.types import CareOfAddress, IPAddress
from dsmip.dataplane.api import DataPlane, DataPlaneError, PathState

#: Seconds between looks at the traffic of each path, which decide how often it is probed and, where there is
#: but one, whether anything comes back.
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
        # By address and interface: every second NAT hands out 192.168.1.2.
        self._local: dict[tuple[IPAddress, int], asyncio.TimerHandle | None] = {}
        self._identifiers: dict[tuple[IPAddress, int], int] = {}
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
        path = action.path
        self._identifiers[path.local, path.interface] = action.bid
        self._dataplane.add_local(path.local, action.bid, path.interface)
        self._dataplane.set_path(self._binding, path, action.bid)
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

    def set_local(self, care_of: Iterable[CareOfAddress]) -> None:
        """These are our care-of addresses. Raises DataPlaneError."""
        loop = asyncio.get_running_loop()
        present = {(one.address, one.ifindex) for one in care_of}
        for place in present:
            timer = self._local.get(place)
            if timer is not None:
                timer.cancel()
            address, interface = place
            self._dataplane.add_local(address, self._identifiers.get(place, 0), interface)
            self._local[place] = None
        for place, timer in list(self._local.items()):
            if place not in present and timer is None:
                self._local[place] = loop.call_later(self._grace, self._forget_local, place)

    def close(self) -> None:
        """Forget no address any more: the data plane goes, or is left as it is."""
        for timer in self._local.values():
            if timer is not None:
                timer.cancel()

    def _forget_local(self, place: tuple[IPAddress, int]) -> None:
        del self._local[place]
        self._identifiers.pop(place, None)
        address, interface = place
        self._dataplane.remove_local(address, interface)


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
