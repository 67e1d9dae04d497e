"""The story of a mobile node in plain words: what both ends have in common."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dsmip.daemon.explain import texts as explain_texts
from dsmip.daemon.journal import Moment, Refusal, Story
from dsmip.daemon.words import CLEAR, counted, duration

#: How a tunnel format is said, after "its packets travel".
TUNNELS = {
    "ipv6": "in IPv6",
    "ipv4": "directly in IPv4 (protocols 41 and 4)",
    "udp4": "in UDP in IPv4",
    "udp6": "in UDP in IPv6",
    "link": "over the home link, without a tunnel",
}


class Kind(enum.Enum):
    """What a sentence is there for."""

    STATE = "state"
    FACT = "fact"
    PROBLEM = "problem"
    MEND = "mend"
    MOMENT = "moment"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a story."""

    kind: Kind
    text: str


def ago(unix: float, now: float) -> str:
    """How long ago that was."""
    return f"{duration(now - unix)} ago"


def signalling(row: Mapping[str, Any]) -> Iterable[Sentence]:
    """How Binding Updates are protected, where IPsec does it."""
    how = str(row["signalling"])
    if how.startswith("ESP"):
        ike = f": {row['ike']}" if row.get("ike") else ""
        yield Sentence(Kind.FACT, f"Its signalling is under {how}{ike}.")


def payload(row: Mapping[str, Any]) -> Iterable[Sentence]:
    """How what the packets carry is protected, if it is."""
    if row["payload"] != CLEAR:
        cipher = str(row["payload"]).removeprefix("esp ")
        yield Sentence(Kind.FACT, f"What its packets carry is under ESP as far as the home agent: {cipher}.")


def refused(moment: Moment, now: float, *, current: bool) -> Iterable[Sentence]:
    """An authentic Binding Update that was refused; `current`: nothing better has come since."""
    cause = explain_texts.status(moment.detail)
    where = f" for {moment.care_of}" if moment.care_of else ""
    text = f"A Binding Update{where} was refused {ago(moment.unix, now)}, because {cause.what}."
    yield from _told(text, cause.mend, current=current)


def refusals(story: Story, what: str, since: float, now: float) -> Iterable[Sentence]:
    """Packets that were refused without believing their sender; a problem if the last was after `since`."""
    for slug, refusal in sorted(story.refusals.items(), key=lambda item: -item[1].last):
        yield from _refusal(slug, refusal, what, now, current=refusal.last > since)


def _refusal(slug: str, refusal: Refusal, what: str, now: float, *, current: bool) -> Iterable[Sentence]:
    cause = explain_texts.reason(slug)
    were = "was" if refusal.count == 1 else "were"
    text = f"{counted(refusal.count, what)} {were} not believed, because {cause.what}"
    text += f"; the last {ago(refusal.last, now)}"
    yield from _told(
        f"{text} ({refusal.detail})." if refusal.detail else f"{text}.", cause.mend, current=current
    )


def _told(text: str, mend: str, *, current: bool) -> Iterable[Sentence]:
    yield Sentence(Kind.PROBLEM if current else Kind.FACT, text)
    if current and mend:
        yield Sentence(Kind.MEND, mend)


def moments(story: Story, now: float) -> Iterable[Sentence]:
    """The latest turns, the last one first."""
    for moment in reversed(story.moments):
        yield Sentence(Kind.MOMENT, f"{ago(moment.unix, now)}: {turn(moment)}")


def turn(moment: Moment) -> str:
    """One turn in a few words."""
    where = moment.care_of
    if where and moment.format:
        where += f", {TUNNELS.get(moment.format, moment.format)}"
        where += ", behind a NAT" if moment.nat == "detected" else ""
    came = f" (before: {moment.previous})" if moment.previous else ""
    match moment.kind:
        case "registered":
            return f"registered at {where}"
        case "moved" | "handover":
            return f"moved to {where}{came}" if came else f"registered at {where}"
        case "refused" | "binding-refused":
            return f"refused: {moment.detail.lower().replace('_', ' ')}"
        case "care-of-added":
            return f"also at {where}"
        case "care-of-removed":
            return f"no longer at {where} ({moment.detail})"
        case "network-cut-off":
            return f"nothing gets from {where} to the home agent"
        case "path-health" | "signal":
            return moment.detail
        case "single-binding":
            return "the home agent takes one care-of address only"
        case "simultaneous-home-refused":
            return "the home agent takes the home link alone or not at all"
        case "expired":
            return f"its binding expired{f' at {where}' if where else ''}"
        case "deregistered":
            return "de-registered"
        case "not-resumed":
            return "its binding ended at a start of the home agent, for which there was no room"
        case "keys-negotiated":
            return "keys were negotiated by IKE"
        case "keys-refused":
            return f"no keys by IKE: {moment.detail}"
        case "keys-gone":
            return "there are no keys any more"
        case "home":
            return f"home link: {moment.detail}"
        case _:
            rest = " ".join(part for part in (where, moment.detail) if part)
            return f"{moment.kind.replace('-', ' ')} {rest}".strip()


def problems(sentences: Iterable[Sentence]) -> list[str]:
    """What is wrong in a story, each with its mend."""
    found: list[str] = []
    for sentence in sentences:
        if sentence.kind is Kind.PROBLEM:
            found.append(sentence.text)
        elif sentence.kind is Kind.MEND and found:
            found[-1] += f" {sentence.text}"
    return found


def as_json(sentences: Iterable[Sentence]) -> list[dict[str, str]]:
    """For the control socket."""
    return [{"kind": sentence.kind.value, "text": sentence.text} for sentence in sentences]
