"""`dsmip explain NAME` on a home agent: the story of one mobile node's binding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dsmip.daemon.explain import sentences as explain
from dsmip.daemon.explain.sentences import Kind, Sentence, ago
from dsmip.daemon.journal import Refusal, Story
from dsmip.daemon.words import counted, duration, octets

#: Seconds after which a tunnel that nothing has come out of is worth a word.
_SILENT = 30.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What the story is made of. `row` is that of `dsmip bindings`, None = no binding. Times are unix."""

    name: str
    home_address: str
    row: Mapping[str, Any] | None
    story: Story
    stranger: Refusal | None
    started: float
    now: float


def tell(facts: Facts) -> list[Sentence]:
    """The story: state, facts, problems each with its mend, and the latest turns."""
    row, story, now = facts.row, facts.story, facts.now
    since = now - row["updated_ago"] if row is not None else 0.0
    sentences = list(_bound(facts, row) if row is not None else _unbound(facts))
    if story.refused is not None:
        sentences += explain.refused(story.refused, now, current=story.refused.unix > since)
    sentences += explain.refusals(story, "Binding Update", since, now)
    sentences += explain.moments(story, now)
    return sentences


def _bound(facts: Facts, row: Mapping[str, Any]) -> Iterable[Sentence]:
    where = " and ".join(_places(row))
    yield Sentence(
        Kind.STATE,
        f"{facts.name} ({facts.home_address}) is registered at {where},"
        f" for {duration(row['registered_for'])}.",
    )
    yield Sentence(
        Kind.FACT,
        f"Its last Binding Update came {duration(row['updated_ago'])} ago (sequence {row['sequence']}) and"
        f" was accepted for {duration(row['lifetime'])}; without another one the binding ends in"
        f" {duration(row['expires_in'])}.",
    )
    paths = row.get("care_of_bindings") or [row]
    for path in paths:
        silent = bool(path.get("silent"))
        yield Sentence(Kind.PROBLEM if silent else Kind.FACT, _way(path, several=len(paths) > 1))
        if silent:
            yield Sentence(
                Kind.MEND, "Packets take another path as long as there is one: see `dsmip bindings`."
            )
    yield from explain.signalling(row)
    yield from explain.payload(row)
    if row["authentication"] == "none":
        yield Sentence(Kind.PROBLEM, "It is not authenticated: anybody can take over its home address.")
        yield Sentence(Kind.MEND, 'Give it a key and `authentication = "mn-ha"` at both ends.')
    yield from _traffic(row)


def _places(row: Mapping[str, Any]) -> list[str]:
    """One or several care-of addresses."""
    return [str(path["care_of"]) for path in row.get("care_of_bindings") or [row]]


def _way(path: Mapping[str, Any], *, several: bool) -> str:
    """How packets get to one care-of address."""
    travel = explain.TUNNELS.get(path["tunnel"], path["tunnel"])
    told = f"Its packets travel {travel}."
    if several:
        told = f"Over {path['care_of']} (binding identifier {path['bid']}) packets travel {travel}."
    if path.get("silent"):
        told += " Nothing has been heard over it lately."
    if path["nat"] == "detected":
        told += (
            f" There is a NAT in between: its Binding Updates come from {path['nat_source']}, which is not"
            " the address it has itself."
        )
    elif path["nat"] == "none":
        told += " There is no NAT in between."
    return told


def _traffic(row: Mapping[str, Any]) -> Iterable[Sentence]:
    got, sent = row["received_packets"], row["sent_packets"]
    yield Sentence(
        Kind.FACT,
        f"Since then {counted(got, 'packet')} ({octets(row['received_bytes'])}) came from it and"
        f" {counted(sent, 'packet')} ({octets(row['sent_bytes'])}) went to it.",
    )
    if sent and not got and row["registered_for"] > _SILENT:
        yield Sentence(
            Kind.PROBLEM,
            "Packets went into its tunnel and none has come out of it: only signalling gets through.",
        )
        mends = {
            "ipv6": "Let next headers 41 and 4 pass every firewall between the mobile node and here.",
            "ipv4": "Let protocols 41 and 4 pass every firewall on the way, or set"
            ' `udp_encapsulation = "force"` here.',
        }
        mend = mends.get(
            row["tunnel"], "Let UDP port 4191 pass every firewall between the mobile node and here."
        )
        yield Sentence(Kind.MEND, mend)


def _unbound(facts: Facts) -> Iterable[Sentence]:
    story, now = facts.story, facts.now
    who = f"{facts.name} ({facts.home_address})"
    ends = [moment for moment in story.moments if moment.kind in ("expired", "deregistered", "not-resumed")]
    last = ends[-1] if ends else None
    if last is not None and last.kind == "deregistered":
        yield Sentence(Kind.STATE, f"{who} has no binding: it ended it itself {ago(last.unix, now)}.")
        yield Sentence(Kind.FACT, "That is what a mobile node does that came home or was stopped.")
        return
    if last is not None and last.kind == "not-resumed":
        yield Sentence(Kind.STATE, f"{who} has no binding: it ended {ago(last.unix, now)}.")
        yield Sentence(Kind.PROBLEM, "This home agent started with no room for it in the kernel.")
        yield Sentence(
            Kind.MEND,
            "It registers again by itself, at its next refresh. If that is refused, raise `max_bindings`.",
        )
        return
    if last is not None:
        at = f"; it was at {last.care_of}" if last.care_of else ""
        yield Sentence(Kind.STATE, f"{who} has no binding: the last one expired {ago(last.unix, now)}{at}.")
        yield Sentence(Kind.PROBLEM, "It did not refresh its binding in time.")
    elif story.refused is None and not story.refusals:
        yield Sentence(Kind.STATE, f"{who} has no binding.")
        up = duration(now - facts.started)
        yield Sentence(Kind.PROBLEM, f"Nothing was heard from it since this home agent started {up} ago.")
    else:
        yield Sentence(Kind.STATE, f"{who} has no binding.")
        return
    yield Sentence(
        Kind.MEND,
        "Look at the mobile node: `dsmip explain` there says whether it has a network and asks this home"
        " agent. If it asks, a firewall on the way drops UDP port 4191 (from IPv4) or IPv6 next header 135.",
    )
    if facts.stranger is not None:
        yield from _stranger(facts.stranger, facts)


def _stranger(stranger: Refusal, facts: Facts) -> Iterable[Sentence]:
    yield Sentence(
        Kind.PROBLEM,
        f"{counted(stranger.count, 'Binding Update')} came for home addresses that are not configured here,"
        f" the last {ago(stranger.last, facts.now)}: {stranger.detail}.",
    )
    yield Sentence(
        Kind.MEND, f"If that is {facts.name}, correct its `home_address`: here it is {facts.home_address}."
    )
