"""RFC 4285 at the home agent: no state before a Binding Update is authentic and fresh."""

from __future__ import annotations

import pytest
from ha_scenario import (
    AH,
    COA1,
    COA2,
    ENTRY,
    HA,
    HOME,
    KEY,
    NAI,
    PLAIN_ENTRY,
    SPI,
    START,
    authentic,
    scenario,
)
from hypothesis import given
from hypothesis import strategies as st

from dsmip.core.actions import StoreReplay
from dsmip.core.authentication import mn_ha_authenticator, ntp_timestamp
from dsmip.core.home_agent.nodes import CORRECTION_BURST, CORRECTION_RATE
from dsmip.core.types import Instant, ReplayState
from dsmip.wire.checksum import pseudo_checksum_v6
from dsmip.wire.constants import BAStatus
from dsmip.wire.messages import BindingUpdate, covered_octets, encode_message
from dsmip.wire.options import (
    AlternateCareOfAddress,
    Authentication,
    BindingRefreshAdvice,
    MessageIdentifier,
    MobileNodeIdentifier,
    MobilityOption,
    find,
)
from dsmip.wire.packet import encode_packet

NOW = ntp_timestamp(START.unix)


def test_rfc4285_5_1_1_ba_is_authenticated_with_the_care_of_address_of_the_bu() -> None:
    agent, mobile = scenario()
    packet = agent.receive(mobile.update()).ba_packet
    assert authentic(packet, COA1)
    assert not authentic(packet, COA2)
    assert not authentic(packet, COA1, key=KEY[::-1])


def test_rfc4285_6_ba_carries_the_whole_timestamp() -> None:
    agent, mobile = scenario()
    option = find(agent.receive(mobile.update(timestamp=NOW + 12345)).ba.options, MessageIdentifier)
    assert option == MessageIdentifier(NOW + 12345)


def test_rfc4285_5_1_1_bu_without_the_option_is_dropped_silently() -> None:
    """HA-BU-004."""
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(sign=False))
    assert outcome.silent
    assert outcome.drops == ["authentication-missing"]
    assert not agent.bound


def test_rfc4285_5_1_1_unknown_spi_is_dropped_silently() -> None:
    agent, mobile = scenario()
    mobile.spi = SPI + 1
    outcome = agent.receive(mobile.update())
    assert outcome.silent
    assert outcome.drops == ["unknown-spi"]


def test_rfc4285_5_1_1_wrong_authenticator_is_146_and_changes_nothing() -> None:
    agent, mobile = scenario()
    mobile.key = KEY[::-1]
    outcome = agent.receive(mobile.update())
    assert outcome.ba.status == BAStatus.MIPV6_AUTH_FAIL
    assert outcome.ba_packet.destination == COA1
    assert authentic(outcome.ba_packet, COA1)
    assert outcome.kinds() == ["SendPacket", "Drop"]
    assert not agent.bound


def test_the_authenticator_covers_which_care_of_address_is_meant() -> None:
    """The same mobility header from another source, as an attacker on the path would send it."""
    agent, mobile = scenario()
    assert agent.receive(mobile.update(source=COA2, mac_care_of=COA1)).ba.status == BAStatus.MIPV6_AUTH_FAIL


def test_rfc4285_5_1_alternate_care_of_address_is_the_one_signed() -> None:
    agent, mobile = scenario()
    update = mobile.update(source=COA1, options=[AlternateCareOfAddress(COA2)], mac_care_of=COA1)
    assert agent.receive(update).ba.status == BAStatus.MIPV6_AUTH_FAIL


def test_rfc4285_6_missing_timestamp_is_145() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(with_timestamp=False))
    assert outcome.ba.status == BAStatus.MIPV6_MESG_ID_REQD
    assert find(outcome.ba.options, MessageIdentifier) is None
    assert authentic(outcome.ba_packet, COA1)
    assert not agent.bound


@pytest.mark.parametrize("seconds", [-7.5, 7.5, -3600.0, 1e9])
def test_rfc4285_6_stale_timestamp_is_144_with_our_seconds(seconds: float) -> None:
    agent, mobile = scenario()
    sent = ntp_timestamp(START.unix + seconds) | 0xABCD
    outcome = agent.receive(mobile.update(timestamp=sent))
    assert outcome.ba.status == BAStatus.MIPV6_ID_MISMATCH
    option = find(outcome.ba.options, MessageIdentifier)
    assert option is not None
    assert option.timestamp >> 32 == NOW >> 32
    assert option.timestamp & 0xFFFF_FFFF == sent & 0xFFFF_FFFF
    assert authentic(outcome.ba_packet, COA1)
    assert not outcome.changed
    assert not agent.bound


def test_rfc4285_6_tolerance_is_configurable() -> None:
    agent, mobile = scenario(timestamp_tolerance=60.0)
    update = mobile.update(timestamp=ntp_timestamp(START.unix - 59.0))
    assert agent.receive(update).ba.status == BAStatus.ACCEPTED


