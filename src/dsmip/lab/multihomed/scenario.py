"""Where the tour leads: from link to link, from network to network, and how each link comes to its end."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise

from dsmip.lab.streams import Flow


class Kind(enum.StrEnum):
    """How a link ends: announced, by a pulled cable, or without a word while it stays up."""

    PLANNED = "planned"
    PULLED = "pulled"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Place:
    """A link, and the access network it is plugged into."""

    link: str
    network: str

    def __str__(self) -> str:
        return f"{self.link} in {self.network}"


@dataclass(frozen=True, slots=True)
class Step:
    """One handover: traffic goes to `to`, because the link it was on comes to its end in this way."""

    kind: Kind
    to: Place


#: One of each family: IPv6 only, IPv4 only, IPv4 behind a NAT, dual stack.
FAMILIES = ("wifi6", "cafe4", "nat4", "dual")
LINKS = ("wifi0", "lte0", "lte1")

START = Place("wifi0", "wifi6")

#: Through each ordered pair of families, and on through a NAT of NATs and a firewall, back to the start.
_PLANNED = (
    *("cafe4", "wifi6", "nat4", "wifi6", "dual", "cafe4", "nat4", "cafe4", "dual", "nat4", "dual", "wifi6"),
    *("cgn4", "dual", "fw4", "wifi6", "nat4", "cafe4", "dual", "nat4", "wifi6"),
)

#: Each pair of families once by a pulled cable and once by silent death, with a planned way back up between.
_BROKEN = (
    ("wifi6", "cafe4", "nat4"),
    ("cafe4", "nat4", "dual"),
    ("nat4", "dual", "wifi6"),
    ("dual", "wifi6", "nat4"),
    ("cafe4", "dual", "cafe4"),
    ("nat4", "wifi6", "cafe4"),
)


def _planned(networks: Sequence[str]) -> Iterator[Step]:
    links = cycle(LINKS)
    next(links)  # where it begins
    for link, network in zip(links, networks, strict=False):
        yield Step(Kind.PLANNED, Place(link, network))


def _broken(rounds: Sequence[tuple[str, str, str]]) -> Iterator[Step]:
    for number, (first, second, third) in enumerate(rounds):
        if number or first != START.network:
            yield Step(Kind.PLANNED, Place(LINKS[0], first))
        yield Step(Kind.PULLED, Place(LINKS[1], second))
        yield Step(Kind.SILENT, Place(LINKS[2], third))


#: The whole tour: 21 planned handovers in a row, then six of each other kind.
WHOLE: tuple[Step, ...] = (*_planned(_PLANNED), *_broken(_BROKEN))

#: The same in a few seconds: each kind once or twice, three families.
SHORT: tuple[Step, ...] = (
    Step(Kind.PLANNED, Place("lte0", "nat4")),
    Step(Kind.PLANNED, Place("wifi0", "dual")),
    Step(Kind.PULLED, Place("lte0", "cafe4")),
    Step(Kind.SILENT, Place("lte1", "wifi6")),
)


def check(start: Place, steps: Sequence[Step]) -> None:
    """Raises ValueError unless each step changes both link and network: what a vertical handover is."""
    for before, after in pairwise([start, *(step.to for step in steps)]):
        if before.link == after.link or before.network == after.network:
            raise ValueError(f"from {before} to {after} is no vertical handover")


#: What the mobile router's policy sends over links of their own, while all three are there.
VIDEO = Flow("video", 5004, every=4, octets=1000, families=("v6",))
VOICE = Flow("voice", 5006, every=2, octets=160, families=("v4",))

#: Where each link is while the flows are shown, and the loss of either of the links that carry the voice.
FLOWS_AT = (Place("wifi0", "wifi6"), Place("lte0", "nat4"), Place("lte1", "dual"))
VOICE_LINKS = ("lte0", "lte1")
VOICE_LINK_LOSS = 0.05

POLICY = f"""
[[flow]]
name = "video"
protocol = "udp"
remote_ports = {VIDEO.port}
interfaces = ["lte0", "lte1"]

[[flow]]
name = "voice"
protocol = "udp"
remote_ports = {VOICE.port}
interfaces = ["lte0", "lte1"]
duplicate = 2
"""
