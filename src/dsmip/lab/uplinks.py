"""The mobile router's uplinks: how many it has, what they are called and what kind of link each is.

A bare uplink is a cable. A shaped one has the air in the middle: a relay (`dsmip.lab.relay`) that delays,
loses and paces what passes.

    bare     mr:wan0 --- links:wan0-plug (put into the bridge of a network)
    shaped   mr:lte0 --- links:lte0-plug  (relay)  links:lte0-air --- links:lte0-port (put into the bridge)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dsmip.lab import plan
from dsmip.lab.errors import LabError


@dataclass(frozen=True, slots=True)
class Shape:
    """What a link does to packets, each way. Packets are never reordered: radio links keep the order, too.

    `delay` in seconds; up to `jitter` seconds more, drawn anew every so often; `loss` is the share of packets
    lost at random; `rate` in bit/s, 0 = unlimited. `silent` is a link that is up and carries nothing.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: float = 0.0
    silent: bool = False

    def __str__(self) -> str:
        if self.silent:
            return "silent"
        parts = [f"{1000 * self.delay:g} ms" + (f" + {1000 * self.jitter:g}" if self.jitter else "")]
        if self.rate:
            parts.append(f"{self.rate / 1e6:g} Mbit/s")
        if self.loss:
            parts.append(f"{100 * self.loss:g} % lost")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Uplink:
    """One uplink of the mobile router. `shape` None = a bare cable; lower `preference` = better."""

    interface: str
    mac: str
    shape: Shape | None = None
    preference: int = 100

    @property
    def plug(self) -> str:
        """The far end of its cable, in `links`: up or down, it is the uplink's carrier."""
        return f"{self.interface}-plug"

    @property
    def air(self) -> str:
        """Where the relay hands over to the network, in `links`."""
        return f"{self.interface}-air"

    @property
    def port(self) -> str:
        """What is put into the bridge of a network, in `links`."""
        return f"{self.interface}-port" if self.shape is not None else self.plug

    @property
    def cables(self) -> list[tuple[plan.Port, plan.Port]]:
        """What it takes to wire it."""
        cables = [(plan.Port("mr", self.interface, mac=self.mac), plan.Port(plan.LINKS, self.plug))]
        if self.shape is not None:
            cables.append((plan.Port(plan.LINKS, self.air), plan.Port(plan.LINKS, self.port)))
        return cables

    @property
    def segmenting(self) -> list[tuple[str, str]]:
        """(node, interface) that must put out packets of link size: the relay counts what it loses."""
        return [("mr", self.interface), (plan.LINKS, self.port)] if self.shape is not None else []


#: The one uplink of a lab unless something else is asked for.
SINGLE: tuple[Uplink, ...] = (Uplink(plan.UPLINK, plan.UPLINK_MAC),)

#: A vehicle's: Wi-Fi and two cellular modems.
MULTIHOMED: tuple[Uplink, ...] = (
    Uplink("wifi0", plan.UPLINK_MAC, Shape(delay=0.002, jitter=0.001, rate=60e6), preference=10),
    Uplink("lte0", "02:00:5e:10:00:11", Shape(delay=0.020, jitter=0.004, rate=40e6), preference=20),
    Uplink("lte1", "02:00:5e:10:00:12", Shape(delay=0.035, jitter=0.006, rate=25e6), preference=30),
)


def find(uplinks: Sequence[Uplink], interface: str) -> Uplink:
    """The uplink of this name, the first one for "". Raises LabError when there is none."""
    for uplink in uplinks:
        if interface in ("", uplink.interface):
            return uplink
    raise LabError(
        f"there is no uplink {interface!r}; there are: {', '.join(uplink.interface for uplink in uplinks)}"
    )


_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|)")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m|g|)(?:bit(?:/s)?)?")
_TIME_UNITS = {"": 1e-3, "ms": 1e-3, "s": 1.0}
_RATE_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def parsed(what: str, text: str) -> float:
    """A property of a shape as a person writes it: delay 50ms, jitter 5ms, loss 5%, rate 20mbit.

    Raises LabError when the text is none.
    """
    text = text.strip().lower()
    if what in ("delay", "jitter") and (found := _TIME.fullmatch(text)):
        return float(found[1]) * _TIME_UNITS[found[2]]
    if what == "loss" and (found := _SHARE.fullmatch(text)) and float(found[1]) <= 100:
        return float(found[1]) / 100
    if what == "rate" and (found := _RATE.fullmatch(text)):
        return float(found[1]) * _RATE_UNITS[found[2]]
    raise LabError(f"{text!r} is no {what}; examples: delay 50ms, jitter 5ms, loss 5%, rate 20mbit")
