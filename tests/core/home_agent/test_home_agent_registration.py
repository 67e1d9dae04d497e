"""Primary care-of address registration over IPv6 (RFC 6275 sections 9.5.1, 9.5.4, 10.3.1)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from ha_scenario import (
    AH,
    COA1,
    COA2,
    ENTRY,
    HA,
    HOME,
    HOME_PREFIX,
    NAI,
    PLAIN_ENTRY,
    authentic,
    scenario,
)

from dsmip.core.actions import Event, SendPacket
from dsmip.core.types import MobileNodeEntry, Nat, TunnelFormat
from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from dsmip.wire.options import (
    AlternateCareOfAddress,
    BindingRefreshAdvice,
    NatDetection,
    NonceIndices,
    find,
)


def test_rfc6275_10_3_1_registration_is_accepted() -> None:
    """HA-BU-001."""
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(options=[AlternateCareOfAddress(COA1)]))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert outcome.ba.sequence == 15
    assert outcome.ba.flags == BAFlag(0)
    assert outcome.ba.lifetime == 105
    binding = agent.binding
    assert (binding.home_address, binding.care_of, binding.sequence) == (HOME, COA1, 15)
    assert (binding.format, binding.nat, binding.nat_source) == (TunnelFormat.IPV6, Nat.UNKNOWN, None)
    assert (binding.identifier, binding.authentication) == (NAI, "mn-ha")
    assert (binding.lifetime, binding.expires) == (420.0, 1_800_000_420.0)
    assert (binding.created, binding.updated) == (1_800_000_000.0, 1_800_000_000.0)


def test_an_accepted_update_is_stored_then_installed_then_acknowledged() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update())
    assert outcome.kinds() == ["StoreBinding", "InstallBinding", "SendPacket", "Event"]
    assert outcome.installed.previous is None
    assert outcome.installed.binding == agent.binding


def test_rfc6275_9_5_4_ba_goes_to_the_source_with_a_type_2_routing_header() -> None:
    """HA-BU-001."""
    agent, mobile = scenario()
    packet = agent.receive(mobile.update()).ba_packet
    assert (packet.source, packet.destination) == (HA, COA1)
    assert packet.routing_home_address == HOME
    assert packet.home_address is None


def test_rfc6275_9_5_4_ba_goes_to_the_source_and_not_to_the_alternate_care_of_address() -> None:
    agent, mobile = scenario()
    update = mobile.update(source=COA1, options=[AlternateCareOfAddress(COA2)], mac_care_of=COA2)
    outcome = agent.receive(update)
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert outcome.ba_packet.destination == COA1
    assert agent.binding.care_of == COA2
    assert authentic(outcome.ba_packet, COA2)


def test_rfc6275_10_3_1_ba_is_sent_without_the_a_flag_too() -> None:
    agent, mobile = scenario()
    assert agent.receive(mobile.update(flags=BUFlag.H)).ba.status == BAStatus.ACCEPTED


def test_rfc6275_10_3_1_k_is_not_set_without_dynamic_keying() -> None:
    agent, mobile = scenario()
    assert not agent.receive(mobile.update(flags=AH | BUFlag.K)).ba.flags & BAFlag.K


def test_rfc6275_6_1_7_reserved_bits_are_ignored() -> None:
    """HA-MH-005, NHA-BU-002: an unauthenticated mobile node, so that the octets can be changed by hand."""
    agent, mobile = scenario(PLAIN_ENTRY)
    octets = bytearray(mobile.update())
    header = 64
    octets[header + 3] = 0xFF
    octets[header + 9] |= 0x0F
    total = int.from_bytes(octets[header + 4 : header + 6])
    # The sum grew by 0x00FF and 0x000F: take that off the checksum.
    new = total - 0xFF - 0x0F
    octets[header + 4 : header + 6] = (new if new > 0 else new + 0xFFFF).to_bytes(2)
    assert agent.receive(bytes(octets)).ba.status == BAStatus.ACCEPTED


def test_rfc6275_9_5_1_h_with_nonce_indices_is_dropped_silently() -> None:
    """HA-BU-005."""
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(options=[NonceIndices(1, 2)]))
    assert outcome.silent
    assert outcome.drops == ["nonce-indices"]
    assert not agent.bound


@pytest.mark.parametrize("flags", [AH, AH | BUFlag.L])
@pytest.mark.parametrize("home", ["fe80::1234", "ff02::1", "::", "::1"])
def test_rfc6275_9_3_1_home_address_must_be_unicast_routable(flags: BUFlag, home: str) -> None:
    """HA-BU-006."""
    agent, mobile = scenario()
    agent.receive(mobile.update())
    address = IPv6Address(home)
    outcome = agent.receive(mobile.update(sequence=16, source=COA2, home_address=address, flags=flags))
    assert outcome.silent
    assert agent.binding.care_of == COA1


@pytest.mark.parametrize("source", ["fe80::1", "ff02::1", "::", "::1"])
def test_rfc6275_9_5_4_source_must_be_unicast_routable(source: str) -> None:
    agent, mobile = scenario()
    assert agent.receive(mobile.update(source=IPv6Address(source))).silent
    assert not agent.bound


@pytest.mark.parametrize("care_of", ["fe80::1", "ff0e::1", "::", "::1", "::ffff:192.0.2.1"])
def test_rfc6275_6_1_7_care_of_address_must_be_unicast_routable(care_of: str) -> None:
    agent, mobile = scenario()
    address = IPv6Address(care_of)
    outcome = agent.receive(mobile.update(options=[AlternateCareOfAddress(address)], mac_care_of=address))
    assert outcome.silent
    assert not agent.bound


def test_rfc6275_10_3_1_registration_needs_a_home_address_option() -> None:
    agent, mobile = scenario()
    update = mobile.update(source=HOME, hao=False, options=[AlternateCareOfAddress(COA1)], mac_care_of=COA1)
    outcome = agent.receive(update)
    assert outcome.drops == ["home-address-option-missing"]
    assert outcome.silent


def test_rfc6275_10_3_1_home_address_outside_the_home_prefix_is_132() -> None:
    entry = replace(ENTRY, home_address=IPv6Address("2001:db8:999::1"), prefixes=())
    agent, mobile = scenario(entry)
    outcome = agent.receive(mobile.update())
    assert outcome.ba.status == BAStatus.NOT_HOME_SUBNET
    assert not agent.agent.bindings


def test_rfc6275_10_3_1_a_known_mobile_node_with_a_foreign_home_address_is_told() -> None:
    """NHA-BU-004: found by its identifier, since no association belongs to that home address."""
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(home_address=IPv6Address("2001:db8:999::1")))
    assert outcome.ba.status == BAStatus.NOT_HOME_SUBNET
    outcome = agent.receive(mobile.update(home_address=IPv6Address("2001:db8:100::9")))
    assert outcome.ba.status == BAStatus.ADMINISTRATIVELY_PROHIBITED
    assert not agent.agent.bindings


def test_an_unknown_mobile_node_is_dropped_silently() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(
        mobile.update(home_address=IPv6Address("2001:db8:100::9"), identifier="x@example.com")
    )
    assert outcome.silent
    assert outcome.drops == ["unknown-mobile-node"]


def test_rfc6275_9_5_1_change_of_the_h_flag_is_139() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update())
    outcome = agent.receive(mobile.update(sequence=16, flags=BUFlag.A))
    assert outcome.ba.status == BAStatus.REGISTRATION_TYPE_CHANGE_DISALLOWED
    assert agent.binding.sequence == 15


def test_without_h_and_binding_there_is_no_answer() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(flags=BUFlag.A))
    assert outcome.acknowledgements == []
    assert outcome.drops == ["not-a-correspondent"]


def test_rfc6275_10_3_1_full_cache_is_130() -> None:
    other = replace(
        ENTRY, home_address=IPv6Address("2001:db8:100::2222"), identifier="mr2@example.com", prefixes=()
    )
    agent, mobile = scenario()
    agent = type(agent)(replace(agent.config, mobile_nodes=(ENTRY, other), max_bindings=1))
    mobile2 = type(mobile)(other)
    assert agent.receive(mobile.update()).ba.status == BAStatus.ACCEPTED
    refused = agent.receive(mobile2.update(identifier="mr2@example.com"))
    assert refused.ba.status == BAStatus.INSUFFICIENT_RESOURCES
    # Whoever is in may refresh.
    assert agent.receive(mobile.update(sequence=16)).ba.status == BAStatus.ACCEPTED


@pytest.mark.parametrize("care_of", [str(HA), "2001:db8:1001::5"])
def test_a_care_of_address_that_would_loop_is_refused(care_of: str) -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(source=IPv6Address(care_of)))
    assert outcome.ba.status == BAStatus.INVALID_CARE_OF_ADDRESS
    assert not agent.bound


# Moving and refreshing --------------------------------------------------------------------------------------


def test_moving_hands_the_previous_binding_and_the_grace_to_the_data_plane() -> None:
    agent, mobile = scenario(grace=2.5)
    agent.receive(mobile.update())
    before = agent.binding
    outcome = agent.receive(mobile.update(sequence=16, source=COA2))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert outcome.installed.previous == before
    assert outcome.installed.grace == 2.5
    assert agent.binding.care_of == COA2
    assert agent.binding.index == before.index
    event = outcome.one(Event)
    assert event.kind == "moved"


def test_a_refresh_keeps_the_creation_time() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update())
    agent.after(100.0)
    outcome = agent.receive(mobile.update(now=agent.now, sequence=16))
    assert agent.binding.created == 1_800_000_000.0
    assert agent.binding.updated == 1_800_000_100.0
    assert agent.binding.expires == 1_800_000_520.0
    event = outcome.one(Event)
    assert event.kind == "refreshed"


# Lifetimes --------------------------------------------------------------------------------------------------


def test_rfc6275_10_3_1_granted_lifetime_is_never_more_than_requested() -> None:
    """HA-LT-001."""
    agent, mobile = scenario()
    assert agent.receive(mobile.update(lifetime=105)).ba.lifetime == 105
    assert agent.receive(mobile.update(sequence=16, lifetime=52)).ba.lifetime == 52
    assert agent.binding.lifetime == 208.0


def test_rfc6275_10_3_1_policy_may_shorten_the_lifetime() -> None:
    agent, mobile = scenario(max_lifetime=103.0)
    assert agent.receive(mobile.update(lifetime=0xFFFF)).ba.lifetime == 25
    assert agent.binding.lifetime == 100.0


def test_rfc6275_9_5_2_binding_is_deleted_when_its_lifetime_ends() -> None:
    """HA-LT-002, NHA-BU-003."""
    agent, mobile = scenario()
    agent.receive(mobile.update(lifetime=8))
    assert agent.agent.timeout() == 5032.0
    assert agent.after(31.9).actions == []
    assert agent.bound
    outcome = agent.after(0.1)
    assert outcome.kinds() == ["ForgetBinding", "RemoveBinding", "Event"]
    assert outcome.removed.reason == "expired"
    assert not outcome.removed.at_home
    assert not agent.bound
    assert agent.agent.timeout() is None


def test_a_refresh_puts_the_end_off() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update(lifetime=8))
    agent.after(20.0)
    agent.receive(mobile.update(now=agent.now, sequence=16, lifetime=8))
    assert agent.after(20.0).actions == []
    assert agent.bound
    assert agent.after(12.0).removed.reason == "expired"


def test_a_shorter_refresh_brings_the_end_forward() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update(lifetime=100))
    agent.receive(mobile.update(sequence=16, lifetime=2))
    assert agent.after(8.0).removed.reason == "expired"
    assert agent.after(1000.0).actions == []


def test_rfc6275_10_3_1_lifetime_ends_with_the_home_prefix_and_status_1_says_so() -> None:
    """NHA-BU-003."""
    agent, mobile = scenario()
    agent.advertise(HOME_PREFIX, 203)
    outcome = agent.receive(mobile.update(lifetime=0xFFFF))
    assert outcome.ba.lifetime == 50
    assert outcome.ba.status == BAStatus.ACCEPTED_PREFIX_DISCOVERY_NECESSARY


def test_rfc6275_10_3_1_deprecation_of_the_home_prefix_gives_status_1_and_shortens_nothing() -> None:
    agent, mobile = scenario()
    agent.advertise(HOME_PREFIX, 4000, preferred=100)
    outcome = agent.receive(mobile.update(lifetime=105))
    assert outcome.ba.lifetime == 105
    assert outcome.ba.status == BAStatus.ACCEPTED_PREFIX_DISCOVERY_NECESSARY
    outcome = agent.receive(mobile.update(sequence=16, lifetime=25))
    assert outcome.ba.status == BAStatus.ACCEPTED


def test_a_home_prefix_that_is_over_is_132() -> None:
    agent, mobile = scenario()
    agent.advertise(HOME_PREFIX, 3)
    assert agent.receive(mobile.update()).ba.status == BAStatus.NOT_HOME_SUBNET
    assert not agent.bound


def test_less_than_the_shortest_lifetime_is_refused() -> None:
    agent, mobile = scenario(min_lifetime=60.0)
    assert agent.receive(mobile.update(lifetime=14)).ba.status == BAStatus.ADMINISTRATIVELY_PROHIBITED
    assert agent.receive(mobile.update(lifetime=15)).ba.status == BAStatus.ACCEPTED


def test_rfc6275_10_3_1_no_refresh_advice_with_stored_bindings() -> None:
    agent, mobile = scenario()
    assert find(agent.receive(mobile.update()).ba.options, BindingRefreshAdvice) is None


@pytest.mark.parametrize(("lifetime", "advice"), [(105, 75), (76, 75), (75, None), (10, None)])
def test_rfc6275_10_3_1_refresh_advice_is_below_the_lifetime(lifetime: int, advice: int | None) -> None:
    agent, mobile = scenario(refresh_advice=300.0)
    option = find(agent.receive(mobile.update(lifetime=lifetime)).ba.options, BindingRefreshAdvice)
    assert (option.interval if option else None) == advice


# Sequence numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [AH, BUFlag.H])
@pytest.mark.parametrize(("last", "sequence"), [(15, 16), (15, 32782), (32783, 32784), (32783, 14)])
def test_rfc6275_9_5_1_newer_sequence_numbers(last: int, sequence: int, flags: BUFlag) -> None:
    """HA-SEQ-001, NHA-SEQ-001."""
    agent, mobile = scenario()
    agent.receive(mobile.update(sequence=last))
    outcome = agent.receive(mobile.update(sequence=sequence, source=COA2, flags=flags))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert outcome.ba.sequence == sequence
    assert agent.binding.care_of == COA2


@pytest.mark.parametrize("flags", [AH, BUFlag.H])
@pytest.mark.parametrize(
    ("last", "sequence"), [(15, 14), (15, 15), (15, 32783), (32783, 32782), (32783, 32783), (32783, 15)]
)
def test_rfc6275_9_5_1_sequence_numbers_out_of_window(last: int, sequence: int, flags: BUFlag) -> None:
    """HA-SEQ-002, NHA-SEQ-002: 135 with the last accepted number, to the new care-of address."""
    agent, mobile = scenario()
    agent.receive(mobile.update(sequence=last))
    outcome = agent.receive(mobile.update(sequence=sequence, source=COA2, flags=flags))
    assert outcome.ba.status == BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
    assert outcome.ba.sequence == last
    assert outcome.ba_packet.destination == COA2
    assert not outcome.changed
    assert agent.binding.care_of == COA1
    assert agent.binding.sequence == last


def test_rfc6275_9_5_1_any_sequence_number_without_a_binding() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update(sequence=500, lifetime=8))
    agent.after(32.0)
    assert agent.receive(mobile.update(now=agent.now, sequence=3)).ba.status == BAStatus.ACCEPTED


def test_an_ipv6_update_has_no_nat_detection_option() -> None:
    agent, mobile = scenario()
    assert find(agent.receive(mobile.update()).ba.options, NatDetection) is None


def test_unauthenticated_mobile_nodes_are_served_when_configured_so() -> None:
    agent, mobile = scenario(PLAIN_ENTRY)
    outcome = agent.receive(mobile.update())
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert outcome.ba.options == ()
    assert agent.binding.authentication == "none"


def test_a_node_without_prefixes_and_ipv4_is_served_too() -> None:
    plain = MobileNodeEntry(HOME, identifier=NAI, spi=ENTRY.spi, key=ENTRY.key)
    agent, mobile = scenario(plain)
    outcome = agent.receive(mobile.update())
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert agent.binding.networks == (IPv6Network(HOME),)
    assert isinstance(outcome.actions[2], SendPacket)
