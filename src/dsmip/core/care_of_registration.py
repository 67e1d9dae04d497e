"""Which care-of addresses a Binding Update leaves a mobile node with (RFC 6275 10.3.1, RFC 5648 6.2, 8.1).

Pure decisions: what is bound and what is asked for go in, what is bound then and a status per binding
identifier come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from dsmip.core.home_agent.config import HomeAgentConfig
from dsmip.core.lifetime import Grant
from dsmip.core.registration import Request, is_loop, is_unicast_ipv4
from dsmip.core.types import (
    CareOfBinding,
    Instant,
    IPAddress,
    MobileNodeEntry,
    Nat,
    TunnelFormat,
    UdpEndpoint,
)
from dsmip.wire.constants import BAStatus
from dsmip.wire.ip import is_unicast_routable
from dsmip.wire.multihoming import BindingIdentifier

_FINE = 0


class Outcome(NamedTuple):
    """`care_ofs` are bound from now on, the preferred one first. `statuses` has one entry per Binding
    Identifier option of the update, 0 = done."""

    care_ofs: tuple[CareOfBinding, ...]
    statuses: tuple[int, ...]

    @property
    def done(self) -> bool:
        """At least one of the options had an effect."""
        return _FINE in self.statuses

    def summary(self, fine: BAStatus = BAStatus.ACCEPTED) -> tuple[BAStatus, tuple[int, ...]]:
        """The Status of the acknowledgement and of each of its options (RFC 5648 section 6.2).

        What is the same for all is said once. `fine` is what to say when nothing was refused.
        """
        different = set(self.statuses)
        if len(different) > 1:
            return BAStatus.MCOA_NOTCOMPLETE, self.statuses
        status = different.pop() if different else _FINE
        return BAStatus(status) if status else fine, (_FINE,) * len(self.statuses)


class Registration(msgspec.Struct, frozen=True, gc=False):
    """One registration: who asks for what, what is granted and what may be had."""

    request: Request
    entry: MobileNodeEntry
    config: HomeAgentConfig
    lifetime: Grant
    now: Instant

    def plain(self) -> CareOfBinding:
        """The care-of address of an update without binding identifiers."""
        request = self.request
        if request.udp is None:
            return self._bound(0, 0, care_of=request.tunnel_end, format=TunnelFormat.IPV6)
        return self._over_ipv4(0, 0)

    def multiple(self, held: Sequence[CareOfBinding]) -> Outcome:
        """What becomes of `held`, which are those with an identifier, by the options of the update."""
        known = {entry.bid: entry for entry in held}
        bound = {} if self.request.overwrite else dict(known)
        statuses: list[int] = []
        seen: set[int] = set()
        home_bid = 0
        for option in self.request.options.bids:
            again = option.bid in seen or (option.home and home_bid != 0)
            decided = BAStatus.MCOA_MALFORMED if again else self._decide(option, known.get(option.bid))
            if isinstance(decided, CareOfBinding) and self._is_full(bound, option.bid):
                decided = BAStatus.INSUFFICIENT_RESOURCES
            if isinstance(decided, CareOfBinding):
                bound[option.bid] = decided
                home_bid = option.bid if option.home else home_bid
                statuses.append(_FINE)
            else:
                statuses.append(decided)
            seen.add(option.bid)
        # There is one home binding at most, and an update without the H flag ends it (sections 5.6.3, 5.6.5).
        stay = (entry for entry in bound.values() if not entry.at_home or entry.bid == home_bid)
        return Outcome(in_order(stay), tuple(statuses))

    def _is_full(self, bound: dict[int, CareOfBinding], bid: int) -> bool:
        return bid not in bound and len(bound) >= self.config.max_care_of_addresses

    def _decide(self, option: BindingIdentifier, known: CareOfBinding | None) -> CareOfBinding | BAStatus:
        """RFC 5648 section 6.2 for one option; `known` is what its identifier is bound to so far."""
        if option.bid == 0:
            return BAStatus.MCOA_MALFORMED
        if option.home:
            return self._at_home(option)
        if option.care_of is None:
            if known is None or known.at_home:
                return BAStatus.MCOA_UNKNOWN_COA
            return self._renewed(known, option.priority)
        if isinstance(option.care_of, IPv4Address):
            return self._ipv4(option, option.care_of, known)
        if not is_unicast_routable(option.care_of):
            return BAStatus.MCOA_MALFORMED
        home_address = self.request.home_address
        if option.care_of == home_address or is_loop(option.care_of, self.entry, self.config.address):
            return BAStatus.INVALID_CARE_OF_ADDRESS
        return self._bound(option.bid, option.priority, care_of=option.care_of, format=TunnelFormat.IPV6)

    def _at_home(self, option: BindingIdentifier) -> CareOfBinding | BAStatus:
        """RFC 5648 section 5.6.3. The mobile node itself defends its home address on the home link then."""
        home_address, config = self.request.home_address, self.config
        if not (config.home_link and config.simultaneous_home):
            return BAStatus.MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED
        if not any(home_address in prefix for prefix in config.home_prefixes):
            return BAStatus.MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED
        if option.care_of not in (None, home_address):
            return BAStatus.MCOA_MALFORMED
        bound = self._bound(option.bid, option.priority, care_of=home_address, format=TunnelFormat.LINK)
        return replace(bound, at_home=True)

    def _ipv4(
        self, option: BindingIdentifier, care_of: IPv4Address, known: CareOfBinding | None
    ) -> CareOfBinding | BAStatus:
        """RFC 5648 section 8.1: NATs are found by an update from the address itself, which is not in bulk.

        In bulk an address may be named for which that has been done, or where it shows that there is no NAT.
        """
        if not is_unicast_ipv4(care_of):
            return BAStatus.MCOA_MALFORMED
        if care_of == self.config.ipv4_address:
            return BAStatus.INVALID_CARE_OF_ADDRESS
        request = self.request
        bulk = len(request.options.bids) > 1
        if request.udp is not None and care_of == request.inside:
            behind_nat = known is not None and known.nat is Nat.DETECTED
            if not bulk or not request.nat or behind_nat:
                return self._over_ipv4(option.bid, option.priority)
        if known is not None and known.nat is Nat.NONE and known.care_of == care_of:
            return self._renewed(known, option.priority)
        return BAStatus.MCOA_BULK_REGISTRATION_PROHIBITED if bulk else BAStatus.INVALID_CARE_OF_ADDRESS

    def _over_ipv4(self, bid: int, priority: int) -> CareOfBinding:
        """Where the update came from, which was in UDP. UDP stays where a NAT was found, or where either end
        wants it (RFC 5555 section 4.5)."""
        request, udp = self.request, self.request.udp
        assert udp is not None
        in_udp = request.nat or request.forces_udp or self.config.udp == "force"
        lifetime, now = self.lifetime.seconds, self.now
        return CareOfBinding(
            bid=bid,
            care_of=request.tunnel_end,
            format=TunnelFormat.UDP4 if in_udp else TunnelFormat.IPV4,
            lifetime=lifetime,
            updated=now.unix,
            expires=now.unix + lifetime,
            priority=priority,
            nat_source=UdpEndpoint(udp.source, udp.source_port),
            nat=Nat.DETECTED if request.nat else Nat.NONE,
            home_agent_ipv4=udp.destination,
            ends=now.monotonic + lifetime,
        )

    def _bound(self, bid: int, priority: int, *, care_of: IPAddress, format: TunnelFormat) -> CareOfBinding:
        lifetime, now = self.lifetime.seconds, self.now
        return CareOfBinding(
            bid=bid,
            care_of=care_of,
            format=format,
            lifetime=lifetime,
            updated=now.unix,
            expires=now.unix + lifetime,
            priority=priority,
            ends=now.monotonic + lifetime,
        )

    def _renewed(self, known: CareOfBinding, priority: int) -> CareOfBinding:
        """As it is, for another lifetime."""
        return replace(
            known,
            lifetime=self.lifetime.seconds,
            updated=self.now.unix,
            expires=self.now.unix + self.lifetime.seconds,
            priority=priority,
            ends=self.now.monotonic + self.lifetime.seconds,
        )


def removal(options: Iterable[BindingIdentifier], held: Sequence[CareOfBinding]) -> Outcome:
    """What is left of `held` when the identifiers named are de-registered (RFC 5648 section 6.2)."""
    left = {entry.bid: entry for entry in held if entry.bid}
    statuses = [
        BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE if left.pop(option.bid, None) is None else _FINE
        for option in options
    ]
    return Outcome(tuple(left.values()), tuple(statuses))


def in_order(care_ofs: Iterable[CareOfBinding]) -> tuple[CareOfBinding, ...]:
    """The preferred one first (RFC 6089 section 5.1.1)."""
    return tuple(sorted(care_ofs, key=lambda entry: entry.preference))
