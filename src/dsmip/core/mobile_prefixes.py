"""Which mobile network prefixes belong to which mobile router (RFC 3963 section 6.1.2)."""

from __future__ import annotations

from ipaddress import IPv6Network

from dsmip.wire.constants import BAStatus
from dsmip.wire.options import MobileNetworkPrefix

_LINK_LOCAL = IPv6Network("fe80::/10")
_MULTICAST = IPv6Network("ff00::/8")


def granted(
    own: tuple[IPv6Network, ...], asked: tuple[MobileNetworkPrefix, ...]
) -> tuple[IPv6Network, ...] | BAStatus:
    """The prefixes to forward for a Binding Update with the R flag, or why there are none.

    `own` are those configured for the mobile router. With prefixes requested (explicit mode) each must lie
    inside one of them: one that does not refuses them all. Without (implicit mode) it is all of them (RFC
    3963 section 6.2).
    """
    if not asked:
        return own or BAStatus.FORWARDING_SETUP_FAILED
    if len(asked) == len(own) and all(map(_is, asked, own)):
        return own  # what nearly everybody asks for, and the rest of this takes its time
    requested = tuple(option.prefix for option in asked)
    if any(_is_invalid(prefix, own) for prefix in requested):
        return BAStatus.INVALID_PREFIX
    if not all(any(prefix.subnet_of(mine) for mine in own) for prefix in requested):
        return BAStatus.NOT_AUTHORIZED_FOR_PREFIX
    return _shared(tuple(dict.fromkeys(requested)), own)


def still_own(own: tuple[IPv6Network, ...], prefixes: tuple[IPv6Network, ...]) -> tuple[IPv6Network, ...]:
    """Those of an older binding's `prefixes` that still belong to the mobile router, whose are `own` now."""
    if prefixes == own:
        return own
    return _shared(tuple(p for p in prefixes if any(p.subnet_of(mine) for mine in own)), own)


def _is(option: MobileNetworkPrefix, prefix: IPv6Network) -> bool:
    return option.length == prefix.prefixlen and option.number == int(prefix.network_address)


def _shared(prefixes: tuple[IPv6Network, ...], own: tuple[IPv6Network, ...]) -> tuple[IPv6Network, ...]:
    """`prefixes` with the objects of `own` where they are equal: a network takes half a kilobyte."""
    if prefixes == own:
        return own
    return tuple(next((mine for mine in own if mine == prefix), prefix) for prefix in prefixes)


def _is_invalid(prefix: IPv6Network, own: tuple[IPv6Network, ...]) -> bool:
    """True for a prefix nobody could be given, and for one of our own with too short a length."""
    if prefix.prefixlen == 0 or prefix.overlaps(_LINK_LOCAL) or prefix.overlaps(_MULTICAST):
        return True
    return any(prefix != mine and prefix.supernet_of(mine) for mine in own)
