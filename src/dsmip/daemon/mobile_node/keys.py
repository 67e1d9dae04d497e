"""A mobile node's keys for signalling, negotiated with its home agent inside the tunnel-to-be."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

from dsmip.core.actions import SendDatagram, SendPacket
from dsmip.daemon.config.ike import IkeTable
from dsmip.daemon.config.schema import MobileNodeFile
from dsmip.daemon.ike.connection import Connection, Negotiated, PayloadChild
from dsmip.daemon.ike.key_management import KeyManagement
from dsmip.daemon.ike.words import state_in_words
from dsmip.daemon.key_exchange_relay import is_key_exchange
from dsmip.daemon.mobile_node.plan import BINDING, protected_node, signalling_peer
from dsmip.daemon.protection import Peer, Send, SignallingProtection
from dsmip.daemon.runtime import DEVICE, Runtime
from dsmip.daemon.signalling_keys import certificates, connection_prefix
from dsmip.dataplane.maps import SEEN_MARK
from dsmip.host.device_socket import DeviceSocket
from dsmip.wire.constants import NextHeader
from dsmip.wire.ip import IPv6Header
from dsmip.wire.packet import decode_packet


class MobileNodeKeys:
    """Negotiates when a Binding Update waits, and carries IKE where that Binding Update would go.

    The constructor raises HostError when a file cannot be read, OSError without the right to open sockets.
    """

    def __init__(
        self,
        config: MobileNodeFile,
        table: IkeTable,
        runtime: Runtime,
        protection: SignallingProtection,
        send: Callable[[Send], None],
    ) -> None:
        self._runtime = runtime
        self._send = send
        self._protection = protection
        self._peer = signalling_peer(config)
        self._connection = _connection(config, table, self._peer)
        self._device = DeviceSocket(DEVICE, SEEN_MARK)
        self._management = KeyManagement(
            table.vici,
            connection_prefix(config.name),
            runtime.events.event,
            runtime.conditions,
            self._changed,
            protection.kernel,
        )
        protection.keys = self
        runtime.takers.append(self.takes)

    def start(self) -> None:
        """From now on charon is told and watched."""
        self._management.set([self._connection])
        self._management.start()

    async def stop(self, *, keep: bool) -> None:
        """`keep`: what was negotiated stays."""
        await self._management.stop(keep=keep)
        self._device.close()

    def network_changed(self) -> None:
        """What failed before may succeed here."""
        self._management.network_changed()

    @property
    def state(self) -> Negotiated:
        """What has been negotiated."""
        return self._management.state(self._peer.local)

    @property
    def words(self) -> str:
        """For `dsmip status`."""
        return state_in_words(self.state, self._management.reachable)

    @property
    def initiated(self) -> int:
        """IKE SAs begun so far."""
        return self._management.initiated

    def _changed(self, _home_address: IPv6Address, state: Negotiated) -> None:
        self._protection.ready(self._peer, state.established)
        if self._runtime.payload is not None:
            self._runtime.payload.negotiated(BINDING, state.payload_spis)
        if state.problem:
            self._runtime.conditions.stand("keys", f"Keys are missing: {state.problem}.")
        else:
            self._runtime.conditions.end("keys")

    # What messages tell ------------------------------------------------------------------------------------

    def waiting(self, peer: Peer) -> None:
        """A Binding Update waits for keys."""
        self._management.ask(peer.local)

    def silent(self, peer: Peer) -> None:
        """The home agent may have lost its keys."""
        self._management.renew(peer.local)

    def heard(self, peer: Peer) -> None:
        """The home agent has the keys."""

    # IKE's way ---------------------------------------------------------------------------------------------

    def takes(self, data: bytes) -> bool:
        """Whether this upcall is a question of IKE. As long as there is no binding it goes where the Binding
        Update goes that waits for its outcome; then, with the data."""
        if not is_key_exchange(data) or data[8:24] != self._peer.local.packed:
            return False
        waiting = self._protection.held(self._peer)
        if waiting is None or data[24:40] != self._peer.remote.packed:
            self._device.send(data)
        else:
            self._send(_beside(waiting, data))
        return True


def _beside(message: Send, packet: bytes) -> Send:
    """The packet in a tunnel with the outer ends of this message."""
    if isinstance(message, SendDatagram):
        return SendDatagram(packet, message.local, message.remote, message.interface)
    clear = decode_packet(message.packet)
    if clear.home_address is None:
        # Over the home link, where nothing is wrapped.
        return SendPacket(packet, message.interface)
    header = IPv6Header(clear.source, clear.destination, NextHeader.IPV6, len(packet), 64)
    return SendPacket(header.encode() + packet, message.interface)


def _connection(config: MobileNodeFile, table: IkeTable, peer: Peer) -> Connection:
    return Connection(
        name=f"{connection_prefix(config.name)}{config.name}",
        local=peer.local,
        remote=peer.remote,
        local_identity=table.identity or str(peer.local),
        remote_identity=table.home_agent_identity or str(peer.remote),
        request=peer.request,
        initiates=True,
        secret=None if table.psk is None else bytes(table.psk),
        certificates=None if table.psk is not None else certificates(table),
        payload=_payload(config),
    )


def _payload(config: MobileNodeFile) -> PayloadChild | None:
    """The child SA of payload, if it is negotiated."""
    table = config.payload
    if table is None or table.to_home_agent is not None:
        return None
    node = protected_node(config, table, BINDING)
    return PayloadChild(node.ends.request, node.networks, node.correspondents)
