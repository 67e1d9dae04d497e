"""Registration of mobile network prefixes (RFC 3963 section 6.2)."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from dsmip.wire.constants import BAFlag, BAStatus, BUFlag
from dsmip.wire.options import MobileNetworkPrefix, UnknownOption
from dsmip.wire.packet import encode_packet
from tests.conformance.home_agent.conftest import HomeAgent
from tests.conformance.home_agent.mobiles import AH, Mobile, acknowledgement
from tests.conformance.home_agent.steps import ACKNOWLEDGE, from_tunnel, is_bound, tunnel_end
from tests.conformance.home_agent.test_ha_mobility_headers import mended
from tests.conformance.home_agent.world import HOME_AGENT

pytestmark = pytest.mark.root

#: Which of its two prefixes a mobile router names first and then, by number.
CHANGES = [((0,), (1,)), ((0,), (0, 1)), ((0,), (0,)), ((0, 1), (0,)), ((0, 1), (1,)), ((0, 1), (0, 1))]
SETS = pytest.mark.parametrize(("first", "then"), CHANGES, ids=[f"{a}-{b}" for a, b in CHANGES])


def options(mobile: Mobile, numbers: tuple[int, ...]) -> list[MobileNetworkPrefix]:
    return [MobileNetworkPrefix.of(mobile.prefixes[number]) for number in numbers]


@pytest.mark.row("NHA-EXP-001")
@pytest.mark.parametrize("numbers", [(0,), (1,), (0, 1)], ids=str)
@ACKNOWLEDGE
def test_nha_exp_001_registers(home_agent: HomeAgent, numbers: tuple[int, ...], acknowledge: bool) -> None:
    mobile = home_agent.mobiles.router()
    flags = mobile.flags if acknowledge else mobile.flags & ~BUFlag.A
    answer = home_agent.send(mobile.update(flags=flags, options=options(mobile, numbers))).message
    assert (answer.status, answer.flags) == (BAStatus.ACCEPTED, BAFlag.R)


@pytest.mark.row("NHA-EXP-001", "NHA-TUN-007", "NHA-RT-004")
@SETS
def test_nha_exp_001_the_last_set_counts(
    home_agent: HomeAgent, first: tuple[int, ...], then: tuple[int, ...]
) -> None:
    mobile = home_agent.mobiles.router()
    home_agent.bind(mobile, options=options(mobile, first))
    for number in (0, 1):
        expected = mobile.care_of if number in first else None
        assert tunnel_end(home_agent.cables, mobile.host(number)) == expected
    answer = home_agent.bind(
        mobile, sequence=16, care_of=mobile.other_care_of, options=options(mobile, then)
    ).message
    assert (answer.status, answer.flags) == (BAStatus.ACCEPTED, BAFlag.R)
    for number in (0, 1):
        expected = mobile.other_care_of if number in then else None
        assert tunnel_end(home_agent.cables, mobile.host(number)) == expected
        forwarded = from_tunnel(home_agent.cables, mobile.host(number), mobile.other_care_of)
        assert len(forwarded) == (number in then)


@pytest.mark.row("NHA-FLAG-001")
@ACKNOWLEDGE
@pytest.mark.parametrize("explicit", [False, True], ids=["implicit", "explicit"])
def test_nha_flag_001_r_without_h(home_agent: HomeAgent, acknowledge: bool, explicit: bool) -> None:
    mobile = home_agent.mobiles.router()
    flags = (BUFlag.A if acknowledge else BUFlag(0)) | BUFlag.R
    answer = home_agent.send(
        mobile.update(flags=flags, options=options(mobile, (0,)) if explicit else [])
    ).message
    assert answer.status == BAStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED
    assert not is_bound(home_agent, mobile)


@pytest.mark.row("NHA-MNP-001")
@ACKNOWLEDGE
def test_nha_mnp_001_option_of_another_type(home_agent: HomeAgent, acknowledge: bool) -> None:
    """Without a prefix table entry, so that the implicit mode has nothing either."""
    mobile = home_agent.mobiles.node()
    flags = (AH if acknowledge else BUFlag.H) | BUFlag.R
    disguised = UnknownOption(0xFF, bytes((0, 64)) + IPv6Network("2001:db8:4000::/64")[0].packed)
    answer = home_agent.send(mobile.update(flags=flags, options=[disguised])).message
    assert answer.status == BAStatus.FORWARDING_SETUP_FAILED
    assert not is_bound(home_agent, mobile)


@pytest.mark.row("NHA-MNP-003")
def test_nha_mnp_003_reserved_field(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.router()
    header = mobile.message(options=options(mobile, (0,)))
    reserved = header.index(bytes((6, 18, 0, 64))) + 2
    packet = encode_packet(
        mobile.care_of,
        HOME_AGENT,
        mended(header, mobile.home, {reserved: 1}),
        home_address=mobile.home,
    )
    _, answer = acknowledgement(home_agent.cables.ask_net(packet))
    assert (answer.status, answer.flags) == (BAStatus.ACCEPTED, BAFlag.R)
    assert tunnel_end(home_agent.cables, mobile.host()) == mobile.care_of


@pytest.mark.row("NHA-MNP-004")
@ACKNOWLEDGE
@pytest.mark.parametrize("what", ["length-63", "multicast", "link-local", "one-good-one-bad"])
def test_nha_mnp_004_impossible_prefixes(home_agent: HomeAgent, acknowledge: bool, what: str) -> None:
    mobile = home_agent.mobiles.router()
    wrong = {
        "length-63": mobile.prefixes[0].supernet(),
        "multicast": IPv6Network("ff0e:1:2:3::/64"),
        "link-local": IPv6Network("fe80::/64"),
        "one-good-one-bad": IPv6Network("fe80::/64"),
    }[what]
    good = options(mobile, (0,)) if what == "one-good-one-bad" else []
    flags = mobile.flags if acknowledge else mobile.flags & ~BUFlag.A
    answer = home_agent.send(
        mobile.update(flags=flags, options=[*good, MobileNetworkPrefix.of(wrong)])
    ).message
    assert answer.status == BAStatus.INVALID_PREFIX
    assert not is_bound(home_agent, mobile)
    assert tunnel_end(home_agent.cables, mobile.host()) is None


@pytest.mark.row("NHA-MNP-004")
def test_nha_mnp_004_prefix_of_another_mobile_router(home_agent: HomeAgent) -> None:
    """Status 142, and whoever has it keeps it (RFC 3963 sections 6.1.2 and 6.2)."""
    mobile, victim = home_agent.mobiles.router(), home_agent.bound_router()
    update = mobile.update(options=[MobileNetworkPrefix.of(victim.prefixes[0])])
    assert home_agent.send(update).message.status == BAStatus.NOT_AUTHORIZED_FOR_PREFIX
    assert not is_bound(home_agent, mobile)
    assert tunnel_end(home_agent.cables, victim.host()) == victim.care_of


@pytest.mark.row("NHA-IMP-001")
@ACKNOWLEDGE
def test_nha_imp_001_the_prefix_table_decides(home_agent: HomeAgent, acknowledge: bool) -> None:
    mobile, nothing = home_agent.mobiles.router(), home_agent.mobiles.node()
    flags = mobile.flags if acknowledge else mobile.flags & ~BUFlag.A
    answer = home_agent.send(mobile.update(flags=flags)).message
    assert (answer.status, answer.flags) == (BAStatus.ACCEPTED, BAFlag.R)
    for number in (0, 1):
        assert tunnel_end(home_agent.cables, mobile.host(number)) == mobile.care_of
    assert home_agent.send(nothing.update(flags=flags)).message.status == BAStatus.FORWARDING_SETUP_FAILED
    assert not is_bound(home_agent, nothing)


@pytest.mark.row("NHA-IMP-001")
def test_nha_imp_001_the_r_flag_may_not_change(home_agent: HomeAgent) -> None:
    """RFC 3963 section 6.2: status 139, except in a de-registration."""
    mobile = home_agent.bound_router()
    answer = home_agent.send(mobile.update(sequence=16, flags=AH)).message
    assert answer.status == BAStatus.REGISTRATION_TYPE_CHANGE_DISALLOWED
    assert is_bound(home_agent, mobile)
    answer = home_agent.send(mobile.update(sequence=17, flags=AH, lifetime=0)).message
    assert (answer.status, answer.flags) == (BAStatus.ACCEPTED, BAFlag(0))
    assert not is_bound(home_agent, mobile)
