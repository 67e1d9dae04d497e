"""Dynamic home agent address discovery, the mobile node's part (RFC 6275 section 11.4.1, RFC 3963 7.1)."""

from __future__ import annotations

import random
from ipaddress import IPv6Address, IPv6Network

from dsmip.core.actions import Drop, SendPacket
from dsmip.core.types import CareOfAddress
from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import (
    HomeAgentAddressDiscoveryReply,
    HomeAgentAddressDiscoveryRequest,
    encode_icmpv6,
)
from dsmip.wire.ip import is_unicast_routable
from dsmip.wire.packet import encode_packet

#: Seconds to the first retransmission, and how many there are (RFC 6275 section 12).
INITIAL_DHAAD_TIMEOUT = 3.0
DHAAD_RETRIES = 4

#: Seconds after a discovery during which no other is begun from the same place, unless it led to a home agent
#: that served us.
DISCOVERY_PAUSE = 120.0

#: The anycast identifier of Mobile IPv6 home agents and the bits it has at the end of an address (RFC 2526).
_HOME_AGENTS = 0x7E
_ANYCAST_BITS = 7
#: Interface identifiers in EUI-64 format have the universal bit clear in such addresses.
_UNIVERSAL = 1 << 57


def home_agents_anycast(prefix: IPv6Network) -> IPv6Address:
    """The Mobile IPv6 home agents anycast address of a home subnet (RFC 2526 section 2)."""
    identifier = int(prefix.hostmask) >> _ANYCAST_BITS << _ANYCAST_BITS | _HOME_AGENTS
    if prefix.prefixlen == 64:
        identifier &= ~_UNIVERSAL
    return IPv6Address(int(prefix.network_address) | identifier)


class Discovery:
    """One discovery at a time: a request, repeated up to DHAAD_RETRIES times. Times are CLOCK_MONOTONIC s."""

    def __init__(self, home_prefix: IPv6Network, rng: random.Random, *, mobile_routers: bool) -> None:
        self.use_home_prefix(home_prefix)
        self._mobile_routers = mobile_routers
        self._rng = rng
        self._identifier = 0
        self._interval = INITIAL_DHAAD_TIMEOUT
        self._tries = 0
        self._began = (float("-inf"), "")
        self.care_of: CareOfAddress | None = None
        self.due: float | None = None

    def use_home_prefix(self, home_prefix: IPv6Network) -> None:
        """Ask on this home link from now on."""
        self._anycast = home_agents_anycast(home_prefix)

    @property
    def active(self) -> bool:
        """True while a reply is awaited."""
        return self.care_of is not None

    def begin(self, care_of: CareOfAddress, now: float) -> bool:
        """Ask from this care-of address, from now on. False when it was asked here not long ago."""
        began, network = self._began
        if not isinstance(care_of.address, IPv6Address) or self.active:
            return False
        if network == care_of.network and now - began < DISCOVERY_PAUSE:
            return False
        self._began = (now, care_of.network)
        self._identifier = self._rng.randrange(0x10000)
        self._interval = INITIAL_DHAAD_TIMEOUT
        self._tries = 0
        self.care_of, self.due = care_of, now
        return True

    def stop(self) -> None:
        """The answer does not matter any more."""
        self.care_of = self.due = None

    def succeeded(self) -> None:
        """A home agent serves us: when it fails, things have changed."""
        self.stop()
        self._began = (float("-inf"), "")

    def pause_ends(self, now: float) -> float:
        """When to try again after `begin` refused."""
        ends = self._began[0] + DISCOVERY_PAUSE
        return ends if ends > now else now + DISCOVERY_PAUSE

    def transmit(self, now: float) -> SendPacket | None:
        """The request, to be called when `due` has come; None when all tries went unanswered."""
        care_of = self.care_of
        if care_of is None or not isinstance(care_of.address, IPv6Address) or self._tries > DHAAD_RETRIES:
            self.stop()
            return None
        self._tries += 1
        self.due = now + self._interval
        self._interval *= 2
        request = HomeAgentAddressDiscoveryRequest(self._identifier, self._mobile_routers)
        octets = encode_icmpv6(request, care_of.address, self._anycast)
        packet = encode_packet(care_of.address, self._anycast, octets, NextHeader.ICMPV6)
        return SendPacket(packet, care_of.interface)

    def answered(self, reply: HomeAgentAddressDiscoveryReply) -> tuple[IPv6Address, ...] | Drop:
        """The home agents a reply names, in its order, or why it does not count."""
        if not self.active or reply.identifier != self._identifier:
            return Drop("home-agent-discovery", "a reply to nothing that was asked")
        self.stop()
        return tuple(address for address in reply.addresses if is_unicast_routable(address))
