"""Runs the movement engine on a real machine: feeds it what the kernel and the links say, does what it asks.

Actions are carried out at once and in the engine's order, so an attachment is published when its address and
route are in the kernel, and not before.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

from dsmip.core.actions import Event, Value
from dsmip.core.types import Attachments, Instant
from dsmip.host import autoconf, links
from dsmip.host.addressing import Addressing, AddressingError
from dsmip.host.link_sockets import LinkSockets
from dsmip.host.sysctl import Settings
from dsmip.movement import actions as act
from dsmip.movement.engine import InterfaceConfig, MovementEngine
from dsmip.movement.identifiers import StableIdentifiers
from dsmip.movement.networks import KnownNetworks
from dsmip.wire.icmpv6 import NeighborAdvertisement, RouterAdvertisement

if TYPE_CHECKING:
    from dsmip.host.dhcp import DhcpClient

LOG = logging.getLogger(__name__)

#: Changes in the memory of known networks are written to disk after this, s.
SAVE_DELAY = 2.0

#: Default routes of an earlier process are used for so long, s, unless a router is heard of sooner: by then
#: three Router Solicitations were in vain (RFC 4861 section 10).
LEFT_IN_USE = 12.0

OnNeighbor = Callable[[str, NeighborAdvertisement, IPv6Address, bytes], None]


def instant() -> Instant:
    """Now."""
    return Instant(time.monotonic(), time.time())


class MovementService:
    """Where the node is attached, on the interfaces given.

    `on_change` gets every new set of attachments, the moment they are usable. `on_event` gets a slug and
    fields for the log and for measurements: every event has `at`, when it was observed, and one that a
    neighbour discovery or ARP packet caused has `wire`, when the kernel received that packet; both
    CLOCK_MONOTONIC seconds. `state_directory` None: nothing is remembered after `stop`.
    """

    def __init__(
        self,
        interfaces: Sequence[InterfaceConfig],
        home_prefix: IPv6Network | None,
        state_directory: Path | None,
        on_change: Callable[[Attachments, Instant], None],
        on_event: Callable[[str, Mapping[str, Value]], None],
    ) -> None:
        self._interfaces = tuple(interfaces)
        self._managed = frozenset(config.name for config in interfaces if config.manage)
        self._on_change = on_change
        self._on_event = on_event
        self._optimistic = autoconf.optimistic_dad_available()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if state_directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="dsmip-")
            state_directory = Path(self._temporary.name)
        state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._networks = state_directory / "networks.json"
        self._memory = _load(self._networks)
        self._settings = Settings(state_directory / "link-settings.json")
        identifiers = StableIdentifiers(_secret(state_directory / "identifier-secret"))
        self._engine = MovementEngine(
            interfaces, home_prefix, identifiers, self._memory, optimistic=self._optimistic
        )
        self._addressing: Addressing | None = None
        self._monitor: links.LinkMonitor | None = None
        self._sockets: dict[str, LinkSockets] = {}
        self._links: dict[str, links.LinkSeen] = {}
        self._dhcp: dict[str, DhcpClient] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._saving: asyncio.TimerHandle | None = None
        self._left: asyncio.TimerHandle | None = None
        self._wire = 0.0
        self._busy = asyncio.Lock()
        #: Called with interface, message, source and link-layer source of every Neighbor Advertisement.
        self.on_neighbor: OnNeighbor | None = None

    # Life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Clean up after a process that was killed, then watch. Raises OSError without CAP_NET_ADMIN."""
        async with self._busy:
            self._addressing = Addressing()
            await self._take_over(self._addressing, self._managed)
            names = [config.name for config in self._interfaces]
            self._monitor = links.LinkMonitor(names, self._link_event, self._addressing.port)
            await self._monitor.start()

    async def use_interfaces(self, interfaces: Sequence[InterfaceConfig]) -> None:
        """Look after these instead; nothing is done to those that stay. For a service that was started."""
        async with self._busy:
            if self._addressing is None or self._monitor is None:
                return
            before = {config.name: config.manage for config in self._interfaces}
            after = {config.name: config.manage for config in interfaces}
            now = instant()
            self._wire = 0.0
            self._engine.use_interfaces(interfaces, now)
            self._drain(now)
            if before == after:
                return
            gone = [name for name in before if after.get(name) != before[name]]
            # Nothing that is still heard of those counts until the monitor reports it anew.
            self._interfaces = tuple(config for config in self._interfaces if config.name not in gone)
            for name in gone:
                await self._give_back(name)
            self._managed = frozenset(config.name for config in interfaces if config.manage)
            new = [name for name, manage in after.items() if manage and not before.get(name)]
            await self._take_over(self._addressing, new)
            self._interfaces = tuple(interfaces)
            await self._monitor.use([*after], anew=gone)  # some are only managed by somebody else now

    async def _take_over(self, addressing: Addressing, names: Collection[str]) -> None:
        """Configure these interfaces from now on."""
        from dsmip.host.dhcp import DhcpClient

        for name in names:
            self._dhcp[name] = DhcpClient(name, partial(self._leased, name), partial(self._unleased, name))
            autoconf.take_over(name, self._settings)
        removed = await addressing.clean(names)
        if self._left is not None:
            self._left.cancel()
        self._left = asyncio.get_running_loop().call_later(LEFT_IN_USE, addressing.remove_left)
        if removed:
            self._tell("leftovers-removed", {"count": removed}, instant())

    async def _give_back(self, name: str) -> None:
        """Leave an interface alone that has been forgotten by the engine."""
        self._links.pop(name, None)
        self._close_sockets(name)
        client = self._dhcp.pop(name, None)
        if client is not None:
            await client.close()
        self._settings.restore(name)

    async def stop(self, *, keep: bool = False) -> None:
        """Take out of the kernel what was put in (unless `keep`), remember the networks, close everything.

        May be called whatever became of `start`.
        """
        if self._monitor is not None:
            await self._monitor.stop()
        if not keep:
            now = instant()
            self._wire = 0.0
            for config in self._interfaces:
                self._engine.link_down(config.name, now)
            self._drain(now)
        for timer in (self._timer, self._saving, self._left):
            if timer is not None:
                timer.cancel()
        self._timer = self._saving = self._left = None
        for client in self._dhcp.values():
            await client.close()
        for name in [*self._sockets]:
            self._close_sockets(name)
        if self._addressing is not None:
            if not keep:
                self._addressing.remove_left()
            self._addressing.close()
            self._addressing = None
        self._save()
        if not keep:
            self._settings.restore()
        if self._temporary is not None:
            self._temporary.cleanup()

    def use_home_prefix(self, home_prefix: IPv6Network) -> None:
        """The home link is told by this prefix from now on."""
        self._engine.use_home_prefix(home_prefix)

    def snapshot(self) -> dict[str, object]:
        """Everything known about the attachments, ready for JSON."""
        return self._engine.snapshot(instant())

    def solicit_neighbor(self, interface: str, target: IPv6Address, source: IPv6Address | None) -> None:
        """Ask for a neighbour's link-layer address; the answer comes by `on_neighbor`."""
        sockets = self._sockets.get(interface)
        if sockets is not None:
            sockets.solicit_neighbor(target, source)

    def set_neighbor(self, ifindex: int, address: IPv6Address, mac: bytes) -> None:
        """Put what was learnt into the neighbour cache."""
        if self._addressing is None:
            return
        try:
            self._addressing.set_neighbor(ifindex, address, mac)
        except AddressingError as error:
            LOG.warning("%s", error)

    @property
    def attachments(self) -> Attachments:
        """What was published last."""
        return self._engine.attachments

    # Observations ------------------------------------------------------------------------------------------

    def _link_event(self, event: links.LinkEvent) -> None:
        if not any(config.name == event.name for config in self._interfaces):
            return
        now = instant()
        self._wire = 0.0
        engine = self._engine
        match event:
            case links.LinkSeen():
                self._link_seen(event, now)
            case links.LinkGone():
                engine.link_down(event.name, now)
                self._links.pop(event.name, None)
                self._close_sockets(event.name)
            case links.AddressSeen():
                engine.address_added(
                    event.name, event.address, event.prefix_length, event.flags, now, event.valid
                )
            case links.AddressGone():
                engine.address_removed(event.name, event.address, event.flags, now)
            case links.RouteSeen():
                engine.default_route_added(event.name, event.gateway, event.metric, now)
            case links.RouteGone():
                engine.default_route_removed(event.name, event.gateway, event.metric, now)
        self._drain(now)

    def _link_seen(self, link: links.LinkSeen, now: Instant) -> None:
        """Up, down, or down and up again so fast that the kernel told only the end (carrier counter)."""
        before = self._links.get(link.name)
        self._links[link.name] = link
        if before is None or (before.ifindex, before.mac) != (link.ifindex, link.mac):
            self._close_sockets(link.name)
            if link.name in self._managed:
                autoconf.take_over(link.name, self._settings)
            try:
                self._sockets[link.name] = LinkSockets(
                    link.ifindex,
                    link.mac,
                    partial(self._advertised, link.name),
                    partial(self._arp_replied, link.name),
                )
            except OSError as error:
                LOG.warning("%s: no packet sockets: %s", link.name, error)
        if not link.running:
            self._engine.link_down(link.name, now)
        elif (
            before is None
            or not before.running
            or (before.ifindex, before.mac, before.carrier_changes)
            != (link.ifindex, link.mac, link.carrier_changes)
        ):
            self._engine.link_up(link.name, link.ifindex, link.mac, now, link.mtu)
        elif before.mtu != link.mtu:
            self._engine.link_mtu(link.name, link.mtu, now)

    def _advertised(
        self,
        name: str,
        message: RouterAdvertisement | NeighborAdvertisement,
        source: IPv6Address,
        mac: bytes,
        received: float,
    ) -> None:
        now = instant()
        self._wire = received
        if isinstance(message, RouterAdvertisement):
            self._engine.router_advertisement(name, source, mac, message, now)
        else:
            self._engine.neighbor_advertisement(name, mac, message, now)
            if self.on_neighbor is not None:
                self.on_neighbor(name, message, source, mac)
        self._drain(now)

    def _arp_replied(self, name: str, sender: IPv4Address, mac: bytes, received: float) -> None:
        now = instant()
        self._wire = received
        self._engine.arp_reply(name, sender, mac, now)
        self._drain(now)

    def _leased(self, name: str, lease: act.DhcpLease) -> None:
        now = instant()
        self._wire = 0.0
        self._engine.lease_granted(name, lease, now)
        self._drain(now)

    def _unleased(self, name: str, address: IPv4Address) -> None:
        now = instant()
        self._wire = 0.0
        self._engine.lease_lost(name, address, now)
        self._drain(now)

    def _tick(self) -> None:
        now = instant()
        self._wire = 0.0
        self._timer = None
        self._engine.tick(now)
        self._drain(now)

    # Actions -----------------------------------------------------------------------------------------------

    def _drain(self, now: Instant) -> None:
        """Do what the engine wants, arm its timer."""
        for action in self._engine.actions():
            try:
                self._execute(action, now)
            except AddressingError as error:
                LOG.warning("%s", error)
                self._tell("kernel-refused", {"error": str(error)}, now)
                if isinstance(action, act.AddAddress) and action.address.version == 6:
                    # Tried a few times more, then no longer offered.
                    self._engine.address_removed(action.interface, action.address, act.AddressFlags.NONE, now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._engine.timeout()
        if due is not None:
            delay = max(0.0, due - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _execute(self, action: act.MovementAction, now: Instant) -> None:
        match action:
            case act.SolicitRouters() | act.ProbeRouter() | act.ProbeGateway():
                self._send(action, now)
            case act.StartDhcp(interface, lease):
                link = self._links[interface]
                self._dhcp[interface].start(link.ifindex, link.mac, lease)
            case act.StopDhcp(interface):
                self._dhcp[interface].stop()
            case act.AttachmentsChanged(attachments):
                self._on_change(attachments, instant())
            case act.NetworksChanged():
                if self._saving is None:
                    self._saving = asyncio.get_running_loop().call_later(SAVE_DELAY, self._save)
            case act.SetMtu(interface, mtu):
                autoconf.set_mtu(interface, mtu, self._settings)
            case Event(kind, fields):
                self._tell(kind, fields, now)
            case _:
                self._configure(action)

    def _send(self, action: act.SolicitRouters | act.ProbeRouter | act.ProbeGateway, now: Instant) -> None:
        sockets = self._sockets.get(action.interface)
        if sockets is None:
            return
        match action:
            case act.SolicitRouters(interface, source):
                sockets.solicit_routers(source)
                self._tell("router-solicitation", {"interface": interface}, now)
            case act.ProbeRouter(_, source, router, mac):
                sockets.probe_router(source, router, mac)
            case act.ProbeGateway(_, sender, gateway, target):
                sockets.probe_gateway(sender, gateway, target)

    def _configure(
        self, action: act.AddAddress | act.RemoveAddress | act.SetDefaultRoute | act.RemoveDefaultRoute
    ) -> None:
        kernel = self._addressing
        if kernel is None:
            return
        match action:
            case act.AddAddress():
                kernel.add_address(
                    action.ifindex,
                    action.address,
                    action.prefix_length,
                    valid=action.valid,
                    preferred=action.preferred,
                    metric=action.metric,
                    on_link=action.on_link,
                    optimistic=self._optimistic,
                    dad=action.dad,
                )
            case act.RemoveAddress(_, ifindex, address, prefix_length):
                kernel.remove_address(ifindex, address, prefix_length)
            case act.SetDefaultRoute(_, ifindex, gateway, mac, source, metric):
                if mac is not None:
                    kernel.set_neighbor(ifindex, gateway, mac)
                kernel.set_default_route(ifindex, gateway, metric, source)
            case act.RemoveDefaultRoute(_, ifindex, gateway, metric):
                kernel.remove_default_route(ifindex, gateway, metric)

    def _tell(self, kind: str, fields: Mapping[str, Value], now: Instant) -> None:
        wire = {"wire": self._wire - now.unix + now.monotonic} if self._wire else {}
        self._on_event(kind, {**fields, "at": now.monotonic, **wire})

    # -------------------------------------------------------------------------------------------------------

    def _close_sockets(self, name: str) -> None:
        sockets = self._sockets.pop(name, None)
        if sockets is not None:
            sockets.close()

    def _save(self) -> None:
        self._saving = None
        temporary = self._networks.with_suffix(".new")
        try:
            temporary.write_bytes(self._memory.encode())
            temporary.replace(self._networks)
        except OSError as error:
            LOG.warning("%s: the memory of known networks is not written: %s", self._networks, error)


def _load(path: Path) -> KnownNetworks:
    memory = KnownNetworks()
    try:
        memory.load(path.read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        LOG.warning("%s: the memory of known networks is not readable: %s", path, error)
    return memory


def _secret(path: Path) -> bytes:
    """The secret the interface identifiers are made with; made at the first start (RFC 7217 section 5)."""
    try:
        found = path.read_bytes()
        if len(found) >= 32:
            return found
    except FileNotFoundError:
        pass
    made = secrets.token_bytes(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(made)
    return made
