"""Finding a home agent that serves us: the list, discovery, and when to go from one to the next.

RFC 6275 section 11.4.1, RFC 3963 sections 5.3 and 5.4.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

from dsmip.core.actions import Action, Drop, Event
from dsmip.core.mobile_node.choice import same_place
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.discovery import DISCOVERY_PAUSE, Discovery
from dsmip.core.mobile_node.home_agents import HomeAgentAddress, HomeAgents
from dsmip.core.retransmission import INITIAL_BINDACK_TIMEOUT_FIRST_REG
from dsmip.core.types import CareOfAddress, Instant
from dsmip.wire.icmpv6 import HomeAgentAddressDiscoveryReply


class Search:
    """Idle while the home agent serves us. Times are CLOCK_MONOTONIC seconds."""

    def __init__(self, config: MobileNodeConfig, rng: random.Random, emit: Callable[[Action], None]) -> None:
        self._discovers = config.discovery
        self._emit = emit
        self._agents = HomeAgents(config.home_agents)
        self._discovery = Discovery(config.home_prefix, rng, mobile_routers=config.mobile_router)
        self._here: CareOfAddress | None = None
        self._change_at: float | None = None
        self._look_again_at: float | None = None

    @property
    def due(self) -> float | None:
        """When `tick` and `successor` want to be called."""
        times = (self._change_at, self._discovery.due, self._look_again_at)
        return min((time for time in times if time is not None), default=None)

    def use_home_prefix(self, home_prefix: IPv6Network) -> None:
        """Discover home agents of this prefix from now on."""
        self._discovery.use_home_prefix(home_prefix)

    def locate(self, agent: HomeAgentAddress) -> HomeAgentAddress | None:
        """See `HomeAgents.locate`."""
        return self._agents.locate(agent)

    def failed(self, agent: IPv6Address, seconds: float, now: Instant) -> None:
        """This one does not serve us: pass it over for so long and look for another."""
        self._agents.pass_over(agent, now.monotonic + seconds)
        self.look(agent, now)

    def look(self, current: IPv6Address, now: Instant) -> None:
        """Use another home agent of the list than `current`, or discover some."""
        if self._agents.next(current, now.monotonic) is not None:
            self._change_at = now.monotonic
        else:
            self._discover(now)

    def moved(self, here: CareOfAddress | None, now: Instant) -> None:
        """Discoveries start from this care-of address from now on."""
        before, self._here = self._here, here
        elsewhere = before is None or here is None or not same_place(before, here)
        if self._discovery.active and elsewhere:
            self._discovery.stop()
            self._discover(now)

    def stop(self) -> None:
        """A home agent serves us, or none is needed."""
        self._change_at = self._look_again_at = None
        self._discovery.succeeded()

    def successor(
        self, current: IPv6Address, last_sent_at: float | None, now: Instant
    ) -> HomeAgentAddress | None:
        """The home agent to use instead of `current`, when the time has come.

        It MUST NOT hear from us before InitialBindackTimeoutFirstReg has passed since the last Binding Update
        left at `last_sent_at`.
        """
        if self._change_at is None or self._change_at > now.monotonic:
            return None
        if last_sent_at is not None and now.monotonic < last_sent_at + INITIAL_BINDACK_TIMEOUT_FIRST_REG:
            self._change_at = last_sent_at + INITIAL_BINDACK_TIMEOUT_FIRST_REG
            return None
        self._change_at = None
        return self._agents.next(current, now.monotonic)

    def tick(self, now: Instant) -> None:
        """Do what is due."""
        if self._look_again_at is not None and self._look_again_at <= now.monotonic:
            self._look_again_at = None
            self._discover(now)
        if self._discovery.due is not None and self._discovery.due <= now.monotonic:
            self._transmit(now)

    def reply(self, message: HomeAgentAddressDiscoveryReply, now: Instant) -> None:
        """A home agent tells who there is."""
        found = self._discovery.answered(message)
        if isinstance(found, Drop):
            self._emit(found)
            return
        self._agents.learn(found)
        self._emit(Event("home-agents-discovered", {"home_agents": " ".join(map(str, found))}))
        self._change_at = now.monotonic
        self._look_again_at = now.monotonic + DISCOVERY_PAUSE

    def _discover(self, now: Instant) -> None:
        """Ask from here, or later if it was asked here not long ago."""
        here = self._here
        if not self._discovers or here is None or self._discovery.active:
            return
        if self._discovery.begin(here, now.monotonic):
            self._emit(Event("home-agent-discovery", {"care_of": str(here.address)}))
            self._transmit(now)
        else:
            self._look_again_at = self._discovery.pause_ends(now.monotonic)

    def _transmit(self, now: Instant) -> None:
        request = self._discovery.transmit(now.monotonic)
        if request is not None:
            self._emit(request)
        else:
            self._look_again_at = now.monotonic + DISCOVERY_PAUSE
