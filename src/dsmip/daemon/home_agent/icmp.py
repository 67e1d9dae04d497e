"""Takes ICMP from the sockets to the home agent engine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, IPv6Network

from dsmip.core.home_agent.engine import HomeAgent
from dsmip.core.home_agents_list import anycast_address
from dsmip.daemon.runtime import instant
from dsmip.host.home_link import link_local_address
from dsmip.host.icmp_sockets import IcmpSockets, ReceivedIcmpv6
from dsmip.wire.icmpv6 import MobilePrefixSolicitation

log = logging.getLogger(__name__)


class HomeAgentIcmpPort:
    """Listens while it is open. `turn` is called after the engine was told something. `is_peer` tells whether
    signalling between two addresses, the first of them ours, is under IPsec.

    Anycast addresses of the `prefixes` are joined on `interface`; `home_link` ("" = there is none) is the one
    whose router advertisements count.
    """

    def __init__(
        self,
        engine: HomeAgent,
        turn: Callable[[], None],
        is_peer: Callable[[IPv6Address, IPv6Address], bool],
        *,
        prefixes: Iterable[IPv6Network],
        interface: int,
        home_link: str,
        home_link_index: int,
    ) -> None:
        self._engine = engine
        self._turn = turn
        self._is_peer = is_peer
        self._home_link = home_link
        self._home_link_index = home_link_index
        self._sockets = IcmpSockets(self._received, self._received_ipv4)
        for prefix in prefixes:
            try:
                self._sockets.join_anycast(anycast_address(prefix), interface)
            except OSError as error:
                log.warning("no home agent address discovery for %s: %s", prefix, error)
        self._sockets.start()

    def close(self) -> None:
        """Stop listening."""
        self._sockets.close()

    def _received(self, message: ReceivedIcmpv6) -> None:
        solicitation = message.data[:1] == bytes([MobilePrefixSolicitation.TYPE])
        if solicitation and self._is_peer(message.destination, message.source):
            # A copy of what comes as decrypted; the kernel has let none pass that was not under ESP.
            return
        home_link = bool(self._home_link) and message.interface == self._home_link_index
        self._engine.receive_icmpv6(
            message.data,
            message.source,
            message.destination,
            hop_limit=message.hop_limit,
            home_link=home_link,
            own=home_link and message.source == link_local_address(self._home_link),
            now=instant(),
        )
        self._turn()

    def _received_ipv4(self, data: bytes) -> None:
        self._engine.receive_icmpv4(data, instant())
        self._turn()
