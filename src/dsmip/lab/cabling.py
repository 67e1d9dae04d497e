"""Plugging the mobile router's uplinks in and pulling them out, timed to the microsecond."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from dsmip.lab import plan
from dsmip.lab.netlink import CarrierWatch, LinkControl, index_of
from dsmip.lab.uplinks import Uplink

#: The kernel tells of a lost carrier at most once a second (net/core/link_watch.c).
NEWS_WITHIN = 2.5


@dataclass(frozen=True, slots=True)
class Plug:
    """One move, in CLOCK_MONOTONIC seconds.

    `cut` is when the old link was cut, `plugged` when the new one was connected: time zero of the move.
    `heard_down` and `heard_up` are when the kernel told programs on the mobile router; None = it never did.
    """

    network: str
    cut: float
    plugged: float
    heard_down: float | None
    heard_up: float | None


def plug(prefix: str, uplink: Uplink, network: str, *, connected: bool, unplugged: float = 0.0) -> Plug:
    """Plug an uplink into another network: it loses its carrier, if it is `connected`, and gets a new one.

    The new link is connected as soon as the kernel has told of the loss, and not earlier than `unplugged`
    seconds after the cut. Raises LabError.
    """
    links = prefix + plan.LINKS
    bridge = index_of(links, network)
    with contextlib.ExitStack() as stack:
        carrier = stack.enter_context(contextlib.closing(LinkControl(links, uplink.plug)))
        port = stack.enter_context(contextlib.closing(LinkControl(links, uplink.port)))
        watch = stack.enter_context(contextlib.closing(CarrierWatch(prefix + "mr", uplink.interface)))
        cut = time.monotonic()
        carrier.down()
        heard_down = watch.wait(False, NEWS_WITHIN) if connected else None
        port.put_into(bridge)
        time.sleep(max(0.0, cut + unplugged - time.monotonic()))
        plugged = time.monotonic()
        carrier.up()
        heard_up = watch.wait(True, NEWS_WITHIN)
    return Plug(network, cut, plugged, heard_down, heard_up)


def unplug(prefix: str, uplink: Uplink) -> float:
    """Take an uplink's carrier away and connect it to nothing. Returns when (CLOCK_MONOTONIC seconds)."""
    links = prefix + plan.LINKS
    with contextlib.closing(LinkControl(links, uplink.plug)) as carrier:
        cut = time.monotonic()
        carrier.down()
    with contextlib.closing(LinkControl(links, uplink.port)) as port:
        port.put_into(0)
    return cut
