"""Flows of one mobile node over several care-of addresses (RFC 6089, RFC 6088)."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address
from struct import pack

import pytest

from dsmip.daemon.control import ask
from dsmip.wire.constants import BAStatus, BUFlag, FlowStatus, NextHeader
from dsmip.wire.flows import FlowIdentification, FlowSummary
from dsmip.wire.messages import encode_message
from dsmip.wire.option import find_all
from dsmip.wire.packet import encode_packet
from dsmip.wire.returnroutability import HomeTest
from dsmip.wire.trafficselectors import IPv6TrafficSelector, UnknownTrafficSelector
from tests.conformance.home_agent.conftest import HomeAgent
from tests.conformance.home_agent.mobiles import Mobile, tunnelled
from tests.conformance.home_agent.steps import BOTH_KINDS, unused
from tests.conformance.home_agent.test_mha_registration import AHO, bid, both, statuses
from tests.conformance.home_agent.world import CORRESPONDENT

pytestmark = pytest.mark.root

VIDEO, VOICE = 5004, 5060


def udp_from(*ports: int) -> IPv6TrafficSelector:
    return IPv6TrafficSelector(source_port=(ports[0], ports[-1]), next_header=(17, 17))


def flow(
    fid: int,
    priority: int,
    bids: tuple[int, ...] = (),
    selector: IPv6TrafficSelector | UnknownTrafficSelector | None = None,
) -> FlowIdentification:
    return FlowIdentification(fid, priority, 0, bids, selector)


def flow_statuses(options: object) -> dict[int, int]:
    return {option.fid: option.status for option in find_all(options, FlowIdentification)}  # type: ignore[arg-type]


def ends(home_agent: HomeAgent, destination: IPv6Address, source_port: int) -> Counter[IPv6Address]:
    """The care-of addresses that a UDP packet from this port is tunnelled to."""
    segment = pack(">HHHH8x", source_port, 9, 16, 0)
    return ends_of(home_agent, destination, segment, NextHeader.UDP)


def ends_of(
    home_agent: HomeAgent, destination: IPv6Address, payload: bytes, next_header: int
) -> Counter[IPv6Address]:
    """The care-of addresses that a correspondent's packet is tunnelled to."""
    packet = encode_packet(home_agent.cables.stranger(), destination, payload, next_header)
    found = tunnelled(home_agent.cables.ask_net(packet))
    for _, inner in found:
        assert inner[40:] == payload
    return Counter(outer.destination for outer, _ in found)


def register(home_agent: HomeAgent, mobile: Mobile, *flows: FlowIdentification) -> None:
    """BID 1, BID 2, which is preferred, and these flows; all must be accepted."""
    answer = home_agent.bind(mobile, options=(*both(mobile), *flows), flags=mobile.flags | BUFlag.O)
    assert set(flow_statuses(answer.message.options).values()) == {FlowStatus.SUCCESS}


@pytest.mark.row("MHA-FL-001")
@BOTH_KINDS
def test_mha_fl_001_first_match(home_agent: HomeAgent, kind: str) -> None:
    mobile = unused(home_agent, kind)
    register(
        home_agent,
        mobile,
        flow(30, 300, (2,), udp_from(VIDEO, VOICE)),
        flow(10, 100, (1,), udp_from(VIDEO)),
    )
    destination = mobile.host() if mobile.prefixes else mobile.home
    first, second = Counter([mobile.care_of]), Counter([mobile.other_care_of])
    assert ends(home_agent, destination, VIDEO) == first
    assert ends(home_agent, destination, VOICE) == second
    assert ends(home_agent, destination, 80) == second
    # The order is that of the priorities, and a change of one takes effect at once.
    home_agent.bind(mobile, sequence=16, options=(bid(1), flow(10, 400), FlowSummary((30,))))
    assert ends(home_agent, destination, VIDEO) == second


