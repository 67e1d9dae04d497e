"""UDP or not: how a mobile node in an IPv4 network finds the tunnel format that works there.

RFC 5555 leaves one case open: no NAT on the path, so that the home agent tunnels in protocols 41 and 4, but a
filter that swallows them (section 4.4.1: "if the mobile node is made aware of persistent packet losses, it
may attempt to resend the binding update with the F flag"). Losing packets to find out is not acceptable, so
an unknown network is entered the other way round:

1. The first Binding Update has the F flag: data flows in UDP, whatever is in between.
2. The acknowledgement says that there is no NAT: an echo request to the home agent in protocol 41 asks
   whether this direction is open. No answer: the network is filtered, UDP it stays.
3. Answered: register again without F. Now the home agent tunnels in protocols 41 and 4, too, and the same
   echo request asks whether its answers arrive. No answer: back to F.
4. Answered: the network does IP-in-IP; on the next visit the first Binding Update goes without F.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address

from dsmip.core.mobile_node.choice import same_place
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.network_memory import Encapsulation, NetworkMemory
from dsmip.core.path_probe import PathProbe
from dsmip.core.types import CareOfAddress, Nat, TunnelFormat
from dsmip.wire.constants import BUFlag
from dsmip.wire.messages import BindingAcknowledgement
from dsmip.wire.options import NAT_NO_KEEPALIVE, NAT_USE_DEFAULT, NatDetection, find


@dataclass(frozen=True, slots=True)
class NatVerdict:
    """What an acknowledgement says about the tunnel. `keepalive` in seconds, None = not needed."""

    format: TunnelFormat
    nat: Nat
    keepalive: float | None = None


def read_nat_detection(
    option: NatDetection | None, *, forced_udp: bool, default_keepalive: int
) -> NatVerdict:
    """Tunnel format and keepalive interval for an IPv4 care-of address (RFC 5555 sections 3.2.2 and 4.3).

    `forced_udp`: the Binding Update had the F flag. UDP is used when it was forced by either end or a refresh
    time says that there is a NAT; the option alone does not mean UDP, since every acknowledgement in UDP has
    it.
    """
    udp = TunnelFormat.UDP4
    if option is None:
        if forced_udp:
            return NatVerdict(udp, Nat.UNKNOWN, float(default_keepalive))
        return NatVerdict(TunnelFormat.IPV4, Nat.UNKNOWN)
    if option.refresh == NAT_NO_KEEPALIVE:
        return NatVerdict(udp if option.forced or forced_udp else TunnelFormat.IPV4, Nat.NONE)
    interval = default_keepalive if option.refresh == NAT_USE_DEFAULT else option.refresh
    return NatVerdict(udp, Nat.DETECTED, float(interval))


def verdict_on(
    care_of: CareOfAddress, flags: BUFlag, message: BindingAcknowledgement, default_keepalive: int
) -> NatVerdict:
    """The tunnel to use after `message` accepted a Binding Update with `flags`."""
    if not isinstance(care_of.address, IPv4Address):
        return NatVerdict(TunnelFormat.LINK if care_of.at_home else TunnelFormat.IPV6, Nat.NONE)
    option = find(message.options, NatDetection)
    return read_nat_detection(option, forced_udp=bool(flags & BUFlag.F), default_keepalive=default_keepalive)


class ProbeResult(enum.Enum):
    """What came out of a probe, and what to do now."""

    TRY_IP_IN_IP = "answered in UDP"  #: register again without F
    WORKS = "answered in IP-in-IP"  #: nothing: it was remembered
    FILTERED = "filtered"  #: nothing: UDP stays
    BACK_TO_UDP = "filtered on the way back"  #: register again with F


class _Question(enum.Enum):
    """Which direction the running probe is about."""

    THERE = "to the home agent"
    BACK = "from the home agent"


class EncapsulationChoice:
    """The tunnel format of the current IPv4 care-of address, and the probe that settles it.

    `force_refused`: the home agent refuses the F flag.
    """

    def __init__(self, config: MobileNodeConfig, memory: NetworkMemory, probe_identifier: int) -> None:
        self._always_udp = config.udp == "always"
        self._memory = memory
        self.probe = PathProbe(probe_identifier)
        self._question = _Question.THERE
        self._trial: CareOfAddress | None = None
        self._verified: CareOfAddress | None = None
        self.force_refused = False
        self._home_agent_forces = False

    def force_udp(self, care_of: CareOfAddress, now: float) -> bool:
        """Whether the next Binding Update from here has the F flag (RFC 5555 section 4.4.2)."""
        if self.force_refused or not isinstance(care_of.address, IPv4Address):
            return False
        return self._always_udp or not self._tries_ip_in_ip(care_of, now)

    def first_format(self, care_of: CareOfAddress, now: float) -> TunnelFormat:
        """How to tunnel before the home agent has answered."""
        if not isinstance(care_of.address, IPv4Address):
            return TunnelFormat.IPV6
        if not self._always_udp and self._tries_ip_in_ip(care_of, now):
            return TunnelFormat.IPV4
        return TunnelFormat.UDP4

    def leave(self) -> None:
        """The care-of address is not used any more."""
        self.probe.stop()
        self._trial = None
        self._verified = None

    def start_over(self) -> None:
        """Another home agent: what the last one refuses or forces says nothing about it."""
        self.leave()
        self.force_refused = False
        self._home_agent_forces = False

    def acknowledged(
        self,
        care_of: CareOfAddress,
        flags: BUFlag,
        verdict: NatVerdict,
        round_trip: float,
        now: float,
        *,
        may_ask: bool = True,
    ) -> None:
        """A Binding Update with `flags` was accepted: remember what it says, ask what is to be asked.

        Unless an answer would say nothing: then it stays as it is.
        """
        if not isinstance(care_of.address, IPv4Address):
            return
        if verdict.nat is Nat.DETECTED:
            self.leave()
            self._memory.remember_encapsulation(care_of.network, Encapsulation.NATED, now)
            return
        if self._always_udp or self._home_agent_forces:
            return
        if verdict.format is TunnelFormat.UDP4 and not flags & BUFlag.F:
            # Its policy, not the network's: there is nothing to find out at this home agent.
            self._home_agent_forces = True
            self.leave()
        elif not may_ask:
            return
        elif verdict.format is TunnelFormat.UDP4:
            known = self._memory.encapsulation(care_of.network, now)
            if known is not Encapsulation.FILTERED and not self.probe.active:
                self._ask(_Question.THERE, now, round_trip)
        elif not self.force_refused and not self._is_verified(care_of) and not self.probe.active:
            self._trial = care_of
            self._ask(_Question.BACK, now, round_trip)

    def answered(
        self, identifier: int, sequence: int, care_of: CareOfAddress, now: float
    ) -> ProbeResult | None:
        """An Echo Reply arrived at the home address; None when it is not ours or comes too late."""
        if not self.probe.answered(identifier, sequence):
            return None
        if self._question is _Question.THERE:
            self._trial = care_of
            return ProbeResult.TRY_IP_IN_IP
        self._trial = None
        self._verified = care_of
        self._memory.remember_encapsulation(care_of.network, Encapsulation.IP_IN_IP, now)
        return ProbeResult.WORKS

    def unanswered(self, care_of: CareOfAddress, now: float) -> ProbeResult:
        """All tries of the probe went unanswered."""
        self._trial = None
        self._memory.remember_encapsulation(care_of.network, Encapsulation.FILTERED, now)
        return ProbeResult.FILTERED if self._question is _Question.THERE else ProbeResult.BACK_TO_UDP

    def _ask(self, question: _Question, now: float, round_trip: float) -> None:
        self._question = question
        self.probe.start(now, round_trip)

    def _tries_ip_in_ip(self, care_of: CareOfAddress, now: float) -> bool:
        if self._trial is not None and same_place(self._trial, care_of):
            return True
        return self._memory.encapsulation(care_of.network, now) is Encapsulation.IP_IN_IP

    def _is_verified(self, care_of: CareOfAddress) -> bool:
        return self._verified is not None and same_place(self._verified, care_of)
