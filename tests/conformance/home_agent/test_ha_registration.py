"""Home registrations: form of the answers, sequence numbers, lifetimes (RFC 6275 sections 9.5 and 10.3.1)."""

from __future__ import annotations

import time
from ipaddress import IPv6Address

import pytest

from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from dsmip.wire.options import BindingRefreshAdvice, NonceIndices, find
from dsmip.wire.packet import encode_packet
from tests.conformance.home_agent.conftest import HomeAgent
from tests.conformance.home_agent.mobiles import AH, Mobile
from tests.conformance.home_agent.steps import ACKNOWLEDGE, BOTH_KINDS, ids, is_bound, unused
from tests.conformance.home_agent.world import HOME_AGENT

pytestmark = pytest.mark.root

GROUP = IPv6Address("ff0e::1234")


@pytest.mark.row("HA-BU-001")
@BOTH_KINDS
@ACKNOWLEDGE
def test_ha_bu_001_registration(home_agent: HomeAgent, kind: str, acknowledge: bool) -> None:
    mobile = unused(home_agent, kind)
    flags = mobile.flags if acknowledge else mobile.flags & ~BUFlag.A
    packet, answer, frames = home_agent.send(mobile.update(flags=flags))
    assert (packet.source, packet.destination) == (HOME_AGENT, mobile.care_of)
    assert packet.routing_home_address == mobile.home
    assert answer.status == BAStatus.ACCEPTED
    assert answer.sequence == 15
    assert 0 < answer.lifetime <= 105
    assert answer.flags == (BAFlag.R if mobile.prefixes else BAFlag(0))
    # Bindings are stored on disk, so there must be no advice (RFC 6275 section 10.3.1).
    assert find(answer.options, BindingRefreshAdvice) is None
    assert is_bound(home_agent, mobile)
    assert len([frame for frame in frames if frame.link == "net"]) == 1


@pytest.mark.row("HA-BU-001")
def test_ha_bu_001_k_is_not_granted_without_ike(home_agent: HomeAgent) -> None:
    answer = home_agent.send(home_agent.mobiles.node().update(flags=AH | BUFlag.K)).message
    assert answer.status == BAStatus.ACCEPTED
    assert not answer.flags & BAFlag.K


@pytest.mark.row("HA-BU-004", "NHA-BU-004")
@ACKNOWLEDGE
def test_ha_bu_004_not_authenticated(home_agent: HomeAgent, acknowledge: bool) -> None:
    mobile = home_agent.mobiles.keyed()
    flags = mobile.flags if acknowledge else mobile.flags & ~BUFlag.A
    assert home_agent.cables.ask_net(mobile.update(flags=flags)) == []
    assert not is_bound(home_agent, mobile)
    assert home_agent.send(mobile.update(flags=flags, unix=time.time())).message.status == BAStatus.ACCEPTED
    assert is_bound(home_agent, mobile)


@pytest.mark.row("HA-BU-004", "NHA-BU-004")
def test_ha_bu_004_replayed(home_agent: HomeAgent) -> None:
    """Protection means freshness, too (RFC 6275 section 5.1): nothing is accepted twice."""
    mobile = home_agent.mobiles.keyed()
    update = mobile.update(sequence=15, unix=time.time())
    assert home_agent.send(update).message.status == BAStatus.ACCEPTED
    assert home_agent.send(update).message.status == BAStatus.MIPV6_ID_MISMATCH
    end = mobile.update(sequence=16, lifetime=0, unix=time.time())
    assert home_agent.send(end).message.status == BAStatus.ACCEPTED
    assert home_agent.send(update).message.status == BAStatus.MIPV6_ID_MISMATCH
    assert not is_bound(home_agent, mobile)


@pytest.mark.row("HA-BU-005", "NHA-BU-004")
@BOTH_KINDS
def test_ha_bu_005_nonce_indices(home_agent: HomeAgent, kind: str) -> None:
    mobile = unused(home_agent, kind)
    assert home_agent.cables.ask_net(mobile.update(options=[NonceIndices(1, 2)])) == []
    assert not is_bound(home_agent, mobile)


@pytest.mark.row("HA-BU-006", "NHA-BU-004")
@BOTH_KINDS
@pytest.mark.parametrize("link_local", [False, True], ids=["L=0", "L=1"])
@pytest.mark.parametrize("what", ["link-local", "multicast"])
def test_ha_bu_006_impossible_home_address(
    home_agent: HomeAgent, kind: str, link_local: bool, what: str
) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile)
    home = mobile.link_local if what == "link-local" else GROUP
    flags = mobile.flags | (BUFlag.L if link_local else BUFlag(0))
    update = mobile.update(sequence=16, care_of=mobile.other_care_of, home=home, flags=flags)
    assert home_agent.cables.ask_net(update) == []
    assert is_bound(home_agent, mobile)


@pytest.mark.row("NHA-BU-004")
@ACKNOWLEDGE
def test_nha_bu_004_not_home_subnet(home_agent: HomeAgent, acknowledge: bool) -> None:
    mobile = home_agent.mobiles.keyed()
    flags = mobile.flags if acknowledge else mobile.flags & ~BUFlag.A
    elsewhere = IPv6Address("2001:db8:999::5")
    packet, answer, _ = home_agent.send(mobile.update(home=elsewhere, flags=flags, unix=time.time()))
    assert answer.status == BAStatus.NOT_HOME_SUBNET
    assert (packet.destination, packet.routing_home_address) == (mobile.care_of, elsewhere)
    assert not is_bound(home_agent, mobile)


