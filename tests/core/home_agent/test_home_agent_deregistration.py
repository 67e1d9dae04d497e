"""De-registration from a visited network and from home (RFC 6275 section 10.3.2, RFC 3963 section 6.7)."""

from __future__ import annotations

from typing import Any

import pytest
from ha_scenario import AH, AHR, COA1, COA2, HA, HOME, MNP1, PLAIN_ENTRY, Mobile, authentic, scenario

from dsmip.core.actions import StoreReplay
from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from dsmip.wire.options import AlternateCareOfAddress, MobileNetworkPrefix

AT_HOME = {"source": HOME, "mac_care_of": HOME, "options": [AlternateCareOfAddress(HOME)]}
FORMS = [
    pytest.param({**AT_HOME, "hao": False, "lifetime": 0}, id="at home, lifetime 0"),
    pytest.param({**AT_HOME, "hao": True, "lifetime": 0}, id="at home, lifetime 0, home address option"),
    pytest.param({**AT_HOME, "hao": False, "lifetime": 105}, id="at home, care-of = home address"),
    pytest.param({**AT_HOME, "hao": True, "lifetime": 105}, id="at home, care-of = home address, option"),
    pytest.param({"source": HOME, "hao": False, "lifetime": 0}, id="at home, no alternate care-of address"),
]
FLAGS = [AH, BUFlag.H, AHR, BUFlag.H | BUFlag.R]


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("form", FORMS)
def test_rfc6275_10_3_2_de_registration_at_home(form: dict[str, Any], flags: BUFlag) -> None:
    """HA-DR-002, NHA-DR-001: status 0, lifetime 0, to the home address without a routing header."""
    agent, mobile = scenario()
    agent.receive(mobile.update(flags=flags))
    outcome = agent.receive(mobile.update(sequence=16, flags=flags, **form))
    assert (outcome.ba.status, outcome.ba.lifetime, outcome.ba.sequence) == (BAStatus.ACCEPTED, 0, 16)
    assert outcome.ba_packet.destination == HOME
    assert outcome.ba_packet.routing_home_address is None
    assert authentic(outcome.ba_packet, HOME)
    assert outcome.removed.at_home
    assert outcome.kinds() == ["StoreReplay", "ForgetBinding", "RemoveBinding", "SendPacket", "Event"]
    assert not agent.bound


@pytest.mark.parametrize("flags", FLAGS)
def test_rfc6275_10_3_2_de_registration_from_the_visited_network(flags: BUFlag) -> None:
    """NHA-DR-001."""
    agent, mobile = scenario()
    agent.receive(mobile.update(flags=flags))
    outcome = agent.receive(mobile.update(sequence=16, flags=flags, lifetime=0))
    assert (outcome.ba.status, outcome.ba.lifetime) == (BAStatus.ACCEPTED, 0)
    assert outcome.ba_packet.destination == COA1
    assert outcome.ba_packet.routing_home_address == HOME
    assert bool(outcome.ba.flags & BAFlag.R) == bool(flags & BUFlag.R)
    assert not outcome.removed.at_home
    assert not agent.bound


def test_rfc6275_10_3_2_no_refresh_advice() -> None:
    agent, mobile = scenario(refresh_advice=60.0)
    agent.receive(mobile.update())
    options = agent.receive(mobile.update(sequence=16, lifetime=0)).ba.options
    assert [type(option).__name__ for option in options] == ["MessageIdentifier", "Authentication"]


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("form", FORMS)
def test_rfc6275_10_3_2_without_a_binding_at_home_is_133(form: dict[str, Any], flags: BUFlag) -> None:
    """HA-DR-003 (b), NHA-DR-002 (a)."""
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(flags=flags, **form))
    assert outcome.ba.status == BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE
    assert outcome.ba_packet.destination == HOME
    assert outcome.ba_packet.routing_home_address is None
    assert not outcome.changed


@pytest.mark.parametrize("flags", FLAGS)
def test_rfc6275_10_3_2_without_a_binding_away_is_133(flags: BUFlag) -> None:
    """HA-DR-003 (a), NHA-DR-002 (a)."""
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(sequence=77, flags=flags, lifetime=0))
    assert (outcome.ba.status, outcome.ba.sequence) == (BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE, 77)
    assert outcome.ba_packet.routing_home_address == HOME


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("form", FORMS)
def test_rfc6275_9_5_1_de_registration_with_an_old_number_is_135(form: dict[str, Any], flags: BUFlag) -> None:
    """HA-DR-004, NHA-DR-002 (b)."""
    agent, mobile = scenario()
    agent.receive(mobile.update(flags=flags))
    outcome = agent.receive(mobile.update(sequence=14, flags=flags, **form))
    assert (outcome.ba.status, outcome.ba.sequence) == (BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, 15)
    assert outcome.ba_packet.destination == HOME
    assert outcome.ba_packet.routing_home_address is None
    assert agent.binding.care_of == COA1


def test_rfc6275_10_3_2_a_delayed_update_after_coming_home_is_135() -> None:
    """Sent from the visited link before, arriving after the de-registration: it must not bring the binding
    back. The node of this test is not protected by timestamps but by the sequence number alone."""
    agent, mobile = scenario(PLAIN_ENTRY)
    agent.receive(mobile.update(sequence=15))
    delayed = mobile.update(sequence=16)
    agent.receive(mobile.update(sequence=17, source=HOME, hao=False, lifetime=0))
    agent.after(9.9)
    outcome = agent.receive(delayed)
    assert (outcome.ba.status, outcome.ba.sequence) == (BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, 17)
    assert not agent.bound
    agent.after(0.2)
    assert agent.receive(mobile.update(sequence=1)).ba.status == BAStatus.ACCEPTED


def test_rfc3963_6_2_r_flag_of_a_de_registration_is_ignored() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update(flags=AHR))
    assert agent.receive(mobile.update(sequence=16, flags=AH, lifetime=0)).ba.status == BAStatus.ACCEPTED
    assert not agent.bound


def test_rfc3963_6_7_prefix_options_of_a_de_registration_are_ignored() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update(flags=AHR))
    wrong = MobileNetworkPrefix.of(type(MNP1)("2001:db8:ffff::/64"))
    outcome = agent.receive(mobile.update(sequence=16, flags=AHR, lifetime=0, options=[wrong]))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert outcome.removed.binding.prefixes == agent.config.mobile_nodes[0].prefixes


def test_de_registration_is_remembered_against_replays() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update())
    outcome = agent.receive(mobile.update(sequence=16, lifetime=0))
    stored = outcome.one(StoreReplay)
    assert stored.replay.sequence == 16
    assert stored.replay.index == 1


def test_the_mobile_node_may_leave_again_at_once() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update())
    index = agent.binding.index
    agent.receive(mobile.update(sequence=16, source=HOME, hao=False, lifetime=0))
    outcome = agent.receive(mobile.update(sequence=17, source=COA2))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert outcome.installed.previous is None
    assert agent.binding.index == index


def test_only_the_home_agent_address_takes_de_registrations() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update())
    elsewhere = Mobile(home_agent=type(HA)("2001:db8:100::2"))
    outcome = agent.receive(elsewhere.update(sequence=16, lifetime=0))
    assert outcome.acknowledgements == []
    assert agent.bound
