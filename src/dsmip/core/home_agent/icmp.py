"""The ICMP side of a home agent: what reaches its sockets rather than its tunnel device.

Router advertisements on the home link keep the home agents list and the home prefixes (RFC 6275 sections
10.5.1 and 10.6.1); discovery requests come to the anycast address (10.5.1); prefix solicitations are answered
and changes are told (10.6); errors from within a tunnel are told to the senders (RFC 2473 section 8).
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from random import Random

from dsmip.core.actions import Action, Drop, Event, ForwardPacket, SendError, SendPacket
from dsmip.core.home_agent.bindings import Bindings
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.home_agent.replies import refresh_request, to_mobile_node
from dsmip.core.home_agent.tunnel_errors import relay_icmpv4, relay_icmpv6
from dsmip.core.home_agents_list import HomeAgentsList, anycast_address
from dsmip.core.home_prefixes import HomePrefixes
from dsmip.core.prefix_deliveries import PrefixDeliveries
from dsmip.core.rate_limit import RateLimit
from dsmip.core.types import Binding, Instant, IPAddress
from dsmip.wire.constants import NextHeader
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv4 import decode_icmpv4
from dsmip.wire.icmpv6 import (
    HomeAgentAddressDiscoveryRequest,
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    RouterAdvertisement,
    decode_icmpv6,
    encode_icmpv6,
)
from dsmip.wire.ip import is_unicast_routable
from dsmip.wire.packet import Packet, encode_packet

#: Hop limit of what cannot have come through a router (RFC 4861 section 6.1.2).
_NEIGHBOUR_HOP_LIMIT = 255

#: Answers at once, whatever the rate.
BURST = 10


class HomeAgentIcmp:
    """Home agents list, home prefixes and their deliveries of one home agent. Actions go to `emit`."""

    def __init__(
        self,
        config: HomeAgentConfig,
        bindings: Bindings,
        emit: Callable[[Action], None],
        randomness: Random,
        demands_ipsec: Callable[[IPv6Address], bool],
    ) -> None:
        """`demands_ipsec` tells whether the mobile node with this home address signals under IPsec."""
        self._demands_ipsec = demands_ipsec
        self._config = config
        self._bindings = bindings
        self._emit = emit
        self._anycast = frozenset(anycast_address(prefix) for prefix in config.home_prefixes)
        self._home_agents = HomeAgentsList(config.address, config.preference, randomness)
        self._prefixes = HomePrefixes(config.address, config.home_prefixes)
        minimum, maximum = config.mobile_prefix_interval
        self._deliveries = PrefixDeliveries(self._advertise, minimum, maximum, randomness)
        self._unsolicited = 0
        burst = max(BURST, int(config.error_rate))
        self._discovery_rate = RateLimit(config.error_rate, burst)
        self._relay_rate = RateLimit(config.error_rate, burst)

    def reconfigure(self, config: HomeAgentConfig) -> None:
        """Answer and advertise, or not, and at what rates from now on."""
        self._config = config
        burst = max(BURST, int(config.error_rate))
        self._discovery_rate = RateLimit(config.error_rate, burst)
        self._relay_rate = RateLimit(config.error_rate, burst)

    # Time and bindings -------------------------------------------------------------------------------------

    def timeout(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the next `tick`, None = not needed."""
        return self._deliveries.timeout()

    def tick(self, now: Instant) -> None:
        """Send the advertisements that are due."""
        self._deliveries.tick(now.monotonic)

    def bound(self, binding: Binding, now: Instant) -> None:
        """A Binding Update was accepted."""
        if self._config.mobile_prefix_advertisements and self._prefixes.learnt:
            preferred = self._preferred(binding.home_address, now.monotonic)
            self._deliveries.registered(binding.home_address, preferred, now.monotonic)

    def unbound(self, home_address: IPv6Address) -> None:
        """A binding has ended."""
        self._deliveries.ended(home_address)

    # Messages ----------------------------------------------------------------------------------------------

    def receive(
        self,
        data: bytes,
        source: IPv6Address,
        destination: IPv6Address,
        *,
        hop_limit: int,
        home_link: bool,
        own: bool,
        now: Instant,
    ) -> None:
        """One ICMPv6 message, whose checksum the kernel has verified, with the addresses it came with.

        `home_link` tells that it came in over the home link, `own` that it went out there: our own router
        advertisement.
        """
        try:
            message = decode_icmpv6(data, source, destination, verify_checksum=False)
        except DecodeError as error:
            self._emit(Drop(error.reason, error.detail))
            return
        match message:
            case RouterAdvertisement():
                if not home_link:
                    return  # of a router on an uplink, as there are: nothing to do with us
                if hop_limit == _NEIGHBOUR_HOP_LIMIT and source.is_link_local:
                    self._advertisement(message, source, own, now)
                else:
                    self._emit(Drop("advertisement-invalid", f"from {source}"))
            case HomeAgentAddressDiscoveryRequest():
                self._discover(message, source, destination, now)
            case MobilePrefixSolicitation():
                self._solicitation_in_tunnel(message, source, now, protected=False)
            case _:
                if self._relay_rate.allow(now.monotonic):
                    self._relayed(relay_icmpv6(message, self._config, self._belongs))
                else:
                    self._emit(Drop("icmp-error-rate"))

    def receive_icmpv4(self, data: bytes, now: Instant) -> None:
        """One ICMP message, without its IPv4 header."""
        if not self._relay_rate.allow(now.monotonic):
            self._emit(Drop("icmp-error-rate"))
            return
        try:
            message = decode_icmpv4(data)
        except DecodeError as error:
            self._emit(Drop(error.reason, error.detail))
        else:
            self._relayed(relay_icmpv4(message, self._config, self._belongs))

    def decrypted(self, packet: Packet, now: Instant) -> None:
        """A message from home address to home agent that was under IPsec, without a home address option."""
        try:
            message = decode_icmpv6(packet.payload, packet.sender, packet.recipient)
        except DecodeError as error:
            self._emit(Drop(error.reason, error.detail))
            return
        if isinstance(message, MobilePrefixSolicitation):
            self._solicitation_in_tunnel(message, packet.sender, now, protected=True)
        else:
            self._emit(Drop("not-signalling", type(message).__name__))

    def solicitation(
        self, packet: Packet, message: MobilePrefixSolicitation, now: Instant, *, protected: bool
    ) -> None:
        """A Mobile Prefix Solicitation from a care-of address that is bound (RFC 6275 section 10.6.2).

        `protected`: it was under the IPsec of its home address.
        """
        home_address, care_of = packet.sender, packet.source

        def answer(monotonic: float) -> None:
            header = self._message(message.identifier, home_address, monotonic)
            self._emit(
                SendPacket(
                    encode_packet(
                        self._config.address,
                        care_of,
                        header,
                        NextHeader.ICMPV6,
                        routing_home_address=home_address,
                    )
                )
            )

        self._tell(home_address, answer, now, protected)

    # Discovery ---------------------------------------------------------------------------------------------

    def _advertisement(
        self, message: RouterAdvertisement, source: IPv6Address, own: bool, now: Instant
    ) -> None:
        if not own:
            self._home_agents.advertisement(source, message, now.monotonic)
        if not (own or message.home_agent):
            return
        changed = self._prefixes.advertisement(message, now.monotonic)
        for prefix in changed:
            self._emit(Event("home-prefix", {"prefix": str(prefix)}))
        for prefix in self._config.home_prefixes:
            for binding in self._bindings.set_prefix_lifetime(prefix, self._prefixes.lifetime(prefix), now):
                # The mobile node counts on a longer lifetime (RFC 6275 section 9.5.5 allows to ask it back).
                self._emit(refresh_request(self._config.address, binding))
        if changed and self._config.mobile_prefix_advertisements:
            for home_address in self._bindings.cache:
                preferred = self._preferred(home_address, now.monotonic)
                self._deliveries.news(home_address, preferred, now.monotonic)

    def _discover(
        self,
        message: HomeAgentAddressDiscoveryRequest,
        source: IPv6Address,
        destination: IPv6Address,
        now: Instant,
    ) -> None:
        if destination not in self._anycast or not is_unicast_routable(source):
            self._emit(Drop("discovery-not-anycast", f"from {source} to {destination}"))
        elif not self._discovery_rate.allow(now.monotonic):
            self._emit(Drop("discovery-rate"))
        else:
            reply = self._home_agents.reply(message, now.monotonic)
            header = encode_icmpv6(reply, self._config.address, source)
            packet = encode_packet(self._config.address, source, header, NextHeader.ICMPV6)
            self._emit(ForwardPacket(packet))

    # Prefixes ----------------------------------------------------------------------------------------------

    def _solicitation_in_tunnel(
        self, message: MobilePrefixSolicitation, source: IPv6Address, now: Instant, *, protected: bool
    ) -> None:
        """From an IPv4 network the home address itself is the source, and the answer takes the same way."""
        binding = self._bindings.cache.get(source)
        if binding is None or not any(isinstance(entry.care_of, IPv4Address) for entry in binding.care_ofs):
            self._emit(Drop("home-address-option-missing", f"from {source}"))
            return

        def answer(monotonic: float) -> None:
            header = self._message(message.identifier, source, monotonic)
            packet = encode_packet(self._config.address, source, header, NextHeader.ICMPV6)
            self._emit(ForwardPacket(packet))

        self._tell(source, answer, now, protected)

    def _tell(
        self, home_address: IPv6Address, answer: Callable[[float], None], now: Instant, protected: bool
    ) -> None:
        """Have the question answered, if it may be."""
        if not protected and self._demands_ipsec(home_address):
            # RFC 3776 section 4.1, RFC 4877 section 4.1.
            self._emit(Drop("not-protected", "prefix solicitation without IPsec", str(home_address)))
        elif not self._config.mobile_prefix_advertisements:
            self._emit(Drop("prefix-advertisements-disabled", str(home_address)))
        elif not self._deliveries.solicited(home_address, answer, now.monotonic):
            self._emit(Drop("prefix-solicitation-rate", str(home_address)))

    def _advertise(self, home_address: IPv6Address, monotonic: float) -> None:
        """Unsolicited, to the care-of address (RFC 6275 sections 6.8 and 10.6.3)."""
        binding = self._bindings.cache.get(home_address)
        if binding is None:
            return
        self._unsolicited = (self._unsolicited + 1) & 0xFFFF
        header = self._message(self._unsolicited, home_address, monotonic)
        self._emit(to_mobile_node(self._config.address, binding, header, NextHeader.ICMPV6))

    def _message(self, identifier: int, home_address: IPv6Address, monotonic: float) -> bytes:
        """M and O are clear: DHCPv6 is not served (RFC 6275 section 10.4.4)."""
        message = MobilePrefixAdvertisement(identifier, options=self._prefixes.options(monotonic))
        return encode_icmpv6(message, self._config.address, home_address)

    def _preferred(self, home_address: IPv6Address, now: float) -> float | None:
        """Seconds for which the prefix of a home address stays preferred, None = no end."""
        for prefix in self._config.home_prefixes:
            until = self._prefixes.lifetime(prefix).preferred_until
            if home_address in prefix and until is not None:
                return max(0.0, until - now)
        return None

    # Errors ------------------------------------------------------------------------------------------------

    def _relayed(self, outcome: SendError | str) -> None:
        self._emit(Drop(outcome) if isinstance(outcome, str) else outcome)

    def _belongs(self, inner: IPAddress, outer: IPAddress) -> bool:
        """Whether packets to `inner` are tunnelled to `outer`: others did not send what this is about."""
        binding = self._bindings.binding_of(inner)
        return binding is not None and binding.is_at(outer)
