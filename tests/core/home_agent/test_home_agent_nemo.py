"""Mobile routers (RFC 3963 section 6)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from ha_scenario import AH, AHR, COA1, COA2, ENTRY, HA, HOME, MNP1, MNP2, PLAIN_ENTRY, scenario

from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from dsmip.wire.options import MobileNetworkPrefix, UnknownOption


def prefixes(*networks: IPv6Network) -> list[MobileNetworkPrefix]:
    return [MobileNetworkPrefix.of(network) for network in networks]


def test_rfc3963_6_2_implicit_mode_registers_everything_configured() -> None:
    """NHA-IMP-001 (a)."""
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(flags=AHR))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert outcome.ba.flags == BAFlag.R
    assert agent.binding.prefixes == (MNP1, MNP2)
    assert agent.binding.mobile_router


def test_rfc3963_6_2_implicit_mode_without_a_table_entry_is_143() -> None:
    """NHA-IMP-001 (b)."""
    agent, mobile = scenario(replace(ENTRY, prefixes=()))
    outcome = agent.receive(mobile.update(flags=AHR))
    assert outcome.ba.status == BAStatus.FORWARDING_SETUP_FAILED
    assert not agent.bound


def test_rfc3963_6_2_an_unrecognised_prefix_option_is_skipped() -> None:
    """NHA-MNP-001, for a mobile router without configured prefixes."""
    agent, mobile = scenario(replace(ENTRY, prefixes=()))
    unknown = UnknownOption(0xFF, bytes([0, 64]) + MNP1.network_address.packed)
    assert (
        agent.receive(mobile.update(flags=AHR, options=[unknown])).ba.status
        == BAStatus.FORWARDING_SETUP_FAILED
    )


def test_rfc3963_6_6_r_is_not_set_without_r_in_the_update() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(flags=AH, options=prefixes(MNP1)))
    assert outcome.ba.flags == BAFlag(0)
    assert agent.binding.prefixes == ()


def test_rfc3963_6_2_explicit_mode_registers_what_is_asked_for() -> None:
    """NHA-EXP-001 (a)."""
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(flags=AHR, options=prefixes(MNP1, MNP2)))
    assert (outcome.ba.status, outcome.ba.flags) == (BAStatus.ACCEPTED, BAFlag.R)
    assert agent.binding.prefixes == (MNP1, MNP2)


@pytest.mark.parametrize("first", [(MNP1,), (MNP1, MNP2)])
@pytest.mark.parametrize("second", [(MNP2,), (MNP1, MNP2), (MNP1,)])
def test_rfc3963_6_2_the_last_update_replaces_the_set(
    first: tuple[IPv6Network, ...], second: tuple[IPv6Network, ...]
) -> None:
    """NHA-EXP-001 (b)."""
    agent, mobile = scenario()
    agent.receive(mobile.update(flags=AHR, options=prefixes(*first)))
    outcome = agent.receive(mobile.update(sequence=16, source=COA2, flags=AHR, options=prefixes(*second)))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert outcome.installed.binding.prefixes == second
    assert outcome.installed.binding.networks == (IPv6Network(HOME), *second)


def test_rfc3963_6_2_one_bad_prefix_refuses_them_all() -> None:
    agent, mobile = scenario()
    foreign = IPv6Network("2001:db8:2001::/64")
    outcome = agent.receive(mobile.update(flags=AHR, options=prefixes(MNP1, foreign)))
    assert outcome.ba.status == BAStatus.NOT_AUTHORIZED_FOR_PREFIX
    assert not agent.bound


def test_rfc3963_6_2_prefix_of_another_mobile_router_is_142() -> None:
    other = replace(
        ENTRY,
        home_address=IPv6Address("2001:db8:100::2"),
        identifier="x",
        prefixes=(IPv6Network("2001:db8:2001::/64"),),
    )
    agent, mobile = scenario()
    agent = type(agent)(replace(agent.config, mobile_nodes=(ENTRY, other)))
    outcome = agent.receive(mobile.update(flags=AHR, options=prefixes(*other.prefixes)))
    assert outcome.ba.status == BAStatus.NOT_AUTHORIZED_FOR_PREFIX


def test_rfc3963_6_2_refused_prefixes_leave_the_old_binding_alone() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update(flags=AHR, options=prefixes(MNP1)))
    foreign = IPv6Network("2001:db8:2001::/64")
    agent.receive(mobile.update(sequence=16, source=COA2, flags=AHR, options=prefixes(foreign)))
    assert (agent.binding.care_of, agent.binding.prefixes) == (COA1, (MNP1,))


@pytest.mark.parametrize("network", ["2001:db8:1000::/63", "ff0e:1::/64", "fe80::/64", "::/0"])
def test_rfc3963_6_2_invalid_prefix_is_141(network: str) -> None:
    """NHA-MNP-004: a length of 63, multicast, link-local."""
    agent, mobile = scenario(replace(ENTRY, prefixes=(IPv6Network("2001:db8:1000::/64"),)))
    outcome = agent.receive(mobile.update(flags=AHR, options=prefixes(IPv6Network(network))))
    assert outcome.ba.status == BAStatus.INVALID_PREFIX
    assert not agent.bound


def test_a_part_of_ones_own_prefix_may_be_registered() -> None:
    agent, mobile = scenario(replace(ENTRY, prefixes=(IPv6Network("2001:db8:1000::/56"),)))
    part = IPv6Network("2001:db8:1000:42::/64")
    assert agent.receive(mobile.update(flags=AHR, options=prefixes(part))).ba.status == BAStatus.ACCEPTED
    assert agent.binding.prefixes == (part,)


@pytest.mark.parametrize("flags", [BUFlag.A | BUFlag.R, BUFlag.R])
def test_rfc3963_6_2_r_without_h_is_140(flags: BUFlag) -> None:
    """NHA-FLAG-001."""
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(flags=flags))
    assert outcome.ba.status == BAStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED
    assert outcome.ba.flags == BAFlag(0)
    assert not agent.bound


def test_rfc3963_6_6_a_mobile_host_may_not_be_a_router() -> None:
    agent, mobile = scenario(replace(ENTRY, mobile_router=False))
    assert agent.receive(mobile.update(flags=AHR)).ba.status == BAStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED
    assert agent.receive(mobile.update(sequence=16)).ba.status == BAStatus.ACCEPTED


@pytest.mark.parametrize(("before", "after"), [(AH, AHR), (AHR, AH)])
def test_rfc3963_6_2_change_of_the_r_flag_is_139(before: BUFlag, after: BUFlag) -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update(flags=before))
    outcome = agent.receive(mobile.update(sequence=16, flags=after))
    assert outcome.ba.status == BAStatus.REGISTRATION_TYPE_CHANGE_DISALLOWED
    assert agent.binding.mobile_router == bool(before & BUFlag.R)


def test_rfc3963_6_2_home_address_from_the_mobile_network_prefix_is_served() -> None:
    address = IPv6Address("2001:db8:1001::1")
    agent, mobile = scenario(replace(ENTRY, home_address=address))
    outcome = agent.receive(mobile.update(flags=AHR))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert agent.agent.bindings[address].care_of == COA1


def test_rfc3963_6_2_home_address_outside_everything_served_is_132() -> None:
    """NHA-BU-004."""
    agent, mobile = scenario(replace(ENTRY, home_address=IPv6Address("2001:db8:999::1")))
    for flags in (AHR, BUFlag.H | BUFlag.R):
        assert agent.receive(mobile.update(flags=flags)).ba.status == BAStatus.NOT_HOME_SUBNET


def test_rfc3963_4_3_reserved_octet_of_the_prefix_option_is_ignored() -> None:
    """NHA-MNP-003: by hand, on an update that no authenticator protects."""
    agent, mobile = scenario(PLAIN_ENTRY)
    octets = bytearray(mobile.update(flags=AHR, options=prefixes(MNP1)))
    start = 64
    option = octets.index(bytes([6, 18, 0, 64]), start)
    octets[option + 2] = 1
    octets[start + 4 : start + 6] = bytes(2)
    checksum = pseudo_checksum_v6(HOME, HA, 135, bytes(octets[start:]))
    octets[start + 4 : start + 6] = checksum.to_bytes(2)
    outcome = agent.receive(bytes(octets))
    assert (outcome.ba.status, outcome.ba.flags) == (BAStatus.ACCEPTED, BAFlag.R)
    assert agent.binding.prefixes == (MNP1,)
