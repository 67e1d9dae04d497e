"""The mobile node's view of what it registered (RFC 6275 section 11.1, RFC 3963 5.1, RFC 5555 4.4.2).

A mobile node with one home agent has one entry here. It stands for every address the Binding Update
registers: the IPv6 home address, the mobile network prefixes and the IPv4 home addresses, which share
lifetime and fate.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dsmip.core.lifetime import LIFETIME_UNIT, whole_units
from dsmip.core.mobile_node.encapsulation import NatVerdict
from dsmip.core.mobile_node.flows import NO_FLOWS, CarriedFlows
from dsmip.core.retransmission import INITIAL_BINDACK_TIMEOUT
from dsmip.core.types import CareOfAddress, IPAddress, Nat, TunnelFormat
from dsmip.wire.constants import BUFlag
from dsmip.wire.extensions import Extensions
from dsmip.wire.messages import BindingAcknowledgement
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import BindingRefreshAdvice, IPv4HomeAddress, find

#: A refresh leaves at least this fraction of the lifetime in hand ...
_REFRESH_AT = 0.8

#: ... and at least the seconds that three transmissions take (1 + 2 + 4), if that is not over half of it.
_REFRESH_MARGIN = 7.0


@dataclass(frozen=True, slots=True)
class Carried:
    """What a Binding Update says about several care-of addresses (RFC 5648) and about flows (RFC 6089).

    Without `bids` it is a plain one. `overwrite` is the O flag: these bindings instead of all others.
    `link_layer` is our link-layer address on the home link, for an update from there.
    """

    bids: tuple[BindingIdentifier, ...] = ()
    flows: CarriedFlows = NO_FLOWS
    overwrite: bool = False
    extensions: Extensions = Extensions.NONE
    link_layer: bytes = b""

    @property
    def at_home(self) -> bool:
        """It registers or keeps the home link beside care-of addresses (RFC 5648 section 5.6)."""
        return any(identifier.home for identifier in self.bids)


NOTHING_CARRIED = Carried()


@dataclass(frozen=True, slots=True)
class SentUpdate:
    """One Binding Update as it left, kept until its acknowledgement comes.

    `care_of` is the address it was sent from, which it asks to register unless it says otherwise (the home
    address for a de-registration at home). `lifetime` is in units of 4 seconds, `sent_at` in CLOCK_MONOTONIC
    seconds, `timestamp` 0 when it carried none. `octets` is the Mobility Header as it left. `covered` is the
    care-of address that authenticators cover, when that is not `care_of`.
    """

    sequence: int
    flags: BUFlag
    lifetime: int
    sent_at: float
    care_of: IPAddress
    timestamp: int = 0
    ipv4: tuple[IPv4HomeAddress, ...] = ()
    octets: bytes = field(default=b"", repr=False)
    carried: Carried = NOTHING_CARRIED
    covered: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class BindingUpdateListEntry:
    """A registration the home agent acknowledged. Times are CLOCK_MONOTONIC seconds."""

    care_of: CareOfAddress
    sequence: int
    flags: BUFlag
    registered_at: float
    expires: float
    refresh_at: float
    format: TunnelFormat
    nat: Nat
    round_trip: float

    def remaining(self, now: float) -> float:
        """Seconds of the binding that are left."""
        return max(0.0, self.expires - now)


def lifetime_units(seconds: float) -> int:
    """Seconds in units of 4 seconds, rounded down; MUST NOT be zero (RFC 6275 section 11.7.1)."""
    return max(whole_units(seconds), 1)


def remaining_lifetime(update: SentUpdate, granted: int, now: float) -> float:
    """Seconds left of a binding just acknowledged with `granted` units (RFC 6275 section 11.7.3).

    It counts down from the moment the Binding Update was sent.
    """
    remaining = update.lifetime * LIFETIME_UNIT - (now - update.sent_at)
    reduction = (update.lifetime - min(granted, update.lifetime)) * LIFETIME_UNIT
    return max(remaining - reduction, 0.0)


def refresh_delay(lifetime: float) -> float:
    """Seconds after which a registration of `lifetime` seconds is renewed, "well before the expiration"
    (RFC 6275 section 11.7.1): after four fifths of it, earlier when that leaves no time for three
    transmissions, but not before half of it."""
    return max(lifetime / 2, min(lifetime * _REFRESH_AT, lifetime - _REFRESH_MARGIN))


def renewed_entry(
    entry: BindingUpdateListEntry, update: SentUpdate, message: BindingAcknowledgement, now: float
) -> BindingUpdateListEntry:
    """The entry after `message` accepted an `update` about another care-of address that named this one, too.

    The lifetime is that of the update, for all it names (RFC 5648 section 6.2), be it shorter than before. It
    is not renewed any later for that: a NAT on its own path has not seen the update.
    """
    delay = refresh_delay(min(message.lifetime, update.lifetime) * LIFETIME_UNIT)
    refresh_at = max(update.sent_at + delay, now + INITIAL_BINDACK_TIMEOUT)
    return replace(
        entry,
        sequence=update.sequence,
        registered_at=update.sent_at,
        expires=now + remaining_lifetime(update, message.lifetime, now),
        refresh_at=min(entry.refresh_at, refresh_at),
    )


def acknowledged_entry(
    care_of: CareOfAddress,
    update: SentUpdate,
    message: BindingAcknowledgement,
    verdict: NatVerdict,
    now: float,
) -> BindingUpdateListEntry:
    """The entry after `message` accepted `update`, and when to renew it.

    Renewed at the earliest of: well before the granted lifetime ends, the home agent's Binding Refresh Advice
    (RFC 6275 section 11.7.3), the NAT keepalive interval (RFC 5555 section 4.3).
    """
    refresh = refresh_delay(min(message.lifetime, update.lifetime) * LIFETIME_UNIT)
    advice = find(message.options, BindingRefreshAdvice)
    if advice is not None and advice.interval > 0:
        refresh = min(refresh, refresh_delay(advice.interval * LIFETIME_UNIT))
    if verdict.keepalive is not None:
        refresh = min(refresh, verdict.keepalive)
    earliest = now + INITIAL_BINDACK_TIMEOUT  # however absurd lifetime or round trip
    return BindingUpdateListEntry(
        care_of=care_of,
        sequence=update.sequence,
        flags=update.flags,
        registered_at=update.sent_at,
        expires=now + remaining_lifetime(update, message.lifetime, now),
        refresh_at=max(update.sent_at + refresh, earliest),
        format=verdict.format,
        nat=verdict.nat,
        round_trip=now - update.sent_at,
    )
