"""A mobile node on its home link: arriving, being an ordinary neighbour, leaving (RFC 6275 section 11.5.5).

What the engine decides, told to the kernel and the neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, IPv6Network

from dsmip.core.actions import SendPacket
from dsmip.core.mobile_node.engine import MobileNode
from dsmip.core.types import HomeAttachment
from dsmip.daemon.config.schema import MobileNodeFile
from dsmip.daemon.home_arrival import HomeArrival
from dsmip.daemon.movement import MovementService
from dsmip.daemon.runtime import Runtime
from dsmip.host.home_link import Announcer
from dsmip.host.home_routes import HomeRoutes


class HomeStay:
    """At most one home link at a time; `send` is called with what had to wait for the arrival."""

    def __init__(
        self,
        config: MobileNodeFile,
        engine: MobileNode,
        runtime: Runtime,
        movement: MovementService,
        routes: HomeRoutes,
        send: Callable[[SendPacket], None],
    ) -> None:
        self._engine = engine
        self._runtime = runtime
        self._routes = routes
        self._router = config.role == "mobile-router"
        self._ipv4_home_address = config.ipv4_home_address
        self._former: IPv6Interface | None = None
        self._arrival = HomeArrival(movement, engine.config.home_address, (engine.config.home_prefix,), send)
        self._announcers: dict[str, Announcer] = {}
        self._interface: str | None = None

    def holds_back(self, packet: SendPacket) -> bool:
        """True when the packet has to wait until the home agent's link-layer address is known."""
        return self._arrival.holds_back(packet)

    def use(self, home_address: IPv6Address, home_prefix: IPv6Network, former: IPv6Interface | None) -> None:
        """Another home address, for the next arrival; `former` is still valid."""
        self._former = former
        self._arrival.use(home_address, (home_prefix,) if former is None else (home_prefix, former.network))

    def come(self, home: HomeAttachment) -> None:
        """The home address appears on the link when the home agent's link-layer address is known."""
        self._arrival.begin(
            home, self._engine.config.home_agent, lambda: self._routes.arrive(home, self._ipv4())
        )

    def meet(self, home: HomeAttachment) -> None:
        """The home link becomes one of several paths; the home address stays off it."""
        self._arrival.begin(home, self._engine.config.home_agent, lambda: self._routes.approach(home))

    def settle(self, home: HomeAttachment) -> None:
        """Native from now on."""
        self._answer(home)
        self._routes.use_home_link()

    def share(self, home: HomeAttachment) -> None:
        """At home and abroad: the data plane chooses, the home link being one of its paths."""
        self._answer(home)
        self._routes.use_tunnel()

    def leave(self) -> None:
        """Away from there."""
        self._arrival.cancel()
        if self._interface is not None:
            be_a_host(self._runtime, self._interface)
            self._interface = None
        self._routes.depart()
        self._routes.use_tunnel()

    def close(self) -> None:
        """Announce nothing any more, and wait for no arrival."""
        self._arrival.cancel()
        for announcer in self._announcers.values():
            announcer.close()

    def _ipv4(self) -> IPv4Interface | None:
        """The IPv4 home address with the length of the home link's prefix, as far as it is known."""
        configured = self._ipv4_home_address
        if configured is not None and configured.interface is not None:
            return configured.interface
        granted = self._routes.ipv4_home_address
        return IPv4Interface(granted) if granted is not None else None

    def _answer(self, home: HomeAttachment) -> None:
        """The neighbours learn that the home agent no longer answers for us."""
        self._arrival.finish()
        ipv4 = self._ipv4()
        self._routes.arrive(home, ipv4)
        announcer = self._announcer(home.interface)
        if self._router:
            self._runtime.settings.set(f"net/ipv6/conf/{home.interface}/forwarding", 1)
        self._interface = home.interface
        announcer.announce(self._engine.config.home_address, None, router=self._router)
        if self._former is not None:
            announcer.announce(self._former.ip, None, router=self._router)
        if ipv4 is not None:
            announcer.announce(ipv4.ip, None, router=False)

    def _announcer(self, interface: str) -> Announcer:
        """The announcer of an interface, made when it is first needed and kept."""
        if interface not in self._announcers:
            self._announcers[interface] = Announcer(interface, self._runtime.sockets)
        return self._announcers[interface]


def be_a_host(runtime: Runtime, interface: str) -> None:
    """On the networks visited (RFC 3963 sections 5.6 and 5.7); forwarding goes on all the same."""
    runtime.settings.set(f"net/ipv6/conf/{interface}/forwarding", 0)
