"""A router heard on a link and what it advertises (RFC 4861 section 6.3.4, RFC 6275 sections 7.2 and 7.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from dsmip.core.types import Instant
from dsmip.movement.identifiers import IDENTIFIER_BITS
from dsmip.movement.networks import KnownPrefix, KnownRouter
from dsmip.wire import icmpv6
from dsmip.wire.captiveportal import CaptivePortal, portal_url

#: Advertisements without a prefix after which the router no longer stands for it (RFC 6059 section 5.10).
MISSED_PREFIX_LIMIT = 3

#: Advertisement intervals without an advertisement that count as a hint of movement (RFC 6275 11.5.1).
MISSED_ADVERTISEMENTS = 3

#: Added to every advertised interval, s: scheduling granularity of the router (RFC 6275 section 7.5).
INTERVAL_SLACK = 0.02

#: A lifetime of all one bits means infinity (RFC 4861 section 4.6.2).
INFINITE_LIFETIME = 0xFFFFFFFF

#: Default router preference as it is on the wire (RFC 4191 section 2.1); what is not here counts as medium.
_PREFERENCES = {0b01: 1, 0b11: -1}

LINK_LOCAL = IPv6Network("fe80::/10")


class RouterId(NamedTuple):
    """Link-local and link-layer address together: unique across links (RFC 6059 section 1.5)."""

    address: IPv6Address
    mac: bytes


@dataclass(slots=True)
class Prefix:
    """One advertised prefix. Times are CLOCK_MONOTONIC seconds."""

    prefix: IPv6Network
    on_link: bool
    autonomous: bool
    valid_until: float
    preferred_until: float
    missed: int = 0

    @property
    def forms_addresses(self) -> bool:
        """Whether an address may be formed from it (RFC 4862 section 5.5.3 a, b, d)."""
        return (
            self.autonomous
            and self.prefix.prefixlen + IDENTIFIER_BITS == 128
            and not self.prefix.subnet_of(LINK_LOCAL)
        )


@dataclass(slots=True)
class Router:
    """A router's advertised state. `lifetime_until` in the past: not a default router."""

    id: RouterId
    lifetime_until: float = 0.0
    heard: float = 0.0
    preference: int = 0  #: 1 high, 0 medium, -1 low
    mtu: int | None = None
    portal: str | None = None  #: URL of the captive portal (RFC 8910)
    interval: float | None = None  #: seconds between advertisements, if it says so
    expected: float | None = None  #: when its silence becomes a hint of movement
    prefixes: dict[IPv6Network, Prefix] = field(default_factory=dict)

    def hear(self, advertisement: icmpv6.RouterAdvertisement, now: float) -> None:
        """Take over what an advertisement says."""
        self.heard = now
        self.lifetime_until = now + advertisement.router_lifetime
        self.preference = _PREFERENCES.get(advertisement.preference, 0)
        seen = set()
        for option in advertisement.options:
            match option:
                case icmpv6.PrefixInformation():
                    if option.preferred_lifetime <= option.valid_lifetime:
                        seen.add(self._learn(option, now))
                case icmpv6.Mtu():
                    self.mtu = option.mtu
                case icmpv6.AdvertisementInterval():
                    self.interval = option.interval / 1000
                case CaptivePortal(uri):
                    self.portal = portal_url(uri)
        self.answered(now)
        for key in [*self.prefixes]:
            prefix = self.prefixes[key]
            prefix.missed = 0 if key in seen else prefix.missed + 1
            if prefix.missed >= MISSED_PREFIX_LIMIT or prefix.valid_until <= now:
                del self.prefixes[key]

    def _learn(self, option: icmpv6.PrefixInformation, now: float) -> IPv6Network:
        self.prefixes[option.prefix] = Prefix(
            prefix=option.prefix,
            on_link=option.on_link,
            autonomous=option.autonomous,
            valid_until=now + option.valid_lifetime,
            preferred_until=now + option.preferred_lifetime,
        )
        return option.prefix

    def answered(self, now: float) -> None:
        """It was heard or answered a probe: its silence counts from now on."""
        if self.interval:
            self.expected = now + MISSED_ADVERTISEMENTS * (self.interval + INTERVAL_SLACK)

    def is_default(self, now: float) -> bool:
        """Whether it forwards packets for us."""
        return self.lifetime_until > now

    def shares_prefix(self, other: Router) -> bool:
        """Whether both advertise a prefix in common: then they are on the same link."""
        return not self.prefixes.keys().isdisjoint(other.prefixes.keys())

    def advertises_home(self, home: IPv6Network | None, now: float) -> bool:
        """Whether the home prefix lies in a prefix that is on-link here (RFC 6275 section 11.5.2)."""
        return home is not None and any(
            prefix.on_link and prefix.valid_until > now and prefix.prefix.supernet_of(home)
            for prefix in self.prefixes.values()
        )

    def successor(self, home: IPv6Network, now: float) -> IPv6Network | None:
        """The prefix to have a home address in, if `home` is deprecated here (RFC 4862 section 5.5.4)."""
        known = self.prefixes.get(home)
        if known is None or known.preferred_until > now:
            return None
        others = [
            prefix
            for prefix in self.prefixes.values()
            if prefix.on_link and prefix.forms_addresses and prefix.preferred_until > now
        ]
        alike = [prefix for prefix in others if prefix.prefix.prefixlen == home.prefixlen]
        best = max(alike, key=lambda prefix: prefix.preferred_until, default=None)
        return None if best is None else best.prefix

    def valid_until(self, home: IPv6Network, now: float) -> float | None:
        """When the last on-link prefix that covers the home prefix ends, CLOCK_MONOTONIC seconds.

        None = never, or there is none.
        """
        ends = [
            prefix.valid_until
            for prefix in self.prefixes.values()
            if prefix.on_link and prefix.prefix.supernet_of(home)
        ]
        end = max(ends, default=None)
        return None if end is None or end - now > INFINITE_LIFETIME / 2 else end

    def network(self) -> str:
        """The stable name of the network behind it: router and first prefix."""
        first = next(iter(sorted(self.prefixes)), None)
        return f"v6:{self.id.address}%{first}"

    def known(self, interface: str, addresses: dict[IPv6Network, IPv6Address], now: Instant) -> KnownRouter:
        """What to remember of it: times turned into seconds since 1970."""
        offset = now.unix - now.monotonic
        return KnownRouter(
            interface=interface,
            router=self.id.address,
            mac=self.id.mac,
            prefixes=tuple(
                KnownPrefix(
                    prefix=prefix.prefix,
                    on_link=prefix.on_link,
                    autonomous=prefix.autonomous,
                    valid_until=prefix.valid_until + offset,
                    preferred_until=prefix.preferred_until + offset,
                    address=addresses.get(prefix.prefix),
                )
                for prefix in self.prefixes.values()
            ),
            lifetime_until=self.lifetime_until + offset,
            seen=now.unix,
            mtu=self.mtu,
        )

    @classmethod
    def recalled(cls, known: KnownRouter, now: Instant) -> Router:
        """The router as it was remembered, what has expired left out."""
        offset = now.unix - now.monotonic
        return cls(
            id=RouterId(known.router, known.mac),
            lifetime_until=known.lifetime_until - offset,
            heard=now.monotonic,
            mtu=known.mtu,
            prefixes={
                prefix.prefix: Prefix(
                    prefix=prefix.prefix,
                    on_link=prefix.on_link,
                    autonomous=prefix.autonomous,
                    valid_until=prefix.valid_until - offset,
                    preferred_until=prefix.preferred_until - offset,
                )
                for prefix in known.live_prefixes(now.unix)
            },
        )
