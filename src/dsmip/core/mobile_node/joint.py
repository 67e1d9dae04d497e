"""Binding Updates that are about several care-of addresses at once (RFC 5648 section 5.3, RFC 6089).

They travel over whichever path works: other priorities and other flows (`Purpose.ARRANGE`), or the removal of
care-of addresses that are gone, with their flows moved elsewhere (`Purpose.REMOVE`). They never wait for
their turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dsmip.core.binding_update_list import Carried, SentUpdate
from dsmip.core.mobile_node import events
from dsmip.core.mobile_node.choice import same_place
from dsmip.core.mobile_node.common import Common
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.delivery import Delivery
from dsmip.core.mobile_node.refusals import Reaction, reaction_to
from dsmip.core.mobile_node.updates import Purpose, Request
from dsmip.core.types import CareOfAddress, FlowBinding, Instant
from dsmip.wire.messages import BindingAcknowledgement


@dataclass(frozen=True, slots=True)
class JointRequest:
    """What to tell: the BID-PRI of each care-of address that is named, or which ones go."""

    request: Request
    over: int  #: binding identifier of the path
    priorities: tuple[tuple[int, int], ...] = ()
    removed: tuple[int, ...] = ()
    flows: tuple[FlowBinding, ...] = ()
    home: int = 0  #: which of them is the home link, 0 = none
    left: tuple[int, ...] = ()  #: of the home link, which has been left: such an update ends its binding

    def says_the_same(self, other: JointRequest) -> bool:
        """True when there is no point in sending this instead of the other one, which is under way."""
        here, there = self.request.care_of, other.request.care_of
        if here is None or there is None or not same_place(here, there):
            return False
        same = replace(other, request=replace(other.request, place=here))
        return self == same


class JointDelivery:
    """One joint update at a time. `config` may be replaced by one that differs in the home agent only."""

    def __init__(self, config: MobileNodeConfig, common: Common) -> None:
        self._common = common
        self._delivery = Delivery(config, common.counters)
        self.wanted: JointRequest | None = None

    def use_home_agent(self, config: MobileNodeConfig) -> None:
        """Another home agent: nothing is to be told to the last one any more."""
        self._delivery.config = config
        self.stop()

    @property
    def due(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the next transmission."""
        return self._delivery.due

    @property
    def outstanding(self) -> tuple[SentUpdate, ...]:
        """Binding Updates that may still be acknowledged, the latest last."""
        return self._delivery.outstanding

    def begin(self, wanted: JointRequest) -> None:
        """Deliver this instead of whatever was under way."""
        self.wanted = wanted
        self._delivery.start(wanted.request, first_registration=False)

    def stop(self, accepted: SentUpdate | None = None) -> None:
        """It was acknowledged, or there is nothing to tell any more."""
        self._delivery.finish(accepted)
        self.wanted = None

    def transmit(self, carried: Carried, now: Instant) -> None:
        """Send it, for the first time or again."""
        wanted, common = self.wanted, self._common
        if wanted is None:
            return
        lifetime = self._lifetime(wanted.request.care_of, now)
        update, action = self._delivery.transmit(lifetime, common.wishes.options(), now, carried)
        common.emit(action)
        common.emit(events.binding_update_sent(wanted.request, update, self._delivery.unanswered))

    def _lifetime(self, care_of: CareOfAddress | None, now: Instant) -> float:
        ends = (care_of.valid_until if care_of is not None else None, self._common.home_prefix.valid_until)
        left = [end - now.monotonic for end in ends if end is not None]
        return min([float(self._delivery.config.lifetime), *left])

    def refused(self, update: SentUpdate, message: BindingAcknowledgement, now: Instant) -> bool:
        """The home agent refused it as a whole; True when to send it again at once."""
        wanted = self.wanted
        self._delivery.refused(update)
        if wanted is None:
            return False
        reaction = reaction_to(message.status, timestamps=update.timestamp != 0, forced_udp=False)
        self._common.emit(events.binding_refused(wanted.request, message.status, reaction.value))
        if reaction in (Reaction.CORRECT_SEQUENCE, Reaction.CORRECT_CLOCK):
            return self._delivery.correct(message, update, now)
        if reaction is not Reaction.BACK_OFF:
            self._delivery.slow_down(now)
        return False


def arrange(
    care_of: CareOfAddress,
    over: int,
    priorities: tuple[tuple[int, int], ...],
    flows: tuple[FlowBinding, ...],
    *,
    router: bool,
    force_udp: bool,
    home: int = 0,
    left: tuple[int, ...] = (),
) -> JointRequest:
    """Other priorities and flows. `force_udp`: as the path was registered. `home` and `left` as for
    `JointRequest`."""
    request = Request(Purpose.ARRANGE, care_of, router=router, force_udp=force_udp)
    return JointRequest(request, over, priorities=priorities, flows=flows, home=home, left=left)


def remove(
    care_of: CareOfAddress,
    over: int,
    removed: tuple[int, ...],
    flows: tuple[FlowBinding, ...],
    *,
    router: bool,
) -> JointRequest:
    """Care-of addresses that are gone."""
    return JointRequest(Request(Purpose.REMOVE, care_of, router=router), over, removed=removed, flows=flows)