@pytest.mark.parametrize("step", [0, -1, -(1 << 32)])
def test_rfc4285_6_timestamp_must_be_greater_than_the_last_accepted(step: int) -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update(timestamp=NOW))
    outcome = agent.receive(mobile.update(sequence=16, source=COA2, timestamp=NOW + step))
    assert outcome.ba.status == BAStatus.MIPV6_ID_MISMATCH
    assert not outcome.changed
    assert agent.binding.care_of == COA1


def test_rfc4285_6_replay_check_comes_after_the_authenticator() -> None:
    agent, mobile = scenario()
    agent.receive(mobile.update(timestamp=NOW))
    mobile.key = KEY[::-1]
    assert agent.receive(mobile.update(timestamp=NOW)).ba.status == BAStatus.MIPV6_AUTH_FAIL


def test_a_refused_authentic_update_cannot_be_replayed_later() -> None:
    """It was refused for want of room; when there is room again the same octets must not register."""
    agent, mobile = scenario(max_bindings=0)
    update = mobile.update()
    outcome = agent.receive(update)
    assert outcome.ba.status == BAStatus.INSUFFICIENT_RESOURCES
    stored = outcome.one(StoreReplay)
    assert stored == StoreReplay(ReplayState(HOME, 0, NOW + 1, 0))
    assert agent.receive(update).ba.status == BAStatus.MIPV6_ID_MISMATCH


def test_replay_state_survives_a_restart() -> None:
    agent, mobile = scenario()
    update = mobile.update()
    agent.receive(update)
    agent.receive(mobile.update(sequence=16, lifetime=0))
    again, _ = scenario()
    again.agent.resume([], [ReplayState(HOME, 16, NOW + 2, 1)], START)
    outcome = again.receive(update)
    assert outcome.ba.status == BAStatus.MIPV6_ID_MISMATCH
    assert not again.bound


def test_rfc4283_3_identifier_must_be_the_configured_one() -> None:
    agent, mobile = scenario()
    outcome = agent.receive(mobile.update(identifier="somebody@example.com"))
    assert outcome.silent
    assert outcome.drops == ["identifier-mismatch"]


def test_an_identifier_is_not_needed_where_the_home_address_tells() -> None:
    agent, mobile = scenario()
    assert agent.receive(mobile.update(identifier=None)).ba.status == BAStatus.ACCEPTED


def signed_by_hand(*options: MobilityOption) -> bytes:
    """A Binding Update whose options come in just this order, the MN-HA authenticator being right."""
    blank = BindingUpdate(15, AH, 105, options)
    covered = covered_octets(encode_message(blank, HOME, HA))
    assert covered is not None
    right = mn_ha_authenticator(KEY, COA1, HOME, covered)
    filled = tuple(
        option.with_authenticator(right)
        if isinstance(option, Authentication) and option.subtype == 1
        else option
        for option in options
    )
    return by_hand(*filled)


def by_hand(*options: MobilityOption) -> bytes:
    """A Binding Update with just these options."""
    message = BindingUpdate(15, AH, 105, options)
    return encode_packet(COA1, HA, encode_message(message, HOME, HA), home_address=HOME)


MN_ID = MobileNodeIdentifier(NAI.encode())
STAMP = MessageIdentifier(NOW + 1)
MN_HA = Authentication(SPI, bytes(12))
MN_AAA = Authentication(3, bytes(20), 2)


def test_rfc4285_5_1_the_hand_made_update_is_good() -> None:
    agent, _ = scenario()
    assert agent.receive(signed_by_hand(MN_ID, STAMP, MN_HA)).ba.status == BAStatus.ACCEPTED


def test_rfc4285_5_1_mn_ha_must_be_the_last_option() -> None:
    agent, _ = scenario()
    outcome = agent.receive(signed_by_hand(MN_ID, STAMP, MN_HA, BindingRefreshAdvice(1)))
    assert outcome.silent
    assert outcome.drops == ["authentication-misplaced"]


def test_rfc4285_5_2_mn_ha_comes_before_mn_aaa() -> None:
    agent, _ = scenario()
    assert agent.receive(signed_by_hand(MN_ID, STAMP, MN_HA, MN_AAA)).ba.status == BAStatus.ACCEPTED
    agent, _ = scenario()
    assert agent.receive(signed_by_hand(MN_ID, STAMP, MN_AAA, MN_HA)).drops == ["authentication-misplaced"]


def test_rfc4285_5_only_one_option_per_subtype() -> None:
    agent, _ = scenario()
    assert agent.receive(signed_by_hand(MN_ID, STAMP, MN_HA, MN_HA)).drops == ["authentication-misplaced"]


def test_rfc4285_5_2_mn_aaa_alone_is_no_authentication_here() -> None:
    agent, _ = scenario()
    assert agent.receive(by_hand(MN_ID, STAMP, MN_AAA)).drops == ["authentication-missing"]
    assert not agent.bound


