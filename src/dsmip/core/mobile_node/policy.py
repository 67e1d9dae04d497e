"""Which uplink is to be used for what: what a person decides and a mobile node with several uplinks obeys."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from dsmip.core.flow_selectors import FlowDescription
from dsmip.core.types import CareOfAddress, IPNetwork

#: Seconds between the probes of a path, documented in docs/mobile-router.md: while it carries traffic, while
#: it does not, and while it does not and every octet costs money.
PROBE_INTERVAL = 0.1
IDLE_PROBE_INTERVAL = 1.0
METERED_IDLE_PROBE_INTERVAL = 30.0

Use = Literal["best", "cheapest"]


@dataclass(frozen=True, slots=True)
class UplinkChoice:
    """How an uplink compares with others: the lower `preference` is better, the lower `cost` is cheaper.

    `metered`: hardly any probes while idle. `fallback_only`: no traffic unless nothing else is usable.
    """

    preference: int = 100
    cost: int = 0
    metered: bool = False
    fallback_only: bool = False


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """What is different in one visited network; None = as everywhere.

    The network is that of care-of addresses in `prefix`, or that with the name `network`.
    """

    prefix: IPNetwork | None = None
    network: str = ""
    preference: int | None = None
    cost: int | None = None
    metered: bool | None = None
    fallback_only: bool | None = None

    def applies(self, care_of: CareOfAddress) -> bool:
        """Whether this care-of address is in that network."""
        if self.prefix is not None:
            return care_of.address in self.prefix
        return bool(self.network) and self.network == care_of.network


@dataclass(frozen=True, slots=True)
class InterfacePolicy:
    """One uplink."""

    name: str
    choice: UplinkChoice = UplinkChoice()
    networks: tuple[NetworkPolicy, ...] = ()

    def choice_at(self, care_of: CareOfAddress) -> UplinkChoice:
        """How the uplink compares with this care-of address: the first network that applies counts."""
        for network in self.networks:
            if network.applies(care_of):
                said = {
                    name: value
                    for name in ("preference", "cost", "metered", "fallback_only")
                    if (value := getattr(network, name)) is not None
                }
                return replace(self.choice, **said)
        return self.choice


@dataclass(frozen=True, slots=True)
class FlowPolicy:
    """Where packets of one kind go; the first policy that matches counts.

    Over the first usable one of `interfaces`, or if none is named, over the one that `use` says: "best" is
    the order of preference. Over the first `duplicate` of them, a copy each. When none of them is usable the
    packets go where all others go.
    """

    name: str
    description: FlowDescription
    interfaces: tuple[str, ...] = ()
    use: Use = "best"
    duplicate: int = 1


@dataclass(frozen=True, slots=True)
class Probing:
    """Seconds between the probes of one path."""

    interval: float = PROBE_INTERVAL
    idle: float = IDLE_PROBE_INTERVAL
    metered_idle: float = METERED_IDLE_PROBE_INTERVAL


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that is decided about several uplinks. Interfaces not named are as good as any.

    `simultaneous_home`: the home link is one of them, where the home agent allows it (RFC 5648 section 5.6);
    otherwise a mobile node at home uses nothing else.
    """

    interfaces: tuple[InterfacePolicy, ...] = ()
    flows: tuple[FlowPolicy, ...] = ()
    simultaneous_home: bool = True
    probing: Probing = field(default=Probing())

    def interface(self, care_of: CareOfAddress) -> InterfacePolicy:
        """What is decided about the uplink of this care-of address."""
        for interface in self.interfaces:
            if interface.name == care_of.interface:
                return interface
        return InterfacePolicy(care_of.interface, UplinkChoice(preference=care_of.preference))
