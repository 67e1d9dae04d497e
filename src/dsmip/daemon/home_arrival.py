"""Coming to the home link: whose link-layer address is the home agent's? (RFC 6275 section 11.5.5)

The home agent still defends the home address there. The kernel would ask for the home agent's link-layer
address with the home address as the source, which confuses the neighbours, the home agent among them: so the
daemon asks before the home address is on the link, and the Binding Update waits for the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from dsmip.core.actions import SendPacket
from dsmip.core.types import HomeAttachment
from dsmip.daemon.movement import MovementService
from dsmip.host.home_link import link_local_address
from dsmip.wire.icmpv6 import NeighborAdvertisement, TargetLinkLayerAddress

#: Seconds between solicitations, and how many there are (RFC 4861 section 10).
RETRANS_TIMER = 1.0
MAX_MULTICAST_SOLICIT = 3


@dataclass(slots=True)
class _Arrival:
    home: HomeAttachment
    home_agent: IPv6Address
    settle: Callable[[], None]
    waiting: list[SendPacket] = field(default_factory=list)
    tries: int = 0
    timer: asyncio.TimerHandle | None = None


class HomeArrival:
    """At most one arrival at a time; `send` is called with what had to wait.

    `home_prefixes`: that of the home address, and those that are on the home link beside it.
    """

    def __init__(
        self,
        movement: MovementService,
        home_address: IPv6Address,
        home_prefixes: tuple[IPv6Network, ...],
        send: Callable[[SendPacket], None],
    ) -> None:
        self._movement = movement
        self._home_address = home_address
        self._home_prefixes = home_prefixes
        self._send = send
        self._arrival: _Arrival | None = None
        movement.on_neighbor = self._neighbor

    def use(self, home_address: IPv6Address, home_prefixes: tuple[IPv6Network, ...]) -> None:
        """Another home address, for the next arrival."""
        self._home_address, self._home_prefixes = home_address, home_prefixes

    def begin(self, home: HomeAttachment, home_agent: IPv6Address, settle: Callable[[], None]) -> None:
        """Find the home agent's link-layer address; then `settle` puts the home address on the link.

        A home agent that is not on the home link needs no such care.
        """
        before = self._arrival
        if before is not None and before.home == home:
            return
        # Another router or a lease has come meanwhile: what waits for the same link goes on waiting.
        waiting = before.waiting if before is not None and before.home.interface == home.interface else []
        self.cancel()
        self._arrival = _Arrival(home, home_agent, settle, waiting)
        if any(home_agent in prefix for prefix in self._home_prefixes):
            self._solicit()
        else:
            self.finish()

    def holds_back(self, packet: SendPacket) -> bool:
        """True when the packet has to wait for the arrival; only the last one is kept."""
        if self._arrival is None or packet.interface != self._arrival.home.interface:
            return False
        self._arrival.waiting[:] = [packet]
        return True

    def finish(self) -> None:
        """Go on, with or without an answer."""
        arrival = self._arrival
        self.cancel()
        if arrival is not None:
            arrival.settle()
            for packet in arrival.waiting:
                self._send(packet)

    def cancel(self) -> None:
        """The home link is gone."""
        if self._arrival is not None and self._arrival.timer is not None:
            self._arrival.timer.cancel()
        self._arrival = None

    def _solicit(self) -> None:
        arrival = self._arrival
        if arrival is None:
            return
        if arrival.tries == MAX_MULTICAST_SOLICIT:
            self.finish()
            return
        arrival.tries += 1
        arrival.timer = asyncio.get_running_loop().call_later(RETRANS_TIMER, self._solicit)
        interface = arrival.home.interface
        if self._home_address in self._home_prefixes[0]:
            # Answered by the home agent, on behalf of the home address (RFC 6275 section 11.5.5).
            self._movement.solicit_neighbor(interface, self._home_address, None)
        # Answered without the delay that proxies observe.
        self._movement.solicit_neighbor(interface, arrival.home_agent, link_local_address(interface))

    def _neighbor(
        self, interface: str, message: NeighborAdvertisement, source: IPv6Address, mac: bytes
    ) -> None:
        arrival = self._arrival
        if arrival is None or interface != arrival.home.interface:
            return
        on_behalf = message.target == self._home_address and source == arrival.home_agent
        if message.target != arrival.home_agent and not on_behalf:
            return
        for option in message.options:
            if isinstance(option, TargetLinkLayerAddress):
                mac = option.address
        self._movement.set_neighbor(arrival.home.ifindex, arrival.home_agent, mac)
        self.finish()
