"""The home agent as a program: engine, data plane, home link and store tied together."""

from __future__ import annotations

import functools
import logging
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path

import msgspec

from dsmip.core.actions import (
    Action,
    Drop,
    Event,
    ForwardPacket,
    InstallBinding,
    NoteNeighbor,
    RemoveBinding,
    SendDatagram,
    SendError,
    SendIPv4,
    SendPacket,
    StartDad,
    TooBig,
)
from dsmip.core.home_agent.changes import compare
from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.types import DSMIP_PORT, Binding, IPAddress, IPNetwork, UdpEndpoint
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeTable, state_directory_of
from dsmip.daemon.frozen_tables import FrozenTables, TablesByAddress
from dsmip.daemon.home_agent.forwarding import Forwarding
from dsmip.daemon.home_agent.icmp import HomeAgentIcmpPort
from dsmip.daemon.home_agent.keys import HomeAgentKeys
from dsmip.daemon.home_agent.payload import HomeAgentPayload, NotProtected
from dsmip.daemon.home_agent.plan import (
    defended,
    engine_config,
    routed_networks,
    signalling_peer,
)
from dsmip.daemon.home_agent.questions import HomeAgentQuestions
from dsmip.daemon.home_agent.refused_bindings import RefusedBindings
from dsmip.daemon.persistence import Persistence, open_store
from dsmip.daemon.reload import HomeAgentReload
from dsmip.daemon.resumption import Resumption
from dsmip.daemon.rounds import Round
from dsmip.daemon.runtime import DEVICE, Runtime, StartError, instant
from dsmip.daemon.watching import Watching
from dsmip.dataplane.api import DataPlaneError, Role
from dsmip.host.home_link import Announcer, DuplicateAddressDetection, link_local_address
from dsmip.host.routing import HostError, tunnel_route
from dsmip.store.api import Store, StoreError

log = logging.getLogger(__name__)


