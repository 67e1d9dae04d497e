"""When care-of addresses end: by themselves, with a prefix, or while nobody was there."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from dsmip.core.types import Binding, CareOfBinding, Instant


def cut_short(binding: Binding, expires: float, ends: float) -> Binding:
    """The binding with no care-of address that ends later than this, on both clocks: the time of day and
    CLOCK_MONOTONIC, in seconds."""
    care_ofs = tuple(
        replace(entry, expires=expires, ends=ends) if entry.expires > expires else entry
        for entry in binding.care_ofs
    )
    return replace(binding, care_ofs=care_ofs)


def resumed(care_ofs: Iterable[CareOfBinding], now: Instant) -> tuple[CareOfBinding, ...]:
    """Stored care-of addresses that have not ended, with their ends on the clock of this process.

    None lives longer than granted, wherever the time of day has gone since. Where it was set back, the end to
    be stored is another, or each further restart would grant the lifetime anew.
    """
    kept = []
    for entry in care_ofs:
        expires = min(entry.expires, now.unix + entry.lifetime)
        if expires > now.unix:
            kept.append(replace(entry, expires=expires, ends=now.monotonic + expires - now.unix))
    return tuple(kept)


def unexpired(care_ofs: Iterable[CareOfBinding], monotonic: float) -> tuple[CareOfBinding, ...]:
    """Those that have not ended by then."""
    return tuple(entry for entry in care_ofs if entry.ends > monotonic)
