"""Duplicate address detection for home addresses (RFC 6275 section 10.3.1, RFC 3963 section 6.2)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from ha_scenario import AH, AHR, COA1, COA2, ENTRY, HOME, PLAIN_ENTRY, scenario

from dsmip.core.actions import StartDad
from dsmip.wire.constants import BAStatus, BUFlag

LINK_LOCAL = IPv6Address("fe80::1234")


def test_rfc6275_10_3_1_ba_waits_for_dad() -> None:
    """HA-DAD-001."""
    agent, mobile = scenario(home_link=True)
    outcome = agent.receive(mobile.update())
    assert outcome.acknowledgements == []
    assert outcome.one(StartDad) == StartDad(HOME, (HOME,))
    assert not agent.bound
    outcome = agent.dad(HOME, duplicate=False)
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert outcome.kinds() == ["StoreBinding", "InstallBinding", "SendPacket", "Event"]
    assert agent.bound


def test_rfc6275_10_3_1_l_flag_adds_the_link_local_address() -> None:
    """HA-DAD-002."""
    agent, mobile = scenario(home_link=True)
    outcome = agent.receive(mobile.update(flags=AH | BUFlag.L))
    assert outcome.one(StartDad) == StartDad(HOME, (HOME, LINK_LOCAL))
    agent.dad(HOME, duplicate=False)
    assert agent.binding.link_local


@pytest.mark.parametrize("flags", [AH, BUFlag.H, AH | BUFlag.L, BUFlag.H | BUFlag.L])
def test_rfc6275_10_3_1_duplicate_is_134(flags: BUFlag) -> None:
    """HA-DAD-004: sent without the A flag too, with a routing header."""
    agent, mobile = scenario(home_link=True)
    agent.receive(mobile.update(flags=flags))
    outcome = agent.dad(HOME, duplicate=True)
    assert outcome.ba.status == BAStatus.DUPLICATE_ADDRESS_DETECTION_FAILED
    assert outcome.ba_packet.routing_home_address == HOME
    assert not agent.bound
    # The address may be free next time.
    assert agent.receive(mobile.update(sequence=16, flags=flags)).one(StartDad)


def test_rfc6275_10_3_1_no_dad_with_a_binding() -> None:
    agent, mobile = scenario(home_link=True)
    agent.receive(mobile.update())
    agent.dad(HOME, duplicate=False)
    assert agent.receive(mobile.update(sequence=16, source=COA2)).ba.status == BAStatus.ACCEPTED


def test_no_dad_on_a_virtual_home_network() -> None:
    agent, mobile = scenario(home_link=False)
    assert agent.receive(mobile.update()).ba.status == BAStatus.ACCEPTED


def test_dad_can_be_switched_off() -> None:
    agent, mobile = scenario(home_link=True, dad=False)
    assert agent.receive(mobile.update()).ba.status == BAStatus.ACCEPTED


@pytest.mark.parametrize("address", ["2001:db8:1001::1", "2001:db8:100:0:8000::1"])
def test_rfc3963_6_2_no_dad_for_a_home_address_of_the_mobile_network(address: str) -> None:
    """NHA-DAD-002: also where the mobile network prefix is a part of the home prefix."""
    part = (*ENTRY.prefixes, type(ENTRY.prefixes[0])("2001:db8:100:0:8000::/80"))
    agent, mobile = scenario(replace(ENTRY, home_address=IPv6Address(address), prefixes=part), home_link=True)
    assert agent.receive(mobile.update(flags=AHR)).ba.status == BAStatus.ACCEPTED


@pytest.mark.parametrize("entry", [ENTRY, PLAIN_ENTRY])
def test_retransmissions_during_dad_are_absorbed_and_the_latest_is_answered(entry: object) -> None:
    agent, mobile = scenario(PLAIN_ENTRY if entry is PLAIN_ENTRY else ENTRY, home_link=True)
    agent.receive(mobile.update(sequence=15))
    for sequence, source in ((16, COA1), (17, COA2)):
        outcome = agent.receive(mobile.update(sequence=sequence, source=source))
        assert outcome.acknowledgements == []
        assert "StartDad" not in outcome.kinds()
    outcome = agent.dad(HOME, duplicate=False)
    assert outcome.ba.sequence == 17
    assert outcome.ba_packet.destination == COA2
    assert agent.binding.care_of == COA2


def test_an_older_update_does_not_displace_a_newer_one_during_dad() -> None:
    agent, mobile = scenario(PLAIN_ENTRY, home_link=True)
    agent.receive(mobile.update(sequence=16, source=COA2))
    agent.receive(mobile.update(sequence=15, source=COA1))
    assert agent.dad(HOME, duplicate=False).ba.sequence == 16


def test_de_registration_during_dad_is_133_and_ends_the_matter() -> None:
    agent, mobile = scenario(home_link=True)
    agent.receive(mobile.update())
    outcome = agent.receive(mobile.update(sequence=16, source=HOME, hao=False, lifetime=0))
    assert outcome.ba.status == BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE
    assert agent.dad(HOME, duplicate=False).actions == []
    assert not agent.bound


def test_a_replay_during_dad_is_refused() -> None:
    agent, mobile = scenario(home_link=True)
    update = mobile.update()
    agent.receive(update)
    assert agent.receive(update).ba.status == BAStatus.MIPV6_ID_MISMATCH


def test_dad_that_nobody_reports_on_is_given_up() -> None:
    agent, mobile = scenario(home_link=True)
    agent.receive(mobile.update())
    assert agent.agent.timeout() == 5010.0
    assert agent.after(10.0).drops == ["dad-unanswered"]
    assert agent.agent.timeout() is None
    assert agent.dad(HOME, duplicate=False).actions == []


def test_waiting_registrations_count_towards_the_limit() -> None:
    other = replace(ENTRY, home_address=IPv6Address("2001:db8:100::2222"), identifier="mr2@example.com")
    agent, mobile = scenario()
    config = replace(agent.config, mobile_nodes=(ENTRY, other), home_link=True, max_bindings=1)
    agent = type(agent)(config)
    agent.receive(mobile.update())
    refused = agent.receive(type(mobile)(other).update(identifier="mr2@example.com"))
    assert refused.ba.status == BAStatus.INSUFFICIENT_RESOURCES


def test_a_result_for_nobody_is_ignored() -> None:
    agent, _ = scenario(home_link=True)
    assert agent.dad(HOME, duplicate=True).actions == []
