"""What happened to each mobile node lately, kept small: the memory behind `dsmip explain`.

A node's story is a few moments and, by reason, its refusals. Stories are kept of configured mobile nodes
only, and of a bounded number of them. What strangers send in a node's name is counted beside its story; it
pushes nothing out of any.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from dsmip.daemon.records import Record, Short, Told, lengthened, readable, shortened, text_of

#: Mobile nodes whose stories are kept; the one that was quiet for longest goes first.
MAX_STORIES = 16384
#: Moments kept of each mobile node.
MOMENTS = 8
#: Events of any kind that are kept for who asks.
RECENT = 256
#: Moments of all mobile nodes together, for a timeline.
TIMELINE = 512

#: Kinds of events that change where a mobile node is reached, or whether. Refreshes are none of them.
TURNS = frozenset(
    (
        *("registered", "moved", "deregistered", "expired", "refused", "revoked"),
        *("care-of-added", "care-of-removed", "path-health", "single-binding", "mobile-router-not-supported"),
        *("handover", "home", "detached", "binding-refused", "fallback", "home-agent", "signal"),
        *("keys-negotiated", "keys-refused", "keys-gone", "network-cut-off"),
        *("simultaneous-home-refused", "not-resumed"),
    )
)


class Moment(NamedTuple):
    """One turn in a node's story. `unix` is seconds since 1970; what does not apply is "".

    There are thousands for each one that is read, so addresses are octets until then.
    """

    unix: float
    kind: str
    place: Short = ""
    former_place: Short = ""
    format: str = ""
    nat: str = ""
    detail: str = ""

    @property
    def care_of(self) -> str:
        """Where the mobile node is from then on."""
        return lengthened(self.place)

    @property
    def previous(self) -> str:
        """Where it was before."""
        return lengthened(self.former_place)


@dataclass(slots=True)
class Refusal:
    """Packets in a node's name that were refused for one reason. `last` is seconds since 1970."""

    count: int
    last: float
    detail: str


@dataclass(slots=True)
class Story:
    """What is known of one mobile node. `refused` is its last authentic Binding Update that was refused."""

    moments: tuple[Moment, ...] = ()
    refused: Moment | None = None
    refusals: dict[str, Refusal] = field(default_factory=dict)


class Journal:
    """Listens to events and refusals. A mobile node's own story has the key ""."""

    def __init__(self, *, stories: int = MAX_STORIES) -> None:
        self._most = stories
        self._stories: OrderedDict[str, Story] = OrderedDict()
        #: The latest event of each kind; kinds are words of the program, so this is bounded.
        self._latest: dict[str, Told] = {}
        #: The latest turns of all mobile nodes, oldest first.
        self._timeline: deque[Told] = deque(maxlen=TIMELINE)
        #: How many turns there have been.
        self.turns = 0
        #: The last Binding Update for a home address that nobody has, of `strangers` in all.
        self.stranger: Refusal | None = None

    @property
    def latest(self) -> dict[str, Record]:
        """The latest event of each kind."""
        return {kind: readable(told) for kind, told in self._latest.items()}

    def story(self, home_address: str = "") -> Story | None:
        """What is known of the mobile node with this home address."""
        return self._stories.get(home_address)

    def latest_refused(self, most: int, after: float) -> list[str]:
        """Home addresses in whose name something was refused after `after`, those heard of last first."""
        found = []
        for home_address, story in reversed(self._stories.items()):
            last = max((refusal.last for refusal in story.refusals.values()), default=0.0)
            if max(last, story.refused.unix if story.refused is not None else 0.0) > after:
                found.append(home_address)
                if len(found) == most:
                    break
        return found

    def since(self, turns: int) -> list[Record]:
        """The turns after the first so many, as far as they are kept. More than there were means that whoever
        asks has counted those of an earlier process: all of them."""
        new = self.turns - turns if 0 <= turns <= self.turns else self.turns
        kept = len(self._timeline)
        return [readable(told) for told in islice(self._timeline, kept - min(new, kept), None)]

    def event(self, kind: str, told: Told) -> None:
        """An event; `told` has its fields and `unix`."""
        self._latest[kind] = told
        if kind not in TURNS:
            return
        self._timeline.append(told)
        self.turns += 1
        home_address = text_of(told.get("home_address", ""))
        if kind == "registered" and home_address not in self._stories:
            # Most of a fleet that has just been switched on: its bindings say as much by themselves.
            return
        moment = moment_of(kind, told)
        story = self._open(home_address)
        story.moments = (*story.moments[1 - MOMENTS :], moment)
        if kind in ("refused", "binding-refused"):
            story.refused = moment

    def drop(self, reason: str, detail: str, node: str | None, unix: float) -> None:
        """A packet was refused; `node` is whose story it belongs to, None = nobody's."""
        if node is not None:
            story = self._stories.get(node)
            if story is None and len(self._stories) < self._most:
                story = self._stories[node] = Story()
            if story is not None:
                _count(story.refusals, reason, detail, unix)
        elif reason == "unknown-mobile-node":
            count = self.stranger.count if self.stranger is not None else 0
            self.stranger = Refusal(count + 1, unix, detail)

    def _open(self, home_address: str) -> Story:
        story = self._stories.get(home_address)
        if story is None:
            story = self._stories[home_address] = Story()
            if len(self._stories) > self._most:
                self._stories.popitem(last=False)
        else:
            self._stories.move_to_end(home_address)
        return story


def _count(refusals: dict[str, Refusal], reason: str, detail: str, unix: float) -> None:
    """Reasons are words of the program, so there is no more than a handful."""
    known = refusals.get(reason)
    if known is None:
        refusals[reason] = Refusal(1, unix, detail)
    else:
        known.count, known.last, known.detail = known.count + 1, unix, detail


def moment_of(kind: str, record: Told) -> Moment:
    """A turn as it is kept of it."""
    get = record.get
    match kind:
        case "binding-refused":
            detail = text_of(get("name", ""))
        case "path-health":
            detail = f"{get('interface', '')} is {get('health', '')}"
        case "signal":
            state = "weak" if get("weak") else "good again"
            detail = f"the signal of {get('interface', '')} is {state}"
        case _:
            detail = text_of(get("reason", "")) or text_of(get("step", ""))
    unix = get("unix", 0.0)
    return Moment(
        float(unix) if isinstance(unix, int | float) else 0.0,
        kind,
        shortened(get("care_of", "")),
        shortened(get("previous", "")),
        text_of(get("format", "")),
        text_of(get("nat", "")),
        # The same few words in thousands of stories.
        sys.intern(detail),
    )
