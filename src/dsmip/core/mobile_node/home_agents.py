"""The home agents a mobile node may register with: those it was told of, then those it discovered.

RFC 6275 section 11.4.1, RFC 3963 section 5.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

#: Home agents kept. A discovery reply is not authenticated: it must not fill the list with strangers.
MAX_HOME_AGENTS = 16

#: Seconds for which a home agent that did not answer, or had no room, is passed over.
PASSED_OVER = 60.0


@dataclass(frozen=True, slots=True)
class HomeAgentAddress:
    """Where a home agent is reached; `ipv4` None = from IPv6 networks only."""

    address: IPv6Address
    ipv4: IPv4Address | None = None


class HomeAgents:
    """The list, in the order of trial. Times are CLOCK_MONOTONIC seconds."""

    def __init__(self, configured: Sequence[HomeAgentAddress]) -> None:
        self._list = list(configured)
        self._told = len(self._list)
        self._located: HomeAgentAddress | None = None
        self._passed_over: dict[IPv6Address, float] = {}

    @property
    def addresses(self) -> tuple[IPv6Address, ...]:
        """All of them, in order."""
        return tuple(agent.address for agent in self._list)

    def locate(self, agent: HomeAgentAddress) -> HomeAgentAddress | None:
        """The one to try first, known by name, is here now; returns where it was before."""
        before, self._located = self._located, agent
        if before is None:
            self._told += 1
        self._list = [agent, *(other for other in self._list if other not in (before, agent))]
        self._passed_over.pop(agent.address, None)
        return before

    def learn(self, addresses: Iterable[IPv6Address]) -> None:
        """What a discovery found, in the order of the reply: takes the place of what the last one found."""
        known = set(self.addresses[: self._told])
        found = [address for address in dict.fromkeys(addresses) if address not in known]
        self._list[self._told :] = [HomeAgentAddress(address) for address in found][
            : MAX_HOME_AGENTS - self._told
        ]

    def pass_over(self, address: IPv6Address, until: float) -> None:
        """Not this one until then: it refused or was silent."""
        self._passed_over[address] = until

    def next(self, current: IPv6Address, now: float) -> HomeAgentAddress | None:
        """The first one that is not passed over now, and not `current`."""
        for agent in self._list:
            if agent.address != current and self._passed_over.get(agent.address, now) <= now:
                return agent
        return None
