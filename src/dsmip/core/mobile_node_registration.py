"""Registering with the home agent: one Binding Update at a time, its answer, and what follows from it.

RFC 6275 sections 11.7 and 11.8, RFC 3963 sections 5.2 to 5.4, RFC 5555 sections 4.2 to 4.4.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import IPv4Address

from dsmip.core import mobile_node_events as events
from dsmip.core.actions import Action, Drop, Event, SendIPv4
from dsmip.core.binding_update_list import BindingUpdateListEntry, SentUpdate, acknowledged_entry
from dsmip.core.mobile_node_acknowledgement import match
from dsmip.core.mobile_node_choice import same_place
from dsmip.core.mobile_node_config import MobileNodeConfig
from dsmip.core.mobile_node_delivery import Delivery
from dsmip.core.mobile_node_encapsulation import EncapsulationChoice, ProbeResult, verdict_on
from dsmip.core.mobile_node_ipv4 import IPv4Wishes
from dsmip.core.mobile_node_refusals import HOLD, Reaction, reaction_to
from dsmip.core.mobile_node_tunnel import Tunnel
from dsmip.core.mobile_node_updates import Purpose, Request
from dsmip.core.network_memory import NetworkMemory
from dsmip.core.path_probe import probe_packet
from dsmip.core.retransmission import INITIAL_BINDACK_TIMEOUT
from dsmip.core.types import CareOfAddress, HomeAttachment, Instant, TunnelFormat
from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from dsmip.wire.messages import BindingAcknowledgement
from dsmip.wire.options import IPv4AddressAcknowledgement, MessageIdentifier, find, find_all
from dsmip.wire.packet import Packet

#: Binding Updates without an answer, in total, before another care-of address is tried (RFC 5555 section
#: 4.4.1).
ATTEMPTS_BEFORE_FALLBACK = 3

#: Acknowledgement statuses from here on are refusals (RFC 6275 section 6.1.8).
_REFUSED = 128

_NEVER = float("inf")

Places = tuple[CareOfAddress, ...]


class Registration:
    """The mobile node's relation to its home agent.

    `care_of` is the care-of address registered or being registered, None on the home link or nowhere.
    `attached` are the care-of addresses there are. `entry` is the last registration acknowledged, if it may
    still exist.
    """

    def __init__(
        self,
        config: MobileNodeConfig,
        memory: NetworkMemory,
        rng: random.Random,
        emit: Callable[[Action], None],
    ) -> None:
        self._config = config
        self._memory = memory
        self._emit = emit
        self._delivery = Delivery(config, rng)
        self._encapsulation = EncapsulationChoice(config, memory, rng.randrange(0x10000))
        self._hold_until: float | None = None
        self._cleared = False
        self.attached: Places = ()
        self.care_of: CareOfAddress | None = None
        self.entry: BindingUpdateListEntry | None = None
        self.last_status: int | None = None
        self.tunnel = Tunnel(config, emit)
        self.wishes = IPv4Wishes(config)

    # Where ------------------------------------------------------------------------------------------------

    def move(self, care_of: CareOfAddress, now: Instant) -> None:
        """Register another care-of address than before."""
        previous, self.care_of = self.care_of, care_of
        self._encapsulation.leave()
        self.register(now)
        self._emit(events.care_of_address(care_of, previous))

    def stay(self, care_of: CareOfAddress, now: Instant) -> None:
        """The same care-of address as before; its router, preference or lifetime may differ."""
        self.care_of = care_of
        self.tunnel.relocate(care_of)
        if self._delivery.request is not None:
            self._replace_lost_path(now)
        elif self.tunnel.path is None or self._outlives(care_of):
            self.register(now)

    def detach(self) -> None:
        """There is no care-of address."""
        if self.care_of is not None or self.tunnel.path is not None:
            self._emit(Event("detached"))
        self._leave()
        self._delivery.finish()
        self.tunnel.remove("detached")

    def return_home(self, home: HomeAttachment, now: Instant) -> None:
        """De-register from the home link (RFC 6275 section 11.5.5)."""
        self._leave()
        request = Request(Purpose.RETURN_HOME, home, router=self._config.mobile_router)
        self._delivery.start(request, first_registration=not self.is_bound(now))
        self._transmit(now)

    def settle(self) -> None:
        """On the home link, with no binding in the way: what was learnt from the home agent is void."""
        self.entry = None
        self._hold_until = None
        self._cleared = False
        self.wishes.start_over()
        self.tunnel.forget()

    def leave_home(self) -> None:
        """The home link is gone; a de-registration under way must not go on, but may have been heard."""
        self.tunnel.doubt()
        self._delivery.finish()

    # When -------------------------------------------------------------------------------------------------

    @property
    def timeout(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the next thing to do."""
        times = (self._delivery.due, self._hold_until, self._refresh_at, self._encapsulation.probe.due)
        return min((time for time in times if time is not None and time < _NEVER), default=None)

    def is_silent(self, now: Instant) -> bool:
        """True when the retransmission timer ran out and the home agent may be out of reach from here."""
        request = self._delivery.request
        registering = request is not None and request.purpose is Purpose.REGISTER
        due = _due(self._delivery.due, now.monotonic)
        return registering and due and self._delivery.unanswered >= ATTEMPTS_BEFORE_FALLBACK

    def tick(self, now: Instant) -> None:
        """Do what is due."""
        if _due(self._delivery.due, now.monotonic):
            self._retransmit(now)
        if _due(self._hold_until, now.monotonic):
            self._hold_until = None
            self.register(now)
        if _due(self._refresh_at, now.monotonic):
            self.register(now)
        if _due(self._encapsulation.probe.due, now.monotonic):
            self._probe(now)

    def is_bound(self, now: Instant) -> bool:
        """True while the home agent keeps a binding that it acknowledged."""
        return self.entry is not None and now.monotonic < self.entry.expires

    def is_registered(self, now: Instant) -> bool:
        """True when the care-of address chosen is the one the home agent acknowledged."""
        if self.entry is None or self.care_of is None:
            return False
        acknowledged = same_place(self.entry.care_of, self.care_of) and self.tunnel.works(self.attached)
        return acknowledged and self.is_bound(now)

    @property
    def _refresh_at(self) -> float | None:
        """When to renew the registration: never while something else is under way."""
        if self.entry is None or self.care_of is None or self._delivery.request is not None:
            return None
        return self.entry.refresh_at if self._hold_until is None else None

    # Binding Updates --------------------------------------------------------------------------------------

    def register(self, now: Instant) -> None:
        """Begin to register the care-of address, or to renew it (RFC 6275 section 11.7.1)."""
        if self.care_of is None or self._hold_until is not None:
            return
        request = Request(
            Purpose.REGISTER,
            self.care_of,
            router=self._config.mobile_router,
            force_udp=self._encapsulation.force_udp(self.care_of, now.monotonic),
        )
        self._delivery.start(request, first_registration=not self.is_bound(now))
        self._transmit(now)
        self._replace_lost_path(now)

    def register_on_request(self, why: str, now: Instant) -> None:
        """Someone asked for a Binding Update (RFC 6275 sections 11.3.6 and 11.7.4).

        Such messages are not authenticated: they are heeded as often as a retransmission would come anyway.
        """
        sent_at = self._delivery.last_sent_at
        recently = sent_at is not None and now.monotonic - sent_at < INITIAL_BINDACK_TIMEOUT
        if self.care_of is None or self.entry is None or self._delivery.request is not None or recently:
            self._emit(Drop(why, "not expected now"))
            return
        self._emit(Event(why, {"care_of": str(self.care_of.address)}))
        self.register(now)

    def give_up(self, silent: CareOfAddress, now: Instant) -> None:
        """Nothing is heard over this care-of address (RFC 5555 section 4.4.1): remember that."""
        self._memory.remember_silence(silent.network, silent.address, now.monotonic)
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
        if request is None:
            return
        lifetime = float(self._config.lifetime)
        if request.care_of is not None and self.care_of is not None and self.care_of.valid_until is not None:
            lifetime = min(lifetime, self.care_of.valid_until - now.monotonic)
        update, action = self._delivery.transmit(lifetime, self.wishes.options(), now)
        self._emit(action)
        self._emit(events.binding_update_sent(request, update, self._delivery.unanswered))

    def _replace_lost_path(self, now: Instant) -> None:
        """Break before make: use the new path at once when there is no other."""
        request = self._delivery.request
        if self.care_of is None or request is None or request.purpose is not Purpose.REGISTER:
            return
        if self.tunnel.works(self.attached) or self.tunnel.uses(self.care_of):
            return
        tunnel_format = self._encapsulation.first_format(self.care_of, now.monotonic)
        self.tunnel.use(self.care_of, tunnel_format, confirmed=False)

    def _outlives(self, care_of: CareOfAddress) -> bool:
        """True when the registration would outlive the care-of address (RFC 6275 section 11.7.1)."""
        if care_of.valid_until is None or self.entry is None:
            return False
        return care_of.valid_until < self.entry.expires

    # Binding Acknowledgements -----------------------------------------------------------------------------

    def acknowledgement(self, packet: Packet, message: BindingAcknowledgement, now: Instant) -> bool:
        """Take in an acknowledgement; True when it ends the binding from the home link."""
        update = match(self._config, packet, message, self._delivery.outstanding)
        request = self._delivery.request
        if isinstance(update, Drop) or request is None:
            self._emit(update if isinstance(update, Drop) else Drop("not-outstanding"))
            return False
        self.last_status = message.status
        self._delivery.heard()
        gone = message.status == BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE
        if request.purpose is not Purpose.REGISTER and (message.status < _REFUSED or gone):
            self._delivery.finish(update)
            if request.purpose is Purpose.CLEAR:
                self._after_clear(now)
            return request.purpose is Purpose.RETURN_HOME
        if message.status >= _REFUSED or not message.lifetime:
            self._refused(request, update, message, now)
        elif request.care_of is not None:
            self._accepted(request.care_of, update, message, now)
        return False

    def _accepted(
        self, care_of: CareOfAddress, update: SentUpdate, message: BindingAcknowledgement, now: Instant
    ) -> None:
        self._delivery.finish(update)
        if self._config.mobile_router and not message.flags & BAFlag.R:
            # Forwards nothing for mobile networks: MUST be de-registered from (RFC 3963 section 5.3).
            self._emit(Event("mobile-router-not-supported", {"home_agent": str(self._config.home_agent)}))
            self._hold_until = now.monotonic + HOLD
            self._clear(care_of, now)
            return
        if self.care_of is not None and same_place(self.care_of, care_of):
            care_of = self.care_of  # with the router and lifetime it has by now
        self._cleared = False
        self._memory.remember_answer(care_of.network, care_of.address)
        ask_again = self.wishes.answered(update.ipv4, find_all(message.options, IPv4AddressAcknowledgement))
        verdict = verdict_on(care_of, update.flags, message, self._config.nat_keepalive)
        previous = self.entry
        self.entry = acknowledged_entry(care_of, update, message, verdict, now.monotonic)
        self.tunnel.grant(self.wishes.grants)
        self.tunnel.use(care_of, verdict.format, confirmed=True)
        self._emit(events.binding_acknowledged(self.entry, message.status, now.monotonic))
        if previous is None or not same_place(previous.care_of, care_of):
            self._emit(events.handover(self.entry, previous))
        round_trip = self.entry.round_trip
        self._encapsulation.acknowledged(care_of, update.flags, verdict, round_trip, now.monotonic)
        if _due(self._encapsulation.probe.due, now.monotonic):
            self._probe(now)
        if ask_again:
            self.register(now)

    def _refused(
        self, request: Request, update: SentUpdate, message: BindingAcknowledgement, now: Instant
    ) -> None:
        forced_udp = bool(update.flags & BUFlag.F)
        reaction = reaction_to(message.status, timestamps=update.timestamp != 0, forced_udp=forced_udp)
        self._emit(events.binding_refused(request, message.status, reaction.value))
        if reaction is Reaction.CORRECT_SEQUENCE:
            if self._delivery.correct_sequence(message.sequence):
                self._transmit(now)
        elif reaction is Reaction.CORRECT_CLOCK:
            identifier = find(message.options, MessageIdentifier)
            if identifier is not None and self._delivery.correct_clock(identifier.timestamp, now):
                self._transmit(now)
        elif reaction is Reaction.BACK_OFF:
            pass  # the retransmission timer runs
        elif request.purpose is not Purpose.REGISTER or request.care_of is None:
            self._delivery.slow_down(now)
        elif reaction is Reaction.WITHOUT_FORCED_UDP:
            self._encapsulation.force_refused = True
            self.register(now)
        elif reaction is Reaction.CLEAR and not self._cleared:
            self._cleared = True
            self._clear(request.care_of, now)
        elif reaction in (Reaction.HOLD, Reaction.STOP):
            self._hold_until = now.monotonic + HOLD if reaction is Reaction.HOLD else _NEVER
            self._delivery.finish()
            self._lose_binding(f"refused with status {message.status}")
        else:
            self._encapsulation.force_refused = False  # F was not the reason, if it was dropped
            self._delivery.slow_down(now)

    def _clear(self, care_of: CareOfAddress, now: Instant) -> None:
        """De-register from the care-of address: the binding at the home agent is of no use."""
        self._lose_binding("the home agent's binding is of no use")
        self._delivery.start(Request(Purpose.CLEAR, care_of), first_registration=False)
        self._transmit(now)

    def _after_clear(self, now: Instant) -> None:
        self._delivery.finish()
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
        if self.care_of is not None:
            result = self._encapsulation.answered(identifier, sequence, self.care_of, now.monotonic)
            if result is not None:
                self._probed(self.care_of, result, now)

    def _probe(self, now: Instant) -> None:
        """The next try of the running probe, or its end."""
        config, care_of = self._config, self.care_of
        if care_of is None or not isinstance(care_of.address, IPv4Address) or config.home_agent_ipv4 is None:
            self._encapsulation.probe.stop()
            return
        echo = self._encapsulation.probe.next_try(now.monotonic)
        if echo is None:
            self._probed(care_of, self._encapsulation.unanswered(care_of, now.monotonic), now)
            return
        packet = probe_packet(
            care_of.address, config.home_agent_ipv4, config.home_address, config.home_agent, *echo
        )
        self._emit(SendIPv4(packet, care_of.interface))

    def _probed(self, care_of: CareOfAddress, result: ProbeResult, now: Instant) -> None:
        self._emit(events.probe(care_of, result.value))
        if result is ProbeResult.TRY_IP_IN_IP:
            self.register(now)
        elif result is ProbeResult.BACK_TO_UDP:
            self.register(now)
            self.tunnel.use(care_of, TunnelFormat.UDP4, confirmed=True)
            self._emit(events.fallback(care_of, "protocol 41 is filtered"))


def _due(time: float | None, now: float) -> bool:
    return time is not None and time <= now
