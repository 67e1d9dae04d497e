"""Several care-of addresses at once: one for each uplink, each flow over the right one (RFC 5648, RFC 6089).

Each uplink has a registration of its own, which works as it would alone and sends its Binding Updates over
its own path. This room looks after all of them: their addresses, their supervision, what arrives for them.
Who goes where is the business of the `arranger`.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

from dsmip.core.actions import Drop, Event
from dsmip.core.mobile_node import events
from dsmip.core.mobile_node.acknowledgement import Outcome, is_quoted, match
from dsmip.core.mobile_node.arranger import Arranger
from dsmip.core.mobile_node.choice import Chooser, same_place
from dsmip.core.mobile_node.common import Common
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.home_agents import PASSED_OVER
from dsmip.core.mobile_node.policy import Policy
from dsmip.core.mobile_node.registration import Registration
from dsmip.core.mobile_node.tunnel import Tunnel
from dsmip.core.mobile_node.uplink import Uplink, UplinkReport
from dsmip.core.path_probe import supervision_probe
from dsmip.core.path_supervision import Health, ProbeMark
from dsmip.core.retransmission import INITIAL_BINDACK_TIMEOUT
from dsmip.core.types import CareOfAddress, Instant
from dsmip.wire.icmpv6 import ParameterProblem
from dsmip.wire.messages import BindingAcknowledgement
from dsmip.wire.packet import Packet
from dsmip.wire.pathprobe import ProbePayload

#: Uplinks used at the same time: what the data plane can choose from.
MAX_UPLINKS = 8


class Multihoming:
    """All uplinks of a mobile node.

    Nothing is registered here while `arranger.supported` is false: the home agent does not know how.
    """

    def __init__(self, config: MobileNodeConfig, policy: Policy, common: Common, chooser: Chooser) -> None:
        self._config = config
        self._policy = policy
        self._common = common
        self._emit = common.emit
        self._chooser = chooser
        self._uplinks: dict[str, Uplink] = {}
        self._identifiers: dict[str, int] = {}
        self._weak: set[str] = set()
        self._suspended = True
        self.arranger = Arranger(config, policy, common, self._uplinks)
        for interface in policy.interfaces:
            self._identifier(interface.name)

    def _identifier(self, name: str) -> int:
        """Stays the same as long as the interface is configured (RFC 5648 section 4.1)."""
        taken = set(self._identifiers.values())
        free = next(number for number in range(1, len(taken) + 2) if number not in taken)
        return self._identifiers.setdefault(name, free)

    def _prune(self) -> None:
        """Forget interfaces that are not configured any more, once the home agent has forgotten them too."""
        configured = {interface.name for interface in self._policy.interfaces}
        for name, uplink in [*self._uplinks.items()]:
            if name not in configured and uplink.is_forgotten:
                del self._uplinks[name]
        for name in [*self._identifiers]:
            if name not in configured and name not in self._uplinks:
                del self._identifiers[name]

    @property
    def tunnels(self) -> list[Tunnel]:
        """One for each uplink."""
        return [uplink.registration.tunnel for uplink in self._uplinks.values()]

    @property
    def registrations(self) -> list[Registration]:
        """One for each uplink."""
        return [uplink.registration for uplink in self._uplinks.values()]

    # Where ------------------------------------------------------------------------------------------------

    def attached(self, care_of: tuple[CareOfAddress, ...], now: Instant) -> None:
        """These care-of addresses are usable now: register one on each interface."""
        self._suspended = False
        # A home agent that does not know binding identifiers can be told by its answer over IPv6: that first.
        # Before all others the home link: who registers elsewhere alone is not at home (RFC 5648, 5.6).
        first = sorted(care_of, key=lambda one: (not one.at_home, isinstance(one.address, IPv4Address)))
        for name in dict.fromkeys([*self._uplinks, *(one.interface for one in first)]):
            here = tuple(one for one in care_of if one.interface == name)
            uplink = self._uplink(name)
            if uplink is not None:
                self._choose(uplink, here, now)
        self._arrange(now)

    def _uplink(self, name: str) -> Uplink | None:
        if name not in self._uplinks:
            if len(self._uplinks) >= MAX_UPLINKS:
                return None
            bid = self._identifier(name)
            uplink = Uplink(name, bid, self._config, self._common, self._policy, self.arranger)
            uplink.weak = name in self._weak
            self._uplinks[name] = uplink
        return self._uplinks[name]

    def _choose(
        self, uplink: Uplink, here: tuple[CareOfAddress, ...], now: Instant, *, go_on: bool = False
    ) -> None:
        """The best address of one interface: IPv6 before IPv4, what was silent last."""
        registration = uplink.registration
        registration.attached = here
        current = registration.care_of
        choice = self._chooser.choose(here, current, now.monotonic, registration.spare(now))
        uplink.choose_again_at = None
        if choice is None:
            if current is not None:
                uplink.detach(self._config.lifetime, now.monotonic)
            return
        uplink.gone_until = None
        uplink.at_home = choice.at_home
        uplink.choice = self._policy.interface(choice).choice_at(choice)
        uplink.refresh_use(now.monotonic)
        if current is not None and same_place(current, choice):
            registration.stay(choice, now)
        else:
            registration.move(choice, now, go_on=go_on)
        self._plan_choice(uplink, now)

    def _plan_choice(self, uplink: Uplink, now: Instant) -> None:
        """When another address of the interface may be the best, or this one is to be left."""
        registration, leaves_at = uplink.registration, uplink.leaves_at
        at = self._chooser.next_try(
            registration.attached, registration.care_of, now.monotonic, registration.spare(now)
        )
        if leaves_at is not None and leaves_at > now.monotonic:
            at = min(leaves_at, at or leaves_at)
        uplink.choose_again_at = at

    def leave(self, name: str, now: Instant) -> bool:
        """Traffic is to leave this interface: it will go down soon. False when there is no such uplink.

        That holds until it has gone down, or was given back.
        """
        return self._set_leaving(name, now, leaving=True)

    def give_back(self, name: str, now: Instant) -> bool:
        """The interface may be used again."""
        return self._set_leaving(name, now, leaving=False)

    def _set_leaving(self, name: str, now: Instant, *, leaving: bool) -> bool:
        uplink = self._uplinks.get(name)
        if uplink is None:
            return False
        uplink.leaving = leaving and uplink.registration.care_of is not None
        self._arrange(now)
        return True

    def signal(self, name: str, now: Instant, *, weak: bool) -> None:
        """The radio of this interface, be it an uplink yet or not, is about to lose its network, or not any
        more. As for `leave`, traffic goes elsewhere while it is weak."""
        (self._weak.add if weak else self._weak.discard)(name)
        if name in self._uplinks:
            self._uplinks[name].weak = weak
            self._arrange(now)

    def reconfigure(self, policy: Policy, now: Instant) -> None:
        """Another policy: only what is different is moved."""
        self._policy = policy
        self.arranger.use_policy(policy)
        self._prune()
        for interface in policy.interfaces:
            self._identifier(interface.name)
        for uplink in self._uplinks.values():
            uplink.path.probing = policy.probing
            care_of = uplink.registration.care_of
            if care_of is not None:
                uplink.choice = policy.interface(care_of).choice_at(care_of)
            uplink.refresh_use(now.monotonic)
        self._arrange(now)

    @property
    def supported(self) -> bool:
        """False once the home agent has shown that it knows one binding only."""
        return self.arranger.supported

    @property
    def may_share_home(self) -> bool:
        """Whether the home link may be registered beside other uplinks (RFC 5648 section 5.6)."""
        return self.arranger.may_share_home

    @property
    def home(self) -> Registration | None:
        """The registration of the home link, once it is acknowledged."""
        home = self.arranger.home
        return home.registration if home is not None else None

    # Everything at once -----------------------------------------------------------------------------------

    @property
    def primary(self) -> Registration | None:
        """The registration of the path that packets of no flow take; None without any care-of address."""
        here = [uplink for uplink in self._uplinks.values() if uplink.registration.care_of is not None]
        return min(here, key=self._place).registration if here else None

    def _in_order(self) -> list[Uplink]:
        """All uplinks, those of the data plane in its order first."""
        return sorted(self._uplinks.values(), key=self._place)

    def _place(self, uplink: Uplink) -> tuple[int, int]:
        bids, _ = self.arranger.told
        return (bids.index(uplink.bid) if uplink.bid in bids else MAX_UPLINKS, uplink.bid)

    def works(self, now: Instant) -> bool:
        """True while at least one path may be used."""
        return any(uplink.registration.works(now) for uplink in self._uplinks.values())

    def care_of_for_questions(self, now: Instant) -> CareOfAddress | None:
        """A registered care-of address: an IPv6 one, if there is any, from where they need no tunnel."""
        working = [uplink.registration for uplink in self._in_order() if uplink.registration.works(now)]
        found = [one.care_of for one in working if one.care_of is not None and not one.care_of.at_home]
        return min(found, key=lambda care_of: care_of.address.version == 4, default=None)

    def bound_until(self, now: Instant) -> float | None:
        """When the last binding ends that the home agent may keep, in CLOCK_MONOTONIC seconds."""
        entries = [uplink.registration.entry for uplink in self._uplinks.values()]
        ends = [entry.expires for entry in entries if entry is not None and entry.expires > now.monotonic]
        return max(ends, default=None)

    def suspend(self) -> None:
        """No Binding Updates from now on: the home link is there. Paths go on as long as they work."""
        self._suspended = True
        self.arranger.joint.stop()
        for uplink in self._uplinks.values():
            uplink.registration.suspend()
            uplink.path.stop()

    def drop_paths(self, reason: str) -> None:
        """Take all paths out of the data plane, and the order of paths with them."""
        self.suspend()
        for uplink in self._uplinks.values():
            uplink.registration.tunnel.remove(reason)
        self.arranger.tell((), ())

    def drop_broken_paths(self, attached: tuple[CareOfAddress, ...], reason: str) -> None:
        """Take out paths whose care-of address is gone, or that were never acknowledged."""
        for uplink in self._uplinks.values():
            if not uplink.registration.tunnel.works(attached):
                uplink.registration.tunnel.remove(reason)

    def settle(self) -> None:
        """On the home link, with no binding in the way."""
        self.drop_paths("at home")
        for uplink in self._uplinks.values():
            uplink.forget()
            uplink.registration.settle()
        self.arranger.flows.start_over()

    def doubt(self) -> None:
        """A de-registration may have been heard, or not."""
        self.arranger.joint.stop()
        for uplink in self._uplinks.values():
            uplink.forget()
            uplink.registration.tunnel.doubt()
        self.arranger.flows.start_over()

    def use_home_agent(self, config: MobileNodeConfig) -> None:
        """Register with the home agent of `config` at the next opportunity; nothing is known of it."""
        self._config = config
        self.arranger.use_home_agent(config)
        for uplink in self._uplinks.values():
            uplink.forget()
            uplink.registration.use_home_agent(config)
            uplink.path.stop()

    def stop(self, reason: str) -> None:
        """The home address must not be used any more, until the home link says otherwise."""
        self.arranger.joint.stop()
        for uplink in self._uplinks.values():
            uplink.registration.stop(reason)
            uplink.path.stop()

    def home_prefix_changed(self, now: Instant) -> None:
        """No registration must outlive the home address."""
        for uplink in self._uplinks.values():
            uplink.registration.home_prefix_changed(now)

    def register_on_request(self, why: str, now: Instant) -> None:
        """Someone asked for a Binding Update. A home agent that lost one binding has lost all."""
        bound = [uplink for uplink in self._uplinks.values() if uplink.is_bound and uplink.gone_until is None]
        sent_at = self._common.counters.last_sent_at
        if not bound or (sent_at is not None and now.monotonic - sent_at < INITIAL_BINDACK_TIMEOUT):
            self._emit(Drop(why, "not expected now"))
            return
        self._emit(Event(why, {"bids": " ".join(str(uplink.bid) for uplink in bound)}))
        for uplink in bound:
            uplink.registration.register(now)

    def not_recognised(self, problem: ParameterProblem, now: Instant) -> None:
        """The home agent, as seen from one of the uplinks, has no Mobile IPv6."""
        for uplink in self._uplinks.values():
            if is_quoted(problem.invoking, uplink.registration.outstanding):
                uplink.registration.not_recognised(problem, now)
                return
        self._emit(Drop("parameter-problem", "about nothing that was sent"))

    def count(self, traffic: Mapping[int, tuple[int, int]], now: Instant) -> None:
        """Packets sent and received so far, by binding identifier: paths in use are probed more often."""
        for uplink in self._uplinks.values():
            uplink.count(*traffic.get(uplink.bid, (0, 0)), now.monotonic)

    def _arrange(self, now: Instant) -> None:
        if not self._suspended:
            self.arranger.arrange(now)

    # When -------------------------------------------------------------------------------------------------

    @property
    def timeout(self) -> float | None:
        """When `tick` wants to be called, in CLOCK_MONOTONIC seconds."""
        if self._suspended:
            return None
        times = [self.arranger.joint.due, *(uplink.timeout for uplink in self._uplinks.values())]
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: Instant) -> None:
        """Do what is due."""
        if self._suspended:
            return
        for uplink in self._uplinks.values():
            self._look_after(uplink, now)
        self._give_up_home_agent(now)
        self._prune()
        self.arranger.tick(now)
        self._arrange(now)

    def _look_after(self, uplink: Uplink, now: Instant) -> None:
        registration = uplink.registration
        if uplink.choose_again_at is not None and uplink.choose_again_at <= now.monotonic:
            self._choose(uplink, registration.attached, now)
        self._leave_silent_network(uplink, now)
        registration.tick(now)
        if uplink.gone_until is not None and uplink.gone_until <= now.monotonic:
            uplink.forget()
        uplink.refresh_use(now.monotonic)
        uplink.repair(now)  # what was planned in an earlier turn: news for the home agent go first
        uplink.path.tick(now.monotonic)
        self._look_at_health(uplink, now)
        self._probe(uplink, now)

    def _leave_silent_network(self, uplink: Uplink, now: Instant) -> None:
        """No acknowledgement from here: another address of the same interface, if there is one."""
        registration = uplink.registration
        silent, here = registration.care_of, registration.attached
        if silent is None or not registration.is_silent(now):
            return
        if registration.note_silence(now):
            self._ask_elsewhere(uplink, now)
        if self._chooser.has_alternative(here, silent, now.monotonic):
            registration.give_up(silent, now)
            self._choose(uplink, here, now)
        elif self._chooser.has_other(here, silent, now.monotonic):
            self._choose(uplink, here, now, go_on=True)
        uplink.given_up = uplink.given_up or registration.has_given_up(now)

    def _ask_elsewhere(self, silent: Uplink, now: Instant) -> None:
        """Is it the home agent that is silent, or this network? A probe would not say: the home agent's data
        plane sends it back whether its daemon is there or not."""
        others = (uplink.registration for uplink in self._in_order() if uplink is not silent)
        asked = next((registration for registration in others if registration.works(now)), None)
        if asked is not None and not asked.outstanding:
            asked.register(now)

    def _give_up_home_agent(self, now: Instant) -> None:
        """Silent over every uplink: it is not the uplinks."""
        here = [uplink for uplink in self._uplinks.values() if uplink.registration.care_of is not None]
        if here and all(uplink.given_up for uplink in here):
            for uplink in here:
                uplink.given_up = False
            over_ipv6 = any(uplink.is_over_ipv6 for uplink in here)
            if over_ipv6 or not self.arranger.assume_single(now):
                self._common.failed(PASSED_OVER, now)

    # Supervision ------------------------------------------------------------------------------------------

    def _probe(self, uplink: Uplink, now: Instant) -> None:
        """Send a probe over this path if one is due."""
        mark = uplink.path.next_probe(now.monotonic)
        if mark is not None:
            self._send_probe(uplink, mark, now)

    def _send_probe(self, uplink: Uplink, mark: ProbeMark, now: Instant) -> None:
        tunnel = uplink.registration.tunnel
        if tunnel.path is not None and tunnel.care_of is not None:
            sent = int(now.monotonic * 1e9)
            payload = ProbePayload(uplink.bid, mark.hold, mark.sequence, sent, mtu=tunnel.path.mtu)
            self._emit(supervision_probe(self._config, tunnel.path, tunnel.care_of.interface, payload))

    def rest(self, now: Instant) -> None:
        """This process ends and forwarding goes on: no path may fall silent for want of probes."""
        for uplink in self._uplinks.values():
            if uplink.path.active and uplink.path.health is not Health.SILENT:
                self._send_probe(uplink, ProbeMark(0, 0), now)

    def probe_answered(self, payload: ProbePayload, now: Instant) -> None:
        """A probe of a path's health came back."""
        for uplink in self._uplinks.values():
            if uplink.bid == payload.bid and uplink.path.answered(payload.sequence, now.monotonic):
                if self._look_at_health(uplink, now):
                    self._arrange(now)
                return

    def format_answered(self, payload: ProbePayload, now: Instant) -> None:
        """A probe of the tunnel format of some uplink came back."""
        for uplink in self._uplinks.values():
            if uplink.bid == payload.bid:
                uplink.registration.echo_reply(payload.bid, payload.sequence, now)

    def _look_at_health(self, uplink: Uplink, now: Instant) -> bool:
        """True when something has changed that others must know."""
        before, health = uplink.health, uplink.path.health
        if before is health:
            return False
        uplink.health = health
        if {before, health} == {Health.UP, Health.SUSPECT}:
            return False
        self._emit(events.path_health(uplink.name, uplink.bid, health.value))
        if health is Health.SILENT:
            uplink.plan_repair(now.monotonic)
        return True

    # Acknowledgements -------------------------------------------------------------------------------------

    def acknowledgement(self, packet: Packet, message: BindingAcknowledgement, now: Instant) -> Outcome:
        """Take in an acknowledgement, whichever Binding Update it answers."""
        uplinks = list(self._uplinks.values())
        outstanding = [*self.arranger.joint.outstanding]
        for uplink in uplinks:
            outstanding += uplink.registration.outstanding
        outstanding.sort(key=lambda update: update.sent_at)
        update = match(self._config, packet, message, outstanding, now.monotonic)
        if isinstance(update, Drop):
            self._emit(update)
            return Outcome.NOTHING
        outcome = Outcome.NOTHING
        if any(update is sent for sent in self.arranger.joint.outstanding):
            self.arranger.joint_answered(update, message, now)
        else:
            for uplink in uplinks:
                if any(update is sent for sent in uplink.registration.outstanding):
                    outcome = uplink.registration.answered(update, message, now)
                    break
        for uplink in uplinks:
            uplink.registration.end_waiting(now)
            if outcome is Outcome.REGISTERED:
                self._plan_choice(uplink, now)
        self._arrange(now)
        return outcome

    # What can be seen -------------------------------------------------------------------------------------

    def report(self, now: Instant) -> tuple[UplinkReport, ...]:
        """All uplinks, those of the data plane in its order first."""
        return tuple(uplink.report(now) for uplink in self._in_order())
