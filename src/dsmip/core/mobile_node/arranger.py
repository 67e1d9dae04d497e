"""Telling data plane and home agent who goes where, and hearing what the home agent made of it.

The data plane hears it at once, since a registered path may be used at any time, the home agent in one joint
update over a path that works. The home agent's data plane needs no telling when a path dies (see
`path_supervision`); the update makes it last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

from dsmip.core.actions import Event, SetDuplication, SetFlowRules, SetPreference
from dsmip.core.binding_update_list import Carried, SentUpdate
from dsmip.core.mobile_node import events
from dsmip.core.mobile_node.acknowledgement import REFUSED
from dsmip.core.mobile_node.arrangement import (
    Candidate,
    Condition,
    flow_bindings,
    preference,
    priorities,
    rules,
)
from dsmip.core.mobile_node.choice import same_place
from dsmip.core.mobile_node.common import Common
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.flows import FlowTable
from dsmip.core.mobile_node.joint import JointDelivery, JointRequest, arrange, remove
from dsmip.core.mobile_node.policy import Policy
from dsmip.core.mobile_node.several import status_of
from dsmip.core.mobile_node.updates import Purpose, Request
from dsmip.core.mobile_node.uplink import Uplink
from dsmip.core.types import CareOfAddress, FlowBinding, FlowRule, Instant
from dsmip.wire.constants import BAStatus, BUFlag
from dsmip.wire.extensions import Extensions, read_extensions
from dsmip.wire.flows import FlowIdentification
from dsmip.wire.messages import BindingAcknowledgement
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.options import IPv4AddressAcknowledgement, find_all

#: Seconds before the silence of a home agent is taken once more for a sign that it takes one binding only.
ASSUME_AGAIN = 600.0

#: What we can do beyond the RFCs.
_OFFER = Extensions.DUPLICATION | Extensions.PROBES


class Arranger:
    """Decides for all `uplinks` together.

    `supported` is false once the home agent has shown that it does not know binding identifiers. `agreed` are
    the extensions both ends have, `told` is what the data plane was told last, `wanted` the flows that have a
    path of their own now.
    """

    def __init__(
        self, config: MobileNodeConfig, policy: Policy, common: Common, uplinks: Mapping[str, Uplink]
    ) -> None:
        self._config = config
        self._common = common
        self._emit = common.emit
        self._uplinks = uplinks
        self._fids: dict[tuple[str, int], int] = {}
        self.bulk = True
        self.proven = False  #: the home agent has answered binding identifiers
        self.assumed = False  #: that it does not know them is concluded from its silence
        self._assume_after = float("-inf")
        self.home_status: int | None = None  #: with which the home link beside others was refused
        #: When the latest answered update that spoke of flows was sent, and its number.
        self._heard_flows = (float("-inf"), 0)
        self._ipv4 = bool(config.ipv4_home_address or config.ipv4_prefixes or config.ipv4_prefix_request)
        self.joint = JointDelivery(config, common)
        self.flows = FlowTable()
        self.told: tuple[tuple[int, ...], tuple[FlowRule, ...]] = ((), ())
        self.wanted: tuple[FlowBinding, ...] = ()
        self.agreed = Extensions.NONE
        self.supported = True
        self.use_policy(policy)

    def use_policy(self, policy: Policy) -> None:
        """Arrange by this policy from now on. Flows keep their numbers as long as they are there."""
        self._policy = policy
        self.flows.try_again()
        for flow in policy.flows:
            for number in range(len(flow.description.selectors())):
                if (flow.name, number) not in self._fids:
                    self._fids[flow.name, number] = 1 + max(self._fids.values(), default=0)

    def use_home_agent(self, config: MobileNodeConfig) -> None:
        """Nothing is known of this home agent."""
        if config.home_agent != self._config.home_agent:
            self._assume_after = float("-inf")
        self.proven = self.assumed = False
        self._config = config
        self.joint.use_home_agent(config)
        self.flows.start_over()
        self._agree(Extensions.NONE)
        self.bulk = self.supported = True
        self.home_status = None

    def flow_name(self, fid: int) -> str:
        """The name of a flow in the policy."""
        return next((name for (name, _), number in self._fids.items() if number == fid), "")

    def tick(self, now: Instant) -> None:
        """Repeat what has not been answered."""
        joint = self.joint
        if joint.wanted is not None and joint.due is not None and joint.due <= now.monotonic:
            joint.transmit(self._carry_joint(joint.wanted), now)

    # The home link as one of the uplinks (RFC 5648 section 5.6) --------------------------------------------

    @property
    def may_share_home(self) -> bool:
        """Every update has to name the home link as well (section 5.6.5), so it takes bulk registrations."""
        return self._policy.simultaneous_home and self.supported and self.bulk and self.home_status is None

    @property
    def home(self) -> Uplink | None:
        """The uplink on the home link, once the home agent has acknowledged that."""
        for uplink in self._uplinks.values():
            entry = uplink.registration.entry
            if uplink.at_home and uplink.gone_until is None and entry is not None and entry.care_of.at_home:
                return uplink
        return None

    def _home_identifier(self, uplink: Uplink, care_of: CareOfAddress) -> tuple[BindingIdentifier, ...]:
        """What an update of another uplink says so that the binding of the home link stays.

        It must not be in the first one from an IPv4 address (section 8.1): the home link is registered again
        after that.
        """
        home = self.home
        if home is None or home is uplink or uplink.alone_once or not self.bulk:
            return ()
        entry = uplink.registration.entry
        known = entry is not None and same_place(entry.care_of, care_of)
        if isinstance(care_of.address, IPv4Address) and not known:
            return ()
        return (self._identifier_of_home(home.bid, home.priority),)

    def _identifier_of_home(self, bid: int, priority: int) -> BindingIdentifier:
        return BindingIdentifier(bid, home=True, priority=priority, care_of=self._config.home_address)

    def _look_at_home(self, update: SentUpdate, now: Instant) -> None:
        """An accepted update without the H flag has ended the binding of the home link (section 5.6.5)."""
        home = self.home
        entry = home.registration.entry if home is not None else None
        if home is None or entry is None or not update.lifetime or update.carried.at_home:
            return
        if entry.registered_at <= update.sent_at:
            home.forget()
            home.registration.register(now)

    # Arrangement ------------------------------------------------------------------------------------------

    def arrange(self, now: Instant) -> None:
        """Who goes where now: tell the data plane, and the home agent if it should know."""
        if not self.supported:
            return
        working = [uplink for uplink in self._uplinks.values() if uplink.registration.works(now)]
        ordered = preference(uplink.candidate(now) for uplink in working)
        self.wanted = flow_bindings(self._policy.flows, ordered, self._fids, ipv4=self._ipv4)
        # What is being registered and has no other path may be used, too, if nothing else is there.
        untried = [
            uplink.bid
            for uplink in self._uplinks.values()
            if uplink not in working and uplink.registration.tunnel.path is not None
        ]
        self.tell((*(one.bid for one in ordered), *untried), rules(self.wanted), now)
        self._tell_home_agent(ordered, now)

    def tell(self, bids: tuple[int, ...], flows: tuple[FlowRule, ...], now: Instant | None = None) -> None:
        """Tell the data plane what is different."""
        (told_bids, told_flows), self.told = self.told, (bids, flows)
        if bids != told_bids:
            self._emit(SetPreference(bids))
        if flows != told_flows:
            self._emit(SetFlowRules(flows))
        if now is None or (bids, flows) == (told_bids, told_flows):
            return
        names = {uplink.bid: name for name, uplink in self._uplinks.items()}
        self._emit(events.arrangement([names[bid] for bid in bids], len(flows)))
        taken = {*bids[:1], *(bid for rule in flows for bid in rule.bids)}
        known = {*told_bids[:1], *(bid for rule in told_flows for bid in rule.bids)}
        if any(uplink.in_use for uplink in self._uplinks.values()):
            for bid in taken - known:
                self._uplinks[names[bid]].expect_use(now.monotonic)

    def _tell_home_agent(self, ordered: tuple[Candidate, ...], now: Instant) -> None:
        """One joint update over the best path that works, if there is anything to tell."""
        joint = self.joint
        over = next((one for one in ordered if one.condition is not Condition.SILENT), None)
        wanted = None if over is None else self._joint_request(over, ordered, now)
        if joint.wanted is not None and wanted is not None and wanted.says_the_same(joint.wanted):
            return
        if joint.wanted is not None:
            self._doubt(joint.wanted)
            wanted = None if over is None else self._joint_request(over, ordered, now)
            joint.stop()
        if wanted is not None:
            joint.begin(wanted)
            joint.transmit(self._carry_joint(wanted), now)

    def _doubt(self, unanswered: JointRequest) -> None:
        """The home agent may have heard this, or not, and its answer will not count any more."""
        told = dict(unanswered.priorities)
        for uplink in self._uplinks.values():
            if told.get(uplink.bid, uplink.priority) != uplink.priority:
                uplink.priority = 0

    def _joint_request(
        self, over: Candidate, ordered: tuple[Candidate, ...], now: Instant
    ) -> JointRequest | None:
        registration = self._uplinks[over.interface].registration
        care_of, entry = registration.tunnel.care_of, registration.entry
        if care_of is None or entry is None:
            return None
        router = self._config.mobile_router
        gone = [uplink for uplink in self._uplinks.values() if uplink.gone_until is not None]
        removed = tuple(uplink.bid for uplink in gone if not uplink.at_home)
        left = tuple(uplink.bid for uplink in gone if uplink.at_home)
        if removed:
            return remove(care_of, over.bid, removed, self.wanted, router=router)
        known = self._known()
        wanted = priorities([one.bid for one in ordered], known, over.bid)
        changed = {bid: number for bid, number in wanted.items() if known.get(bid) != number}
        if not self.bulk:
            self._register_again([one for one in ordered if one.bid in changed and one is not over], now)
            changed = {bid: number for bid, number in changed.items() if bid == over.bid}
        if not changed and not left and not self.flows.is_news(self.wanted):
            return None
        home = self.home.bid if self.home is not None else 0
        if home in wanted:
            changed[home] = wanted[home]
        changed.pop(over.bid, None)
        named = ((over.bid, wanted[over.bid]), *changed.items())
        forced = bool(entry.flags & BUFlag.F)
        return arrange(
            care_of, over.bid, named, self.wanted, router=router, force_udp=forced, home=home, left=left
        )

    def _register_again(self, changed: Iterable[Candidate], now: Instant) -> None:
        """Tell other priorities one by one: the home agent takes no joint updates."""
        for one in changed:
            registration = self._uplinks[one.interface].registration
            if not registration.outstanding:
                registration.register(now)

    def _known(self) -> dict[int, int]:
        """The priorities that the home agent has."""
        return {u.bid: u.priority for u in self._uplinks.values() if u.is_bound and u.priority}

    # What Binding Updates carry ---------------------------------------------------------------------------

    def carry(self, uplink: Uplink, request: Request, now: Instant) -> Carried:
        """See `uplink.Owner`."""
        flows = self.flows.carry(self.wanted)
        if request.purpose is not Purpose.REGISTER or request.care_of is None:
            return Carried((BindingIdentifier(uplink.bid),), flows, extensions=_OFFER)
        others = [
            other.candidate(now)
            for other in self._uplinks.values()
            if other is not uplink and other.registration.works(now)
        ]
        order = [one.bid for one in preference([uplink.candidate(now), *others])]
        number = priorities(order, self._known(), uplink.bid)[uplink.bid]
        care_of = request.care_of
        identifiers = (
            BindingIdentifier(uplink.bid, home=care_of.at_home, priority=number, care_of=care_of.address),
            *self._home_identifier(uplink, care_of),
        )
        nothing_bound = not any(other.is_bound for other in self._uplinks.values())
        overwrite = uplink.overwrites or nothing_bound
        return Carried(identifiers, flows, overwrite, _OFFER, care_of.link_layer if care_of.at_home else b"")

    def _carry_joint(self, wanted: JointRequest) -> Carried:
        care_of = wanted.request.care_of
        identifiers = [
            self._identifier_of_home(bid, number)
            if bid == wanted.home
            else BindingIdentifier(
                bid,
                priority=number,
                care_of=care_of.address if bid == wanted.over and care_of is not None else None,
            )
            for bid, number in wanted.priorities
        ]
        identifiers += [BindingIdentifier(bid) for bid in wanted.removed]
        link_layer = care_of.link_layer if care_of is not None and care_of.at_home else b""
        return Carried(
            tuple(identifiers), self.flows.carry(wanted.flows), extensions=_OFFER, link_layer=link_layer
        )

    # Acknowledgements -------------------------------------------------------------------------------------

    def accepted(
        self, uplink: Uplink, update: SentUpdate, message: BindingAcknowledgement, now: Instant
    ) -> None:
        """See `uplink.Owner`."""
        self.proven = True
        if update.carried.overwrite:
            self._overwritten(uplink, update, now)
        self._take_in(update, message)
        self.flows.try_again()
        uplink.bound([one.priority for one in update.carried.bids if one.bid == uplink.bid], now)
        said = {one.bid: one.status or message.status for one in find_all(message.options, BindingIdentifier)}
        for one in update.carried.bids:
            if one.bid != uplink.bid:
                self._arranged(one.bid, one.priority, said.get(one.bid, message.status), update, message, now)
        self._look_at_home(update, now)

    def _overwritten(self, uplink: Uplink, update: SentUpdate, now: Instant) -> None:
        """What was acknowledged before this update was sent may be gone (O flag, RFC 5648 section 4.2)."""
        for other in self._uplinks.values():
            entry = other.registration.entry
            if other is not uplink and entry is not None and entry.registered_at <= update.sent_at:
                other.forget()
                other.registration.register(now)

    def _take_in(self, update: SentUpdate, message: BindingAcknowledgement) -> None:
        """What an accepted update said beside care-of addresses."""
        # Two may leave in the same instant, and be answered in another order.
        sent = (update.sent_at, update.carried.flows.number)
        if sent >= self._heard_flows:
            self._heard_flows = sent
            answers = find_all(message.options, FlowIdentification)
            if answers or update.lifetime:  # with the last binding all flows have ended, and none is answered
                self._flows_answered(update, answers)
            self._agree(read_extensions(message.options) or Extensions.NONE)

    def _flows_answered(self, update: SentUpdate, answers: tuple[FlowIdentification, ...]) -> None:
        before, supported = dict(self.flows.refused), self.flows.supported
        self.flows.acknowledged(update.carried.flows, answers)
        for fid, status in self.flows.refused.items():
            if before.get(fid) != status:
                self._emit(events.flow_refused(self.flow_name(fid), fid, status))
        if supported and not self.flows.supported:
            self._emit(Event("flows-not-supported", {"home_agent": str(self._config.home_agent)}))

    def _agree(self, extensions: Extensions) -> None:
        agreed = extensions & _OFFER
        if (agreed ^ self.agreed) & Extensions.DUPLICATION:
            self._emit(SetDuplication(bool(agreed & Extensions.DUPLICATION)))
        self.agreed = agreed
        for uplink in self._uplinks.values():
            uplink.path.reflected = uplink.is_reflected
            uplink.path.expected = uplink.path.expected or uplink.is_reflected

    def joint_answered(self, update: SentUpdate, message: BindingAcknowledgement, now: Instant) -> None:
        joint, wanted = self.joint, self.joint.wanted
        if wanted is None:
            return
        said = {one.bid: one.status or message.status for one in find_all(message.options, BindingIdentifier)}
        gone = message.status == BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE and bool(wanted.removed)
        if status_of(wanted.over, message) is None and not gone and not said:
            joint.stop()
            self.not_supported(message.status)
        elif message.status == BAStatus.MCOA_BULK_REGISTRATION_PROHIBITED:
            joint.stop()
            self.bulk = False
        elif message.status >= REFUSED and not gone:
            if joint.refused(update, message, now):
                joint.transmit(self._carry_joint(wanted), now)
        else:
            joint.stop(update)
            if any(status < REFUSED for status in said.values()):  # otherwise nothing else was looked at
                wishes = self._common.wishes
                wishes.answered(update.ipv4, find_all(message.options, IPv4AddressAcknowledgement))
                self._common.networks.grant(wishes.grants)
                self._take_in(update, message)
            for uplink in self._uplinks.values():
                if uplink.bid in (*wanted.removed, *wanted.left) and uplink.gone_until is not None:
                    uplink.forget()
            for bid, number in wanted.priorities:
                self._arranged(bid, number, said.get(bid, message.status), update, message, now)
            self._look_at_home(update, now)

    def _arranged(
        self,
        bid: int,
        number: int,
        status: int,
        update: SentUpdate,
        message: BindingAcknowledgement,
        now: Instant,
    ) -> None:
        """What became of one care-of address in an update that was about others as well."""
        uplink = next((one for one in self._uplinks.values() if one.bid == bid), None)
        if uplink is None:
            return
        if status < REFUSED:
            uplink.priority = number
            uplink.registration.renewed(update, message, now)
            return
        # Not bound, or not in a way that can be told from elsewhere (RFC 5648 section 8.1).
        uplink.forget()
        uplink.registration.register(now)

    def assume_single(self, now: Instant) -> bool:
        """The home agent is silent over each IPv4 network: does it drop what it does not understand?

        Without an Alternate or IPv4 Care-of Address option, which must not be beside binding identifiers
        (RFC 5648 section 8.1), such updates look malformed to it. False when there is no reason to think so.
        """
        if self.proven or now.monotonic < self._assume_after:
            return False
        self._assume_after = now.monotonic + ASSUME_AGAIN
        self.supported = False
        self.assumed = True
        self._emit(Event("single-binding", {"assumed": True}))
        return True

    def no_bulk(self) -> None:
        """See `uplink.Owner`."""
        self.bulk = False

    def home_refused(self, status: int) -> None:
        """See `uplink.Owner`."""
        self.home_status = status
        self._emit(Event("simultaneous-home-refused", {"status": status}))

    def not_supported(self, status: int) -> None:
        """See `uplink.Owner`."""
        if self.supported:
            self.supported = False
            self._emit(Event("single-binding", {"status": status}))