class HomeAgentDaemon:
    """Runs one home agent until told to stop."""

    def __init__(self, config: HomeAgentFile, path: Path | None = None) -> None:
        """`path` is the configuration's: without it nothing can be provisioned or reloaded.

        Raises ConfigError when what was provisioned does not fit the configuration.
        """
        self._reloads = HomeAgentReload(config, path, self._reconfigure)
        self._config = config = self._reloads.complete
        self._runtime = Runtime(
            config.name,
            Role.HOME_AGENT,
            self._carry_out,
            mtu=config.mtu,
            state_directory=state_directory_of(config),
            udp_port=DSMIP_PORT,
            capacity=config.max_bindings,
            classify=lambda packet: self._engine.standing(packet),
            prepare=lambda actions: self._persistence.prepare(actions),
            together=True,
        )
        self._engine = HomeAgent(engine_config(config))
        self._forwarding = Forwarding(self._runtime, lambda: self._config)
        self._payload = HomeAgentPayload(self._runtime, lambda: self._config, self._engine)
        self._keys = HomeAgentKeys(self._runtime, config, self._send, self._engine.index_of)
        self._resumption = Resumption(self._resume, self._engine.bindings, self._resuming)
        self._refused = RefusedBindings(
            self._runtime,
            self._engine,
            self._forwarding,
            self._payload,
            lambda address: self._nodes.get(address),
            instant,
        )
        self._runtime.refusals = self._refused
        self._nodes = TablesByAddress(FrozenTables.of(config.mobile_node), self._engine.record_of)

    async def run(self, *, keep_forwarding: bool = False) -> None:
        """Serve until SIGTERM or SIGINT. Raises StartError when something needed is missing."""
        runtime, config = self._runtime, self._config
        links = dict.fromkeys([*config.uplinks, *([config.home_link] if config.home_link else [])])
        await runtime.open(list(links))
        _warn_of_unauthenticated(self._nodes.tables.unauthenticated())
        store = open_store(config.store, config.name, runtime.state_directory)
        self._persistence = Persistence(store, runtime.events, runtime.conditions, self._engine.stored)
        self._set_up_forwarding()
        try:
            self._keys.start()
            self._protect({}, self._nodes.tables.under_esp())
        except (HostError, OSError) as error:
            raise StartError(str(error)) from error
        resumed = self._read(store)
        try:
            self._payload.start(self._nodes.tables.under_esp())
        except HostError as error:
            raise StartError(str(error)) from error
        self._reconcile()
        if config.home_link:
            await self._withdraw_stale()
        self._resumption.put_off(resumed)
        del resumed
        icmp = HomeAgentIcmpPort(
            self._engine,
            runtime.turn,
            runtime.is_peer,
            prefixes=config.home_prefixes,
            interface=self._forwarding.home_link or runtime.device_index,
            home_link=config.home_link or "",
            home_link_index=self._forwarding.home_link,
        )
        questions = HomeAgentQuestions(
            self._engine, runtime, lambda: self._config, lambda: self._nodes, self._keys
        )
        self._watching = Watching(runtime, questions)
        handlers = {
            **questions.handlers(),
            **self._reloads.handlers(runtime.events.event, runtime.conditions),
        }
        try:
            async with self._watching.serving(config):
                await runtime.serve(self._engine, handlers)
        finally:
            keep_forwarding = keep_forwarding or runtime.hands_over
            icmp.close()
            await self._keys.stop(keep=keep_forwarding)
            if not keep_forwarding:
                self._withdraw_everything()
            if config.home_link:
                self._dad.close()
                self._announcer.close()
            await runtime.close(keep_forwarding=keep_forwarding)
            self._persistence.close()

    # Set-up ------------------------------------------------------------------------------------------------

    def _set_up_forwarding(self) -> None:
        runtime, config = self._runtime, self._config
        runtime.settings.set("net/ipv4/ip_forward", 1)
        runtime.settings.set("net/ipv6/conf/all/forwarding", 1)
        runtime.dataplane.add_local(config.address)
        if config.ipv4_address is not None:
            runtime.dataplane.add_local(config.ipv4_address)
            # Reserved so that nobody else takes the port; what arrives there never reaches this socket.
            runtime.sockets.reserve(UdpEndpoint(config.ipv4_address, DSMIP_PORT))
        for uplink in config.uplinks:
            runtime.dataplane.attach(uplink)
        # What comes out of one tunnel may be another, or signalling: a mobile node in the network of a mobile
        # router, both of this home agent (RFC 3963 section 3).
        runtime.dataplane.attach(DEVICE)
        if config.home_link:
            self._set_up_home_link(config.home_link)
        for network in routed_networks(config):
            runtime.routing.add_route(tunnel_route(network, runtime.device_index))

    def _set_up_home_link(self, interface: str) -> None:
        runtime = self._runtime
        self._announcer = Announcer(interface, runtime.sockets)
        self._dad = DuplicateAddressDetection(interface, runtime.sockets)
        self._forwarding.home_link = socket.if_nametoindex(interface)
        runtime.dataplane.set_home_link(self._forwarding.home_link)
        # Both: the first for solicitations to groups, the second for those to the address itself, and for
        # packets to a mobile node's link-local address, which are refused and not resolved for seconds.
        runtime.settings.set(f"net/ipv6/conf/{interface}/proxy_ndp", 1)
        runtime.settings.set("net/ipv6/conf/all/proxy_ndp", 1)
        # The home prefix is routed to the tunnel device, so a strict reverse path check would refuse every
        # neighbour on the home link.
        runtime.settings.allow_any_source(interface)
        # Without these the kernel waits up to 0.8 s before it answers for a mobile node.
        runtime.settings.set(f"net/ipv6/neigh/{interface}/proxy_delay", 0)
        runtime.settings.set(f"net/ipv4/neigh/{interface}/proxy_delay", 0)

    def _read(self, store: Store) -> list[int]:
        """Take over what is in the store.

        Returns the home addresses, as numbers, of bindings that have yet to be put into the data plane, or
        compared with it.
        """
        records, replays = store.records()
        try:
            return self._engine.resume(records, replays, instant())
        except ValueError as error:
            mend = "delete it, and the mobile nodes will register anew"
            raise StoreError(f"the store holds a record that cannot be read ({error}): {mend}") from error

    def _reconcile(self) -> None:
        """After adopting a data plane: forget bindings that ended while nobody was there."""
        present = set(self._runtime.dataplane.bindings())
        unbound = list(self._engine.unbound())
        for index in present - self._engine.bound_indexes() - {index for _, index in unbound}:
            self._runtime.dataplane.remove_binding(index)
        for home_address, index in unbound:
            if self._forwarding.home_link or index in present:
                self._forward_to_home_link(home_address)

    def _resume(self, action: InstallBinding) -> None:
        """A binding of an earlier process: see `resumption`."""
        self._refused.resumed(action)
        try:
            self._install(action)
        except (DataPlaneError, NotProtected) as error:
            self._refused.note_one(action.binding.index, error)
        except HostError as error:
            self._runtime.events.event("host-error", {"error": str(error)})

    @contextmanager
    def _resuming(self) -> Iterator[None]:
        """Several of them together; those that there is no room for end."""
        with self._runtime.changes():
            yield
        self._refused.settle(Round())
        if self._refused:
            self._runtime.turn()

    def _forward_to_home_link(self, home_address: IPv6Address) -> None:
        index, node = self._engine.index_of(home_address), self._nodes.get(home_address)
        self._forwarding.lead_home(index, node, home_address)

    async def _reconfigure(self, config: HomeAgentFile) -> None:
        """Go on with another configuration: see `reload` for what may differ. Raises ConfigError."""
        await self._watching.change(config, self._reloads.path or Path())
        runtime, before = self._runtime, self._config
        routes, stale = routed_networks(config), routed_networks(before)
        for network in routes:
            if network not in stale:
                runtime.routing.add_route(tunnel_route(network, runtime.device_index))
        tables = FrozenTables.of(config.mobile_node)
        changes = compare(self._nodes.tables.entries, tables.entries)
        removed = [self._engine.index_of(entry.home_address) for entry in changes.removed]
        renewed = [entry.home_address for entry in changes.new]
        esp_before, esp_after = self._nodes.tables.under_esp(), tables.under_esp()
        former = {address: self._engine.index_of(address) for address in esp_before}
        self._config = config
        self._protect(esp_before, esp_after)
        self._nodes = TablesByAddress(tables, self._engine.record_of)
        _warn_of_unauthenticated(entry.name for entry in changes.new if entry.authentication == "none")
        self._engine.reconfigure(engine_config(config))
        self._payload.changed(esp_before, esp_after, former)
        runtime.turn()
        for index in removed:
            runtime.dataplane.remove_binding(index)
        for address in renewed:
            if self._engine.binding_of_node(address) is None:
                self._forward_to_home_link(address)
        for network in stale:
            if network not in routes:
                runtime.routing.remove_route(tunnel_route(network, runtime.device_index))

    # Actions -----------------------------------------------------------------------------------------------

    def _carry_out(self, action: Action) -> None:
        runtime = self._runtime
        match action:
            # What every Binding Update leads to comes first.
            case InstallBinding():
                self._install_or_put_off(action)
            case Event():
                runtime.events.event(action.kind, action.fields)
            case SendDatagram() | SendPacket():
                home_link = self._config.home_link
                if home_link and isinstance(action, SendPacket) and self._is_at_home(action):
                    action = msgspec.structs.replace(action, interface=home_link)
                if not runtime.is_protected(action):
                    self._send(action)
            case ForwardPacket():
                if not runtime.is_protected(SendPacket(action.packet)):
                    runtime.sockets.send_ipv6(action.packet)
            case SendError():
                runtime.sockets.send_as_data(action.packet)
            case SendIPv4():
                runtime.sockets.send_ipv4(action.packet, action.interface)
            case TooBig():
                self._tell_too_big(action)
            case RemoveBinding():
                self._remove(action)
            case NoteNeighbor():
                link = self._forwarding.home_link
                runtime.routing.set_neighbor(link, action.home_address, action.link_layer)
            case StartDad():
                finished = functools.partial(self._dad_finished, action.home_address)
                self._dad.start(action.home_address, action.addresses, finished)
            case Drop():
                runtime.events.drop(action.reason, action.detail, action.node or None)
            case _:
                raise TypeError(f"a home agent does not do {type(action).__name__}")

    def _tell_too_big(self, action: TooBig) -> None:
        """The data plane knows the MTU of the path: from the mobile node's probes. Or it does not know the
        binding yet."""
        self._resumption.settle(action.binding)
        states = self._runtime.dataplane.paths(action.binding.index).values()
        known = [state.mtu for state in states if state.mtu]
        if known and len(action.packet) > min(known):
            for answer in self._engine.too_big(action.packet, min(known)):
                self._carry_out(answer)

    def _send(self, action: SendPacket | SendDatagram) -> None:
        sockets = self._runtime.sockets
        if isinstance(action, SendPacket):
            sockets.send_ipv6(action.packet, action.interface)
        else:
            sockets.send_datagram(action.payload, action.local, action.remote, action.interface)

    def _protect(
        self, before: Mapping[IPv6Address, MobileNodeTable], after: Mapping[IPv6Address, MobileNodeTable]
    ) -> None:
        """Signalling of the mobile nodes under IPsec, those that were served before being known."""
        for node in before.values():
            if node.authentication == "ipsec" and after.get(node.home_address) != node:
                self._runtime.protect(self._send).remove(signalling_peer(self._config, node))
        for node in after.values():
            if node.authentication == "ipsec" and before.get(node.home_address) != node:
                self._runtime.protect(self._send).add(signalling_peer(self._config, node))
        self._keys.serve(after.values(), lambda: self._runtime.protect(self._send))

    def _is_at_home(self, action: SendPacket) -> bool:
        """Packets to a mobile node on the home link must not be caught by its own binding."""
        destination = IPv6Address(action.packet[24:40])
        return not action.interface and any(destination in prefix for prefix in self._config.home_prefixes)

    def _install_or_put_off(self, action: InstallBinding) -> None:
        if action.restored:
            self._resumption.put_off([int(action.binding.home_address)])
            return
        if action.previous is not None:
            self._resumption.settle(action.previous)
        try:
            self._install(action)
        except (DataPlaneError, NotProtected) as error:
            self._refused.note_one(action.binding.index, error)

    def _install(self, action: InstallBinding) -> None:
        binding, previous = action.binding, action.previous
        self._payload.installing(binding)
        self._forwarding.install(action)
        if self._config.home_link and (previous is None or _on_home_link(previous) != _on_home_link(binding)):
            self._defend(binding, previous)

    def _remove(self, action: RemoveBinding) -> None:
        self._resumption.settle(action.binding)
        configured = self._engine.configured_address(action.binding.home_address)
        self._forwarding.remove(action.binding, self._nodes.get(configured))
        self._payload.removed(action.binding)
        if self._config.home_link:
            self._withdraw(defended(action.binding, self._config))

    def _dad_finished(self, home_address: IPv6Address, duplicate: bool) -> None:
        self._engine.dad_finished(home_address, duplicate, instant())
        self._runtime.turn()

    # The home link -----------------------------------------------------------------------------------------

    def _defend(self, binding: Binding, previous: Binding | None) -> None:
        wanted = defended(binding, self._config)
        before = defended(previous, self._config) if previous is not None else []
        self._take_over([a for a in wanted if a not in before], router=binding.mobile_router)
        stale = [address for address in before if address not in wanted]
        if stale:
            self._withdraw(stale)

    def _take_over(self, addresses: list[IPAddress], *, router: bool) -> None:
        source = link_local_address(self._announcer.interface) or self._config.address
        for address in addresses:
            self._runtime.routing.add_proxy(self._forwarding.home_link, address, router=router)
            self._announcer.announce(address, source, router=router)

    def _withdraw(self, addresses: list[IPAddress]) -> None:
        for address in addresses:
            self._runtime.routing.remove_proxy(self._forwarding.home_link, address)

    async def _withdraw_stale(self) -> None:
        """A crash between store and kernel leaves proxy entries behind that no binding needs any more."""
        bindings = self._engine.bindings.values()
        needed = {address for binding in bindings for address in defended(binding, self._config)}
        networks: list[IPNetwork] = [*self._config.home_prefixes, *self._config.ipv4_home_prefixes]
        present = await self._runtime.routing.proxies(self._forwarding.home_link)
        ours = (a for a in present if a.is_link_local or any(a in network for network in networks))
        self._withdraw([address for address in ours if address not in needed])

    def _withdraw_everything(self) -> None:
        if self._config.home_link:
            for binding in self._engine.bindings.values():
                self._withdraw(defended(binding, self._config))


def _on_home_link(binding: Binding) -> tuple[object, ...]:
    """What it follows from which addresses are defended on the home link."""
    return (binding.home_address, binding.former, binding.ipv4, binding.at_home)


def _warn_of_unauthenticated(names: Iterable[str]) -> None:
    for name in names:
        log.warning("%s is not authenticated: anybody can take over its home address", name)
