"""A mobile node with several care-of addresses: what it sends, what is bound and said then."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from ha_scenario import AH, ENTRY, HOME, Outcome, scenario

from dsmip.core.actions import Event
from dsmip.core.types import MobileNodeEntry
from dsmip.wire.constants import BUFlag
from dsmip.wire.flows import FlowIdentification
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.option import MobilityOption, find_all

WIFI = IPv6Address("2001:db8:200::5678")
LTE = IPv6Address("2001:db8:300::9abc")
SATELLITE = IPv6Address("2001:db8:400::7")
LTE4 = IPv4Address("198.51.100.7")
INSIDE4 = IPv4Address("192.168.1.7")
OUTSIDE4 = IPv4Address("203.0.113.99")

AHO = AH | BUFlag.O


class Multihomed:
    """One mobile node and its home agent; sequence numbers count by themselves."""

    def __init__(self, entry: MobileNodeEntry = ENTRY, **changes: object) -> None:
        self.agent, self.mobile = scenario(entry, **changes)
        self.sequence = 100

    def send(
        self,
        *options: MobilityOption,
        source: IPv6Address = WIFI,
        flags: BUFlag = AH,
        lifetime: int = 100,
        hao: bool = True,
    ) -> Outcome:
        """A Binding Update over IPv6."""
        self.sequence += 1
        return self.agent.receive(
            self.mobile.update(
                now=self.agent.now,
                sequence=self.sequence,
                flags=flags,
                lifetime=lifetime,
                source=source,
                options=options,
                hao=hao,
            )
        )

    def send_in_udp(
        self,
        *options: MobilityOption,
        outer: IPv4Address = LTE4,
        port: int = 4191,
        flags: BUFlag = AH,
        lifetime: int = 100,
    ) -> Outcome:
        """A Binding Update in UDP; the authenticator covers what `core.authentication` says."""
        self.sequence += 1
        named = [o.care_of for o in options if isinstance(o, BindingIdentifier)]
        care_of = next((address for address in named if isinstance(address, IPv4Address)), HOME)
        return self.agent.receive(
            self.mobile.update_in_udp(
                now=self.agent.now,
                sequence=self.sequence,
                flags=flags,
                lifetime=lifetime,
                care_of=None,
                mac_care_of=care_of,
                outer=outer,
                port=port,
                options=options,
            )
        )

    @property
    def bound(self) -> dict[int, IPv4Address | IPv6Address]:
        """Care-of addresses by BID, the preferred one first."""
        if not self.agent.bound:
            return {}
        return {entry.bid: entry.care_of for entry in self.agent.binding.care_ofs}

    @property
    def flows(self) -> dict[int, tuple[int, ...]]:
        """BIDs by FID, in the order of priority."""
        return {flow.fid: flow.bids for flow in self.agent.binding.flows}


def bid(
    number: int,
    care_of: IPv4Address | IPv6Address | None = None,
    *,
    priority: int = 0,
    home: bool = False,
) -> BindingIdentifier:
    return BindingIdentifier(number, priority=priority, home=home, care_of=care_of)


def statuses(outcome: Outcome) -> tuple[int, dict[int, int]]:
    """The status of the acknowledgement and those of its Binding Identifier options."""
    options = find_all(outcome.ba.options, BindingIdentifier)
    return outcome.ba.status, {option.bid: option.status for option in options}


def flow_statuses(outcome: Outcome) -> dict[int, int]:
    """Statuses by FID."""
    return {option.fid: option.status for option in find_all(outcome.ba.options, FlowIdentification)}


def events(outcome: Outcome) -> list[Event]:
    return [action for action in outcome.actions if isinstance(action, Event)]


def kinds(outcome: Outcome) -> list[str]:
    return [event.kind for event in events(outcome)]
