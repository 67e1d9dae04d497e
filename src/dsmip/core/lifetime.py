"""Lifetimes of bindings: units of four seconds, and what a home agent grants (RFC 6275 section 10.3.1)."""

from __future__ import annotations

import msgspec

#: Seconds in one unit of the Lifetime field (RFC 6275 section 6.1.7).
LIFETIME_UNIT = 4

#: The largest value of the Lifetime field, in units.
MAXIMUM_UNITS = 0xFFFF


class PrefixLifetime(msgspec.Struct, frozen=True, gc=False):
    """How long a home prefix goes on, as CLOCK_MONOTONIC seconds; None = no end (RFC 4861 section 4.6.2)."""

    valid_until: float | None = None
    preferred_until: float | None = None


class Grant(msgspec.Struct, frozen=True, gc=False):
    """`units` of four seconds; `prefix_discovery` asks for status 1 instead of 0."""

    units: int
    prefix_discovery: bool = False

    @property
    def seconds(self) -> float:
        """The granted lifetime in seconds."""
        return float(self.units * LIFETIME_UNIT)


#: A prefix that is configured rather than learnt, and thus has no end.
ENDLESS = PrefixLifetime()


def whole_units(seconds: float) -> int:
    """The number of whole units in `seconds`, within what the field can carry."""
    return max(0, min(int(seconds // LIFETIME_UNIT), MAXIMUM_UNITS))


def grant(requested: int, maximum: float, now: float, prefix: PrefixLifetime = ENDLESS) -> Grant:
    """The lifetime to grant, from the `requested` units and the policy's `maximum` seconds.

    Never more than requested, nor than the prefix stays valid. `now` is CLOCK_MONOTONIC seconds. Status 1 is
    due when the prefix is deprecated before the binding ends, or invalid when it ends: both ends are compared
    in whole units (RFC 6275 section 10.3.1).
    """
    units = min(requested, whole_units(maximum))
    if prefix is ENDLESS:
        return Grant(units)
    valid = None if prefix.valid_until is None else whole_units(prefix.valid_until - now)
    preferred = None if prefix.preferred_until is None else whole_units(prefix.preferred_until - now)
    if valid is not None:
        units = min(units, valid)
    ends = valid is not None and valid <= units
    deprecated = preferred is not None and preferred < units
    return Grant(units, prefix_discovery=ends or deprecated)
