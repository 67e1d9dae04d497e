"""The addresses of one link: formed, renewed, deprecated, found duplicate, expired (RFC 4862 section 5.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from dsmip.movement.actions import AddAddress, AddressFlags, RemoveAddress
from dsmip.movement.identifiers import IDGEN_RETRIES, StableIdentifiers
from dsmip.movement.link import LinkContext
from dsmip.movement.routers import INFINITE_LIFETIME, Prefix, Router
from dsmip.wire import icmpv6

#: Unauthenticated advertisements do not shorten an address's valid lifetime below this, s (RFC 4862 5.5.3 e).
TWO_HOURS = 7200.0

#: An address somebody deleted is put back after this, s, at most so often per attachment.
RESTORE_DELAY = 0.05
RESTORE_LIMIT = 5

#: The kernel is told of new lifetimes when they differ from what it has by this share of what is left.
RENEWAL_SHARE = 0.1


@dataclass(slots=True)
class Address:
    """One address of ours. Times are CLOCK_MONOTONIC seconds."""

    address: IPv6Address
    prefix: IPv6Network
    valid_until: float
    preferred_until: float
    on_link: bool
    usable: bool
    dad: bool
    duplicates: int = 0
    restores: int = 0
    missing_since: float | None = None
    told_valid: float = 0.0
    told_preferred: float = 0.0

    def end(self, now: float) -> float | None:
        """When it ceases to be valid; None = never (the longest lifetime there is lasts 136 years)."""
        return None if self.valid_until - now > INFINITE_LIFETIME / 2 else self.valid_until


class AddressSet:
    """The addresses formed from the current router's prefixes."""

    def __init__(self, link: LinkContext, identifiers: StableIdentifiers, optimistic: bool) -> None:
        self._link = link
        self._identifiers = identifiers
        self._optimistic = optimistic
        self._addresses: dict[IPv6Network, Address] = {}
        self._duplicates: dict[IPv6Network, int] = {}

    def follow(
        self,
        router: Router,
        now: float,
        recalled: Mapping[IPv6Network, IPv6Address],
        *,
        dad: bool,
        allowed: bool,
    ) -> None:
        """Have an address in each prefix of `router` that forms addresses.

        `recalled` are addresses used there before. Not `allowed`: have none (the home link). An address lives
        on when its prefix is no longer advertised, until its own lifetime ends.
        """
        if not allowed:
            self.clear()
            return
        for entry in router.prefixes.values():
            if entry.forms_addresses and entry.valid_until > now and entry.prefix not in self._addresses:
                self._form(entry, now, recalled.get(entry.prefix), dad=dad)

    def keep_only(self, router: Router) -> None:
        """Another router becomes the current one: addresses it does not stand for go (RFC 6275 11.5.4)."""
        for prefix in [*self._addresses]:
            if prefix not in router.prefixes:
                self._remove(prefix)

    def advertised(self, message: icmpv6.RouterAdvertisement, now: float) -> None:
        """Renew lifetimes, with the two-hour rule (RFC 4862 section 5.5.3 e)."""
        for option in message.options:
            if not isinstance(option, icmpv6.PrefixInformation) or not option.autonomous:
                continue
            address = self._addresses.get(option.prefix)
            if address is None or option.preferred_lifetime > option.valid_lifetime:
                continue
            remaining = address.valid_until - now
            if option.valid_lifetime > TWO_HOURS or option.valid_lifetime > remaining:
                address.valid_until = now + option.valid_lifetime
            elif remaining > TWO_HOURS:
                address.valid_until = now + TWO_HOURS
            address.preferred_until = min(now + option.preferred_lifetime, address.valid_until)
            if self._differs(address, now):
                self._tell(address, now)

    def added(self, address: IPv6Address, flags: AddressFlags, now: float) -> bool:
        """The kernel reports the address. True if the set of addresses has to be brought up to date."""
        ours = self._find(address)
        if ours is None:
            return False
        if AddressFlags.DAD_FAILED in flags:
            return self._duplicate(ours)
        ours.missing_since = None
        ours.usable = ours.usable or flags.usable
        return False

    def removed(self, address: IPv6Address, flags: AddressFlags, now: float) -> bool:
        """The kernel no longer has it. True if the set of addresses has to be brought up to date."""
        ours = self._find(address)
        if ours is None:
            return False
        if AddressFlags.DAD_FAILED in flags:
            return self._duplicate(ours)
        ours.missing_since = now
        return False

    def usable(self, now: float) -> list[Address]:
        """The addresses that can send and receive now; deprecated ones only if there are no others."""
        usable = [a for a in self._addresses.values() if a.usable and a.valid_until > now]
        preferred = [a for a in usable if a.preferred_until > now]
        return preferred or usable

    def by_prefix(self) -> dict[IPv6Network, IPv6Address]:
        """What to remember: the address in each prefix."""
        return {prefix: address.address for prefix, address in self._addresses.items()}

    def clear(self) -> None:
        """Remove all."""
        for prefix in [*self._addresses]:
            self._remove(prefix)
        self._duplicates.clear()

    def deadline(self, now: float) -> float | None:
        """When `tick` is next worth calling."""
        return min(
            (time for address in self._addresses.values() for time in _times(address, now)), default=None
        )

    def tick(self, now: float) -> bool:
        """Expire, put back what somebody deleted. True if the set has to be brought up to date."""
        expired = [prefix for prefix, address in self._addresses.items() if address.valid_until <= now]
        for prefix in expired:
            self._remove(prefix)
        for address in self._addresses.values():
            since = address.missing_since
            if since is not None and since + RESTORE_DELAY <= now:
                address.missing_since = None
                if address.restores < RESTORE_LIMIT:
                    address.restores += 1
                    self._link.event("address-restored", address=str(address.address))
                    self._tell(address, now)
                else:
                    address.usable = False
        return bool(expired)

    def describe(self, now: float) -> list[dict[str, object]]:
        """For people."""
        return [
            {
                "address": str(address.address),
                "prefix": str(address.prefix),
                "usable": address.usable,
                "deprecated": address.preferred_until <= now,
                "valid": round(address.valid_until - now, 1),
            }
            for address in self._addresses.values()
        ]

    def _find(self, address: IPv6Address) -> Address | None:
        return next((ours for ours in self._addresses.values() if ours.address == address), None)

    def _form(self, entry: Prefix, now: float, recalled: IPv6Address | None, *, dad: bool) -> None:
        duplicates = self._duplicates.get(entry.prefix, 0)
        if duplicates > IDGEN_RETRIES:
            return
        if duplicates or recalled is None or recalled not in entry.prefix:
            recalled = self._identifiers.address(entry.prefix, self._link.name, duplicates)
        address = Address(
            address=recalled,
            prefix=entry.prefix,
            valid_until=entry.valid_until,
            preferred_until=entry.preferred_until,
            on_link=entry.on_link,
            usable=self._optimistic or not dad,
            dad=dad,
            duplicates=duplicates,
        )
        self._addresses[entry.prefix] = address
        self._tell(address, now)

    def _duplicate(self, address: Address) -> bool:
        """Somebody else has the address: take the next one (RFC 7217 section 6)."""
        count = self._duplicates.get(address.prefix, 0) + 1
        self._duplicates[address.prefix] = count
        self._link.event("address-duplicate", address=str(address.address), count=count)
        self._remove(address.prefix)
        return True

    def _remove(self, prefix: IPv6Network) -> None:
        address = self._addresses.pop(prefix)
        self._link.emit(RemoveAddress(self._link.name, self._link.ifindex, address.address, prefix.prefixlen))

    def _tell(self, address: Address, now: float) -> None:
        address.told_valid, address.told_preferred = address.valid_until, address.preferred_until
        self._link.emit(
            AddAddress(
                interface=self._link.name,
                ifindex=self._link.ifindex,
                address=address.address,
                prefix_length=address.prefix.prefixlen,
                valid=_seconds(address.valid_until - now),
                preferred=_seconds(address.preferred_until - now),
                metric=self._link.metric,
                on_link=address.on_link,
                dad=address.dad,
            )
        )

    @staticmethod
    def _differs(address: Address, now: float) -> bool:
        for told, wanted in (
            (address.told_valid, address.valid_until),
            (address.told_preferred, address.preferred_until),
        ):
            if abs(wanted - told) > RENEWAL_SHARE * max(0.0, min(wanted, told) - now):
                return True
        return False


def _seconds(lifetime: float) -> float | None:
    return None if lifetime > INFINITE_LIFETIME / 2 else max(0.0, lifetime)


def _times(address: Address, now: float) -> Iterator[float]:
    yield address.valid_until
    if address.preferred_until > now:
        yield address.preferred_until
    if address.missing_since is not None:
        yield address.missing_since + RESTORE_DELAY
