"""Mobile prefix discovery, the mobile node's part: how long the home address is good for.

RFC 6275 sections 11.4.2 and 11.4.3. The lifetimes of the home prefix come from the router advertisements of
the home link and, away from it, from the home agent's mobile prefix advertisements. Those carry no
authentication of their own without IPsec; one counts only when it repeats the random identifier of a
solicitation that is still open, which an attacker off the path does not see.
"""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address

from dsmip.core.actions import Drop, Event, SendPacket
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.rate_limit import RateLimit
from dsmip.core.types import CareOfAddress
from dsmip.wire.constants import NextHeader
from dsmip.wire.icmpv6 import (
    MobilePrefixAdvertisement,
    MobilePrefixSolicitation,
    PrefixInformation,
    encode_icmpv6,
)
from dsmip.wire.packet import encode_packet

#: Seconds to the first retransmission of a solicitation, which then doubles up to the second figure
#: (RFC 6275 section 12, INITIAL_SOLICIT_TIMER and MAX_BINDACK_TIMEOUT, section 11.8).
INITIAL_SOLICIT_TIMER = 3.0
MAX_SOLICIT_TIMER = 32.0

#: "About to become invalid" (RFC 6275 section 11.4.2): so many seconds before, or at half time if that is
#: later.
BEFORE_THE_END = 60.0

#: A lifetime of all one bits means infinity (RFC 4861 section 4.6.2).
INFINITE_LIFETIME = 0xFFFFFFFF


class HomePrefix:
    """The lifetime of the home prefix, and the solicitation under way. Times are CLOCK_MONOTONIC seconds.

    `valid_until` None = no end is known: the home prefix is configured, and nobody has said otherwise. The
    same of `preferred_until`, after which new sessions should not use it (RFC 4862 section 5.5.4).
    `advertised_prefixes` are those of the last advertisement believed.
    """

    def __init__(self, config: MobileNodeConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._provoked = RateLimit(rate=0.5, burst=2)
        self._identifier: int | None = None  #: of the solicitation that is open
        self._interval = INITIAL_SOLICIT_TIMER
        self._solicit_at: float | None = None
        self._ask_at: float | None = None
        self._told = False
        self.preferred_until: float | None = None
        self.advertised_prefixes: tuple[PrefixInformation, ...] = ()
        self.valid_until: float | None = None

    def use_home_agent(self, config: MobileNodeConfig) -> None:
        """Ask another home agent from now on; what is known of the prefix stays."""
        self._config = config
        self._identifier = self._solicit_at = None

    # Lifetimes --------------------------------------------------------------------------------------------

    def remaining(self, now: float) -> float | None:
        """Seconds the home address is valid for; None = no end."""
        return None if self.valid_until is None else max(0.0, self.valid_until - now)

    @property
    def end(self) -> float | None:
        """When `has_ended` is next worth asking; None once it has told."""
        return None if self._told else self.valid_until

    def has_ended(self, now: float) -> bool:
        """True, once, when the home address must not be used any more."""
        if self._told or self.valid_until is None or self.valid_until > now:
            return False
        self._told = True
        return True

    def is_ending(self, now: float) -> bool:
        """Whether the home address is deprecated or about to become invalid."""
        left = self.remaining(now)
        deprecated = self.preferred_until is not None and self.preferred_until <= now
        return deprecated or (left is not None and left <= BEFORE_THE_END)

    def set_end(self, valid_until: float | None, now: float, preferred_until: float | None = None) -> None:
        """The home prefix is valid until then."""
        self.valid_until, self._told = valid_until, False
        self.preferred_until = preferred_until
        self._ask_at = None
        self.ask_before(valid_until, now)
        if preferred_until is not None and preferred_until > now:
            # Whoever gives up a prefix tells of another one by then.
            self._ask_at = preferred_until if self._ask_at is None else min(self._ask_at, preferred_until)

    def ask_before(self, end: float | None, now: float) -> None:
        """Solicit when an address that is valid until `end` is about to become invalid: it may be valid for
        longer by then."""
        if end is not None and end > now:
            left = end - now
            at = now + max(left / 2, left - BEFORE_THE_END)
            self._ask_at = at if self._ask_at is None else min(self._ask_at, at)

    # Solicitations ----------------------------------------------------------------------------------------

    @property
    def due(self) -> float | None:
        """When the next solicitation is to be sent."""
        return min((time for time in (self._solicit_at, self._ask_at) if time is not None), default=None)

    def ask(self, now: float) -> None:
        """Solicit now, and again until it is answered."""
        self._identifier = self._rng.randrange(0x10000)
        self._interval = INITIAL_SOLICIT_TIMER
        self._solicit_at = now

    def transmit(self, care_of: CareOfAddress | None, now: float) -> SendPacket | None:
        """The solicitation, to be called when `due` has come; None when it cannot be sent from here.

        From an IPv6 network it goes to the home agent as it is, with a Home Address option; from an IPv4 one
        through the tunnel, unless it has to be under IPsec.
        """
        in_tunnel = care_of is not None and isinstance(care_of.address, IPv4Address)
        if care_of is None or (in_tunnel and self._config.authentication == "ipsec"):
            self._solicit_at = None
            self._ask_at = now + MAX_SOLICIT_TIMER if self._ask_at is not None else None
            return None
        if self._solicit_at is None or self._identifier is None:
            self.ask(now)
        self._ask_at = None
        self._solicit_at = now + self._interval
        self._interval = min(2 * self._interval, MAX_SOLICIT_TIMER)
        config = self._config
        # The checksum covers the home address, as behind any Home Address option (RFC 6275 section 11.3.1).
        solicitation = MobilePrefixSolicitation(self._identifier or 0)
        octets = encode_icmpv6(solicitation, config.home_address, config.home_agent)
        if not isinstance(care_of.address, IPv6Address):
            packet = encode_packet(config.home_address, config.home_agent, octets, NextHeader.ICMPV6)
            return SendPacket(packet)
        packet = encode_packet(
            care_of.address, config.home_agent, octets, NextHeader.ICMPV6, home_address=config.home_address
        )
        return SendPacket(packet, care_of.interface)

    # Advertisements ---------------------------------------------------------------------------------------

    def advertised(self, message: MobilePrefixAdvertisement, now: float) -> Event | Drop:
        """Take in an advertisement that came from the home agent with a type 2 routing header, or to an IPv4
        network through the tunnel.

        One that was not asked for is discarded, and provokes a solicitation (RFC 6275 section 11.4.3).
        """
        if self._identifier is None or message.identifier != self._identifier:
            if self._provoked.allow(now):
                self.ask(now)
            return Drop("mobile-prefix-advertisement", "not solicited")
        self._identifier = None
        self._solicit_at = None
        others: list[str] = []
        self.advertised_prefixes = tuple(
            option
            for option in message.options
            if isinstance(option, PrefixInformation)
            # Malformed otherwise: ignored as in a router advertisement (RFC 4862 section 5.5.3 c).
            and option.preferred_lifetime <= option.valid_lifetime
        )
        for option in self.advertised_prefixes:
            if self._config.home_address in option.prefix:
                self.set_end(_end(option.valid_lifetime, now), now, _end(option.preferred_lifetime, now))
            elif option.autonomous and option.valid_lifetime:
                others.append(str(option.prefix))
        left = self.remaining(now)
        valid = -1.0 if left is None else round(left, 3)
        return Event("home-prefix", {"valid": valid, "others": " ".join(others)})


def _end(lifetime: int, now: float) -> float | None:
    return None if lifetime == INFINITE_LIFETIME else now + lifetime
