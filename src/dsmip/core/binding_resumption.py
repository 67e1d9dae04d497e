"""Stored bindings of an unchanged configuration: resumed as the octets they are.

After a restart nearly every binding is what it was, and nothing has to be made of it before it is needed.
"""

from __future__ import annotations

from dsmip.core.binding_record import BindingRecord
from dsmip.core.frozen_entries import Fields
from dsmip.core.types import Instant

_HOST = 32


def end_of(row: BindingRecord, home_address: bytes, fields: Fields, now: Instant) -> float | None:
    """When a stored binding ends, in CLOCK_MONOTONIC seconds.

    None when it is not to be resumed as it is: it has ended, or the time of day was set back behind it, or it
    is no longer what a mobile node configured with this home address and these fields may have, or there is
    more to it than a single care-of address and what was configured for it.
    """
    if (
        len(row.care_ofs) != 1
        or row.home_address != home_address
        or row.former is not None
        or row.identifier != (fields.name if fields.identifier is None else fields.identifier)
        or tuple(row.prefixes) != fields.prefixes
        or not all(_is_configured(grant, fields) for grant in row.ipv4)
    ):
        return None
    care_of = row.care_ofs[0]
    remaining = care_of.expires - now.unix
    return now.monotonic + remaining if 0 < remaining <= care_of.lifetime else None


def _is_configured(grant: tuple[bytes, int, bool], fields: Fields) -> bool:
    address, length, dynamic = grant
    if dynamic:
        return False
    if length == _HOST:
        return address == fields.ipv4_home_address
    return (address, length) in fields.ipv4_prefixes
