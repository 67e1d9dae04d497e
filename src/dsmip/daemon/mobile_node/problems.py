"""What a mobile node knows to be wrong although it is registered: a sentence each, with the mend."""

from __future__ import annotations

from collections.abc import Iterable

from dsmip.wire.constants import IPv4AckStatus

#: Seconds that two clocks may differ without anybody being told: about what is lost in telling the time.
CLOCK_TOLERANCE = 2.0

#: RFC 5555 section 3.2.1.
_REFUSED = {
    IPv4AckStatus.DYNAMIC_IPV4_HOME_ADDRESS_NOT_AVAILABLE: (
        "The home agent has no IPv4 home address left to give: enlarge its `ipv4_pool`, or end bindings of"
        " mobile nodes that are gone."
    ),
    IPv4AckStatus.PREFIX_ALLOCATION_UNAUTHORIZED: (
        "The home agent gives no IPv4 prefix: enlarge its `ipv4_prefix_pool`, or name `ipv4_prefixes`"
        " for this mobile node there."
    ),
    IPv4AckStatus.INCORRECT_IPV4_HOME_ADDRESS: (
        "The IPv4 home address is not this mobile node's: compare `ipv4_home_address` at both ends."
    ),
    IPv4AckStatus.INVALID_IPV4_ADDRESS: (
        "The IPv4 home address cannot be one: correct `ipv4_home_address` here."
    ),
    IPv4AckStatus.ADMINISTRATIVELY_PROHIBITED: (
        "The home agent gives no IPv4 home address: see `allow_dynamic_ipv4` for this mobile node there."
    ),
}


def clocks(offset: float) -> Iterable[str]:
    """`offset`: seconds by which the home agent's clock is ahead, as far as it had to tell."""
    if abs(offset) >= CLOCK_TOLERANCE:
        way = "behind" if offset > 0 else "ahead of"
        yield (
            f"The clock here is {abs(offset):.0f} s {way} the home agent's, whose time is used meanwhile:"
            " run an NTP client at both ends."
        )


def ipv4(refusals: Iterable[int]) -> Iterable[str]:
    """`refusals`: statuses of IPv4 home addresses and prefixes refused last."""
    for status in dict.fromkeys(refusals):
        known = _REFUSED.get(IPv4AckStatus(status)) if status in set(IPv4AckStatus) else None
        yield known or f"The home agent refuses an IPv4 home address or prefix, with status {status}."