@pytest.mark.row("MHA-FL-002")
def test_mha_fl_002_a_copy_to_each(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    register(home_agent, mobile, flow(10, 100, (1, 2), udp_from(VOICE)))
    assert ends(home_agent, mobile.home, VOICE) == Counter([mobile.care_of, mobile.other_care_of])
    assert ends(home_agent, mobile.home, 80) == Counter([mobile.other_care_of])


@pytest.mark.row("MHA-FL-003")
def test_mha_fl_003_off_a_link_in_one_update(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    register(home_agent, mobile, flow(10, 100, (1,), udp_from(VIDEO)), flow(11, 110, (2,), udp_from(VOICE)))
    home_agent.bind(
        mobile, sequence=16, lifetime=0, options=(bid(1), flow(10, 100, (2,)), FlowSummary((11,)))
    )
    for port in (VIDEO, VOICE, 80):
        assert ends(home_agent, mobile.home, port) == Counter([mobile.other_care_of])
    (shown, kept) = [row for row in ask_flows(home_agent) if row["home_address"] == str(mobile.home)]
    assert (shown["fid"], shown["bids"], shown["active"]) == (10, [2], True)
    assert (kept["fid"], kept["bids"], kept["active"]) == (11, [2], True)


@pytest.mark.row("MHA-FL-004")
def test_mha_fl_004_inactive_and_active_again(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    register(home_agent, mobile, flow(10, 100, (1,), udp_from(VIDEO)))
    home_agent.bind(mobile, sequence=16, lifetime=0, options=(bid(1), FlowSummary((10,))))
    assert ends(home_agent, mobile.home, VIDEO) == Counter([mobile.other_care_of])
    (shown,) = [row for row in ask_flows(home_agent) if row["home_address"] == str(mobile.home)]
    assert (shown["fid"], shown["active"]) == (10, False)
    home_agent.bind(mobile, sequence=17, options=(bid(1, mobile.care_of, priority=20), FlowSummary((10,))))
    assert ends(home_agent, mobile.home, VIDEO) == Counter([mobile.care_of])


@pytest.mark.row("MHA-FL-005")
def test_mha_fl_005_not_named_is_removed(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    register(home_agent, mobile, flow(10, 100, (1,), udp_from(VIDEO)), flow(11, 110, (1,), udp_from(VOICE)))
    home_agent.bind(mobile, sequence=16, options=(bid(1), FlowSummary((11,))))
    assert ends(home_agent, mobile.home, VIDEO) == Counter([mobile.other_care_of])
    assert ends(home_agent, mobile.home, VOICE) == Counter([mobile.care_of])


@pytest.mark.row("MHA-FL-007")
def test_mha_fl_007_signalling_is_no_flow(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    register(home_agent, mobile, flow(10, 100, (1,), IPv6TrafficSelector()))
    assert ends(home_agent, mobile.home, 80) == Counter([mobile.care_of])
    test = HomeTest(nonce_index=1, cookie=bytes(8), token=bytes(8))
    signalling = encode_message(test, home_agent.cables.stranger(), mobile.home)
    preferred = Counter([mobile.other_care_of])
    assert ends_of(home_agent, mobile.home, signalling, NextHeader.MOBILITY) == preferred


@pytest.mark.row("MHA-FL-006")
def test_mha_fl_006_refused_flows(home_agent: HomeAgent) -> None:
    mobile = home_agent.mobiles.node()
    elsewhere = IPv6TrafficSelector(destination=(CORRESPONDENT, CORRESPONDENT))
    refused = {
        1: (flow(1, 1, (), udp_from(VIDEO)), FlowStatus.OPTION_MALFORMED),
        2: (flow(2, 2, (1,)), FlowStatus.OPTION_MALFORMED),
        3: (flow(3, 3, (7,), udp_from(VIDEO)), FlowStatus.BID_NOT_FOUND),
        4: (
            flow(4, 4, (1,), UnknownTrafficSelector(77, b"?")),
            FlowStatus.TRAFFIC_SELECTOR_FORMAT_NOT_SUPPORTED,
        ),
        5: (flow(5, 5, (1,), elsewhere), FlowStatus.ADMINISTRATIVELY_PROHIBITED),
    }
    options = (*both(mobile), *(option for option, _ in refused.values()), FlowSummary((9,)))
    answer = home_agent.bind(mobile, options=options, flags=AHO)
    assert statuses(answer.message) == (BAStatus.ACCEPTED, {1: 0, 2: 0})
    expected = {fid: status for fid, (_, status) in refused.items()} | {9: FlowStatus.FID_NOT_FOUND}
    assert flow_statuses(answer.message.options) == expected
    assert ends(home_agent, mobile.home, VIDEO) == Counter([mobile.other_care_of])


def ask_flows(home_agent: HomeAgent) -> list[dict[str, object]]:
    """What `dsmip flows` shows."""
    found: list[dict[str, object]] = ask(home_agent.cables.instance, "flows")
    return found
