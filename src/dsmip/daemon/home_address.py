"""The home address after a renumbering, kept in a file so that the next start begins with it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from dsmip.core.mobile_node.engine import MobileNode
from dsmip.core.mobile_node.renumbering import HomeAddress
from dsmip.core.types import Instant
from dsmip.daemon import durable

FILE_NAME = "home-address.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Renumbered:
    """The configured home address, the one to use instead, and when the configured one ends in
    CLOCK_MONOTONIC seconds, None = never."""

    configured: IPv6Address
    home: HomeAddress
    configured_until: float | None = None


def remember(directory: Path, known: Renumbered, now: Instant) -> None:
    """Keep this for the next start, or nothing if it is the configured home address."""
    path = directory / FILE_NAME
    until = known.configured_until
    data = {
        "configured": str(known.configured),
        "home_address": str(known.home.address),
        "home_prefix": str(known.home.prefix),
        "configured_until": None if until is None else now.unix + until - now.monotonic,
    }
    try:
        if known.home.address == known.configured:
            path.unlink(missing_ok=True)
        else:
            durable.write(path, json.dumps(data).encode())
    except OSError as error:
        log.warning("the next start begins with another home address: %s", error)


def remembered(directory: Path, configured: IPv6Address, now: Instant) -> Renumbered | None:
    """What was kept for this configured home address; None when there is nothing, or nothing legible."""
    try:
        data = json.loads((directory / FILE_NAME).read_bytes())
        if data["configured"] != str(configured):
            return None
        address, prefix = IPv6Address(data["home_address"]), IPv6Network(data["home_prefix"])
        ends = data["configured_until"]
        until = None if ends is None else now.monotonic + float(ends) - now.unix
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Renumbered(configured, HomeAddress(address, prefix), until) if address in prefix else None


def resume(engine: MobileNode, directory: Path, now: Instant) -> None:
    """Begin with the home address that a renumbering led to, if one has."""
    known = remembered(directory, engine.config.home_address, now)
    if known is not None:
        engine.resume_home_address(known.home, known.configured_until, now)
