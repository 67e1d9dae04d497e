"""The prefixes of the home link: configured, and as router advertisements on it say (RFC 6275 10.6.1).

A prefix that is configured and never advertised goes on for ever. Once it is advertised it is as long-lived
as it is said to be: bindings end with it (RFC 6275 section 10.3.1), and mobile nodes are told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from dsmip.core.lifetime import PrefixLifetime
from dsmip.wire.icmpv6 import PrefixInformation, RouterAdvertisement
from dsmip.wire.ip import is_unicast_routable

#: Lifetime in an option that stands for ever (RFC 4861 section 4.6.2).
INFINITE = 0xFFFF_FFFF

#: Prefixes beyond the configured ones that are kept, and how many are told in one advertisement at most.
MAXIMUM_LEARNT = 16
MAXIMUM_TOLD = 32

#: Seconds by which lifetimes that count down in real time may be off without being taken for changed.
_TOLERANCE = 2.0


@dataclass(frozen=True, slots=True)
class _Advertised:
    """What an advertisement said of one prefix, and when (CLOCK_MONOTONIC seconds)."""

    option: PrefixInformation
    heard: float

    @property
    def lifetime(self) -> PrefixLifetime:
        option = self.option
        return PrefixLifetime(
            _end(option.valid_lifetime, self.heard), _end(option.preferred_lifetime, self.heard)
        )

    def says_the_same(self, option: PrefixInformation, now: float) -> bool:
        """Whether nothing has changed but time: lifetimes stand still from one advertisement to the next, or
        count down (RFC 4861 section 6.2.1)."""
        before = self.option
        return (
            (before.on_link, before.autonomous) == (option.on_link, option.autonomous)
            and _unchanged(before.valid_lifetime, option.valid_lifetime, now - self.heard)
            and _unchanged(before.preferred_lifetime, option.preferred_lifetime, now - self.heard)
        )


class HomePrefixes:
    """The list to tell mobile nodes; `address` is the home agent's own, in one of them."""

    def __init__(self, address: IPv6Address, configured: Iterable[IPv6Network]) -> None:
        self._address = address
        self._configured = tuple(configured)
        self._advertised: dict[IPv6Network, _Advertised] = {}

    @property
    def learnt(self) -> bool:
        """Whether any advertisement was heard: otherwise there is no news to expect."""
        return bool(self._advertised)

    def advertisement(self, message: RouterAdvertisement, now: float) -> list[IPv6Network]:
        """A home agent's advertisement; returns the prefixes whose flags or lifetimes changed, or are new."""
        changed = []
        for option in message.options:
            if not isinstance(option, PrefixInformation) or not is_unicast_routable(option.prefix[0]):
                continue
            before = self._advertised.get(option.prefix)
            configured = option.prefix in self._configured
            if before is None and not configured and not (option.valid_lifetime and self._has_room(now)):
                continue
            self._advertised[option.prefix] = _Advertised(option, now)
            if before is None or not before.says_the_same(option, now):
                changed.append(option.prefix)
        return changed

    def lifetime(self, prefix: IPv6Network) -> PrefixLifetime:
        """How long a prefix goes on."""
        advertised = self._advertised.get(prefix)
        return PrefixLifetime() if advertised is None else advertised.lifetime

    def options(self, now: float) -> tuple[PrefixInformation, ...]:
        """Prefix Information options with what is left of the lifetimes (RFC 6275 sections 6.8 and 7.2)."""
        found = []
        for prefix in dict.fromkeys((*self._configured, *self._advertised)):
            lifetime = self.lifetime(prefix)
            advertised = self._advertised.get(prefix)
            valid = _remaining(lifetime.valid_until, now)
            if valid:
                found.append(
                    PrefixInformation(
                        prefix,
                        on_link=advertised is None or advertised.option.on_link,
                        autonomous=advertised is None or advertised.option.autonomous,
                        router_address=self._address in prefix,
                        valid_lifetime=valid,
                        preferred_lifetime=min(valid, _remaining(lifetime.preferred_until, now)),
                        address=self._address if self._address in prefix else None,
                    )
                )
        return tuple(found[:MAXIMUM_TOLD])

    def _has_room(self, now: float) -> bool:
        """Whether one more prefix may be learnt; those that are over make room."""
        learnt = [prefix for prefix in self._advertised if prefix not in self._configured]
        over = [prefix for prefix in learnt if not _remaining(self.lifetime(prefix).valid_until, now)]
        for prefix in over:
            del self._advertised[prefix]
        return len(learnt) - len(over) < MAXIMUM_LEARNT


def _end(lifetime: int, now: float) -> float | None:
    return None if lifetime == INFINITE else now + lifetime


def _remaining(until: float | None, now: float) -> int:
    return INFINITE if until is None else max(0, int(until - now))


def _unchanged(before: int, after: int, elapsed: float) -> bool:
    if INFINITE in (before, after):
        return before == after
    return before == after or abs(before - elapsed - after) <= _TOLERANCE
