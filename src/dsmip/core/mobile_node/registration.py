"""Registering with the home agent: one Binding Update at a time, its answer, and what follows from it.

RFC 6275 sections 11.7 and 11.8, RFC 3963 sections 5.2 to 5.4, RFC 5555 sections 4.2 to 4.4.
"""

from __future__ import annotations

from dsmip.core.actions import Drop, Event
from dsmip.core.binding_update_list import (
    NOTHING_CARRIED,
    BindingUpdateListEntry,
    SentUpdate,
    acknowledged_entry,
    renewed_entry,
)
from dsmip.core.mobile_node import events
from dsmip.core.mobile_node.acknowledgement import REFUSED, Outcome, is_quoted, match
from dsmip.core.mobile_node.choice import same_place
from dsmip.core.mobile_node.common import Common
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.delivery import ATTEMPTS_BEFORE_FALLBACK, Delivery
from dsmip.core.mobile_node.encapsulation import EncapsulationChoice, ProbeResult, verdict_on
from dsmip.core.mobile_node.hold import Hold
from dsmip.core.mobile_node.home_agents import PASSED_OVER
from dsmip.core.mobile_node.probing import Prober
from dsmip.core.mobile_node.refusals import HOLD, Reaction, reaction_to
from dsmip.core.mobile_node.registration_state import RegistrationState
from dsmip.core.mobile_node.return_traffic import ReturnTraffic
from dsmip.core.mobile_node.several import OneOfSeveral, status_of
from dsmip.core.mobile_node.tunnel import Tunnel
from dsmip.core.mobile_node.updates import Purpose, Request
from dsmip.core.network_memory import Encapsulation
from dsmip.core.retransmission import INITIAL_BINDACK_TIMEOUT
from dsmip.core.types import CareOfAddress, HomeAttachment, Instant, TunnelFormat
from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from dsmip.wire.icmpv6 import ParameterProblem
from dsmip.wire.messages import BindingAcknowledgement
from dsmip.wire.options import IPv4AddressAcknowledgement, find_all
from dsmip.wire.packet import Packet