def test_answers_to_wrong_authenticators_are_limited() -> None:
    agent, mobile = scenario()
    mobile.key = KEY[::-1]
    answered = sum(len(agent.receive(mobile.update()).acknowledgements) for _ in range(150))
    assert answered == 100
    agent.after(0.1)
    answered = sum(len(agent.receive(mobile.update()).acknowledgements) for _ in range(20))
    assert answered == 10
    # The mobile node itself is not held up.
    mobile.key = KEY
    assert agent.receive(mobile.update(now=agent.now)).ba.status == BAStatus.ACCEPTED


# Nobody but the key's owner ---------------------------------------------------------------------------------


@given(st.data())
def test_no_change_of_an_authentic_update_is_accepted(data: st.DataObject) -> None:
    """Any octet of the mobility header may be changed, with the checksum made right again."""
    agent, mobile = scenario()
    packet = mobile.update()
    start = 64
    position = data.draw(
        st.integers(start, len(packet) - 1).filter(lambda p: p not in (start + 4, start + 5))
    )
    value = data.draw(st.integers(0, 255).filter(lambda v: v != packet[position]))
    changed = bytearray(packet)
    changed[position] = value
    agent.receive(with_checksum(changed, start))
    assert not agent.bound


def with_checksum(packet: bytearray, start: int) -> bytes:
    packet[start + 4 : start + 6] = bytes(2)
    checksum = pseudo_checksum_v6(HOME, HA, 135, bytes(packet[start:]))
    packet[start + 4 : start + 6] = checksum.to_bytes(2)
    return bytes(packet)


def test_padding_may_follow_the_authenticator() -> None:
    """It is none of what the authenticator covers, which a header mostly ends with."""
    agent, mobile = scenario()
    packet = bytearray(mobile.update()) + bytes((1, 6, 0, 0, 0, 0, 0, 0))  # a PadN option of 8 octets
    start = 64
    packet[start + 1] += 1
    packet[4:6] = (len(packet) - 40).to_bytes(2)
    covered = covered_octets(bytes(packet[start:]))
    assert covered is not None
    packet[-20:-8] = mn_ha_authenticator(KEY, COA1, HOME, covered)
    assert agent.receive(with_checksum(packet, start)).ba.status == BAStatus.ACCEPTED


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_replays_never_change_state(order: list[int]) -> None:
    """Ten updates from ever new places are sent once each; whatever is played again does nothing."""
    agent, mobile = scenario()
    packets = []
    for number in range(10):
        source = type(COA1)(int(COA1) + number)
        lifetime = 0 if number == 5 else 105
        packets.append(mobile.update(now=agent.now, sequence=15 + number, source=source, lifetime=lifetime))
        agent.receive(packets[-1])
        agent.after(0.25)
    before = agent.binding
    for number in order:
        agent.after(1 / CORRECTION_RATE)
        outcome = agent.receive(packets[number])
        assert outcome.ba.status == BAStatus.MIPV6_ID_MISMATCH
        assert not outcome.changed
    assert agent.binding == before


def test_a_flood_of_replays_is_not_answered_by_a_flood() -> None:
    agent, mobile = scenario()
    packet = mobile.update(now=agent.now)
    agent.receive(packet)
    answered = sum(len(agent.receive(packet).acknowledgements) for _ in range(100))
    assert answered == CORRECTION_BURST
    agent.after(1.0)
    assert agent.receive(packet).ba.status == BAStatus.MIPV6_ID_MISMATCH


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_replays_after_de_registration_never_bring_the_binding_back(order: list[int]) -> None:
    agent, mobile = scenario()
    packets = [mobile.update(sequence=15 + number) for number in range(5)]
    for packet in packets:
        agent.receive(packet)
    agent.receive(mobile.update(sequence=20, lifetime=0))
    agent.after(3.0)
    for number in order:
        agent.receive(packets[number])
        agent.after(1.0)
    assert not agent.bound


@given(st.binary(max_size=200))
def test_any_octets_never_raise_and_never_bind(octets: bytes) -> None:
    agent, _ = scenario(PLAIN_ENTRY)
    agent.receive(octets)
    assert not agent.agent.bindings


@given(st.data())
def test_damaged_updates_never_raise(data: st.DataObject) -> None:
    """Truncated and overwritten packets, for an unauthenticated node too, over IPv6 and in UDP."""
    agent, mobile = scenario(data.draw(st.sampled_from([ENTRY, PLAIN_ENTRY])))
    packet = bytearray(data.draw(st.sampled_from([mobile.update(), mobile.update_in_udp()])))
    for _ in range(data.draw(st.integers(1, 8))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    agent.receive(bytes(packet[: data.draw(st.integers(0, len(packet)))]))
    agent.agent.tick(Instant(9e9, 9e9))
    assert not agent.agent.bindings