# Sequence numbers ------------------------------------------------------------------------------------------

NEWER = [(15, 16), (15, 32782), (32783, 32784), (32783, 14)]
NOT_NEWER = [(15, 14), (15, 15), (15, 32783), (32783, 32782), (32783, 32783), (32783, 15)]


@pytest.mark.row("HA-SEQ-001", "NHA-SEQ-001")
@BOTH_KINDS
@ACKNOWLEDGE
@pytest.mark.parametrize(("stored", "sequence"), NEWER, ids=ids(NEWER))
def test_ha_seq_001_newer(
    home_agent: HomeAgent, kind: str, acknowledge: bool, stored: int, sequence: int
) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile, sequence=stored)
    flags = mobile.flags if acknowledge else mobile.flags & ~BUFlag.A
    update = mobile.update(sequence=sequence, care_of=mobile.other_care_of, flags=flags)
    packet, answer, _ = home_agent.send(update)
    assert (answer.status, answer.sequence) == (BAStatus.ACCEPTED, sequence)
    assert bool(answer.flags & BAFlag.R) == bool(mobile.prefixes)
    assert packet.destination == mobile.other_care_of
    assert is_bound(home_agent, mobile, mobile.other_care_of)


@pytest.mark.row("HA-SEQ-002", "NHA-SEQ-002")
@BOTH_KINDS
@ACKNOWLEDGE
@pytest.mark.parametrize(("stored", "sequence"), NOT_NEWER, ids=ids(NOT_NEWER))
def test_ha_seq_002_not_newer(
    home_agent: HomeAgent, kind: str, acknowledge: bool, stored: int, sequence: int
) -> None:
    mobile = unused(home_agent, kind)
    home_agent.bind(mobile, sequence=stored)
    flags = mobile.flags if acknowledge else mobile.flags & ~BUFlag.A
    update = mobile.update(sequence=sequence, care_of=mobile.other_care_of, flags=flags)
    packet, answer, _ = home_agent.send(update)
    assert (answer.status, answer.sequence) == (BAStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, stored)
    assert (packet.destination, packet.routing_home_address) == (mobile.other_care_of, mobile.home)
    assert not is_bound(home_agent, mobile, mobile.other_care_of)
    assert is_bound(home_agent, mobile)


# Lifetimes -------------------------------------------------------------------------------------------------


@pytest.mark.row("HA-LT-001", "NHA-BU-003")
@BOTH_KINDS
def test_ha_lt_001_shorter_refresh(home_agent: HomeAgent, kind: str) -> None:
    mobile = unused(home_agent, kind)
    granted = home_agent.bind(mobile).message.lifetime
    answer = home_agent.bind(mobile, sequence=16, lifetime=granted // 2).message
    assert 0 < answer.lifetime <= granted // 2
    assert is_bound(home_agent, mobile)


@pytest.mark.row("HA-LT-002", "NHA-BU-003")
def test_ha_lt_002_the_binding_ends(home_agent: HomeAgent) -> None:
    """Lifetime 1 is four seconds; a mobile node, a mobile router, and one whose refresh was shorter."""
    mobiles: list[Mobile] = [unused(home_agent, "node"), unused(home_agent, "router")]
    refreshed = home_agent.bound_node(lifetime=105)
    for mobile in mobiles:
        assert home_agent.bind(mobile, lifetime=1).message.lifetime == 1
    assert home_agent.bind(refreshed, sequence=16, lifetime=1).message.lifetime == 1
    bound = time.monotonic()
    mobiles.append(refreshed)
    while time.monotonic() < bound + 3.5:
        assert all(is_bound(home_agent, mobile) for mobile in mobiles)
        time.sleep(0.25)
    time.sleep(max(0.0, bound + 4.2 - time.monotonic()))
    assert not any(is_bound(home_agent, mobile) for mobile in mobiles)
    proxies = home_agent.cables.inside_output("ip", "-6", "neigh", "show", "proxy")
    assert not any(str(mobile.home) in proxies.split() for mobile in mobiles)


@pytest.mark.row("HA-BU-001", "NHA-BU-003")
@BOTH_KINDS
def test_ha_bu_001_the_longest_lifetime_is_the_policy_s(home_agent: HomeAgent, kind: str) -> None:
    answer = home_agent.bind(unused(home_agent, kind), lifetime=0xFFFF).message
    assert answer.lifetime == 3600 // 4


@pytest.mark.row("HA-BU-001")
def test_ha_bu_001_without_home_address_option(home_agent: HomeAgent) -> None:
    """A registration, unlike a de-registration, has to have one (RFC 6275 section 10.3.1)."""
    mobile = home_agent.mobiles.node()
    header = mobile.message(alternate=mobile.care_of)
    home_agent.cables.neighbours[mobile.home] = mobile.mac
    packet = encode_packet(mobile.home, HOME_AGENT, header)
    assert home_agent.cables.ask_home(packet, source_mac=mobile.mac) == []
    assert not is_bound(home_agent, mobile)
