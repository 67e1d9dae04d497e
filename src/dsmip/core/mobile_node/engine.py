"""The mobile node and mobile router engine (RFC 6275 section 11, RFC 3963 section 5, RFC 5555 section 4.4).

Time, attachments and packets go in; actions come out. This room decides *where* to be registered: at home, at
the best care-of address, nowhere. `registration` does it, with the help of the rooms beside it:
`choice` ranks care-of addresses, `delivery` numbers and repeats Binding Updates, `updates` builds them,
`receive` and `acknowledgement` check what comes back, `refusals` interprets refusals, `hold` keeps quiet,
`encapsulation` and `probing` find the tunnel format of IPv4 networks, `ipv4` asks for IPv4 home addresses,
`return_traffic` notices when nothing comes back, `tunnel` tells the data plane, `path_mtu` and `sizes` find
how large packets may be, `home` knows the home link, `search`, `home_agents` and `discovery` find a home
agent that serves, `prefix` knows how long the home address is good for, `renumbering` changes it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Address

from dsmip.core.actions import Action, Drop, Event, HomeAgentChanged
from dsmip.core.mobile_node import events
from dsmip.core.mobile_node.acknowledgement import Outcome
from dsmip.core.mobile_node.choice import Chooser, same_place
from dsmip.core.mobile_node.common import Common
from dsmip.core.mobile_node.config import UNKNOWN, MobileNodeConfig
from dsmip.core.mobile_node.home import HomeLink, HomePhase, as_care_of_address
from dsmip.core.mobile_node.home_agents import PASSED_OVER, HomeAgentAddress
from dsmip.core.mobile_node.multihoming import Multihoming
from dsmip.core.mobile_node.policy import Policy
from dsmip.core.mobile_node.receive import Intake, Opened
from dsmip.core.mobile_node.registration import Registration
from dsmip.core.mobile_node.renumbering import HomeAddress, Renumbering
from dsmip.core.mobile_node.search import Search
from dsmip.core.mobile_node.sizes import read_probe, size_answered, told_by_icmpv4, told_by_icmpv6
from dsmip.core.mobile_node.view import MobileNodeState, MobileNodeView
from dsmip.core.network_memory import NetworkMemory
from dsmip.core.types import Attachments, HomeAttachment, Instant
from dsmip.wire.constants import BAStatus, BEStatus
from dsmip.wire.errors import DecodeError
from dsmip.wire.icmpv6 import (
    EchoReply,
    HomeAgentAddressDiscoveryReply,
    MobilePrefixAdvertisement,
    PacketTooBig,
    ParameterProblem,
    decode_icmpv6,
)
from dsmip.wire.messages import BindingAcknowledgement, BindingError, BindingRefreshRequest
from dsmip.wire.packet import Packet
from dsmip.wire.pathprobe import PROBE_FORMAT, PROBE_SIZE

__all__ = ["MobileNode", "MobileNodeConfig", "MobileNodeState"]


class MobileNode(MobileNodeView):
    """One mobile node or mobile router.

    After each call the caller drains `actions()` and re-arms one timer from `timeout()`. `memory` may be kept
    by the caller. Whatever arrives, no method raises.
    """

    def __init__(
        self,
        config: MobileNodeConfig,
        now: Instant,
        rng: random.Random,
        memory: NetworkMemory | None = None,
    ) -> None:
        self.config = config
        self.started_at = now
        self._actions: list[Action] = []
        self._attachments = Attachments()
        memory = memory if memory is not None else NetworkMemory()
        self._chooser = Chooser(memory, ipv4=config.home_agent_ipv4 is not None)
        self._choose_again_at: float | None = None
        self._intake = Intake(config)
        self._common = Common.of(config, memory, rng, self._emit, self._home_agent_failed)
        self._home_prefix = self._common.home_prefix
        self._registration = Registration(config, self._common)
        self._several: Multihoming | None = None
        if config.multihoming is not None:
            self._several = Multihoming(config, config.multihoming, self._common, self._chooser)
        self._home = HomeLink(self._emit)
        self._search = Search(config, rng, self._emit)
        self._renumbering = Renumbering(self._common, self._adopt)

    # What goes in -----------------------------------------------------------------------------------------

    def attachments_changed(self, attachments: Attachments, now: Instant) -> None:
        """The movement layer sees other attachments, or the same with other lifetimes or routers."""
        self._attachments = attachments
        if attachments.home is not None and self._home.phase is not HomePhase.SHARED:
            self._renumbering.come_home(self.config, now)
        self._reconsider(now)

    def receive(self, data: bytes, now: Instant, *, protected: bool = False) -> None:
        """A signalling packet arrived, with all its outer headers.

        `protected`: it was under the IPsec of home agent and home address, and has been decrypted.
        """
        opened = self._intake.open(data, self._interfaces(), now)
        if not isinstance(opened, Opened):
            self._actions += opened
            return
        message = opened.message
        bare = self.config.authentication == "ipsec" and not protected
        if isinstance(message, BindingAcknowledgement | MobilePrefixAdvertisement) and bare:
            # RFC 6275 sections 11.4.3 and 11.7.3, RFC 4877 section 4.1.
            what = f"{type(message).__name__} from {opened.packet.source}"
            self._emit(Drop("not-protected", f"{what} without IPsec"))
        elif isinstance(message, BindingAcknowledgement):
            self._acknowledgement(opened.packet, message, now)
        elif isinstance(message, MobilePrefixAdvertisement):
            self._prefix_advertisement(message, now)
        elif isinstance(message, BindingError):
            self._binding_error(message, now)
        elif isinstance(message, BindingRefreshRequest):
            (self._active or self._registration).register_on_request("binding-refresh-request", now)
        else:
            self._emit(Drop("unexpected-message", f"{type(message).__name__} from {opened.packet.source}"))

    def echo_reply(self, identifier: int, sequence: int, now: Instant, data: bytes = b"") -> None:
        """The home agent answered an ICMPv6 Echo Request from the home address."""
        probe = read_probe(data, self._emit)
        if probe is None:
            # With several uplinks it would not say over which of them it came.
            if self._active is None:
                self._registration.echo_reply(identifier, sequence, now)
        elif probe.flags & PROBE_FORMAT:
            if self._active is not None:
                self._active.format_answered(probe, now)
        elif probe.flags & PROBE_SIZE:
            size_answered(self._tunnels(), probe, len(data), now)
        elif self._active is not None:
            self._active.probe_answered(probe, now)

    def count(self, traffic: Mapping[int, tuple[int, int]], now: Instant) -> None:
        """Packets sent and received so far, by binding identifier (0 = the plain binding)."""
        if self._active is not None:
            self._active.count(traffic, now)
        elif self._home.abroad:
            self._registration.count(*traffic.get(0, (0, 0)), now)

    def icmpv4(self, data: bytes, now: Instant) -> None:
        """An ICMP error to one of our IPv4 addresses, without its IPv4 header."""
        try:
            told_by_icmpv4(self._tunnels(), data, now)
        except DecodeError as error:
            self._emit(Drop(error.reason, str(error)))

    def icmpv6(self, data: bytes, source: IPv6Address, destination: IPv6Address, now: Instant) -> None:
        """An ICMPv6 message to one of our addresses that the kernel has no use for; its checksum is right."""
        try:
            message = decode_icmpv6(data, source, destination, verify_checksum=False)
        except DecodeError as error:
            self._emit(Drop(error.reason, str(error)))
            return
        match message:
            case EchoReply(identifier, sequence, content):
                self.echo_reply(identifier, sequence, now, content)
            case HomeAgentAddressDiscoveryReply():
                self._search.reply(message, now)
            case ParameterProblem(code=1) if source == self.config.home_agent:
                (self._active or self._registration).not_recognised(message, now)
            case MobilePrefixAdvertisement() if self._expects_in_tunnel(source, destination, now):
                self._prefix_advertisement(message, now)
            case PacketTooBig():
                told_by_icmpv6(self._tunnels(), message, now)
            case _:
                pass

    def tick(self, now: Instant) -> None:
        """Do what is due. May be called at any time."""
        if self._active is None:
            self._leave_silent_network(now)
        self._search.tick(now)
        last_sent_at = self._common.counters.last_sent_at
        successor = self._search.successor(self.config.home_agent, last_sent_at, now)
        if successor is not None:
            self._use_home_agent(successor, now)
        if self._active is None:
            self._take_turns(now)
        self._registration.tick(now)
        if self._active is not None:
            self._active.tick(now)
            if self._several is not None and not self._several.supported:
                self._use_one_binding(self._several, now)
        self._renumbering.tick(self.config, now)
        self._ask_about_prefix(now)
        if self._home.settle_at is not None and self._home.settle_at <= now.monotonic:
            self._settle(acknowledged=False)
        if self._choose_again_at is not None and self._choose_again_at <= now.monotonic:
            self._reconsider(now)

    # What comes out ---------------------------------------------------------------------------------------

    def timeout(self) -> float | None:
        """When `tick` wants to be called, in CLOCK_MONOTONIC seconds; None = not until something happens."""
        times = (
            self._registration.timeout,
            self._several.timeout if self._several is not None else None,
            self._home.settle_at,
            self._choose_again_at,
            self._search.due,
            self._renumbering.due,
            self._home_prefix.due if self._may_ask_about_prefix() else None,
            self._home_prefix.end if self._home.abroad else None,
        )
        return min((time for time in times if time is not None), default=None)

    def actions(self) -> list[Action]:
        """What to do, in order; the queue is empty afterwards."""
        actions, self._actions = self._actions, []
        return actions

    # Where to be registered -------------------------------------------------------------------------------

    def _reconsider(self, now: Instant, *, go_on: bool = False) -> None:
        """Home first, otherwise the best care-of address there is. `go_on` as for `Registration.move`."""
        self._choose_again_at = None
        home = self._attachments.home
        if home is not None:
            if not self._share_home(home, now):
                self._at_home_link(home, now)
            return
        if self._home.phase is not HomePhase.AWAY:
            self._leave_home()
        self._renumbering.leave_home(now)
        candidates, current = self._attachments.care_of, self.care_of
        choice = self._chooser.choose(candidates, current, now.monotonic, self._registration.spare(now))
        self._search.moved(choice, now)
        if self._active is not None:
            if choice is not None and self.config.home_agent == UNKNOWN:
                self._search.look(UNKNOWN, now)
            else:
                self._active.attached(candidates, now)
            return
        self._registration.attached = candidates
        if choice is None:
            self._registration.detach()
        elif self.config.home_agent == UNKNOWN:
            self._search.look(UNKNOWN, now)
        elif current is not None and same_place(current, choice):
            self._registration.stay(choice, now)
        else:
            self._registration.move(choice, now, go_on=go_on)
        self._choose_again_at = self._chooser.next_change(candidates, choice, now.monotonic)

    def _leave_silent_network(self, now: Instant) -> None:
        """No answer from here: try elsewhere (RFC 5555 section 4.4.1), at last another home agent."""
        silent = self._registration.care_of
        if silent is None or not self._registration.is_silent(now):
            return
        self._registration.note_silence(now)
        if self._chooser.has_alternative(self._attachments.care_of, silent, now.monotonic):
            self._registration.give_up(silent, now)
            self._reconsider(now)
        elif self._registration.has_given_up(now):
            if self._several is not None and self._several.arranger.assumed:
                self._start_over(now)  # that was not the reason for its silence
            self._home_agent_failed(PASSED_OVER, now)

    def _take_turns(self, now: Instant) -> None:
        """Everything here has been silent: the home agent may have been down, and be back over one of them.

        One transmission each, at the pace that the back-off has reached. Data stays where it was meanwhile:
        the tunnel may well work while only the home agent's daemon is down.
        """
        silent = self._registration.care_of
        if silent is None or not self._registration.is_silent(now):
            return
        if self._chooser.has_other(self._attachments.care_of, silent, now.monotonic):
            self._reconsider(now, go_on=True)

    def _at_home_link(self, home: HomeAttachment, now: Instant) -> None:
        """The home link is there: return home (RFC 6275 section 11.5.5), or stay."""
        if home.successor != self.config.home_prefix:
            self._home_prefix.set_end(home.valid_until, now.monotonic)
        if self._home.is_elsewhere(home):
            self._leave_home()
        if self._home.abroad:
            self._home.come(home, self._bound_until(now), now.monotonic)
            self._emit(events.home(home, "returning"))
            self._search.stop()
            if self.config.home_agent == UNKNOWN:
                self._settle(acknowledged=False)
            else:
                if self._several is not None:
                    self._several.suspend()
                self._registration.return_home(home, now)
        else:
            self._home.update(home)
        if self._home.phase is HomePhase.RETURNING:
            self._remove_broken_paths(now)
        elif self._home.is_quiet and home.successor is not None:
            self._renumbering.consider_at_home(home.successor, self.config, now)

    def _share_home(self, home: HomeAttachment, now: Instant) -> bool:
        """The home link is one of several uplinks (RFC 5648 section 5.6); False when it must be the only one.

        Who settled there alone registers that first: the home agent would take a first care-of address for a
        sign that nobody is at home.
        """
        several = self._active
        if several is None or not several.may_share_home or self.config.home_agent == UNKNOWN:
            return False
        others = [one for one in self._attachments.care_of if one.interface != home.interface]
        choice = self._chooser.choose(others, None, now.monotonic)
        if choice is None or self._home.phase is HomePhase.RETURNING:
            return False
        if home.successor != self.config.home_prefix:
            self._home_prefix.set_end(home.valid_until, now.monotonic)
        if self._home.is_elsewhere(home):
            self._home.leave()
        if self._home.phase is HomePhase.SHARED:
            self._home.update(home)
        else:
            self._registration.leave_home()
            self._home.share(home)
            self._emit(events.home(home, "sharing"))
        here = as_care_of_address(home, self.config)
        self._search.moved(choice, now)
        alone = self._home.on_link and not self._home.registered
        several.attached((here,) if alone else (here, *others), now)
        self._choose_again_at = self._chooser.next_change(others, choice, now.monotonic)
        if self._home.registered and home.successor is not None:
            self._renumbering.try_successor(home.successor, self.config, now)
        return True

    def _look_at_shared_home(self, now: Instant) -> None:
        """An acknowledgement has come that may have been about the home link beside others."""
        several = self._active
        if several is None or not several.may_share_home:
            self._reconsider(now)
        elif several.home is not None:
            answer = several.home.last_status != BAStatus.MCOA_RETURNHOME_WO_NDP
            attachment = self._home.shared(answer=answer)
            if attachment is not None:
                self._emit(events.home(attachment, "shared"))
                self._reconsider(now)

    def _remove_broken_paths(self, now: Instant) -> None:
        """While the home agent still sends to care-of addresses, those that are there go on receiving."""
        care_of = self._attachments.care_of
        if self._active is not None:
            home = self._attachments.home
            here = () if home is None else (as_care_of_address(home, self.config),)
            self._active.drop_broken_paths((*here, *care_of), "returning home")
        elif not self._registration.tunnel.works(care_of):
            self._registration.tunnel.remove("returning home")

    def _settle(self, *, acknowledged: bool) -> None:
        """No binding stands in the way any more: be an ordinary host or router on the home link.

        Without an acknowledgement the home agent goes on being told: it may hear it one day.
        """
        attachment = self._home.settle(acknowledged=acknowledged)
        self._registration.settle()
        if self._several is not None:
            self._several.settle()
        if attachment is not None:
            self._emit(events.home(attachment, "settled" if acknowledged else "settled unacknowledged"))

    def _leave_home(self) -> None:
        if self._home.phase is not HomePhase.SHARED:
            self._registration.leave_home()
            if self._several is not None:
                self._several.doubt()
        attachment = self._home.leave()
        if attachment is not None:
            self._emit(events.home(attachment, "left"))

    # Which home agent -------------------------------------------------------------------------------------

    def _home_agent_failed(self, seconds: float, now: Instant) -> None:
        """The home agent refused or is silent: another one, if there is one (RFC 6275 section 11.4.1)."""
        if not self._renumbering.failed(now):
            self._search.failed(self.config.home_agent, seconds, now)

    def home_agent_located(self, agent: HomeAgentAddress, now: Instant) -> None:
        """The home agent to try first, which is known by name, has this address from now on."""
        before = self._search.locate(agent)
        serving = HomeAgentAddress(self.config.home_agent, self.config.home_agent_ipv4)
        if agent != serving and (self.config.home_agent == UNKNOWN or serving == before):
            self._use_home_agent(agent, now)

    def _use_home_agent(self, agent: HomeAgentAddress, now: Instant) -> None:
        previous = self.config
        self.config = replace(previous, home_agent=agent.address, home_agent_ipv4=agent.ipv4)
        self._chooser.ipv4 = agent.ipv4 is not None
        before = previous.home_agent if previous.home_agent != UNKNOWN else None
        self._emit(
            HomeAgentChanged(agent.address, agent.ipv4, before, previous.home_agent_ipv4, previous.grace)
        )
        self._emit(events.home_agent(agent, before))
        self._start_over(now)

    def rekey(self, *, key: bytes, spi: int, lifetime: int, now: Instant) -> None:
        """Another security association, or another lifetime in seconds to ask for: registers anew, while
        traffic goes on."""
        self._adopt(replace(self.config, key=key, spi=spi, lifetime=lifetime), now)

    def use_policy(self, policy: Policy, now: Instant) -> None:
        """Another policy for several uplinks: only what is different is moved."""
        if self._several is not None:
            self._several.reconfigure(policy, now)
            if self._attachments.home is not None:
                self._reconsider(now)

    def resume_home_address(self, home: HomeAddress, former_until: float | None, now: Instant) -> None:
        """Begin with the home address of an earlier life, see `Renumbering.resume`."""
        self._renumbering.resume(home, former_until, self.config, now)

    def _adopt(self, config: MobileNodeConfig, now: Instant) -> None:
        self.config = config
        self._search.use_home_prefix(config.home_prefix)
        self._start_over(now)

    def _start_over(self, now: Instant) -> None:
        """Register under the present configuration, as with a home agent of which nothing is known."""
        self._intake.config = self.config
        self._home_prefix.use_home_agent(self.config)
        if self._home.phase is HomePhase.SHARED:
            self._home.leave()
        self._registration.use_home_agent(self.config)
        if self._several is not None:
            if not self._several.supported:
                self._registration.tunnel.remove("another home agent")
            self._several.use_home_agent(self.config)
        self._reconsider(now)

    # Other messages ---------------------------------------------------------------------------------------

    def _acknowledgement(self, packet: Packet, message: BindingAcknowledgement, now: Instant) -> None:
        """Status 1 also asks for mobile prefix discovery (RFC 6275 section 11.7.3)."""
        several = self._active if self._home.abroad else None
        outcome = (several or self._registration).acknowledgement(packet, message, now)
        if several is not None and not several.supported:
            self._use_one_binding(several, now)
        if self._home.phase is HomePhase.SHARED:
            self._look_at_shared_home(now)
        if outcome is Outcome.DE_REGISTERED:
            self._settle(acknowledged=True)
            self._reconsider(now)
        elif outcome is Outcome.REGISTERED:
            self._search.stop()
            if self._several is not None:
                self._several.arranger.assumed = False
            self._renumbering.accepted(self.config, now)
            if self._active is None:
                # Networks that were silent together with this one are worth another try.
                self._choose_again_at = self._chooser.next_try(
                    self._attachments.care_of, self.care_of, now.monotonic, self._registration.spare(now)
                )
            if message.status == BAStatus.ACCEPTED_PREFIX_DISCOVERY_NECESSARY:
                self._home_prefix.ask(now.monotonic)
                self._ask_about_prefix(now)
        elif self.last_status is not None:
            self._renumbering.refused(self.last_status, now)
        self._renumbering.tick(self.config, now)

    def _use_one_binding(self, several: Multihoming, now: Instant) -> None:
        """The home agent does not know binding identifiers: one care-of address only, make before break."""
        several.suspend()
        self._reconsider(now)
        several.drop_paths("one binding only")

    def _prefix_advertisement(self, message: MobilePrefixAdvertisement, now: Instant) -> None:
        told = self._home_prefix.advertised(message, now.monotonic)
        self._emit(told)
        (self._active or self._registration).home_prefix_changed(now)
        if isinstance(told, Event) and self._home.abroad:
            self._renumbering.consider(self.config, now)
        self._ask_about_prefix(now)

    def _ask_about_prefix(self, now: Instant) -> None:
        """Solicit what is due; a home address that has come to its end is not used any more."""
        prefix = self._home_prefix
        if self._home.abroad and prefix.has_ended(now.monotonic):
            (self._active or self._registration).stop("the home prefix is not valid any more")
        due = prefix.due
        if due is not None and due <= now.monotonic and self._may_ask_about_prefix():
            solicitation = prefix.transmit(self._care_of_for_questions(now), now.monotonic)
            if solicitation is not None:
                self._emit(solicitation)

    def _binding_error(self, message: BindingError, now: Instant) -> None:
        """RFC 6275 section 11.3.6: status 1 from the home agent calls for a Binding Update."""
        if message.status == BEStatus.UNKNOWN_BINDING:
            (self._active or self._registration).register_on_request("binding-error", now)
        else:
            self._emit(Drop("binding-error", f"status {message.status}"))

    def _emit(self, action: Action) -> None:
        self._actions.append(action)
