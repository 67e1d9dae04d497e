"""Delivering a Binding Update: repetition until it is answered (RFC 6275 sections 11.7.1 and 11.8)."""

from __future__ import annotations

from collections import deque

from dsmip.core.actions import SendDatagram, SendPacket
from dsmip.core.binding_update_list import NOTHING_CARRIED, Carried, SentUpdate, lifetime_units
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.counters import Counters
from dsmip.core.mobile_node.updates import Purpose, Request, build_update
from dsmip.core.retransmission import MAX_BINDACK_TIMEOUT, Backoff
from dsmip.core.types import Instant
from dsmip.wire.constants import BAStatus
from dsmip.wire.messages import BindingAcknowledgement
from dsmip.wire.options import IPv4HomeAddress, MessageIdentifier, find

#: Binding Updates without an answer, in total, before another care-of address is tried (RFC 5555 section
#: 4.4.1).
ATTEMPTS_BEFORE_FALLBACK = 3

#: The same before another home agent is tried: while it keeps a binding, when the interval reaches
#: MAX_BINDACK_TIMEOUT (RFC 6275 section 11.4.1 leaves it open).
ATTEMPTS_BEFORE_SUCCESSOR = 5

#: Transmissions that may still be acknowledged: an answer slower than the retransmission timer counts.
_OUTSTANDING = 8

#: Corrections of sequence number or clock that are tried at once; a home agent that goes on correcting us
#: waits for the retransmission timer (RFC 6275 section 11.8: rate limiting).
_IMMEDIATE_CORRECTIONS = 2


class Delivery:
    """The Binding Update under way, if any. Others may be under way at the same time: `counters` are shared.

    `config` may be replaced by one that differs in the home agent only.
    """

    def __init__(self, config: MobileNodeConfig, counters: Counters) -> None:
        self.config = config
        self._counters = counters
        self._backoff: Backoff | None = None
        self._outstanding: deque[SentUpdate] = deque(maxlen=_OUTSTANDING)
        self._corrections = 0
        self._uncorrected: tuple[SentUpdate, ...] = ()
        self.request: Request | None = None
        self.unanswered = 0
        #: True while the request waits for its turn.
        self.waiting = False
        #: True when the answer was a refusal after which there is no hurry.
        self.slow = False

    @property
    def due(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the next transmission; None when nothing is under way."""
        return self._backoff.due if self._backoff is not None else None

    @property
    def outstanding(self) -> tuple[SentUpdate, ...]:
        """Updates of the current request that may still be acknowledged, the latest last."""
        return tuple(self._outstanding)

    def start(self, request: Request, *, first_registration: bool, go_on: bool = False) -> None:
        """Begin delivering `request` instead of whatever was under way.

        `first_registration`: the home agent holds no binding that we know of (RFC 6275 section 11.8).
        `go_on`: at the pace and with the count of attempts that the one before has reached.
        """
        self.request = request
        if self._backoff is None or not go_on:
            self._backoff = Backoff(first_registration=first_registration)
            self.unanswered = 0
            self.slow = False
        self._outstanding.clear()
        self._uncorrected = ()
        self._corrections = 0
        self.waiting = False

    def finish(self, accepted: SentUpdate | None = None) -> None:
        """Stop: it was acknowledged, or there is no point in it any more."""
        if accepted is not None:
            self._counters.accepted(accepted)
        self._counters.end_turn(self)
        self.request = None
        self._backoff = None
        self._outstanding.clear()
        self.waiting = self.slow = False

    def must_wait(self, now: Instant) -> bool:
        """True when another Binding Update waits for its answer just now: `due` says until when at most."""
        until = self._counters.taken_until(self, now.monotonic)
        if until is None or self._backoff is None:
            return False
        self._backoff.wait(until)
        self.waiting = True
        return True

    def end_waiting(self, now: Instant) -> None:
        """The other one has its answer: what waits is due now."""
        if self.waiting and self._backoff is not None:
            self._backoff.wait(now.monotonic)

    def transmit(
        self,
        lifetime: float,
        ipv4: tuple[IPv4HomeAddress, ...],
        now: Instant,
        carried: Carried = NOTHING_CARRIED,
    ) -> tuple[SentUpdate, SendPacket | SendDatagram]:
        """The next transmission of the request, with a new sequence number and timestamp.

        `lifetime` in seconds. Raises RuntimeError when nothing was started.
        """
        if self.request is None or self._backoff is None:
            raise RuntimeError("there is no Binding Update to deliver")
        if self._backoff.due is not None and self._backoff.due <= now.monotonic:
            self._corrections = 0  # the timer has waited for this one, whatever is corrected next
        self._counters.take_turn(self, now.monotonic)
        sequence, timestamp = self._counters.next(now)
        update, action = build_update(
            self.config,
            self.request,
            sequence=sequence,
            timestamp=timestamp,
            lifetime=lifetime_units(lifetime),
            ipv4=ipv4,
            sent_at=now.monotonic,
            carried=carried,
        )
        self._backoff.sent(now.monotonic)
        self._outstanding.append(update)
        self.unanswered += 1
        self.waiting = False
        return update, action

    def refused(self, update: SentUpdate) -> None:
        """The home agent answered, if with a refusal: it can be reached.

        One answer for each update: whoever repeats this one must not make us believe so once more.
        """
        self.unanswered = 0
        self._outstanding.remove(update)
        self._counters.end_turn(self)

    def is_unanswered(self, attempts: int, now: Instant) -> bool:
        """True when the timer ran out after so many attempts to register, without any answer."""
        registering = self.request is not None and self.request.purpose is Purpose.REGISTER
        due = self.due is not None and self.due <= now.monotonic
        return registering and due and self.unanswered >= attempts

    def slow_down(self, now: Instant) -> None:
        """Go on at the slowest rate (RFC 6275 section 11.8)."""
        if self._backoff is not None:
            self.slow = True
            self._backoff.postpone(now.monotonic, MAX_BINDACK_TIMEOUT)

    def correct(self, message: BindingAcknowledgement, update: SentUpdate, now: Instant) -> bool:
        """Take over what an acknowledgement of `update` with status 135 or 144 corrects.

        True when to send again at once, False when to leave it to the retransmission timer. What is said
        about an update that left before the last correction has been mended already.
        """
        if any(update is earlier for earlier in self._uncorrected):
            return False
        self._uncorrected = tuple(self._outstanding)
        if message.status == BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW:
            self._counters.correct_sequence(message.sequence, update)
        else:
            identifier = find(message.options, MessageIdentifier)
            if identifier is None:
                return False
            self._counters.correct_clock(identifier.timestamp, update, now)
        self._corrections += 1
        return self._corrections <= _IMMEDIATE_CORRECTIONS
