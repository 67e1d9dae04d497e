"""Carrying out path probes: the echo requests that settle the tunnel format of an IPv4 network."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

from dsmip.core.actions import Action, SendIPv4
from dsmip.core.mobile_node import events
from dsmip.core.mobile_node.config import MobileNodeConfig
from dsmip.core.mobile_node.encapsulation import EncapsulationChoice, ProbeResult
from dsmip.core.path_probe import probe_packet
from dsmip.core.types import CareOfAddress, Instant
from dsmip.wire.pathprobe import PROBE_FORMAT, PROBE_SIZE, ProbePayload


class Prober:
    """Sends what `choice` asks and tells it what came back.

    `config` may be replaced by one that differs in the home agent only. `bid` is the binding identifier of
    one of several paths, 0 = there is only one. The kernel of a home agent answers an echo over the path that
    it prefers, which says nothing about the one that was asked. So what is asked of one of several is a path
    probe, which comes back over its own path or not at all.
    """

    def __init__(
        self,
        config: MobileNodeConfig,
        choice: EncapsulationChoice,
        emit: Callable[[Action], None],
        bid: int = 0,
    ) -> None:
        self.config = config
        self._bid = bid
        self._choice = choice
        self._emit = emit

    @property
    def due(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the next try."""
        return self._choice.probe.due

    def run(self, care_of: CareOfAddress | None, now: Instant) -> ProbeResult | None:
        """If it is due, the next try of the probe under way, or its end: then the result is returned."""
        if self.due is None or self.due > now.monotonic:
            return None
        config = self.config
        if care_of is None or not isinstance(care_of.address, IPv4Address) or config.home_agent_ipv4 is None:
            self._choice.probe.stop()
            return None
        echo = self._choice.probe.next_try(now.monotonic)
        if echo is None:
            return self._told(care_of, self._choice.unanswered(care_of, now.monotonic))
        ends = care_of.address, config.home_agent_ipv4, config.home_address, config.home_agent
        if self._bid:
            sent, flags = int(now.monotonic * 1e9), PROBE_SIZE | PROBE_FORMAT
            packet = probe_packet(*ends, *echo, ProbePayload(self._bid, 0, echo[1], sent, flags).encode())
        else:
            packet = probe_packet(*ends, *echo)
        self._emit(SendIPv4(packet, care_of.interface))
        return None

    def answered(
        self, identifier: int, sequence: int, care_of: CareOfAddress | None, now: Instant
    ) -> ProbeResult | None:
        """An Echo Reply arrived at the home address."""
        if care_of is None:
            return None
        result = self._choice.answered(identifier, sequence, care_of, now.monotonic)
        return None if result is None else self._told(care_of, result)

    def _told(self, care_of: CareOfAddress, result: ProbeResult) -> ProbeResult:
        self._emit(events.probe(care_of, result.value))
        return result
