"""IPv4 home addresses and IPv4 mobile network prefixes of mobile nodes (RFC 5555 section 4.5).

Who may have what is decided by the IPv6 home address alone, which is what the authenticator vouches for: by
the configured entry, by what the binding has already, or by a pool.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from dsmip.core.address_pool import IPv4Pool
from dsmip.core.home_agent.changes import NodeChanges
from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.registration import is_unicast_ipv4
from dsmip.core.types import IPv4Grant, MobileNodeEntry
from dsmip.wire.constants import IPv4AckStatus
from dsmip.wire.options import IPv4AddressAcknowledgement, IPv4HomeAddress

#: Length of a single address.
HOST = 32

#: IPv4 Home Address options of one Binding Update that are looked at.
MAXIMUM_OPTIONS = 8

_UNSPECIFIED = IPv4Address(0)


class IPv4Assignments:
    """Decides about IPv4 Home Address options and keeps the pools."""

    def __init__(self, config: HomeAgentConfig) -> None:
        self._addresses = IPv4Pool.of_addresses([config.ipv4_pool] if config.ipv4_pool else [])
        self._prefixes = IPv4Pool([config.ipv4_prefix_pool] if config.ipv4_prefix_pool else [])
        self._pools = [pool for pool in (config.ipv4_pool, config.ipv4_prefix_pool) if pool is not None]
        if config.ipv4_address is not None:
            self._addresses.reserve(IPv4Network(config.ipv4_address))
        for entry in config.mobile_nodes if self._pools else ():
            for network in _static(entry):
                self._pool(network).reserve(network)

    def change(self, changes: NodeChanges) -> None:
        """Other addresses and prefixes are set aside. No dynamic grant may be out meanwhile that is among
        them."""
        for entry in changes.gone:
            for network in _static(entry):
                self._pool(network).release(network)
        for entry in changes.new:
            for network in _static(entry):
                self._pool(network).reserve(network)

    def concerns_pools(self, changes: NodeChanges) -> bool:
        """Whether what is new is in a pool, where somebody may hold it by now."""
        networks = [network for entry in changes.new for network in _static(entry)]
        return any(network.overlaps(pool) for network in networks for pool in self._pools)

    def decide(
        self, entry: MobileNodeEntry, options: Iterable[IPv4HomeAddress], held: tuple[IPv4Grant, ...]
    ) -> tuple[tuple[IPv4Grant, ...], tuple[IPv4AddressAcknowledgement, ...]]:
        """The grants and one acknowledgement option per option asked.

        `held` is what the present binding has. What of that is not asked for any more goes back to its pool.
        """
        grants: list[IPv4Grant] = []
        acknowledgements = []
        for number, option in enumerate(options):
            if number >= MAXIMUM_OPTIONS:
                outcome: IPv4Grant | IPv4AckStatus = IPv4AckStatus.ADMINISTRATIVELY_PROHIBITED
            else:
                outcome = self._decide_one(entry, option, held, grants)
            if isinstance(outcome, IPv4Grant):
                if outcome not in grants:
                    grants.append(outcome)
                acknowledgement = IPv4AddressAcknowledgement(
                    IPv4AckStatus.SUCCESS, outcome.address, outcome.prefixlen
                )
            else:
                acknowledgement = IPv4AddressAcknowledgement(outcome, option.address, 0)
            acknowledgements.append(acknowledgement)
        outcome_grants = tuple(grants)
        if outcome_grants == held:
            return held, tuple(acknowledgements)
        self.release(grant for grant in held if grant not in grants)
        return outcome_grants, tuple(acknowledgements)

    def restore(self, entry: MobileNodeEntry, held: tuple[IPv4Grant, ...]) -> tuple[IPv4Grant, ...]:
        """Those of a stored binding's grants that the present configuration leaves to the mobile node."""
        return tuple(_shared(grant, entry) for grant in held if self._may_keep(entry, grant))

    def is_pooled(self, address: IPv4Address) -> bool:
        """Whether an address lies in one of the pools."""
        return any(address in pool for pool in self._pools)

    def release(self, grants: Iterable[IPv4Grant]) -> None:
        """Give dynamic addresses and prefixes back."""
        for grant in grants:
            if grant.dynamic:
                self._pool(grant.network).release(grant.network)

    def _may_keep(self, entry: MobileNodeEntry, grant: IPv4Grant) -> bool:
        if grant.dynamic:
            return entry.allow_dynamic_ipv4 and self._pool(grant.network).reserve(grant.network)
        if grant.prefixlen == HOST:
            return grant.address == entry.ipv4_home_address
        return grant.network in entry.ipv4_prefixes

    def _decide_one(
        self,
        entry: MobileNodeEntry,
        option: IPv4HomeAddress,
        held: tuple[IPv4Grant, ...],
        granted: list[IPv4Grant],
    ) -> IPv4Grant | IPv4AckStatus:
        if not 1 <= option.prefix_length <= HOST:
            return IPv4AckStatus.UNSPECIFIED
        if option.address == _UNSPECIFIED:
            if option.prefix_length == HOST and not option.prefix_requested:
                return self._some_address(entry, held)
            return self._some_prefix(entry, option.prefix_length, held, granted)
        return self._this(entry, option, held)

    def _some_address(self, entry: MobileNodeEntry, held: tuple[IPv4Grant, ...]) -> IPv4Grant | IPv4AckStatus:
        if entry.ipv4_home_address is not None:
            return IPv4Grant(entry.ipv4_home_address)
        for grant in held:
            if grant.prefixlen == HOST:
                return grant
        network = self._addresses.allocate(HOST) if entry.allow_dynamic_ipv4 else None
        if network is None:
            return IPv4AckStatus.DYNAMIC_IPV4_HOME_ADDRESS_NOT_AVAILABLE
        return IPv4Grant.of(network, dynamic=True)

    def _some_prefix(
        self, entry: MobileNodeEntry, length: int, held: tuple[IPv4Grant, ...], granted: list[IPv4Grant]
    ) -> IPv4Grant | IPv4AckStatus:
        """A configured prefix this Binding Update did not get yet, one held already, or one of the pool."""
        static = [IPv4Grant.of(prefix) for prefix in entry.ipv4_prefixes]
        earlier = [] if length == HOST else [g for g in held if g.dynamic and g.prefixlen == length]
        for grant in (*static, *earlier):
            if grant not in granted:
                return grant
        # A single address is no prefix: it comes from the other pool.
        allowed = entry.allow_dynamic_ipv4 and length < HOST
        network = self._prefixes.allocate(length) if allowed else None
        if network is None:
            return IPv4AckStatus.PREFIX_ALLOCATION_UNAUTHORIZED
        return IPv4Grant.of(network, dynamic=True)

    def _this(
        self, entry: MobileNodeEntry, option: IPv4HomeAddress, held: tuple[IPv4Grant, ...]
    ) -> IPv4Grant | IPv4AckStatus:
        """A named address or prefix: configured, held already, or free in a pool.

        The last lets a mobile node whose binding ended have its old dynamic address back, and with it its
        sessions.
        """
        if option.address == entry.ipv4_home_address and option.prefix_length == HOST:
            # What nearly everybody asks for: making a network takes longer than all of the rest.
            return IPv4Grant(entry.ipv4_home_address)
        if not is_unicast_ipv4(option.address):
            return IPv4AckStatus.INVALID_IPV4_ADDRESS
        network = IPv4Network((int(option.address), option.prefix_length), strict=False)
        if _is_static(entry, network):
            return IPv4Grant.of(network)
        for grant in held:
            if grant.network == network:
                return grant
        single = option.prefix_length == HOST
        if entry.allow_dynamic_ipv4 and self._pool(network).reserve(network):
            return IPv4Grant.of(network, dynamic=True)
        if single:
            return IPv4AckStatus.INCORRECT_IPV4_HOME_ADDRESS
        return IPv4AckStatus.PREFIX_ALLOCATION_UNAUTHORIZED

    def _pool(self, network: IPv4Network) -> IPv4Pool:
        return self._addresses if network.prefixlen == HOST else self._prefixes


def _static(entry: MobileNodeEntry) -> tuple[IPv4Network, ...]:
    """What is configured for a mobile node."""
    if entry.ipv4_home_address is None:
        return entry.ipv4_prefixes
    return (IPv4Network(entry.ipv4_home_address), *entry.ipv4_prefixes)


def _shared(grant: IPv4Grant, entry: MobileNodeEntry) -> IPv4Grant:
    """The same with the object of the configuration in it, where that is equal."""
    if grant.dynamic or grant.prefixlen != HOST or entry.ipv4_home_address is None:
        return grant
    return IPv4Grant(entry.ipv4_home_address)


def _is_static(entry: MobileNodeEntry, network: IPv4Network) -> bool:
    if network.prefixlen == HOST:
        return network.network_address == entry.ipv4_home_address
    return network in entry.ipv4_prefixes
