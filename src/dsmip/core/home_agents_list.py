"""The home agents of the home link, as heard from their router advertisements (RFC 6275 section 10.1).

Mobile nodes that do not know a home agent ask all of them at once by an anycast address; whichever hears it
answers with this list (RFC 6275 section 10.5.1, RFC 3963 section 7).
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from random import Random

from dsmip.wire.icmpv6 import (
    HomeAgentAddressDiscoveryReply,
    HomeAgentAddressDiscoveryRequest,
    HomeAgentInformation,
    PrefixInformation,
    RouterAdvertisement,
)
from dsmip.wire.ip import is_unicast_routable

#: Addresses in one reply: what fits into 1280 octets behind an IPv6 header and eight octets of ICMPv6.
MAXIMUM_ADDRESSES = (1280 - 40 - 8) // 16

#: Preference of a home agent that does not state one (RFC 6275 section 10.1).
DEFAULT_PREFERENCE = 0

#: Home agents, and addresses of one, that are kept: a neighbour that advertises nonsense costs no more.
MAXIMUM_HOME_AGENTS = 256
_MAXIMUM_ADDRESSES_OF_ONE = 16

#: Interface identifier of the Mobile IPv6 home agents' anycast address (RFC 2526 sections 2 and 3).
_ANYCAST_64 = 0xFDFF_FFFF_FFFF_FFFE
_ANYCAST_NUMBER = 0x7E
_ANYCAST_NUMBER_BITS = 0x7F


def anycast_address(prefix: IPv6Network) -> IPv6Address:
    """The home agents' anycast address of a subnet (RFC 6275 section 10.5.1, RFC 2526 section 2)."""
    network = int(prefix.network_address)
    if prefix.prefixlen == 64:
        return IPv6Address(network | _ANYCAST_64)
    return IPv6Address(network | int(prefix.hostmask) & ~_ANYCAST_NUMBER_BITS | _ANYCAST_NUMBER)


class _HomeAgent:
    """One entry. `addresses` maps each global address to the end of its prefix; times are CLOCK_MONOTONIC."""

    __slots__ = ("addresses", "expires", "mobile_routers", "preference")

    def __init__(self) -> None:
        self.addresses: dict[IPv6Address, float] = {}
        self.expires = 0.0
        self.mobile_routers = False
        self.preference = DEFAULT_PREFERENCE


class HomeAgentsList:
    """The list of one link, this home agent included: it serves mobile routers and never expires."""

    def __init__(self, address: IPv6Address, preference: int, randomness: Random) -> None:
        self._address = address
        self._preference = preference
        self._random = randomness
        self._heard: dict[IPv6Address, _HomeAgent] = {}

    def advertisement(self, source: IPv6Address, message: RouterAdvertisement, now: float) -> None:
        """Another router's valid advertisement, from its link-local address (RFC 6275 section 10.5.1)."""
        if not message.home_agent:
            self._heard.pop(source, None)
            return
        information = next((o for o in message.options if isinstance(o, HomeAgentInformation)), None)
        lifetime = message.router_lifetime if information is None else information.lifetime
        if lifetime == 0:
            self._heard.pop(source, None)
            return
        entry = self._heard.get(source)
        if entry is None:
            self._forget_expired(now)
            if len(self._heard) >= MAXIMUM_HOME_AGENTS:
                return
            entry = self._heard[source] = _HomeAgent()
        entry.expires = now + lifetime
        entry.preference = DEFAULT_PREFERENCE if information is None else information.preference
        entry.mobile_routers = information is not None and information.mobile_routers
        for option in message.options:
            if isinstance(option, PrefixInformation) and option.address is not None:
                _take_address(entry, option, now)

    def reply(self, request: HomeAgentAddressDiscoveryRequest, now: float) -> HomeAgentAddressDiscoveryReply:
        """The answer to a request: by preference, equals in random order, as many as fit.

        With the R flag only those that serve mobile routers; this one does, so the list is never empty (RFC
        3963 section 7.2).
        """
        self._forget_expired(now)
        found = [(self._preference, [self._address])]
        for entry in self._heard.values():
            if request.mobile_routers and not entry.mobile_routers:
                continue
            addresses = [a for a, until in entry.addresses.items() if until > now and a != self._address]
            self._random.shuffle(addresses)
            found.append((entry.preference, addresses))
        self._random.shuffle(found)
        found.sort(key=lambda one: -one[0])
        ordered = [address for _, addresses in found for address in addresses]
        return HomeAgentAddressDiscoveryReply(
            request.identifier, tuple(ordered[:MAXIMUM_ADDRESSES]), request.mobile_routers
        )

    def _forget_expired(self, now: float) -> None:
        for source in [source for source, entry in self._heard.items() if entry.expires <= now]:
            del self._heard[source]


def _take_address(entry: _HomeAgent, option: PrefixInformation, now: float) -> None:
    """A global address goes with its prefix (RFC 6275 section 10.1)."""
    address = option.address
    assert address is not None
    if option.valid_lifetime == 0:
        entry.addresses.pop(address, None)
    elif is_unicast_routable(address) and (
        address in entry.addresses or len(entry.addresses) < _MAXIMUM_ADDRESSES_OF_ONE
    ):
        entry.addresses[address] = now + option.valid_lifetime
