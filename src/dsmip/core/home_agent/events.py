"""What a home agent tells about a change of a binding: one event per care-of address not as before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsmip.core.actions import Event, Value
from dsmip.core.types import Binding, CareOfBinding
from dsmip.wire.constants import IPv4AckStatus
from dsmip.wire.options import IPv4AddressAcknowledgement

Who = dict[str, Value]

#: What is told of a change that was made: untrue of one that is undone.
OF_CHANGES = frozenset(
    ("registered", "moved", "refreshed", "care-of-added", "care-of-removed", "flows", "ipv4-refused")
)

_NO_BID: dict[str, int] = {}


def accepted(binding: Binding, previous: Binding | None, who: Who) -> Iterable[Event]:
    """Of an accepted Binding Update."""
    if binding.multiple or (previous is not None and previous.multiple):
        return _accepted_multiple(binding, previous, who)
    entry = binding.care_ofs[0]
    former = previous.care_ofs[0] if previous is not None else None
    if former is not None and _is_same_place(entry, former):
        return (Event("refreshed", {**who, "lifetime": entry.lifetime}),)
    return (_registered(entry, former, "registered" if former is None else "moved", who),)


def _accepted_multiple(binding: Binding, previous: Binding | None, who: Who) -> Iterator[Event]:
    refreshed = []
    for entry in binding.care_ofs:
        former = previous.care_of_binding(entry.bid) if previous is not None else None
        if former is None:
            yield _registered(entry, None, "registered" if previous is None else "care-of-added", who)
        elif not _is_same_place(entry, former):
            yield _registered(entry, former, "moved", who)
        elif entry is not former:
            refreshed.append(entry)
    if previous is not None:
        yield from _removed(binding, previous, "replaced", who)
    if refreshed:
        bids = ",".join(str(entry.bid) for entry in refreshed)
        yield Event("refreshed", {**who, "lifetime": refreshed[0].lifetime, "bids": bids})
    yield from _flows_changed(binding, previous, who)


def shrunk(binding: Binding, previous: Binding, reason: str, who: Who) -> Iterator[Event]:
    """Of a binding that lost care-of addresses, and flows with them."""
    yield from _removed(binding, previous, reason, who)
    yield from _flows_changed(binding, previous, who)


def _removed(binding: Binding, previous: Binding, reason: str, who: Who) -> Iterator[Event]:
    for entry in previous.care_ofs:
        if binding.care_of_binding(entry.bid) is None:
            yield Event("care-of-removed", {**who, **_bid(entry), "care_of": entry.care_of, "reason": reason})


def _flows_changed(binding: Binding, previous: Binding | None, who: Who) -> Iterator[Event]:
    before = [(flow, previous.is_active(flow)) for flow in previous.flows] if previous is not None else []
    after = [(flow, binding.is_active(flow)) for flow in binding.flows]
    if before != after:
        active = sum(1 for _, is_active in after if is_active)
        yield Event("flows", {**who, "flows": len(after), "active": active})


def _registered(entry: CareOfBinding, former: CareOfBinding | None, kind: str, who: Who) -> Event:
    return Event(
        kind,
        {
            **who,
            **_bid(entry),
            "care_of": entry.care_of,
            "previous": former.care_of if former is not None else "",
            # As `value`, in a tenth of the time.
            "format": entry.format._value_,
            "nat": entry.nat._value_,
            "lifetime": entry.lifetime,
        },
    )


def _bid(entry: CareOfBinding) -> dict[str, int]:
    return {"bid": entry.bid} if entry.bid else _NO_BID


def _is_same_place(entry: CareOfBinding, former: CareOfBinding) -> bool:
    return entry.care_of == former.care_of and entry.nat_source == former.nat_source


def ipv4_refused(acknowledgements: Iterable[IPv4AddressAcknowledgement], who: Who) -> Iterator[Event]:
    """One for each kind of IPv4 home address or prefix that an accepted update did not get."""
    refused = dict.fromkeys(one.status for one in acknowledgements if one.status >= IPv4AckStatus.UNSPECIFIED)
    for status in refused:
        yield Event("ipv4-refused", {**who, "reason": IPv4AckStatus(status).name})
