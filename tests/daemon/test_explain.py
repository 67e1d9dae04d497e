"""Stories in plain words: what an operator reads at night."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dsmip
from dsmip.cli.explain import text
from dsmip.daemon.explain import home_agent as explain_home_agent
from dsmip.daemon.explain import mobile_node as explain_mobile_node
from dsmip.daemon.explain import texts as explain_texts
from dsmip.daemon.explain.sentences import as_json
from dsmip.daemon.journal import Journal, Story
from dsmip.wire.constants import BAStatus

BUS = "2001:db8:100::17"
NOW = 1_000_000.0
ROW: dict[str, Any] = {
    "care_of": "192.0.2.9",
    "nat": "detected",
    "nat_source": "192.0.2.9:40000",
    "tunnel": "udp4",
    "authentication": "mn-ha",
    "signalling": "RFC 4285",
    "payload": "clear",
    "sequence": 12,
    "lifetime": 600.0,
    "expires_in": 560.0,
    "updated_ago": 40.0,
    "registered_for": 7500.0,
    "sent_packets": 10,
    "sent_bytes": 1000,
    "received_packets": 20,
    "received_bytes": 2000,
}


def home_agent(journal: Journal, row: dict[str, Any] | None) -> str:
    facts = explain_home_agent.Facts(
        name="bus-17",
        home_address=BUS,
        row=row,
        story=journal.story(BUS) or Story(),
        stranger=journal.stranger,
        started=NOW - 3600,
        now=NOW,
    )
    told = text(as_json(explain_home_agent.tell(facts)))
    return re.sub(r"\s+", " ", told)


def test_signalling_under_esp() -> None:
    row = {**ROW, "signalling": "ESP, IKEv2, AES-GCM-256", "ike": "keys negotiated 5 min ago"}
    told = "Its signalling is under ESP, IKEv2, AES-GCM-256: keys negotiated 5 min ago."
    assert told in home_agent(Journal(), row)
    manual = {**ROW, "signalling": "ESP, manual keys, AES-CBC-128"}
    assert "Its signalling is under ESP, manual keys, AES-CBC-128." in home_agent(Journal(), manual)


def test_payload_under_esp() -> None:
    assert "ESP" not in home_agent(Journal(), ROW)
    told = home_agent(Journal(), {**ROW, "payload": "esp aes-gcm-128"})
    assert "What its packets carry is under ESP as far as the home agent: aes-gcm-128." in told


def test_a_binding_behind_a_nat() -> None:
    told = home_agent(Journal(), ROW)
    for part in (
        "bus-17 (2001:db8:100::17) is registered at 192.0.2.9, for 2 h 5 min.",
        "last Binding Update came 40 s ago (sequence 12) and was accepted for 10 min",
        "the binding ends in 9 min 20 s",
        "in UDP in IPv4",
        "There is a NAT in between: its Binding Updates come from 192.0.2.9:40000",
        "20 packets (2.0 kB) came from it and 10 packets (1.0 kB) went to it",
    ):
        assert part in told
    assert "!" not in told, "nothing is wrong"


def test_a_binding_with_several_care_of_addresses() -> None:
    other = {"care_of": "2001:db8:6::1", "nat": "unknown", "nat_source": None, "tunnel": "ipv6"}
    row = {**ROW, "care_of_bindings": [{**ROW, "bid": 1}, {**other, "bid": 2}]}
    told = home_agent(Journal(), row)
    assert "is registered at 192.0.2.9 and 2001:db8:6::1" in told
    assert "Over 192.0.2.9 (binding identifier 1) packets travel in UDP in IPv4. There is a NAT" in told
    assert "Over 2001:db8:6::1 (binding identifier 2) packets travel in IPv6." in told
    assert "!" not in told
    row = {**ROW, "care_of_bindings": [{**ROW, "bid": 1}, {**other, "bid": 2, "silent": True}]}
    assert (
        "! Over 2001:db8:6::1 (binding identifier 2) packets travel in IPv6. Nothing has been"
        in home_agent(Journal(), row)
    )


def test_a_tunnel_that_only_signalling_gets_through() -> None:
    row = {**ROW, "tunnel": "ipv4", "nat": "none", "received_packets": 0, "received_bytes": 0}
    told = home_agent(Journal(), row)
    assert "! Packets went into its tunnel and none has come out of it" in told
    assert "-> Let protocols 41 and 4 pass every firewall on the way, or set `udp_encapsulation" in told


def test_nothing_was_ever_heard() -> None:
    journal = Journal()
    told = home_agent(journal, None)
    assert "! Nothing was heard from it since this home agent started 1 h ago." in told
    assert "-> Look at the mobile node" in told
    journal.drop("unknown-mobile-node", "2001:db8:100::71 from 192.0.2.9", None, NOW - 20)
    told = home_agent(journal, None)
    assert "the last 20 s ago: 2001:db8:100::71 from 192.0.2.9" in told
    assert f"-> If that is bus-17, correct its `home_address`: here it is {BUS}." in told


def test_the_keys_differ() -> None:
    journal = Journal()
    for _ in range(3):
        journal.drop("authentication-failed", f"{BUS} from 2001:db8:6::1", BUS, NOW - 120)
    told = home_agent(journal, None)
    assert (
        "! 3 Binding Updates were not believed, because its authenticator is wrong; the last 2 min ago"
        in told
    )
    assert "from 2001:db8:6::1" in told
    assert "-> The keys at the two ends differ" in told


def test_clocks_apart_say_by_how_much() -> None:
    journal = Journal()
    journal.drop("replay", f"{BUS} from 192.0.2.9: its clock is 3600 s behind", BUS, NOW - 1)
    told = home_agent(journal, None)
    assert "its clock is 3600 s behind" in told
    assert "-> Set the clocks" in told


def test_an_old_refusal_is_no_problem_of_today() -> None:
    journal = Journal()
    refused = {"home_address": BUS, "reason": "INVALID_PREFIX", "care_of": "192.0.2.9", "unix": NOW - 5000}
    journal.event("refused", refused)
    told = home_agent(journal, ROW)
    assert (
        "A Binding Update for 192.0.2.9 was refused 1 h 23 min ago, because it asks for a mobile network"
        in told
    )
    assert "!" not in told
    assert "->" not in told
    journal.event("refused", {**refused, "unix": NOW - 1})
    told = home_agent(journal, ROW)
    assert "! A Binding Update for 192.0.2.9 was refused 1 s ago" in told
    assert "-> Compare `mobile_network_prefixes` at both ends." in told


def test_the_latest_turns_come_last_with_the_last_one_first() -> None:
    journal = Journal()
    first = {"care_of": "2001:db8:6::1", "format": "ipv6"}
    journal.event("deregistered", {"home_address": BUS, "unix": NOW - 120})
    journal.event("registered", {"home_address": BUS, **first, "unix": NOW - 90})
    moved = {"care_of": "192.0.2.9", "previous": "2001:db8:6::1", "format": "udp4", "nat": "detected"}
    journal.event("moved", {"home_address": BUS, **moved, "unix": NOW - 60})
    journal.event("expired", {"home_address": BUS, "care_of": "192.0.2.9", "unix": NOW - 5})
    told = home_agent(journal, None)
    assert "has no binding: the last one expired 5 s ago; it was at 192.0.2.9." in told
    assert told.endswith(
        "Lately: 5 s ago: its binding expired at 192.0.2.9"
        " 1 min ago: moved to 192.0.2.9, in UDP in IPv4, behind a NAT (before: 2001:db8:6::1)"
        " 1 min 30 s ago: registered at 2001:db8:6::1, in IPv6"
        " 2 min ago: de-registered"
    )


def test_a_binding_that_found_no_room_at_a_start() -> None:
    journal = Journal()
    journal.event("not-resumed", {"home_address": BUS, "care_of": "192.0.2.9", "unix": NOW - 5})
    told = home_agent(journal, None)
    assert "has no binding: it ended 5 s ago." in told
    assert "started with no room for it in the kernel." in told
    assert "raise `max_bindings`." in told


# The mobile node's own story -------------------------------------------------------------------------------

STATUS: dict[str, Any] = {
    "name": "bus-17",
    "home_address": BUS,
    "home_agent": "2001:db8:ffff::1",
    "state": "registered",
    "care_of": "192.0.2.9",
    "interface": "wan0",
    "lifetime_left": 500.0,
    "round_trip_ms": 12.5,
    "tunnel": "ipv4",
    "nat": "none",
    "authentication": "mn-ha",
    "signalling": "RFC 4285",
    "payload": "clear",
    **dict.fromkeys(("sent_packets", "sent_bytes", "received_packets", "received_bytes"), 1000),
}


def mobile_node(
    journal: Journal,
    interfaces: dict[str, Any] | None = None,
    paths: Any = (),
    care_of: Any = (),
    **status: Any,
) -> str:
    facts = explain_mobile_node.Facts(
        {**STATUS, **status},
        {"interfaces": interfaces or {}, "paths": paths, "care_of": care_of},
        journal.story() or Story(),
        journal.latest,
        NOW,
    )
    return re.sub(r"\s+", " ", text(as_json(explain_mobile_node.tell(facts))))


def test_a_mobile_node_that_is_registered() -> None:
    journal = Journal()
    journal.event("binding-acknowledged", {"unix": NOW - 100})
    told = mobile_node(journal)
    assert "is registered at 192.0.2.9 on wan0 with home agent 2001:db8:ffff::1." in told
    assert "was accepted 1 min 40 s ago, for 8 min 20 s more; the answer took 12.5 ms" in told
    assert "directly in IPv4 (protocols 41 and 4), without a NAT" in told
    assert "!" not in told


def test_a_mobile_node_with_several_uplinks() -> None:
    good = {"interface": "wan0", "care_of": "192.0.2.9", "tunnel": "udp4", "state": "up", "in_use": True}
    good |= {"delay_ms": 20.5, "loss": 0.001, "heard_ago": 0.1}
    silent = {"interface": "wan1", "care_of": "2001:db8:6::1", "tunnel": "ipv6", "state": "silent"}
    silent |= {"in_use": False, "delay_ms": 80.0, "loss": 1.0, "heard_ago": 7.0}
    journal = Journal()
    journal.event("path-health", {"interface": "wan1", "bid": 2, "health": "silent", "unix": NOW - 7})
    told = mobile_node(journal, paths=[good, silent])
    assert "is registered at 192.0.2.9 on wan0 and 2001:db8:6::1 on wan1 with" in told
    assert "wan0 (in UDP in IPv4) is up and in use; round trip 20.5 ms, 0.1% lost." in told
    assert (
        "! wan1 (in IPv6) is silent; round trip 80 ms, 100.0% lost; nothing was heard over it for 7 s."
        in told
    )
    assert "7 s ago: wan1 is silent" in told


def test_a_mobile_node_without_a_network() -> None:
    interfaces = {
        "wan0": {"state": "down", "managed": True},
        "wlan0": {"state": "up", "managed": True},
        "eth0": {"state": "up", "managed": False},
    }
    told = mobile_node(Journal(), interfaces, state="detached")
    assert "has no network" in told
    assert "! wan0 is down." in told
    assert "! wlan0 is up, but no router or DHCP server has answered there." in told
    assert "! eth0 is up, but has no address with a default route." in told


def test_a_mobile_node_that_gets_no_answer() -> None:
    journal = Journal()
    journal.event("binding-acknowledged", {"unix": NOW - 5000})
    journal.event("binding-update-sent", {"unix": NOW - 4, "transmission": 4, "care_of": "192.0.2.9"})
    told = mobile_node(journal, state="registering")
    assert "! 4 Binding Updates from 192.0.2.9 got no answer, the last was sent 4 s ago." in told
    assert "may drop UDP port 4191" in told


PORTAL = {"interface": "wlan0", "address": "10.0.0.5", "portal": "https://portal.example/", "cut_off": True}


def test_a_mobile_node_with_a_network_that_wants_a_log_in() -> None:
    journal = Journal()
    journal.event("binding-acknowledged", {"unix": NOW - 9})
    journal.event("binding-update-sent", {"unix": NOW - 4, "transmission": 4, "care_of": "10.0.0.5"})
    journal.event("network-cut-off", {"unix": NOW - 3, "care_of": "10.0.0.5", "interface": "wlan0"})
    told = mobile_node(journal, care_of=[PORTAL])
    assert "3 s ago: nothing gets from 10.0.0.5 to the home agent" in told
    assert "! wlan0 has the address 10.0.0.5, but Binding Updates from there are not answered" in told
    assert "-> It asks for a log-in: open https://portal.example/ in a browser on that network." in told
    assert "got no answer" not in told
    told = mobile_node(journal, care_of=[{**PORTAL, "portal": None}])
    assert "its firewall may drop UDP port 4191. Until then other networks are used" in told


def test_a_portal_is_named_but_not_accused_while_nothing_else_answers() -> None:
    journal = Journal()
    journal.event("binding-update-sent", {"unix": NOW - 4, "transmission": 4, "care_of": "10.0.0.5"})
    told = mobile_node(journal, care_of=[{**PORTAL, "cut_off": False}], state="registering")
    assert "! 4 Binding Updates from 10.0.0.5 got no answer" in told
    assert "if nobody has logged in yet, open https://portal.example/ in a browser." in told
    assert "Look whether home agent 2001:db8:ffff::1 runs" in told
    assert "another network" not in told


def test_a_mobile_node_with_another_key_than_its_home_agent() -> None:
    journal = Journal()
    journal.drop("authenticator", "status 146: do the keys differ?", "", NOW - 3)
    told = mobile_node(journal, state="registering")
    assert "! 1 packet was not believed, because the home agent's authenticator is wrong" in told
    assert "-> The keys at the two ends differ" in told


def test_a_mobile_node_that_was_refused() -> None:
    journal = Journal()
    journal.event("binding-refused", {"unix": NOW - 3, "care_of": "192.0.2.9", "name": "NOT_HOME_SUBNET"})
    told = mobile_node(journal, state="refused", asks_again_in=29.0)
    assert "and home agent 2001:db8:ffff::1 refuses to register it; it asks again in 29 s." in told
    assert "! A Binding Update for 192.0.2.9 was refused 3 s ago, because the home address is in none" in told


def test_a_mobile_node_that_has_stopped() -> None:
    journal = Journal()
    assert "! Its home prefix is no longer valid" in mobile_node(journal, state="stopped")
    name = "DUPLICATE_ADDRESS_DETECTION_FAILED"
    journal.event("binding-refused", {"unix": NOW - 3, "care_of": "192.0.2.9", "name": name})
    told = mobile_node(journal, state="stopped")
    assert "has stopped: it sends no Binding Updates." in told
    assert "! It does not ask again by itself, so as not to disturb that other host." in told
    assert "-> When that is mended, restart it: `systemctl restart dsmip@bus-17`." in told
    assert "prefix" not in told


# The texts -------------------------------------------------------------------------------------------------


def test_every_status_this_home_agent_gives_has_its_words() -> None:
    core = (Path(dsmip.__file__).parent / "core").glob("home_agent*.py")
    sources = [path.read_text() for path in core]
    sources += [
        (Path(dsmip.__file__).parent / "core" / name).read_text()
        for name in ("registration.py", "care_of_registration.py")
    ]
    given = {name for source in sources for name in re.findall(r"BAStatus\.([A-Z0-9_]+)", source)}
    given = {name for name in given if BAStatus[name] >= 128}
    assert given
    assert given <= set(explain_texts.STATUSES)


def test_what_has_no_words_of_its_own_is_named() -> None:
    assert explain_texts.status("REINIT_SA_WITH_HAC").what == "of status reinit sa with hac"
    assert explain_texts.reason("unheard-of").what == 'of "unheard of"'
