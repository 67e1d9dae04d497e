"""The mobile node or mobile router as a program: movement, engine, data plane and routes tied together."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from dsmip.core.actions import (
    Action,
    ComeHome,
    Drop,
    Event,
    HomeAddressChanged,
    HomeAddressesChanged,
    HomeAgentChanged,
    InstallPath,
    LeaveHome,
    MeetHome,
    RemovePath,
    SendDatagram,
    SendIPv4,
    SendPacket,
    SetDuplication,
    SetFlowRules,
    SetPreference,
    SettleHome,
    ShareHome,
)
from dsmip.core.mobile_node.engine import MobileNode
from dsmip.core.mobile_node.renumbering import HomeAddress
from dsmip.core.types import Attachments, Instant, IPAddress
from dsmip.daemon import home_address
from dsmip.daemon.config.schema import MobileNodeFile, state_directory_of
from dsmip.daemon.config.uplinks import policy_of, signal_thresholds
from dsmip.daemon.home_address import Renumbered
from dsmip.daemon.home_agent.name import HomeAgentName, follow
from dsmip.daemon.home_stay import HomeStay, be_a_host
from dsmip.daemon.mobile_node.keys import MobileNodeKeys
from dsmip.daemon.mobile_node.plan import (
    BINDING,
    engine_config,
    initial_networks,
    protected_node,
    shares_identifier,
    signalling_peer,
    tunnel_ports,
    watched_interfaces,
)
from dsmip.daemon.mobile_node.questions import MobileNodeQuestions
from dsmip.daemon.movement import MovementService
from dsmip.daemon.payload import Situation
from dsmip.daemon.protection import is_native, is_signalling
from dsmip.daemon.reload import MOBILE_NODE_LIVE, Reload, check_uplinks_live
from dsmip.daemon.runtime import DEVICE, Runtime, StartError, instant
from dsmip.daemon.signal_watch import SignalWatch
from dsmip.daemon.tunnel_mtu import TunnelMtu
from dsmip.daemon.tunnel_paths import TrafficWatch, TunnelPaths
from dsmip.daemon.uplink_questions import UplinkQuestions
from dsmip.daemon.watching import Watching
from dsmip.dataplane.api import Role
from dsmip.host.home_link import own_addresses
from dsmip.host.home_routes import HomeRoutes
from dsmip.host.icmpv4_socket import Icmpv4Socket
from dsmip.host.icmpv6_socket import Icmpv6Socket
from dsmip.host.route_guard import RouteGuard
from dsmip.host.routing import HostError
from dsmip.host.wifi import WifiSignal
from dsmip.wire.icmpv6 import (
    EchoReply,
    HomeAgentAddressDiscoveryReply,
    MobilePrefixAdvertisement,
    PacketTooBig,
    ParameterProblem,
)

#: What the kernel leaves to us: path probes' answers, discovered home agents, home prefixes told through the
#: tunnel, refused Binding Updates, tunnel packets that were too big.
_ICMPV6_TYPES = (
    EchoReply.TYPE,
    HomeAgentAddressDiscoveryReply.TYPE,
    MobilePrefixAdvertisement.TYPE,
    ParameterProblem.TYPE,
    PacketTooBig.TYPE,
)

_REFUSED = (
    "The home prefix of {from} is given up, and the home agent does not accept {to} instead: set"
    " `renumbering = true` there, or configure another home_address at both ends."
)

log = logging.getLogger(__name__)


class MobileNodeDaemon:
    """Runs one mobile node or mobile router until told to stop."""

    def __init__(self, config: MobileNodeFile, path: Path | None = None) -> None:
        """`path` is the file of `config`, to be read again when asked."""
        self._path = path
        self._reloads = Reload(config, path, MOBILE_NODE_LIVE, self._reconfigure)
        self._config = config
        self._runtime = Runtime(
            config.name,
            Role.MOBILE_NODE,
            self._carry_out,
            mtu=config.mtu,
            state_directory=state_directory_of(config),
            udp_port=config.udp_port,
            capacity=64,
            classify=lambda packet: self._engine.standing(packet),
        )
        told = replace(engine_config(config), link_local=shares_identifier(config))
        self._engine = MobileNode(told, instant(), random.SystemRandom())
        home_address.resume(self._engine, state_directory_of(config), instant())
        self._dismissals: dict[IPAddress, asyncio.TimerHandle] = {}
        self._situation = Situation()
        self._name: HomeAgentName | None = None
        self._signals = SignalWatch(WifiSignal(), self._signal)
        self._keys: MobileNodeKeys | None = None

    async def run(self, *, keep_forwarding: bool = False) -> None:
        """Serve until SIGTERM or SIGINT. Raises StartError when something needed is missing."""
        runtime, config, told = self._runtime, self._config, self._engine.config
        await runtime.open([])
        self._protect_payload()
        self._protect_signalling()
        if config.authentication == "none":
            log.warning("signalling is not authenticated: anybody can take over the home address")
        self._paths = TunnelPaths(runtime.dataplane, BINDING, config.grace)
        self._mtu = TunnelMtu(
            lambda mtu: runtime.routing.set_mtu(runtime.device_index, mtu), runtime.conditions, config.mtu
        )
        self._movement = MovementService(
            watched_interfaces(config),
            told.home_prefix,
            runtime.state_directory,
            self._attachments_changed,
            runtime.events.event,
        )
        self._routes = HomeRoutes(runtime.routing, runtime.device_index, told.home_address, told.home_prefix)
        self._home = HomeStay(config, self._engine, runtime, self._movement, self._routes, self._send)
        await self._routes.adopt()
        self._set_up_forwarding()
        guard = RouteGuard(runtime.routing.port, self._restore_routes)
        messages = Icmpv6Socket(_ICMPV6_TYPES, self._icmpv6)
        loop = asyncio.get_running_loop()
        loop.add_reader(messages.fileno(), messages.drain)
        errors = Icmpv4Socket(self._icmpv4)
        loop.add_reader(errors.fileno(), errors.drain)
        uplinks = UplinkQuestions(self._engine, runtime, self._movement, self._paths)
        questions = MobileNodeQuestions(
            self._engine,
            runtime,
            uplinks.attachments,
            self._routes,
            lambda: self._config,
            BINDING,
            self._keys,
        )
        self._watching = Watching(runtime, questions)
        handlers = {
            **questions.handlers(),
            **uplinks.handlers(),
            **self._reloads.handlers(runtime.events.event, runtime.conditions),
        }
        traffic = TrafficWatch(self._paths, self._count)
        traffic.start()
        if self._engine.multihoming is not None:
            self._signals.use(signal_thresholds(config.interface))
        name = self._name = follow(config, self._engine, runtime)
        if name is not None:
            name.start()
        if self._keys is not None:
            self._keys.start()
        movement = loop.create_task(self._movement.start())
        try:
            async with self._watching.serving(config):
                await runtime.serve(self._engine, handlers)
        finally:
            keep_forwarding = keep_forwarding or runtime.hands_over
            traffic.stop()
            guard.close()
            self._signals.stop()
            if keep_forwarding and self._engine.multihoming is not None:
                self._engine.multihoming.rest(instant())
                runtime.carry_out_last()
            if name is not None:
                name.stop()
            if self._keys is not None:
                await self._keys.stop(keep=keep_forwarding)
            for listener in (messages, errors):
                loop.remove_reader(listener.fileno())
                listener.close()
            self._home.close()
            if not movement.done():
                movement.cancel()
            await self._movement.stop(keep=keep_forwarding)
            if not keep_forwarding:
                self._routes.close()
            self._paths.close()
            await runtime.close(keep_forwarding=keep_forwarding)

    def _protect_payload(self) -> None:
        """Before there is an address or a route that packets could take in clear."""
        runtime, table = self._runtime, self._config.payload
        if table is None and not runtime.dataplane.protected():
            return
        nodes = [] if table is None else [(protected_node(self._config, table, BINDING), Situation())]
        try:
            runtime.protect_payload().start(nodes)
        except HostError as error:
            raise StartError(str(error)) from error
        # What the kernel gives back there, decrypted, is looked at once more.
        runtime.dataplane.attach(DEVICE)

    def _situate(self, **changes: Any) -> None:
        """Networks granted, or whether we are at home, where payload is under ESP."""
        self._situation = replace(self._situation, **changes)
        if self._runtime.payload is not None:
            self._runtime.payload.situate(BINDING, self._situation)

    def _protect_signalling(self) -> None:
        runtime, config = self._runtime, self._config
        if config.authentication != "ipsec":
            return
        protection = runtime.protect(self._send_as_it_is)
        try:
            protection.add(signalling_peer(config))
            if config.ike is None:
                return
            self._keys = MobileNodeKeys(config, config.ike, runtime, protection, self._send_as_it_is)
        except (HostError, OSError) as error:
            raise StartError(str(error)) from error
        # Answers of IKE come before the first path does.
        runtime.dataplane.set_networks(BINDING, initial_networks(config, self._engine.config.home_address))

    def _set_up_forwarding(self) -> None:
        runtime, config = self._runtime, self._config
        if config.role == "mobile-router":
            runtime.settings.set("net/ipv4/ip_forward", 1)
            self._keep_accepting_advertisements()
            runtime.settings.set("net/ipv6/conf/all/forwarding", 1)
            self._be_hosts()
        for address in {config.home_address, self._engine.config.home_address}:
            runtime.dataplane.add_local(address)
        self._admit(config.home_agent.address, config.home_agent_ipv4)
        self._routes.set_networks(initial_networks(config, self._engine.config.home_address))
        self._guard_own_addresses()

    def _keep_accepting_advertisements(self) -> None:
        """Forwarding turns the kernel's own autoconfiguration off, which watched interfaces may rely on."""
        for interface in self._config.interface:
            if not interface.manage:
                name = f"net/ipv6/conf/{interface.name}/accept_ra"
                self._runtime.settings.set(name, 2)

    def _be_hosts(self) -> None:
        for interface in self._config.interface:
            be_a_host(self._runtime, interface.name)

    def _guard_own_addresses(self) -> None:
        """Nobody in the mobile network may send from an address of ours."""
        own = {self._engine.config.home_address}
        if self._engine.former_home_address is not None:
            own.add(self._engine.former_home_address)
        for address, _ in own_addresses():
            if any(address in prefix for prefix in self._config.mobile_network_prefixes):
                own.add(address)
        self._routes.set_own_addresses(own)

    def _admit(self, *home_agent: IPAddress | None) -> None:
        """Take tunnelled packets from a home agent."""
        for address in home_agent:
            if address is None:
                continue
            timer = self._dismissals.pop(address, None)
            if timer is not None:
                timer.cancel()
            for port in tunnel_ports(address):
                self._runtime.dataplane.allow_source(BINDING, address, port, None)

    def _dismiss(self, address: IPAddress) -> None:
        """Take none any more."""
        del self._dismissals[address]
        for port in tunnel_ports(address):
            self._runtime.dataplane.deny_source(BINDING, address, port)

    # Observations ------------------------------------------------------------------------------------------

    def _attachments_changed(self, attachments: Attachments, now: Instant) -> None:
        dataplane = self._runtime.dataplane
        interfaces = {care_of.interface for care_of in attachments.care_of}
        if attachments.home is not None:
            interfaces.add(attachments.home.interface)
        for interface in interfaces:
            dataplane.attach(interface)
            # The networks of two uplinks may have the same addresses; and each carries ICMP from anywhere.
            self._runtime.settings.allow_any_source(interface)
        self._paths.set_local(attachments.care_of)
        if attachments.care_of and attachments.home is None:
            self._routes.found_elsewhere()
        self._engine.attachments_changed(attachments, now)
        self._runtime.turn()
        self._guard_own_addresses()
        if self._name is not None and attachments.care_of:
            self._name.network_changed()
        if self._keys is not None and attachments.care_of:
            self._keys.network_changed()

    def _restore_routes(self, missed: int) -> None:
        """Another program took rules or routes of ours out."""
        try:
            self._routes.restore()
        except HostError as error:  # a device that is gone, for one
            log.warning("%s", error)
        self._runtime.events.event("routes-restored", {"missed": missed})

    def _icmpv6(self, data: bytes, source: IPv6Address, destination: IPv6Address) -> None:
        self._engine.icmpv6(data, source, destination, instant())
        self._runtime.turn()

    def _icmpv4(self, data: bytes) -> None:
        self._engine.icmpv4(data, instant())
        self._runtime.turn()

    def _count(self, traffic: Mapping[int, tuple[int, int]]) -> None:
        """So many packets went over each path so far."""
        self._engine.count(traffic, instant())
        self._runtime.turn()

    def _signal(self, interface: str, weak: bool, strength: int | None) -> None:
        """The signal of an uplink is too weak, or good again."""
        if self._engine.multihoming is not None:
            dbm = "" if strength is None else strength
            self._runtime.events.event("signal", {"interface": interface, "weak": weak, "dbm": dbm})
            self._engine.multihoming.signal(interface, instant(), weak=weak)
            self._runtime.turn()

    async def _reconfigure(self, after: MobileNodeFile) -> None:
        """Take over another policy. Raises ConfigError for what cannot change while the daemon runs."""
        check_uplinks_live(self._config, after, self._path or Path())
        await self._watching.change(after, self._path or Path())
        before, self._config = self._config, after
        if (before.key, before.spi, before.lifetime) != (after.key, after.spi, after.lifetime):
            key = bytes(after.key or b"")
            self._engine.rekey(key=key, spi=after.spi, lifetime=after.lifetime, now=instant())
            self._runtime.turn()
        if self._engine.multihoming is not None:
            policy = policy_of(after.multihoming, after.interface, after.flow)
            self._engine.use_policy(policy, instant())
            self._signals.use(signal_thresholds(after.interface))
            self._runtime.turn()
        await self._use_interfaces(before)

    async def _use_interfaces(self, before: MobileNodeFile) -> None:
        """Watch and configure the interfaces there are now; those that stay are not touched."""
        interfaces = watched_interfaces(self._config)
        names = {interface.name for interface in interfaces}
        for interface in before.interface:
            if interface.name not in names:
                self._runtime.settings.restore(interface.name)
        if self._config.role == "mobile-router":
            self._keep_accepting_advertisements()
            self._be_hosts()
        await self._movement.use_interfaces(interfaces)
        for interface in before.interface:
            if interface.name not in names:
                self._runtime.dataplane.detach(interface.name)

    # Actions -----------------------------------------------------------------------------------------------

    def _carry_out(self, action: Action) -> None:
        runtime = self._runtime
        match action:
            case SendPacket():
                if not self._home.holds_back(action):
                    self._send(action)
            case SendDatagram():
                self._send(action)
            case SendIPv4():
                runtime.sockets.send_ipv4(action.packet, action.interface)
            case InstallPath():
                self._paths.carry_out(action)
                self._mtu.installed(action.bid, action.path.mtu)
                self._routes.use_tunnel()
            case RemovePath():
                self._paths.carry_out(action)
                self._mtu.removed(action.bid)
            case SetPreference() | SetFlowRules() | SetDuplication():
                self._paths.carry_out(action)
            case HomeAddressesChanged():
                self._situate(networks=action.networks)
                runtime.dataplane.set_networks(BINDING, action.networks)
                self._routes.set_networks(action.networks)
                runtime.dataplane.add_local(self._engine.config.home_address)
            case HomeAddressChanged():
                self._change_home_address(action)
            case HomeAgentChanged():
                self._change_home_agent(action)
            case ComeHome():
                self._home.come(action.home)
            case SettleHome():
                self._situate(at_home=action.acknowledged)
                self._home.settle(action.home)
            case MeetHome():
                self._home.meet(action.home)
            case ShareHome():
                self._home.share(action.home)
            case LeaveHome():
                self._situate(at_home=False)
                self._home.leave()
            case Drop():
                runtime.events.drop(action.reason, action.detail, "")
            case Event():
                runtime.events.event(action.kind, action.fields)
                if action.kind == "renumbering-refused":
                    self._runtime.conditions.stand("renumbering", _REFUSED.format(**action.fields))
            case _:
                raise TypeError(f"a mobile node does not do {type(action).__name__}")

    def _send(self, action: SendPacket | SendDatagram) -> None:
        if self._config.authentication == "ipsec" and not is_native(action):
            # On its way to the daemon what is encrypted passes the tunnel device, path or no path.
            self._routes.use_tunnel()
        if self._runtime.is_protected(action):
            return
        if self._config.authentication == "ipsec" and is_signalling(action):
            # To a home agent that was discovered, say: there are no keys for it, and nothing goes in clear.
            self._runtime.events.drop("not-protected", "no keys for where it should have gone", "")
            return
        self._send_as_it_is(action)

    def _send_as_it_is(self, action: SendPacket | SendDatagram) -> None:
        sockets = self._runtime.sockets
        if isinstance(action, SendPacket):
            sockets.send_ipv6(action.packet, action.interface or DEVICE)
        else:
            sockets.send_datagram(action.payload, action.local, action.remote, action.interface)

    def _change_home_address(self, action: HomeAddressChanged) -> None:
        if action.home_address != self._routes.home_address:
            self._runtime.conditions.end("renumbering")
        self._routes.use(action.home_address, action.home_prefix, action.former)
        self._home.use(action.home_address, action.home_prefix, action.former)
        self._movement.use_home_prefix(action.home_prefix)
        self._guard_own_addresses()
        home = HomeAddress(action.home_address, action.home_prefix)
        until = self._engine.former_valid_until if action.former is not None else instant().monotonic
        known = Renumbered(self._config.home_address, home, until)
        home_address.remember(self._runtime.state_directory, known, instant())

    def _change_home_agent(self, action: HomeAgentChanged) -> None:
        self._admit(action.home_agent, action.home_agent_ipv4)
        loop = asyncio.get_running_loop()
        for address in (action.previous, action.previous_ipv4):
            kept = (None, action.home_agent, action.home_agent_ipv4)
            if address not in kept and address not in self._dismissals:
                self._dismissals[address] = loop.call_later(action.grace, self._dismiss, address)
