"""The mobile node's events: what a person or a measurement wants to know, as flat fields."""

from __future__ import annotations

from ipaddress import IPv6Address

from dsmip.core.actions import Event
from dsmip.core.binding_update_list import BindingUpdateListEntry, SentUpdate
from dsmip.core.lifetime import LIFETIME_UNIT
from dsmip.core.mobile_node.home_agents import HomeAgentAddress
from dsmip.core.mobile_node.updates import Request
from dsmip.core.types import CareOfAddress, HomeAttachment
from dsmip.wire.constants import BAStatus, BUFlag

Fields = dict[str, str | int | float | bool]


def _where(care_of: CareOfAddress) -> Fields:
    return {
        "care_of": str(care_of.address),
        "interface": care_of.interface,
        "network": care_of.network,
    }


def _place(request: Request) -> Fields:
    if request.care_of is not None:
        return _where(request.care_of)
    return {"care_of": "home", "interface": request.place.interface, "network": "home"}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def cut_off(care_of: CareOfAddress) -> Event:
    """The home agent works, and this network does not let our packets through to it."""
    return Event("network-cut-off", {**_where(care_of), "portal": care_of.portal or ""})


def care_of_address(care_of: CareOfAddress, previous: CareOfAddress | None) -> Event:
    """Another care-of address was chosen."""
    before = str(previous.address) if previous is not None else ""
    return Event("care-of-address", {**_where(care_of), "previous": before})


def binding_update_sent(request: Request, update: SentUpdate, transmission: int) -> Event:
    """A Binding Update left; `transmission` counts those without an answer so far, this one included."""
    return Event(
        "binding-update-sent",
        {
            **_place(request),
            "purpose": request.purpose.value,
            "sequence": update.sequence,
            "lifetime": update.lifetime * LIFETIME_UNIT,
            "forced_udp": bool(update.flags & BUFlag.F),
            "transmission": transmission,
            **_identifiers(update),
        },
    )


def _identifiers(update: SentUpdate) -> Fields:
    """With several care-of addresses: which ones it is about."""
    carried = update.carried
    if not carried.bids:
        return {}
    flows = " ".join(str(option.fid) for option in carried.flows.options)
    return {"bids": " ".join(str(one.bid) for one in carried.bids), "flows": flows}


def binding_acknowledged(entry: BindingUpdateListEntry, status: int, now: float) -> Event:
    """The home agent accepted."""
    return Event(
        "binding-acknowledged",
        {
            **_where(entry.care_of),
            "status": status,
            "rtt_ms": _milliseconds(entry.round_trip),
            "format": entry.format.value,
            "nat": entry.nat.value,
            "lifetime": round(entry.remaining(now), 3),
        },
    )


def binding_refused(request: Request, status: int, reaction: str) -> Event:
    """The home agent refused; `reaction` says what happens now."""
    name = next((known.name for known in BAStatus if known == status), "unassigned")
    return Event("binding-refused", {**_place(request), "status": status, "name": name, "reaction": reaction})


def clock_corrected(offset: float) -> Event:
    """The home agent's clock is ahead of ours by so many seconds, and its time is used from now on."""
    return Event("clock-corrected", {"offset": round(offset, 3)})


def handover(entry: BindingUpdateListEntry, previous: BindingUpdateListEntry | None) -> Event:
    """A registration with another care-of address than before is complete."""
    fields: Fields = {**_where(entry.care_of), "format": entry.format.value}
    fields["previous"] = str(previous.care_of.address) if previous is not None else ""
    return Event("handover", fields)


def fallback(care_of: CareOfAddress, reason: str) -> Event:
    """Something that was preferred does not work from this care-of address."""
    return Event("fallback", {**_where(care_of), "reason": reason})


def nothing_comes_back(care_of: CareOfAddress) -> Event:
    """Packets leave from this care-of address and none arrives: the home agent is asked."""
    return Event("nothing-comes-back", _where(care_of))


def probe(care_of: CareOfAddress, result: str) -> Event:
    """A path probe came to an end."""
    return Event("probe", {**_where(care_of), "result": result})


def home_agent(agent: HomeAgentAddress, previous: IPv6Address | None) -> Event:
    """Another home agent is asked from now on."""
    fields: Fields = {"home_agent": str(agent.address), "ipv4": str(agent.ipv4 or "")}
    fields["previous"] = str(previous) if previous is not None else ""
    return Event("home-agent", fields)


def home(attachment: HomeAttachment, step: str) -> Event:
    """The home link: "returning", "settled", "settled unacknowledged" or "left"; beside other uplinks
    "sharing" and "shared"."""
    return Event("home", {"interface": attachment.interface, "network": "home", "step": step})


def path_health(interface: str, bid: int, health: str) -> Event:
    """A path fell silent, answers again on probation, or is good again."""
    return Event("path-health", {"interface": interface, "bid": bid, "health": health})


def arrangement(order: list[str], flows: int) -> Event:
    """Traffic takes these uplinks now, the first for all that match none of so many flow rules."""
    return Event("arrangement", {"order": " ".join(order), "flow_rules": flows})


def flow_refused(name: str, fid: int, status: int) -> Event:
    """The home agent does not take a flow (RFC 6089 section 4.2); what we send follows it all the same."""
    return Event("flow-refused", {"flow": name, "fid": fid, "status": status})
