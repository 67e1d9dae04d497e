"""Another home address, when the home prefix is given up for another one (RFC 6275 sections 10.6 and 11.4.3).

The same interface identifier under the new prefix (RFC 4862 section 5.5.3). Whether the home agent serves us
there only an attempt shows: until it has accepted, and again when it refuses, the old home address is the one
to use. Once it has accepted, new sessions have the new address; those of the old one go on, as long as the
old prefix is valid: our home agent tunnels packets to both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Interface, IPv6Network

from dsmip.core.actions import Event, HomeAddressChanged
from dsmip.core.mobile_node.common import Common
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.prefix import INFINITE_LIFETIME
from dsmip.core.mobile_node.refusals import HOLD
from dsmip.core.types import Instant
from dsmip.wire.constants import BAStatus
from dsmip.wire.icmpv6 import PrefixInformation

#: Seconds for the home agent to accept the new home address: duplicate address detection, lost packets.
PATIENCE = 20.0

Adopt = Callable[[MobileNodeConfig, Instant], None]


@dataclass(frozen=True, slots=True)
class HomeAddress:
    """A home address, its prefix, and when that ends in CLOCK_MONOTONIC seconds, None = never."""

    address: IPv6Address
    prefix: IPv6Network
    valid_until: float | None = None


class Renumbering:
    """`adopt` is called with a configuration that differs in the home address: register under that.

    `former` is the home address before, as long as it is valid.
    """

    def __init__(self, common: Common, adopt: Adopt) -> None:
        self._common = common
        self._adopt = adopt
        self._before: HomeAddress | None = None  #: to go back to, while the new one is on trial
        self._decide_at: float | None = None
        self._began = 0.0
        self._resumed = False
        self._unproven = False  #: adopted on the home link, where the home agent was not asked
        self._refused: dict[IPv6Network, float] = {}  #: not to be tried again before
        self.former: HomeAddress | None = None

    @property
    def due(self) -> float | None:
        """When `tick` wants to be called."""
        ends = self.former.valid_until if self.former is not None else None
        return min((time for time in (self._decide_at, ends) if time is not None), default=None)

    # Beginning --------------------------------------------------------------------------------------------

    def consider(self, config: MobileNodeConfig, now: Instant) -> None:
        """An advertisement has come: change over, if the home prefix is given up and there is another."""
        known = self._common.home_prefix
        self._update_former(known.advertised_prefixes, config, now)
        if self._before is not None or not known.is_ending(now.monotonic) or not _may_renumber(config):
            return
        candidates = [
            option
            for option in known.advertised_prefixes
            if option.autonomous
            and option.preferred_lifetime
            and option.prefix.prefixlen == config.home_prefix.prefixlen
            and option.prefix != config.home_prefix
            and _under(option.prefix, config.home_address) != config.home_agent
            and self._refused.get(option.prefix, now.monotonic) <= now.monotonic
        ]
        if candidates:
            best = max(candidates, key=lambda option: option.preferred_lifetime)
            address = _under(best.prefix, config.home_address)
            self._try(HomeAddress(address, best.prefix, _end(best, now)), config, now)

    def consider_at_home(self, successor: IPv6Network, config: MobileNodeConfig, now: Instant) -> None:
        """We are on the home link, and routers there deprecate the home prefix and have `successor`.

        As on any link the address follows at once (RFC 4862 section 5.5). Whether the home agent serves us
        there shows when we leave; until it has accepted, the old one is there to go back to.
        """
        if self.try_successor(successor, config, now):
            address = _under(successor, config.home_address)
            self._adopted(replace(config, home_address=address, home_prefix=successor), now)
            self._unproven = True

    def try_successor(self, successor: IPv6Network, config: MobileNodeConfig, now: Instant) -> bool:
        """Ask the home agent for an address in what the home link has instead of the home prefix. False when
        there is a reason not to."""
        address = _under(successor, config.home_address)
        unfit = successor == config.home_prefix or address == config.home_agent or not _may_renumber(config)
        if unfit or self._before is not None or self._refused.get(successor, now.monotonic) > now.monotonic:
            return False
        self._try(HomeAddress(address, successor), config, now)
        return True

    def leave_home(self, now: Instant) -> None:
        """We are not on the home link (any more)."""
        if self._unproven and self.former is not None and self._before is None:
            self._before, self.former = self.former, None
            self._wait(now)
            self._resumed = True

    def resume(
        self, home: HomeAddress, former_until: float | None, config: MobileNodeConfig, now: Instant
    ) -> None:
        """Begin with the home address of an earlier life; the configured one is valid until then. The caller
        begins with both."""
        self._common.home_prefix.set_end(former_until, now.monotonic)
        self._try(home, config, now, tell=False)
        self._resumed = True

    def _try(self, new: HomeAddress, config: MobileNodeConfig, now: Instant, *, tell: bool = True) -> None:
        self._before = HomeAddress(
            config.home_address, config.home_prefix, self._common.home_prefix.valid_until
        )
        self._wait(now)
        self._resumed = self._unproven = False
        self._common.emit(Event("renumbering", {"from": str(config.home_address), "to": str(new.address)}))
        self._common.networks.use_home_addresses(new.address, config.home_address, tell=tell)
        self._use(new, config, now)

    def _wait(self, now: Instant) -> None:
        self._began = now.monotonic
        self._decide_at = now.monotonic + PATIENCE

    def _use(self, home: HomeAddress, config: MobileNodeConfig, now: Instant) -> None:
        self._common.home_prefix.set_end(home.valid_until, now.monotonic)
        self._adopt(replace(config, home_address=home.address, home_prefix=home.prefix), now)

    # Ending -----------------------------------------------------------------------------------------------

    def accepted(self, config: MobileNodeConfig, now: Instant) -> None:
        """The home agent has registered the home address of `config`."""
        self._unproven = False
        self._adopted(config, now)

    def _adopted(self, config: MobileNodeConfig, now: Instant) -> None:
        """New sessions have the home address of `config` from now on."""
        if self._before is None:
            return
        self.former, self._before, self._decide_at = self._before, None, None
        self._common.home_prefix.ask_before(self.former.valid_until, now.monotonic)
        self._tell(HomeAddress(config.home_address, config.home_prefix))
        ends = {"former": str(self.former.address)}
        self._common.emit(Event("renumbered", {"home_address": str(config.home_address), **ends}))

    def refused(self, status: int | None, now: Instant) -> None:
        """The home agent has answered something else, None = nothing yet."""
        if status == BAStatus.DUPLICATE_ADDRESS_DETECTION_FAILED:
            self.failed(now)  # other refusals come by way of `Common.failed`

    def failed(self, now: Instant) -> bool:
        """Registering does not work. False when that has nothing to do with a new home address."""
        if self._before is None:
            return False
        self._decide_at = now.monotonic
        return True

    def come_home(self, config: MobileNodeConfig, now: Instant) -> None:
        """On the home link nobody is asked. An address that has been ours before is ours again; of a new one
        nothing is known yet."""
        if self._resumed:
            self._adopted(config, now)
        else:
            self.give_up(config, now)

    def give_up(self, config: MobileNodeConfig, now: Instant) -> None:
        """Back to the home address before, if the new one is on trial still."""
        before = self._before
        if before is None:
            return
        self._before = self._decide_at = None
        self._unproven = False
        self._refused[config.home_prefix] = now.monotonic + HOLD
        self._tell(before)
        self._common.emit(
            Event("renumbering-refused", {"from": str(before.address), "to": str(config.home_address)})
        )
        former = self.former.address if self.former is not None else None
        self._common.networks.use_home_addresses(before.address, former)
        self._use(before, config, now)

    def tick(self, config: MobileNodeConfig, now: Instant) -> None:
        """Do what is due."""
        if self._decide_at is not None and self._decide_at <= now.monotonic:
            self._decide(config, now)
        former = self.former
        if former is not None and former.valid_until is not None and former.valid_until <= now.monotonic:
            self.former = None
            before = self._before
            other = before.address if before is not None else None
            self._common.networks.use_home_addresses(config.home_address, other)
            self._tell(before or HomeAddress(config.home_address, config.home_prefix))
            self._common.emit(Event("former-home-address-ended", {"former": str(former.address)}))

    def _decide(self, config: MobileNodeConfig, now: Instant) -> None:
        """The home agent refuses, or has said nothing for long."""
        before, sent_at = self._before, self._common.counters.last_sent_at
        if before is not None and before.valid_until is not None and before.valid_until <= now.monotonic:
            self._adopted(config, now)  # there is nothing to go back to
        elif sent_at is None or sent_at < self._began:
            self._wait(now)  # it was not asked: there was no network
        else:
            self.give_up(config, now)

    def _tell(self, home: HomeAddress) -> None:
        former = self.former
        beside = None if former is None else IPv6Interface((former.address, former.prefix.prefixlen))
        self._common.emit(HomeAddressChanged(home.address, home.prefix, beside))

    def _update_former(
        self, options: tuple[PrefixInformation, ...], config: MobileNodeConfig, now: Instant
    ) -> None:
        for option in options:
            if self.former is not None and option.prefix == self.former.prefix:
                self.former = replace(self.former, valid_until=_end(option, now))
                if self._before is None:
                    self._tell(HomeAddress(config.home_address, config.home_prefix))
        if self.former is not None:
            self._common.home_prefix.ask_before(self.former.valid_until, now.monotonic)


def _may_renumber(config: MobileNodeConfig) -> bool:
    """Only who has a key and an identifier is the same mobile node under another address; and one whose home
    address comes from its own mobile network has no part in the home prefix."""
    keyed = config.authentication == "mn-ha" and bool(config.identifier)
    return keyed and config.home_address in config.home_prefix


def _under(prefix: IPv6Network, home_address: IPv6Address) -> IPv6Address:
    """The address with the interface identifier of `home_address`."""
    return IPv6Address(int(prefix.network_address) | int(home_address) & int(prefix.hostmask))


def _end(option: PrefixInformation, now: Instant) -> float | None:
    endless = option.valid_lifetime == INFINITE_LIFETIME
    return None if endless else now.monotonic + option.valid_lifetime
