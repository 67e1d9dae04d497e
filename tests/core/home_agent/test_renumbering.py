"""A mobile node with its home address under another home prefix (RFC 6275 sections 10.6 and 11.4.3)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from ha_scenario import (
    AHR,
    COA1,
    COA2,
    ENTRY,
    HOME,
    HOME4,
    HOME_PREFIX,
    MNP1,
    MNP2,
    PLAIN_ENTRY,
    Mobile,
    Scenario,
    authentic,
    scenario,
)

from dsmip.core.actions import Event, ForgetBinding, RemoveBinding, StartDad, StoreBinding
from dsmip.core.binding_record import encode_binding
from dsmip.core.home_agent.engine import HomeAgentConfig
from dsmip.core.types import MobileNodeEntry
from dsmip.wire.constants import BAStatus
from dsmip.wire.options import IPv4HomeAddress

NEW_PREFIX = IPv6Network("2001:db8:101::/64")
NEW_HOME = IPv6Address("2001:db8:101::1234")
BOTH = (HOME_PREFIX, NEW_PREFIX)


def renumbering(entry: MobileNodeEntry = ENTRY, **changes: object) -> tuple[Scenario, Mobile]:
    return scenario(entry, **{"home_prefixes": BOTH, "renumbering": True, **changes})


def moved() -> tuple[Scenario, Mobile]:
    """Bound under the new prefix, after the old one."""
    agent, mobile = renumbering()
    agent.receive(mobile.update())
    agent.after(1.0)
    agent.receive(mobile.update(now=agent.now, sequence=16, home_address=NEW_HOME))
    return agent, mobile


def test_the_binding_changes_its_home_address_and_keeps_what_it_has() -> None:
    agent, mobile = renumbering()
    asked = (IPv4HomeAddress(HOME4, 32),)
    before = agent.receive(mobile.update(flags=AHR, options=asked)).installed.binding
    agent.after(1.0)
    outcome = agent.receive(
        mobile.update(now=agent.now, sequence=16, flags=AHR, options=asked, home_address=NEW_HOME)
    )
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert authentic(outcome.ba_packet, COA1, NEW_HOME)
    assert outcome.ba_packet.routing_home_address == NEW_HOME
    binding = outcome.installed.binding
    assert outcome.installed.previous == before  # the data plane goes from one to the other without a gap
    assert list(agent.agent.bindings) == [NEW_HOME]
    assert (binding.index, binding.created, binding.prefixes) == (before.index, before.created, (MNP1, MNP2))
    assert binding.ipv4 == before.ipv4 != ()
    assert outcome.one(ForgetBinding).home_address == HOME
    assert outcome.one(StoreBinding).replay.home_address == HOME  # what it is known by
    assert not any(isinstance(action, RemoveBinding) for action in outcome.actions)
    told = [action.fields for action in outcome.actions if isinstance(action, Event)]
    assert {"home_address": HOME, "from": HOME, "to": NEW_HOME}.items() <= told[0].items()


def test_the_former_home_address_is_reached_until_its_prefix_ends() -> None:
    agent, mobile = renumbering()
    agent.advertise(HOME_PREFIX, 100, preferred=0)
    agent.receive(mobile.update(lifetime=20))
    outcome = agent.receive(mobile.update(sequence=16, home_address=NEW_HOME))
    assert IPv6Network(HOME) in outcome.installed.binding.networks
    assert agent.agent.binding_of(HOME) == agent.agent.binding_of(NEW_HOME) == outcome.installed.binding
    agent.after(50.0)
    outcome = agent.receive(mobile.update(now=agent.now, sequence=17, home_address=NEW_HOME, source=COA2))
    assert outcome.installed.binding.former == HOME
    agent.after(51.0)
    outcome = agent.receive(mobile.update(now=agent.now, sequence=18, home_address=NEW_HOME))
    assert outcome.installed.binding.former is None
    assert agent.agent.binding_of(HOME) is None


def test_the_former_home_address_ends_with_its_prefix_without_a_binding_update() -> None:
    agent, _ = moved()
    agent.advertise(HOME_PREFIX, 10, preferred=0)
    agent.after(9.0)
    agent.advertise(NEW_PREFIX, 1000)
    assert agent.agent.binding_of(HOME) is not None
    agent.after(2.0)
    outcome = agent.advertise(NEW_PREFIX, 1000)
    assert IPv6Network(HOME) not in outcome.installed.binding.networks
    assert outcome.installed.previous is not None
    assert agent.agent.binding_of(HOME) is None
    assert not any(isinstance(action, StoreBinding) for action in agent.advertise(NEW_PREFIX, 1000).actions)


def test_a_new_home_address_is_not_cut_short_with_the_old_prefix() -> None:
    agent, _ = moved()
    agent.advertise(HOME_PREFIX, 10, preferred=0)
    agent.after(60.0)
    assert list(agent.agent.bindings) == [NEW_HOME]


def test_without_a_binding_before_any_of_the_addresses_will_do() -> None:
    agent, mobile = renumbering()
    outcome = agent.receive(mobile.update(home_address=NEW_HOME))
    assert outcome.ba.status == BAStatus.ACCEPTED
    # It may have sessions with the configured one: it may have been at home since the renumbering.
    assert outcome.installed.binding.former == HOME


def test_who_has_been_at_home_is_reached_by_both_addresses_again() -> None:
    agent, mobile = moved()
    agent.advertise(HOME_PREFIX, 100, preferred=0)
    agent.receive(mobile.update(now=agent.now, sequence=17, lifetime=0, home_address=NEW_HOME))
    assert not agent.agent.bindings
    agent.after(50.0)
    outcome = agent.receive(mobile.update(now=agent.now, sequence=18, home_address=NEW_HOME))
    assert outcome.installed.binding.former == HOME
    agent.receive(mobile.update(now=agent.now, sequence=19, lifetime=0, home_address=NEW_HOME))
    agent.after(60.0)
    outcome = agent.receive(mobile.update(now=agent.now, sequence=20, home_address=NEW_HOME))
    assert outcome.installed.binding.former is None


def test_it_may_go_back() -> None:
    agent, mobile = moved()
    agent.after(1.0)
    outcome = agent.receive(mobile.update(now=agent.now, sequence=17))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert agent.binding.former == NEW_HOME
    assert list(agent.agent.bindings) == [HOME]


def test_a_replay_under_the_former_home_address_changes_nothing() -> None:
    agent, mobile = renumbering()
    first = mobile.update()
    agent.receive(first)
    delayed = mobile.update(sequence=16, source=COA2)
    agent.receive(mobile.update(sequence=17, home_address=NEW_HOME))
    for old in (first, delayed):
        outcome = agent.receive(old)
        assert outcome.ba.status == BAStatus.MIPV6_ID_MISMATCH
        assert not outcome.changed
    assert list(agent.agent.bindings) == [NEW_HOME]


def test_the_former_home_address_cannot_be_deregistered() -> None:
    agent, mobile = moved()
    outcome = agent.receive(mobile.update(now=agent.now, sequence=17, lifetime=0))
    assert outcome.ba.status == BAStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE
    outcome = agent.receive(mobile.update(now=agent.now, sequence=18, lifetime=0, home_address=NEW_HOME))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert not agent.agent.bindings


@pytest.mark.parametrize(
    ("changes", "home_address", "status"),
    [
        ({"renumbering": False}, NEW_HOME, BAStatus.ADMINISTRATIVELY_PROHIBITED),
        ({}, IPv6Address("2001:db8:101::1235"), BAStatus.ADMINISTRATIVELY_PROHIBITED),
        ({}, IPv6Address("2001:db8:102::1234"), BAStatus.NOT_HOME_SUBNET),
        (
            {"home_prefixes": (HOME_PREFIX, IPv6Network("2001:db8:110::/60"))},
            IPv6Address("2001:db8:110::1234"),
            BAStatus.ADMINISTRATIVELY_PROHIBITED,
        ),
        ({"address": NEW_HOME}, NEW_HOME, BAStatus.ADMINISTRATIVELY_PROHIBITED),
    ],
    ids=["off", "another identifier", "another prefix", "another length", "the home agent's"],
)
def test_no_other_home_address_may_be_had(
    changes: dict[str, object], home_address: IPv6Address, status: BAStatus
) -> None:
    agent, mobile = renumbering(**changes)
    mobile.home_agent = agent.config.address
    outcome = agent.receive(mobile.update(home_address=home_address))
    assert outcome.ba.status == status
    assert not outcome.changed


def test_somebody_elses_home_address_is_theirs() -> None:
    other = replace(ENTRY, home_address=NEW_HOME, identifier="other@example.com", key=b"other", prefixes=())
    agent, mobile = renumbering(mobile_nodes=(ENTRY, other))
    assert agent.receive(mobile.update(home_address=NEW_HOME)).silent  # its identifier is not theirs
    assert agent.receive(mobile.update(home_address=NEW_HOME, identifier=None)).ba.status == (
        BAStatus.MIPV6_AUTH_FAIL
    )


def test_an_address_in_somebody_elses_mobile_network_is_theirs() -> None:
    other = replace(
        ENTRY,
        home_address=HOME + 1,
        identifier="other@example.com",
        prefixes=(IPv6Network("2001:db8:101::1200/120"),),
    )
    agent, mobile = renumbering(mobile_nodes=(ENTRY, other))
    outcome = agent.receive(mobile.update(home_address=NEW_HOME))
    assert outcome.ba.status == BAStatus.ADMINISTRATIVELY_PROHIBITED


def test_it_takes_a_key_and_an_identifier() -> None:
    agent, mobile = renumbering()
    outcome = agent.receive(mobile.update(home_address=NEW_HOME, identifier=None))
    assert outcome.ba.status == BAStatus.ADMINISTRATIVELY_PROHIBITED
    mobile.key = b"wrong"
    outcome = agent.receive(mobile.update(home_address=NEW_HOME))
    assert outcome.ba.status == BAStatus.MIPV6_AUTH_FAIL
    agent, mobile = renumbering(PLAIN_ENTRY)
    assert agent.receive(mobile.update(home_address=NEW_HOME)).silent


def test_the_new_home_address_is_probed_for_duplicates() -> None:
    agent, mobile = renumbering(home_link=True)
    agent.receive(mobile.update())
    agent.dad(HOME, duplicate=False)
    outcome = agent.receive(mobile.update(sequence=16, home_address=NEW_HOME))
    assert outcome.one(StartDad).home_address == NEW_HOME
    assert agent.bound
    assert agent.dad(NEW_HOME, duplicate=True).ba.status == BAStatus.DUPLICATE_ADDRESS_DETECTION_FAILED
    assert list(agent.agent.bindings) == [HOME]
    agent.receive(mobile.update(sequence=17, home_address=NEW_HOME))
    assert agent.dad(NEW_HOME, duplicate=False).ba.status == BAStatus.ACCEPTED
    assert list(agent.agent.bindings) == [NEW_HOME]


def restarted(agent: Scenario, config: HomeAgentConfig) -> Scenario:
    bindings, replays = [], []
    for action in agent.agent.stored():
        replays.append(action.replay)
        if isinstance(action, StoreBinding):
            bindings.append(action.binding)
    after = Scenario(config)
    after.now = agent.now
    after.agent.resume(map(encode_binding, bindings), replays, after.now)
    return after


def test_a_restart_keeps_the_new_home_address_and_the_replay_state() -> None:
    agent, mobile = moved()
    again = restarted(agent, agent.config)
    assert again.agent.bindings == agent.agent.bindings
    again.agent.actions()
    outcome = again.receive(mobile.update(now=agent.now, sequence=17, timestamp=1))
    assert outcome.ba.status == BAStatus.MIPV6_ID_MISMATCH
    assert list(restarted(agent, replace(agent.config, renumbering=False)).agent.bindings) == []


def test_a_mobile_node_that_is_added_takes_its_address_from_one_that_was_renumbered() -> None:
    agent, mobile = moved()
    other = replace(ENTRY, home_address=NEW_HOME, identifier="b@example.com", prefixes=(), ipv4_prefixes=())
    agent.agent.reconfigure(
        replace(agent.config, mobile_nodes=(ENTRY, replace(other, ipv4_home_address=None)))
    )
    removed = [action for action in agent.agent.actions() if isinstance(action, RemoveBinding)]
    assert [action.binding.home_address for action in removed] == [NEW_HOME]
    agent.after(1.0)
    outcome = agent.receive(mobile.update(now=agent.now, sequence=20))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert agent.binding.former is None


def test_a_mobile_node_that_is_added_takes_a_former_address() -> None:
    agent, mobile = moved()
    agent.after(1.0)
    agent.receive(mobile.update(now=agent.now, sequence=17))
    assert agent.binding.former == NEW_HOME
    other = MobileNodeEntry(NEW_HOME, identifier="b@example.com", spi=300, key=b"b")
    agent.agent.reconfigure(replace(agent.config, mobile_nodes=(ENTRY, other)))
    assert agent.binding.former is None


def test_a_renumbered_mobile_node_that_is_removed_loses_its_binding() -> None:
    agent, _ = moved()
    agent.agent.reconfigure(replace(agent.config, mobile_nodes=()))
    removed = [action for action in agent.agent.actions() if isinstance(action, RemoveBinding)]
    assert [action.binding.home_address for action in removed] == [NEW_HOME]
    assert not agent.agent.bindings


def test_a_configuration_that_differs_elsewhere_leaves_it_alone() -> None:
    agent, _ = moved()
    agent.agent.reconfigure(replace(agent.config, mobile_nodes=(replace(ENTRY, prefixes=()),)))
    assert not any(isinstance(action, RemoveBinding) for action in agent.agent.actions())
    assert agent.agent.binding_of_node(HOME) is agent.agent.bindings[NEW_HOME]
    assert agent.agent.configured_address(NEW_HOME) == HOME
