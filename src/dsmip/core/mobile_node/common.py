"""What the registrations of one mobile node have in common, whatever the number of its care-of addresses."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from dsmip.core.actions import Action
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.counters import Counters
from dsmip.core.mobile_node.ipv4 import IPv4Wishes
from dsmip.core.mobile_node.prefix import HomePrefix
from dsmip.core.mobile_node.tunnel import InnerNetworks
from dsmip.core.network_memory import NetworkMemory
from dsmip.core.types import Instant


@dataclass(frozen=True, slots=True)
class Common:
    """One home address, one home agent, one key, one series of numbers.

    `failed(seconds, now)` is called when the home agent will not or cannot serve us, with the time for which
    there is no point in asking it again.
    """

    memory: NetworkMemory
    rng: random.Random
    emit: Callable[[Action], None]
    failed: Callable[[float, Instant], None]
    counters: Counters
    home_prefix: HomePrefix
    wishes: IPv4Wishes
    networks: InnerNetworks

    @classmethod
    def of(
        cls,
        config: MobileNodeConfig,
        memory: NetworkMemory,
        rng: random.Random,
        emit: Callable[[Action], None],
        failed: Callable[[float, Instant], None],
    ) -> Common:
        """For a mobile node of this configuration that knows nothing yet."""
        return cls(
            memory,
            rng,
            emit,
            failed,
            Counters(rng),
            HomePrefix(config, rng),
            IPv4Wishes(config),
            InnerNetworks(config, emit),
        )
