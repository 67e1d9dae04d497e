"""`dsmip explain` on a mobile node: its own story."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dsmip.daemon.explain import sentences as explain
from dsmip.daemon.explain.sentences import Kind, Sentence, ago
from dsmip.daemon.journal import Story
from dsmip.daemon.records import Record
from dsmip.daemon.words import counted, duration, octets

#: States of a path that is none yet.
_WITHOUT_BINDING = ("registering", "refused")

#: Binding Updates without an answer that are worth a word.
_UNANSWERED = 2


@dataclass(frozen=True, slots=True)
class Facts:
    """What the story is made of: the answers of `dsmip status` and `attachments`, and the journal. `latest`
    has the last event of each kind. Times are unix."""

    status: Mapping[str, Any]
    attachments: Mapping[str, Any]
    story: Story
    latest: Mapping[str, Record]
    now: float


def tell(facts: Facts) -> list[Sentence]:
    """The story: state, facts, problems each with its mend, and the latest turns."""
    story, now = facts.story, facts.now
    accepted = _when(facts, "binding-acknowledged")
    sentences = [*_state(facts), *explain.signalling(facts.status), *_networks(facts)]
    sentences += [*_cut_off(facts), *_unanswered(facts)]
    if story.refused is not None:
        sentences += explain.refused(story.refused, now, current=story.refused.unix > accepted)
    sentences += _stopped(facts)
    sentences += explain.refusals(story, "packet", accepted, now)
    sentences += explain.moments(story, now)
    return sentences


def _when(facts: Facts, kind: str) -> float:
    """When something of this kind happened last; 0 = never."""
    record = facts.latest.get(kind)
    return float(record["unix"]) if record is not None else 0.0


def _state(facts: Facts) -> Iterable[Sentence]:
    status = facts.status
    who = f"{status['name']} ({status['home_address']})"
    care_of, interface = status["care_of"], status["interface"]
    match status["state"]:
        case "registered":
            yield Sentence(
                Kind.STATE,
                f"{who} is registered at {' and '.join(_places(facts))} with home agent"
                f" {status['home_agent']}.",
            )
            yield from _registration(facts)
        case "registering":
            yield Sentence(Kind.STATE, f"{who} is at {care_of} on {interface} and not registered yet.")
        case "refused":
            again = duration(status["asks_again_in"] or 0)
            yield Sentence(
                Kind.STATE,
                f"{who} is at {care_of} on {interface}, and home agent {status['home_agent']} refuses to"
                f" register it; it asks again in {again}.",
            )
        case "stopped":
            yield Sentence(
                Kind.STATE,
                f"{who} is at {care_of} on {interface} and has stopped: it sends no Binding Updates.",
            )
        case "at home" | "returning home":
            yield Sentence(Kind.STATE, f"{who} is {status['state']}: no tunnel is needed.")
        case _:
            yield Sentence(Kind.STATE, f"{who} has no network.")


def _stopped(facts: Facts) -> Iterable[Sentence]:
    """What it takes to begin anew. That another host has its address is told by the refusal."""
    if facts.status["state"] != "stopped":
        return
    refused = facts.story.refused
    if refused is not None and refused.detail == "DUPLICATE_ADDRESS_DETECTION_FAILED":
        yield Sentence(Kind.PROBLEM, "It does not ask again by itself, so as not to disturb that other host.")
    else:
        yield Sentence(Kind.PROBLEM, "Its home prefix is no longer valid: nobody advertises it at home.")
    yield Sentence(
        Kind.MEND, f"When that is mended, restart it: `systemctl restart dsmip@{facts.status['name']}`."
    )


def _paths(facts: Facts) -> list[Mapping[str, Any]]:
    """The paths of several uplinks; empty with one binding only."""
    return facts.attachments.get("paths") or []


def _places(facts: Facts) -> list[str]:
    """Every care-of address that is registered, with its interface."""
    paths = [path for path in _paths(facts) if path["care_of"] and path["state"] not in _WITHOUT_BINDING]
    return [f"{path['care_of']} on {path['interface']}" for path in paths or [facts.status]]


def _each_path(facts: Facts) -> Iterable[Sentence]:
    """How each of several paths is doing."""
    closed = {row["address"] for row in _closed(facts)}
    for path in _paths(facts):
        if path["care_of"] in closed:
            continue  # there is more to be said of it
        name, state = path["interface"], path["state"]
        told = f"{name} ({explain.TUNNELS.get(path['tunnel'], 'no tunnel')}) is {state}"
        if path["in_use"]:
            told += " and in use"
        if path["delay_ms"] is not None:
            told += f"; round trip {path['delay_ms']:g} ms, {path['loss']:.1%} lost"
        silent = state == "silent"
        if silent and path["heard_ago"] is not None:
            told += f"; nothing was heard over it for {duration(path['heard_ago'])}"
        yield Sentence(Kind.PROBLEM if silent else Kind.FACT, f"{told}.")
        if silent:
            yield Sentence(
                Kind.MEND,
                f"Traffic takes the other paths. Look at the network on {name}: is it up, but dead?",
            )


def _registration(facts: Facts) -> Iterable[Sentence]:
    status = facts.status
    accepted = _when(facts, "binding-acknowledged")
    if accepted:
        left = status["lifetime_left"]
        rest = f", for {duration(left)} more" if left else ""
        trip = status["round_trip_ms"]
        took = f"; the answer took {trip:g} ms" if trip is not None else ""
        yield Sentence(
            Kind.FACT, f"Its last Binding Update was accepted {ago(accepted, facts.now)}{rest}{took}."
        )
    if _paths(facts):
        yield from _each_path(facts)
    else:
        nat = {"detected": ", through a NAT", "none": ", without a NAT"}.get(status["nat"], "")
        yield Sentence(
            Kind.FACT, f"Its packets travel {explain.TUNNELS.get(status['tunnel'], 'nowhere')}{nat}."
        )
    yield Sentence(
        Kind.FACT,
        f"So far {counted(status['sent_packets'], 'packet')} ({octets(status['sent_bytes'])}) went to the"
        f" home agent and {counted(status['received_packets'], 'packet')}"
        f" ({octets(status['received_bytes'])}) came from it.",
    )
    yield from explain.payload(status)
    if status["authentication"] == "none":
        yield Sentence(Kind.PROBLEM, "It is not authenticated: anybody can take over its home address.")
        yield Sentence(Kind.MEND, 'Set a key and `authentication = "mn-ha"` at both ends.')


def _networks(facts: Facts) -> Iterable[Sentence]:
    """Why there is no network, if there is none."""
    if facts.status["state"] != "detached":
        return
    for name, interface in facts.attachments["interfaces"].items():
        if interface["state"] != "up":
            yield Sentence(Kind.PROBLEM, f"{name} is down.")
            yield Sentence(Kind.MEND, f"Plug in a cable, join a network, or `ip link set {name} up`.")
        elif interface["managed"]:
            yield Sentence(Kind.PROBLEM, f"{name} is up, but no router or DHCP server has answered there.")
            yield Sentence(Kind.MEND, "Look whether that network gives out addresses at all.")
        else:
            yield Sentence(Kind.PROBLEM, f"{name} is up, but has no address with a default route.")
            yield Sentence(
                Kind.MEND, "Whoever configures it has to; or let dsmip do it, with `manage = true`."
            )
    if not facts.attachments["interfaces"]:
        yield Sentence(Kind.PROBLEM, "None of the configured interfaces exists.")
        yield Sentence(Kind.MEND, "Compare `[[interface]]` with `ip link`.")


def _closed(facts: Facts) -> list[Mapping[str, Any]]:
    """Care-of addresses from which nothing gets to a home agent that works."""
    return [row for row in facts.attachments["care_of"] if row["cut_off"]]


def _cut_off(facts: Facts) -> Iterable[Sentence]:
    """Networks with addresses and without a way out: captive portals, firewalls."""
    for row in _closed(facts):
        name = row["interface"]
        yield Sentence(
            Kind.PROBLEM,
            f"{name} has the address {row['address']}, but Binding Updates from there are not answered, while"
            " the home agent answers over another network: it seems that this one does not let them through.",
        )
        if row["portal"]:
            mend = f"It asks for a log-in: open {row['portal']} in a browser on that network."
        else:
            mend = (
                "If it wants a log-in, open any web page in a browser there; if not, its firewall may drop"
                f" {_signalling(row['address'])}."
            )
        yield Sentence(
            Kind.MEND, f"{mend} Until then other networks are used; {name} is tried again by itself."
        )


def _signalling(care_of: str) -> str:
    """What Binding Updates from this care-of address are to a firewall."""
    return "UDP port 4191" if ":" not in care_of else "IPv6 next header 135"


def _unanswered(facts: Facts) -> Iterable[Sentence]:
    sent = facts.latest.get("binding-update-sent")
    if sent is None or facts.status["state"] == "detached":
        return
    answered = max(_when(facts, "binding-acknowledged"), _when(facts, "binding-refused"))
    number = int(sent.get("transmission", 1))
    care_of, status = str(sent["care_of"]), facts.status
    here = next((row for row in facts.attachments["care_of"] if row["address"] == care_of), None)
    cut_off, portal = (here["cut_off"], here["portal"]) if here is not None else (False, None)
    if float(sent["unix"]) <= answered or number < _UNANSWERED or cut_off:
        return
    yield Sentence(
        Kind.PROBLEM,
        f"{counted(number, 'Binding Update')} from {care_of} got no answer, the last was sent"
        f" {ago(float(sent['unix']), facts.now)}.",
    )
    if portal:
        yield Sentence(
            Kind.MEND,
            f"This network has a captive portal: if nobody has logged in yet, open {portal} in a browser.",
        )
    yield Sentence(
        Kind.MEND,
        f"Look whether home agent {status['home_agent']} runs and answers a ping from this network;"
        f" a firewall in between may drop {_signalling(care_of)}. `dsmip explain {status['name']}` on the"
        " home agent says whether it heard them.",
    )
