"""Judges what a home agent's new process has found on the disk, and has in force from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsmip.core.types import Binding, ReplayState
from tests.simulation.frames import Violation
from tests.simulation.in_force import EPSILON, NTP_OFFSET, InForce

if TYPE_CHECKING:
    from tests.simulation.agent import AgentHost


def check_restart(
    known: InForce, host: AgentHost, bindings: list[Binding], replays: list[ReplayState], *, trusted: bool
) -> None:
    """A new process of `host` has loaded this. `trusted`: everything acknowledged had reached the disk."""
    stored = {binding.home_address: binding for binding in bindings}
    if trusted and stored != known.bindings:
        raise Violation(f"{host.name} has on disk {stored}, acknowledged {known.bindings}")
    believed = {replay.home_address: replay.timestamp for replay in replays if replay.timestamp}
    if trusted and believed != known.believed:
        raise Violation(f"{host.name} has forgotten timestamps: {believed}, believed {known.believed}")
    known.believed = believed
    known.sequences = {replay.home_address: replay.sequence for replay in replays}
    known.probing.clear()
    now = host.now()
    known.bindings, known.deadlines, known.permitted, known.holders = {}, {}, {}, {}
    known.indices = {replay.index: replay.home_address for replay in replays if replay.index}
    for home_address, binding in stored.items():
        deadlines = {}
        for care_of in binding.care_ofs:
            left = min(care_of.expires - now.unix, care_of.lifetime)
            deadlines[care_of.bid] = host.world.time + left
            if care_of.expires - now.unix > care_of.lifetime + EPSILON:
                continue  # set back
            end, skew = known.skews[home_address, care_of.bid, care_of.updated]
            moved = deadlines[care_of.bid] - end
            if skew == host.skew and abs(moved) > EPSILON:
                raise Violation(f"{home_address}: a restart moves the end by {moved} s")
            known.skews[home_address, care_of.bid, care_of.updated] = (deadlines[care_of.bid], host.skew)
        known.enter(host, binding, deadlines)
    believed_latest = max(believed.values(), default=0) / 2**32 - NTP_OFFSET
    known.no_earlier = (believed_latest - known.file.timestamp_tolerance, host.world.time)
