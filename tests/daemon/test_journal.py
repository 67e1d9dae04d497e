"""The memory behind `dsmip explain`: small, and not to be filled by strangers."""

from __future__ import annotations

from dsmip.daemon.events import EventLog
from dsmip.daemon.journal import MOMENTS, Journal

BUS = "2001:db8:100::17"


def test_a_story_keeps_the_latest_turns_and_no_refreshes() -> None:
    events = EventLog()
    for number in range(MOMENTS + 3):
        events.event("moved", {"home_address": BUS, "care_of": f"192.0.2.{number}", "format": "udp4"})
        events.event("refreshed", {"home_address": BUS})
    story = events.journal.story(BUS)
    assert story is not None
    assert [moment.care_of for moment in story.moments] == [f"192.0.2.{n}" for n in range(3, MOMENTS + 3)]
    assert events.counts == {"moved": MOMENTS + 3, "refreshed": MOMENTS + 3}


def test_forged_packets_push_nothing_out() -> None:
    events = EventLog()
    events.event("moved", {"home_address": BUS, "care_of": "192.0.2.1"})
    events.event("refused", {"home_address": BUS, "status": 132, "reason": "NOT_HOME_SUBNET"})
    for number in range(1000):
        events.drop("authentication-failed", f"from 2001:db8::{number:x}", BUS)
    story = events.journal.story(BUS)
    assert story is not None
    assert [moment.kind for moment in story.moments] == ["moved", "refused"]
    assert story.refused is not None
    assert story.refused.detail == "NOT_HOME_SUBNET"
    refusal = story.refusals["authentication-failed"]
    assert (refusal.count, refusal.detail) == (1000, "from 2001:db8::3e7")


def test_stories_are_bounded_and_forgeries_take_no_place_from_real_ones() -> None:
    journal = Journal(stories=3)
    for name in ("a", "b", "c"):
        journal.event("moved", {"home_address": name, "unix": 1.0})
    for number in range(100):
        journal.drop("replay", "", f"forged-{number}", 2.0)
    assert all(journal.story(name) for name in ("a", "b", "c"))
    journal.event("moved", {"home_address": "a", "unix": 3.0})
    journal.event("moved", {"home_address": "d", "unix": 4.0})
    assert journal.story("b") is None, "the one that was quiet for longest makes room"
    assert journal.story("a") is not None


def test_the_last_stranger_is_remembered_and_no_more() -> None:
    journal = Journal()
    for number in range(10):
        journal.drop("unknown-mobile-node", f"2001:db8::{number}", None, float(number))
    assert journal.stranger is not None
    assert (journal.stranger.count, journal.stranger.detail) == (10, "2001:db8::9")
    assert journal.story("2001:db8::9") is None


def test_a_first_registration_is_in_the_binding_and_needs_no_story() -> None:
    journal = Journal()
    journal.event("registered", {"home_address": BUS, "unix": 1.0})
    assert journal.story(BUS) is None
    journal.event("expired", {"home_address": BUS, "unix": 2.0})
    journal.event("registered", {"home_address": BUS, "unix": 3.0})
    story = journal.story(BUS)
    assert story is not None
    assert [moment.kind for moment in story.moments] == ["expired", "registered"]
    assert journal.turns == 3
