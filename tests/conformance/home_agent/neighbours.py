"""Other home agents on the home link, and questions to the one under test about all of them."""

from __future__ import annotations

from ipaddress import IPv6Address

from dsmip.core.home_agents_list import anycast_address
from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import (
    HomeAgentAddressDiscoveryReply,
    HomeAgentAddressDiscoveryRequest,
    HomeAgentInformation,
    NDOption,
    PrefixInformation,
    RouterAdvertisement,
    encode_icmpv6,
)
from dsmip.wire.packet import encode_packet
from tests.conformance.home_agent.world import ALL_NODES, HOME_AGENT, HOME_PREFIX, World, discovery

ANYCAST = IPv6Address("2001:db8:100:0:fdff:ffff:ffff:fffe")
INFINITE = 0xFFFF_FFFF


class Neighbours:
    """Routers on the home link by number; what was announced is withdrawn at the end."""

    def __init__(self, cables: World) -> None:
        assert anycast_address(HOME_PREFIX) == ANYCAST
        self._cables = cables
        self._announced: set[int] = set()

    def link_local(self, number: int) -> IPv6Address:
        return IPv6Address("fe80::f0:0") + number

    def address(self, number: int) -> IPv6Address:
        return IPv6Address("2001:db8:100::f0:0") + number

    def announce(
        self,
        number: int,
        *,
        preference: int | None = 20,
        lifetime: int = 1800,
        router_lifetime: int = 1800,
        home_agent: bool = True,
        mobile_routers: bool = True,
        router_address: bool = True,
        addresses: tuple[IPv6Address, ...] | None = None,
        valid: int = INFINITE,
        preferred: int = INFINITE,
    ) -> None:
        """A router advertisement; `preference` None = without Home Agent Information option."""
        options: list[NDOption] = [
            PrefixInformation(
                HOME_PREFIX,
                on_link=True,
                autonomous=True,
                router_address=router_address,
                valid_lifetime=valid,
                preferred_lifetime=preferred,
                address=address if router_address else None,
            )
            for address in (addresses or (self.address(number),))
        ]
        if preference is not None:
            options.append(HomeAgentInformation(preference, lifetime, mobile_routers))
        message = RouterAdvertisement(router_lifetime, home_agent=home_agent, options=tuple(options))
        self._cables.from_home(discovery(message, self.link_local(number), ALL_NODES))
        self._announced.add(number)

    def request_packet(
        self, source: IPv6Address, *, identifier: int = 77, mobile_routers: bool = False, reserved: int = 0
    ) -> bytes:
        """A discovery request to the anycast address."""
        request = HomeAgentAddressDiscoveryRequest(identifier, mobile_routers)
        octets = bytearray(encode_icmpv6(request, source, ANYCAST))
        if reserved:
            # The checksum is one's complement arithmetic over sixteen-bit words: take the new word off it.
            octets[6:8] = (int.from_bytes(octets[6:8]) | reserved).to_bytes(2)
            total = int.from_bytes(octets[2:4]) - reserved
            octets[2:4] = (total if total >= 0 else total + 0xFFFF).to_bytes(2)
        return encode_packet(source, ANYCAST, bytes(octets), NextHeader.ICMPV6)

    def ask(
        self, *, identifier: int = 77, mobile_routers: bool = False, reserved: int = 0
    ) -> HomeAgentAddressDiscoveryReply:
        """Ask from somewhere in the Internet, and check everything but the list of the reply."""
        source = self._cables.stranger()
        self._cables.from_net(
            self.request_packet(
                source, identifier=identifier, mobile_routers=mobile_routers, reserved=reserved
            )
        )
        frames = self._cables.wait_for(
            lambda frame: isinstance(frame.message, HomeAgentAddressDiscoveryReply)
        )
        (frame,) = [f for f in frames if isinstance(f.message, HomeAgentAddressDiscoveryReply)]
        assert frame.packet is not None
        assert isinstance(frame.message, HomeAgentAddressDiscoveryReply)
        assert (frame.packet.source, frame.packet.destination) == (HOME_AGENT, source)
        assert frame.message.identifier == identifier
        assert frame.message.mobile_routers == mobile_routers
        assert len(frame.data) <= 1280
        return frame.message

    def withdraw(self) -> None:
        """Nobody is a home agent any more, and the home prefix goes on for ever."""
        for number in self._announced:
            self.announce(number)
            self.announce(number, home_agent=False)
        self._announced.clear()
        assert self.ask().addresses == (HOME_AGENT,)