class Registration(RegistrationState):
    """One binding at the home agent.

    `care_of` is the care-of address registered or being registered, None on the home link or nowhere,
    `attached` are those there are, `entry` is the last registration acknowledged, if it may still exist.
    `several` is there when this is one of several bindings.
    """

    def __init__(self, config: MobileNodeConfig, common: Common, several: OneOfSeveral | None = None) -> None:
        self._config = config
        self._common = common
        self._several = several
        self._memory = common.memory
        self._emit = common.emit
        self._home_prefix = common.home_prefix
        self._failed = common.failed
        self._delivery = Delivery(config, common.counters)
        bid = several.bid if several is not None else 0
        self._encapsulation = EncapsulationChoice(config, common.memory, bid or common.rng.randrange(0x10000))
        self._prober = Prober(config, self._encapsulation, common.emit, bid)
        self._hold = Hold()
        self._return_traffic = ReturnTraffic()
        self._cleared = False
        self.attached: tuple[CareOfAddress, ...] = ()
        self.care_of: CareOfAddress | None = None
        self.entry: BindingUpdateListEntry | None = None
        self.last_status: int | None = None
        bid = several.bid if several is not None else 0
        self.tunnel = Tunnel(config, common.networks, common.emit, common.memory, bid)

    # Where ------------------------------------------------------------------------------------------------

    def move(self, care_of: CareOfAddress, now: Instant, *, go_on: bool = False) -> None:
        """Register another care-of address than before. `go_on`: the back-off does not begin anew."""
        previous, self.care_of = self.care_of, care_of
        self._encapsulation.leave()
        self._hold.moved()
        self._return_traffic.start_over()
        self.register(now, go_on=go_on)
        self._emit(events.care_of_address(care_of, previous))

    def stay(self, care_of: CareOfAddress, now: Instant) -> None:
        """The same care-of address as before; its router, preference or lifetime may differ."""
        self.care_of = care_of
        self.tunnel.relocate(care_of)
        if self._delivery.request is not None:
            self._replace_lost_path(now)
        elif self.tunnel.path is None or self._outlives(care_of.valid_until):
            self.register(now)

    def detach(self) -> None:
        """There is no care-of address."""
        if self.care_of is not None or self.tunnel.path is not None:
            self._emit(Event("detached"))
        self._leave()
        self._delivery.finish()
        self.tunnel.remove("detached")

    def suspend(self) -> None:
        """No Binding Updates from here for now; the path goes on as long as it works."""
        self._leave()
        self._delivery.finish()

    def return_home(self, home: HomeAttachment, now: Instant) -> None:
        """De-register from the home link (RFC 6275 section 11.5.5)."""
        self._leave()
        request = Request(Purpose.RETURN_HOME, home, router=self._config.mobile_router)
        self._delivery.start(request, first_registration=not self.is_bound(now))
        self._transmit(now)

    def settle(self) -> None:
        """On the home link, with no binding in the way: what was learnt from the home agent is void."""
        self.entry = None
        self._hold.end()
        self._cleared = False
        self._common.wishes.start_over()
        self.tunnel.forget()

    def leave_home(self) -> None:
        """The home link is gone; a de-registration under way must not go on, but may have been heard."""
        self.tunnel.doubt()
        self._delivery.finish()

    def use_home_agent(self, config: MobileNodeConfig) -> None:
        """Register with the home agent of `config` at the next move; nothing is known of it."""
        self._config = self._delivery.config = self.tunnel.config = self._prober.config = config
        self.entry = self.care_of = self.last_status = None
        self._delivery.finish()
        self._hold.end()
        self._cleared = False
        self._encapsulation.start_over()
        self._common.wishes.start_over()
        self.tunnel.doubt()

    def stop(self, reason: str) -> None:
        """The home address must not be used any more, until the home link says otherwise."""
        self._delivery.finish()
        self._hold.begin(None)
        self._lose_binding(reason)

    # When -------------------------------------------------------------------------------------------------

    def tick(self, now: Instant) -> None:
        """Do what is due."""
        if _due(self._delivery.due, now.monotonic):
            self._retransmit(now)
        if _due(self._hold.ends_at, now.monotonic):
            self._hold.end()
            self.register(now)
        if _due(self._refresh_at, now.monotonic):
            self.register(now)
        self._probed(self._prober.run(self.care_of, now), now)
        self.tunnel.tick(now)

    def end_waiting(self, now: Instant) -> None:
        """Another Binding Update has its answer: one that waits for its turn is due."""
        self._delivery.end_waiting(now)

    # Binding Updates --------------------------------------------------------------------------------------

    def register(self, now: Instant, *, go_on: bool = False) -> None:
        """Begin to register the care-of address, or to renew it (RFC 6275 section 11.7.1)."""
        if self.care_of is None or self._hold:
            return
        request = Request(
            Purpose.REGISTER,
            self.care_of,
            router=self._config.mobile_router,
            force_udp=self._encapsulation.force_udp(self.care_of, now.monotonic),
        )
        self._delivery.start(request, first_registration=not self.is_bound(now), go_on=go_on)
        self._transmit(now)
        self._replace_lost_path(now)

    def register_on_request(self, why: str, now: Instant) -> None:
        """Someone asked for a Binding Update (RFC 6275 sections 11.3.6 and 11.7.4).

        Such messages are not authenticated: they are heeded as often as a retransmission would come anyway.
        """
        sent_at = self._common.counters.last_sent_at
        recently = sent_at is not None and now.monotonic - sent_at < INITIAL_BINDACK_TIMEOUT
        if self.care_of is None or self.entry is None or self._delivery.request is not None or recently:
            self._emit(Drop(why, "not expected now"))
            return
        self._emit(Event(why, {"care_of": str(self.care_of.address)}))
        self.register(now)

    def count(self, sent: int, received: int, now: Instant) -> None:
        """So many packets have passed through the tunnel. If nothing comes back any more the home agent is
        asked: its answer renews the mapping of a NAT, and without one there may be another network."""
        if not self.tunnel.path or not self._return_traffic.count(sent, received, now.monotonic):
            return
        if self.care_of is not None and self.entry is not None and self._delivery.request is None:
            self._emit(events.nothing_comes_back(self.care_of))
            self.register(now)

    def note_silence(self, now: Instant) -> bool:
        """Nothing is heard over the care-of address: remember that. True when it is news."""
        silent, outstanding = self.care_of, self._delivery.outstanding
        if silent is None or not outstanding:
            return False
        news = self._memory.silence(silent) is None
        sent = tuple(update.sent_at for update in outstanding)
        if self._memory.remember_silence(silent, sent, now.monotonic):
            self._emit(events.cut_off(silent))
        return news

    def _note_answer(self, care_of: CareOfAddress, now: Instant) -> None:
        for silent in self._memory.remember_answer(care_of, now.monotonic):
            self._emit(events.cut_off(silent))

    def give_up(self, silent: CareOfAddress, now: Instant) -> None:
        """Nothing is heard over this care-of address (RFC 5555 section 4.4.1), and there is another."""
        if self.tunnel.uses(silent):
            self.tunnel.doubt()
        self._emit(events.fallback(silent, "no acknowledgement"))

    def _retransmit(self, now: Instant) -> None:
        """The retransmission timer ran out (RFC 6275 section 11.8)."""
        request = self._delivery.request
        tried = self._delivery.unanswered >= ATTEMPTS_BEFORE_FALLBACK
        if request is not None and request.purpose is Purpose.CLEAR and tried:
            self._after_clear(now)
        else:
            self._transmit(now)

    def _transmit(self, now: Instant) -> None:
        request = self._delivery.request
        if request is None or self._delivery.must_wait(now):
            return
        # No more than care-of and home address have left (RFC 6275 section 11.7.1).
        ends = (self.care_of.valid_until if self.care_of is not None else None, self._home_prefix.valid_until)
        left = [end - now.monotonic for end in ends if end is not None]
        lifetime = min([float(self._config.lifetime), *left])
        carried = self._several.carry(request, now) if self._several is not None else NOTHING_CARRIED
        update, action = self._delivery.transmit(lifetime, self._common.wishes.options(), now, carried)
        self._emit(action)
        self._emit(events.binding_update_sent(request, update, self._delivery.unanswered))

    def home_prefix_changed(self, now: Instant) -> None:
        """A registration must not outlive the home address (RFC 6275 sections 11.4.3 and 11.7.1)."""
        if self._outlives(self._home_prefix.valid_until):
            self.register(now)

    def _replace_lost_path(self, now: Instant) -> None:
        """Break before make: use the new path at once when there is no other."""
        request = self._delivery.request
        if self.care_of is None or request is None or request.purpose is not Purpose.REGISTER:
            return
        if self.tunnel.works(self.attached) or self.tunnel.uses(self.care_of):
            return
        if self.care_of.at_home:
            return  # nobody expects our packets there before the home agent says so (RFC 5648 section 5.6.4)
        tunnel_format = self._encapsulation.first_format(self.care_of, now.monotonic)
        self.tunnel.use(self.care_of, tunnel_format, confirmed=False)

    def _outlives(self, end: float | None) -> bool:
        """True when the registration would outlive an address that ends then (RFC 6275 section 11.7.1)."""
        return end is not None and self.entry is not None and end < self.entry.expires

    # Binding Acknowledgements -----------------------------------------------------------------------------

    def acknowledgement(self, packet: Packet, message: BindingAcknowledgement, now: Instant) -> Outcome:
        """Take in an acknowledgement."""
        update = match(self._config, packet, message, self._delivery.outstanding, now.monotonic)
        if isinstance(update, Drop):
            self._emit(update)
            return Outcome.NOTHING
        return self.answered(update, message, now)

    def answered(self, update: SentUpdate, message: BindingAcknowledgement, now: Instant) -> Outcome:
        """An acknowledgement that may be believed has come for one of the outstanding updates."""
        request = self._delivery.request
        if request is None:
            self._emit(Drop("not-outstanding"))
            return Outcome.NOTHING
        status = message.status
        if self._several is not None:
            own = status_of(self._several.bid, message)
            if own is None:
                self._delivery.finish()
                self._several.not_supported(message.status)
                return Outcome.NOTHING
            status = own
        self.last_status = status
        gone = status == BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE
        if request.purpose is not Purpose.REGISTER and (status < REFUSED or gone):
            self._delivery.finish(update)
            if request.purpose is Purpose.RETURN_HOME:
                return Outcome.DE_REGISTERED
            self._after_clear(now)
        elif status >= REFUSED or not message.lifetime:
            self._delivery.refused(update)
            self._refused(request, update, message, status, now)
        elif request.care_of is not None and self._accepted(request.care_of, update, message, now):
            return Outcome.REGISTERED
        return Outcome.NOTHING

    def _accepted(
        self, care_of: CareOfAddress, update: SentUpdate, message: BindingAcknowledgement, now: Instant
    ) -> bool:
        """The home agent accepted; False when it is of no use all the same."""
        self._delivery.finish(update)
        if self._config.mobile_router and not message.flags & BAFlag.R:
            # Forwards nothing for mobile networks: MUST be de-registered from (RFC 3963 section 5.3).
            self._emit(Event("mobile-router-not-supported", {"home_agent": str(self._config.home_agent)}))
            self._hold.begin(now.monotonic + HOLD)
            self._clear(care_of, now)
            return False
        if self.care_of is not None and same_place(self.care_of, care_of):
            care_of = self.care_of  # with the router and lifetime it has by now
        self._cleared = False
        self._note_answer(care_of, now)
        wishes = self._common.wishes
        ask_again = wishes.answered(update.ipv4, find_all(message.options, IPv4AddressAcknowledgement))
        verdict = verdict_on(care_of, update.flags, message, self._config.nat_keepalive)
        previous = self.entry
        self.entry = acknowledged_entry(care_of, update, message, verdict, now.monotonic)
        self._common.networks.grant(wishes.grants)
        self.tunnel.use(care_of, verdict.format, confirmed=True)
        self._emit(events.binding_acknowledged(self.entry, message.status, now.monotonic))
        if previous is None or not same_place(previous.care_of, care_of):
            self._emit(events.handover(self.entry, previous))
        if self._several is not None:
            self._several.accepted(update, message, now)
        self._encapsulation.acknowledged(
            care_of,
            update.flags,
            verdict,
            self.entry.round_trip,
            now.monotonic,
            may_ask=self._several is None or self._several.is_reflected,
        )
        self._probed(self._prober.run(self.care_of, now), now)
        self.tunnel.confirm_mtu(self.entry.round_trip, now)
        if ask_again:
            self.register(now)
        return True

    def renewed(self, update: SentUpdate, message: BindingAcknowledgement, now: Instant) -> None:
        """An update about other care-of addresses has renewed this one as well (RFC 5648 section 5.3)."""
        if self.entry is not None:
            self.entry = renewed_entry(self.entry, update, message, now.monotonic)

    def _refused(
        self, request: Request, update: SentUpdate, message: BindingAcknowledgement, status: int, now: Instant
    ) -> None:
        forced_udp = bool(update.flags & BUFlag.F)
        reaction = reaction_to(status, timestamps=update.timestamp != 0, forced_udp=forced_udp)
        self._emit(events.binding_refused(request, status, reaction.value))
        if request.care_of is not None:
            self._note_answer(request.care_of, now)
        if reaction in (Reaction.CORRECT_SEQUENCE, Reaction.CORRECT_CLOCK):
            at_once = self._delivery.correct(message, update, now)
            if reaction is Reaction.CORRECT_CLOCK:
                self._emit(events.clock_corrected(self._common.counters.clock_offset))
            if at_once:
                self._transmit(now)
        elif reaction is Reaction.BACK_OFF:
            # The retransmission timer runs, unless somebody else is to be asked.
            if request.purpose is Purpose.REGISTER:
                self._failed(PASSED_OVER, now)
        elif request.purpose is not Purpose.REGISTER or request.care_of is None:
            self._delivery.slow_down(now)
        elif reaction is Reaction.WITHOUT_FORCED_UDP:
            self._encapsulation.force_refused = True
            self.register(now)
        elif reaction is Reaction.ALONE and self._several is not None and len(update.carried.bids) > 1:
            self._several.alone(always=message.status == status)
            self.register(now)
        elif request.care_of.at_home and self._several is not None and reaction is not Reaction.AGAIN:
            self._delivery.finish()
            self._several.home_refused(status)
        elif reaction is Reaction.AGAIN and self._several is not None and not self._cleared:
            self._cleared = True
            self._several.overwrite()
            self.register(now)
        elif reaction is Reaction.CLEAR and not self._cleared:
            self._cleared = True
            self._clear(request.care_of, now)
        elif reaction in (Reaction.HOLD, Reaction.STOP):
            self._hold.begin(now.monotonic + HOLD if reaction is Reaction.HOLD else None)
            self._delivery.finish()
            self._lose_binding(f"refused with status {status}")
            if reaction is Reaction.HOLD:
                self._failed(HOLD, now)
        else:
            self._encapsulation.force_refused = False  # F was not the reason, if it was dropped
            self._delivery.slow_down(now)
            self._failed(HOLD, now)

    def not_recognised(self, problem: ParameterProblem, now: Instant) -> None:
        """ICMPv6 Parameter Problem code 1: the home agent, as seen from here, has no Mobile IPv6.

        No more Binding Updates from this link (RFC 6275 section 11.3.5).
        """
        if self.care_of is None or not is_quoted(problem.invoking, self._delivery.outstanding):
            self._emit(Drop("parameter-problem", "about nothing that was sent"))
            return
        self._emit(events.fallback(self.care_of, "the home agent does not recognise the Mobility Header"))
        self._delivery.finish()
        self._hold.begin(now.monotonic + HOLD, here_only=True)
        self._failed(HOLD, now)

    def _clear(self, care_of: CareOfAddress, now: Instant) -> None:
        """De-register from the care-of address: the binding at the home agent is of no use."""
        self._lose_binding("the home agent's binding is of no use")
        self._delivery.start(Request(Purpose.CLEAR, care_of), first_registration=False)
        self._transmit(now)

    def _after_clear(self, now: Instant) -> None:
        self._delivery.finish()
        if self._hold:
            self._failed(HOLD, now)
        else:
            self.register(now)

    def _lose_binding(self, reason: str) -> None:
        self.entry = None
        self._encapsulation.leave()
        self.tunnel.remove(reason)

    def _leave(self) -> None:
        self.care_of = None
        self._encapsulation.leave()

    # Path probes ------------------------------------------------------------------------------------------

    def echo_reply(self, identifier: int, sequence: int, now: Instant) -> None:
        """The home agent answered an Echo Request from the home address."""
        self._probed(self._prober.answered(identifier, sequence, self.care_of, now), now)

    def doubt_ip_in_ip(self, now: Instant) -> None:
        """The path fell silent: if it has no UDP, that may be why, and the next update asks for UDP."""
        path = self.tunnel.path
        if self.care_of is not None and path is not None and path.format is TunnelFormat.IPV4:
            self._encapsulation.leave()
            network = self.care_of.network
            self._memory.remember_encapsulation(network, Encapsulation.FILTERED, now.monotonic)

    def _probed(self, result: ProbeResult | None, now: Instant) -> None:
        if result is ProbeResult.TRY_IP_IN_IP:
            self.register(now)
        elif result is ProbeResult.BACK_TO_UDP and self.care_of is not None:
            self.register(now)
            self.tunnel.use(self.care_of, TunnelFormat.UDP4, confirmed=True)
            self._emit(events.fallback(self.care_of, "protocol 41 is filtered"))


def _due(time: float | None, now: float) -> bool:
    return time is not None and time <= now
