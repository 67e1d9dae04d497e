"""A home agent's keys for signalling: mobile nodes negotiate them, inside tunnels that are yet to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address

from dsmip.core.actions import SendIPv4
from dsmip.daemon.config.ike import HomeAgentIkeTable, MobileNodeIkeTable
from dsmip.daemon.config.schema import HomeAgentFile, MobileNodeTable
from dsmip.daemon.home_agent.plan import protected_node, signalling_peer
from dsmip.daemon.ike.connection import Certificates, Connection, Negotiated, PayloadChild
from dsmip.daemon.ike.key_management import KeyManagement
from dsmip.daemon.ike.words import state_in_words
from dsmip.daemon.key_exchange_relay import KeyExchangeRelay, Reply
from dsmip.daemon.protection import Peer, Send, SignallingProtection
from dsmip.daemon.runtime import DEVICE, Runtime
from dsmip.daemon.signalling_keys import certificates, connection_prefix
from dsmip.dataplane.maps import SEEN_MARK
from dsmip.host.device_socket import DeviceSocket


class HomeAgentKeys:
    """Tells charon of the mobile nodes, and carries IKE to and from those that have no binding."""

    def __init__(
        self,
        runtime: Runtime,
        config: HomeAgentFile,
        send: Callable[[Send], None],
        index_of: Callable[[IPv6Address], int],
    ) -> None:
        """`index_of` tells the number of a mobile node's bindings."""
        self._index_of = index_of
        self._runtime = runtime
        self._config = config
        self._send = send
        self._management: KeyManagement | None = None
        self._negotiating: dict[IPv6Address, MobileNodeTable] = {}
        self._certificates: Certificates | None = None

    def start(self) -> None:
        """The tunnel device is there. Raises OSError without the right to open sockets."""
        self._device = DeviceSocket(DEVICE, SEEN_MARK)
        # Also without any mobile node that negotiates: the data plane asks about all of this machine's IKE.
        self._relay = KeyExchangeRelay(
            self._config.address,
            lambda home_address: home_address in self._negotiating,
            self._runtime.device.write,
            self._reply,
            self._device.send,
        )
        self._runtime.takers.append(self._relay.takes)

    def serve(self, nodes: Iterable[MobileNodeTable], protection: Callable[[], SignallingProtection]) -> None:
        """These mobile nodes from now on. `protection` is asked for when there is one to protect.

        Raises HostError when the files of [ike] cannot be read.
        """
        self._negotiating = {node.home_address: node for node in nodes if node.ike is not None}
        if not self._negotiating and self._management is None:
            return
        table = self._config.ike or HomeAgentIkeTable()
        if table.certificate is not None and self._certificates is None:
            self._certificates = certificates(table)
        if self._management is None:
            self._management = KeyManagement(
                table.vici,
                connection_prefix(self._config.name),
                self._runtime.events.event,
                self._runtime.conditions,
                self._changed,
                protection().kernel,
            )
            self._management.start()
            protection().keys = self
        self._management.set(
            [self._connection(node, node.ike) for node in self._negotiating.values() if node.ike is not None]
        )

    async def stop(self, *, keep: bool) -> None:
        """`keep`: what was negotiated stays."""
        if self._management is not None:
            await self._management.stop(keep=keep)
        self._device.close()

    def _changed(self, home_address: IPv6Address, state: Negotiated) -> None:
        if self._runtime.payload is not None:
            self._runtime.payload.negotiated(self._index_of(home_address), state.payload_spis)

    def state(self, home_address: IPv6Address) -> Negotiated | None:
        """What has been negotiated with a mobile node, None for one that does not negotiate."""
        if self._management is None or home_address not in self._negotiating:
            return None
        return self._management.state(home_address)

    def words(self, home_address: IPv6Address) -> str | None:
        """The same for `dsmip bindings`."""
        state = self.state(home_address)
        if state is None or self._management is None:
            return None
        return state_in_words(state, self._management.reachable)

    def _connection(self, node: MobileNodeTable, table: MobileNodeIkeTable) -> Connection:
        peer = signalling_peer(self._config, node)
        # With a secret it is its address: the name is that of the certificate.
        own = self._config.ike.identity if table.psk is None and self._config.ike is not None else ""
        return Connection(
            name=f"{connection_prefix(self._config.name)}{node.name}",
            local=peer.local,
            remote=peer.remote,
            local_identity=own or str(peer.local),
            remote_identity=table.identity or str(peer.remote),
            request=peer.request,
            initiates=False,
            secret=None if table.psk is None else bytes(table.psk),
            certificates=self._certificates if table.psk is None else None,
            payload=self._payload(node),
        )

    def _payload(self, node: MobileNodeTable) -> PayloadChild | None:
        """The child SA of its payload, if that is negotiated."""
        table = node.payload
        if table is None or table.to_home_agent is not None:
            return None
        found = protected_node(self._config, node, table, self._index_of(node.home_address))
        return PayloadChild(found.ends.request, found.correspondents, found.networks)

    def _reply(self, reply: Reply) -> None:
        if isinstance(reply, SendIPv4):
            self._runtime.sockets.send_ipv4(reply.packet)
        else:
            self._send(reply)

    # What messages tell ------------------------------------------------------------------------------------

    def waiting(self, peer: Peer) -> None:
        """A home agent's messages wait for nothing: they answer."""

    def silent(self, peer: Peer) -> None:
        """It is for the mobile node to negotiate."""

    def heard(self, peer: Peer) -> None:
        """An authentic Binding Update: IKE goes where data goes."""
        self._relay.registered(peer.remote)
