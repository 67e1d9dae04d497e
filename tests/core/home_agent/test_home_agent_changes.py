"""Another configuration while the home agent runs: what differs is applied, nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from ha_scenario import (
    AHR,
    ENTRY,
    HOME,
    HOME4,
    KEY,
    MNP1,
    MNP2,
    Mobile,
    Outcome,
    Scenario,
    scenario,
)

from dsmip.core.actions import ForgetBinding, InstallBinding, StoreBinding
from dsmip.core.types import IPv4Grant, MobileNodeEntry
from dsmip.wire.constants import BAStatus
from dsmip.wire.options import IPv4HomeAddress

SECOND = replace(
    ENTRY,
    home_address=IPv6Address("2001:db8:100::2"),
    identifier="mn2@example.com",
    prefixes=(),
    ipv4_home_address=None,
    ipv4_prefixes=(),
)
NEW_KEY = bytes(range(1, 17))


def serve(agent: Scenario, *entries: MobileNodeEntry, **changes: object) -> Outcome:
    agent.config = replace(agent.config, mobile_nodes=entries, **changes)  # type: ignore[arg-type]
    agent.agent.reconfigure(agent.config)
    return Outcome(agent.agent.actions())


def registered() -> tuple[Scenario, Mobile]:
    agent, mobile = scenario()
    agent.receive(mobile.update(flags=AHR, options=[IPv4HomeAddress(HOME4)]))
    assert agent.binding.prefixes == (MNP1, MNP2)
    return agent, mobile


def test_a_mobile_node_more_touches_nobody_else() -> None:
    agent, _ = registered()
    before = agent.binding
    newcomer = Mobile(SECOND)
    update = newcomer.update(identifier="mn2@example.com")
    assert agent.receive(update).drops == ["unknown-mobile-node"]
    assert serve(agent, ENTRY, SECOND).actions == []
    assert agent.receive(newcomer.update(identifier="mn2@example.com", sign=False)).drops == [
        "authentication-missing"
    ]
    assert agent.binding is before
    assert agent.agent.index_of(SECOND.home_address) != before.index


def test_the_same_configuration_changes_nothing() -> None:
    agent, _ = registered()
    assert serve(agent, ENTRY).actions == []


def test_a_removed_mobile_node_loses_its_binding_and_is_unknown() -> None:
    agent, mobile = registered()
    outcome = serve(agent, SECOND)
    assert outcome.kinds() == ["ForgetBinding", "RemoveBinding"]
    assert outcome.removed.reason == "not-configured"
    assert outcome.one(ForgetBinding).home_address == HOME
    assert not agent.bound
    assert agent.receive(mobile.update(flags=AHR, sequence=16)).drops == ["unknown-mobile-node"]


def test_a_former_key_is_refused_at_once_and_the_binding_stays_until_its_end() -> None:
    agent, mobile = registered()
    before = agent.binding
    assert serve(agent, replace(ENTRY, key=NEW_KEY)).actions == []
    assert agent.receive(mobile.update(flags=AHR, sequence=16)).drops == ["authentication-failed"]
    assert agent.binding is before
    outcome = agent.receive(replace(mobile, key=NEW_KEY).update(flags=AHR, sequence=17))
    assert outcome.ba.status == BAStatus.ACCEPTED


def test_what_a_mobile_node_sent_before_it_was_removed_is_a_replay_when_it_is_back() -> None:
    agent, mobile = registered()
    index = agent.binding.index
    captured = mobile.update(flags=AHR, sequence=16)
    agent.receive(captured)
    serve(agent)
    assert serve(agent, ENTRY).actions == []
    assert agent.receive(captured).drops == ["replay"]
    assert agent.receive(mobile.update(flags=AHR, sequence=17)).ba.status == BAStatus.ACCEPTED
    assert agent.binding.index == index


def test_a_binding_loses_a_prefix_that_is_configured_no_more() -> None:
    agent, _ = registered()
    outcome = serve(agent, replace(ENTRY, prefixes=(MNP2,), ipv4_home_address=None))
    assert outcome.kinds() == ["StoreBinding", "InstallBinding"]
    installed = outcome.installed
    assert installed.binding.prefixes == (MNP2,)
    assert installed.binding.ipv4 == ()
    assert installed.previous is not None
    assert installed.previous.prefixes == (MNP1, MNP2)
    assert outcome.one(StoreBinding).binding is installed.binding
    assert installed.binding.expires == installed.previous.expires


def test_two_mobile_nodes_change_identifiers() -> None:
    agent, _ = scenario()
    serve(agent, ENTRY, SECOND)
    serve(agent, replace(ENTRY, identifier=SECOND.identifier), replace(SECOND, identifier=ENTRY.identifier))
    # Found by its identifier, whatever home address it thinks it has.
    outcome = agent.receive(Mobile(SECOND).update(home_address=IPv6Address("2001:db8:100::77")))
    assert outcome.ba.status >= 128


def test_an_address_of_a_pool_that_becomes_somebodys_own_is_taken_from_who_has_it() -> None:
    pool = IPv4Network("192.0.2.128/29")
    dynamic = MobileNodeEntry(HOME, identifier=ENTRY.identifier, spi=ENTRY.spi, key=KEY)
    agent, mobile = scenario(dynamic, ipv4_pool=pool)
    agent.receive(mobile.update(options=[IPv4HomeAddress(IPv4Address(0))]))
    held = agent.binding.ipv4
    assert held == (IPv4Grant.of(IPv4Network("192.0.2.129/32"), dynamic=True),)
    outcome = serve(agent, dynamic, replace(SECOND, ipv4_home_address=IPv4Address("192.0.2.130")))
    assert outcome.actions == []
    assert agent.binding.ipv4 == held
    outcome = serve(agent, dynamic, replace(SECOND, ipv4_home_address=IPv4Address("192.0.2.129")))
    assert outcome.one(InstallBinding).binding.ipv4 == ()


def test_lifetimes_and_forced_udp_hold_for_the_next_registration() -> None:
    agent, mobile = registered()
    serve(agent, ENTRY, max_lifetime=100.0, udp="force")
    outcome = agent.receive(mobile.update_in_udp(flags=AHR, sequence=16))
    assert outcome.ba.lifetime == 25
    assert agent.binding.format.value.startswith("udp")


def test_a_registration_that_waits_for_duplicate_address_detection_ends_with_its_node() -> None:
    agent, mobile = scenario(home_link=True)
    agent.receive(mobile.update(flags=AHR))
    serve(agent)
    assert agent.dad(HOME, duplicate=False).actions == []
    assert not agent.bound
