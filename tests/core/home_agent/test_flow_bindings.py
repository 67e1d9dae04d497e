"""Which flows take which care-of addresses (RFC 6089 section 5.3, RFC 6088)."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from ha_multihomed import (
    AHO,
    LTE,
    SATELLITE,
    WIFI,
    Multihomed,
    bid,
    events,
    flow_statuses,
    kinds,
    statuses,
)
from ha_scenario import CORRESPONDENT, HOME, HOME4, MNP1

from dsmip.core.actions import InstallBinding, StoreBinding
from dsmip.wire.constants import BAStatus, FlowStatus
from dsmip.wire.flows import FlowIdentification, FlowSummary
from dsmip.wire.option import MalformedOption, find_all
from dsmip.wire.options import IPv4HomeAddress
from dsmip.wire.trafficselectors import IPv4TrafficSelector, IPv6TrafficSelector, UnknownTrafficSelector

VIDEO = IPv6TrafficSelector(source_port=(5000, 5010), next_header=(17, 17))
VOICE = IPv6TrafficSelector(traffic_class=(0xB8, 0xB8))


def flow(
    fid: int,
    priority: int,
    bids: tuple[int, ...] = (),
    selector: IPv4TrafficSelector | IPv6TrafficSelector | UnknownTrafficSelector | None = None,
) -> FlowIdentification:
    return FlowIdentification(fid, priority, 0, bids, selector)


def node_with_flows(**changes: object) -> Multihomed:
    """BIDs 1 and 2, flow 10 over BID 1 before flow 11 over both."""
    node = Multihomed(**changes)
    node.send(bid(1, WIFI), bid(2, LTE), flow(10, 100, (1,), VIDEO), flow(11, 200, (1, 2), VOICE), flags=AHO)
    return node


# New, changed, kept and gone --------------------------------------------------------------------------------


def test_rfc6089_5_3_2_1_flows_are_added_with_the_bids_of_the_same_update() -> None:
    node = Multihomed()
    asked = (flow(11, 200, (1, 2), VOICE), flow(10, 100, (1,), VIDEO))
    outcome = node.send(bid(1, WIFI), bid(2, LTE), *asked, flags=AHO)
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert flow_statuses(outcome) == {11: FlowStatus.SUCCESS, 10: FlowStatus.SUCCESS}
    first, second = node.agent.binding.flows
    assert (first.fid, first.priority, first.bids, first.selector) == (10, 100, (1,), VIDEO)
    assert (second.fid, second.bids, second.selector) == (11, (1, 2), VOICE)
    assert outcome.installed.binding.flows == outcome.one(StoreBinding).binding.flows == (first, second)
    (event,) = [event for event in events(outcome) if event.kind == "flows"]
    assert (event.fields["flows"], event.fields["active"]) == (2, 2)


def test_rfc6089_5_3_5_the_acknowledgement_has_copies() -> None:
    node = Multihomed()
    asked = (flow(11, 200, (1, 2), VOICE), flow(10, 100, (1,), VIDEO))
    outcome = node.send(bid(1, WIFI), bid(2, LTE), *asked, flags=AHO)
    assert find_all(outcome.ba.options, FlowIdentification) == asked


def test_rfc6089_5_3_4_what_is_not_named_is_removed() -> None:
    node = node_with_flows()
    outcome = node.send(bid(1, WIFI), FlowSummary((11,)))
    assert node.flows == {11: (1, 2)}
    assert flow_statuses(outcome) == {}
    assert "flows" in kinds(outcome)
    node.send(bid(1, WIFI))
    assert node.flows == {}


def test_rfc6089_5_3_3_summaries_keep_flows() -> None:
    node = node_with_flows()
    outcome = node.send(bid(1, WIFI), FlowSummary((11, 10, 11)), FlowSummary((10,)))
    assert node.flows == {10: (1,), 11: (1, 2)}
    assert kinds(outcome) == ["refreshed"]


def test_rfc6089_5_3_3_an_unknown_fid_in_a_summary_is_132() -> None:
    node = node_with_flows()
    outcome = node.send(bid(1, WIFI), FlowSummary((10, 12, 13)))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert flow_statuses(outcome) == {12: FlowStatus.FID_NOT_FOUND, 13: FlowStatus.FID_NOT_FOUND}
    assert outcome.drops == ["flow-fid-not-found"] * 2
    assert node.flows == {10: (1,)}


def test_rfc6089_5_3_2_2_what_a_known_flow_leaves_out_is_kept() -> None:
    node = node_with_flows()
    outcome = node.send(bid(1, WIFI), flow(10, 300, (2,)), flow(11, 50, (), VIDEO))
    assert flow_statuses(outcome) == {10: 0, 11: 0}
    first, second = node.agent.binding.flows
    assert (first.fid, first.priority, first.bids, first.selector) == (11, 50, (1, 2), VIDEO)
    assert (second.fid, second.priority, second.bids, second.selector) == (10, 300, (2,), VIDEO)


def test_rfc6089_5_2_2_2_all_flows_move_off_a_link_in_one_update() -> None:
    node = node_with_flows()
    outcome = node.send(bid(1), flow(10, 100, (2,)), flow(11, 200, (2,)), source=LTE, lifetime=0)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0})
    assert flow_statuses(outcome) == {10: 0, 11: 0}
    assert node.bound == {2: LTE}
    assert node.flows == {10: (2,), 11: (2,)}
    assert len([action for action in outcome.actions if isinstance(action, InstallBinding)]) == 1


def test_rfc6089_5_3_3_removal_of_a_bid_keeps_what_a_summary_names() -> None:
    node = node_with_flows()
    node.send(bid(1), FlowSummary((10,)), source=LTE, lifetime=0)
    assert node.flows == {10: (1,)}
    assert not node.agent.binding.is_active(node.agent.binding.flows[0])


def test_rfc6089_5_3_3_a_plain_deregistration_removes_all() -> None:
    node = node_with_flows()
    node.send(FlowSummary((10, 11)), lifetime=0)
    node.send(bid(1, WIFI), FlowSummary((10, 11)))
    assert node.flows == {}


# Active and inactive ----------------------------------------------------------------------------------------


def test_rfc6089_5_3_1_a_flow_without_bound_bids_is_inactive_and_comes_back() -> None:
    node = node_with_flows()
    outcome = node.send(bid(1), FlowSummary((10, 11)), source=LTE, lifetime=0)
    video, voice = node.agent.binding.flows
    assert (node.agent.binding.is_active(video), node.agent.binding.is_active(voice)) == (False, True)
    (event,) = [event for event in events(outcome) if event.kind == "flows"]
    assert (event.fields["flows"], event.fields["active"]) == (2, 1)
    node.send(bid(1, SATELLITE), FlowSummary((10, 11)), source=SATELLITE)
    assert node.agent.binding.is_active(video)


def test_rfc6089_4_3_expiry_makes_flows_inactive() -> None:
    node = node_with_flows()
    node.agent.after(200)
    node.send(bid(2, LTE), FlowSummary((10, 11)), source=LTE)
    outcome = node.agent.after(200)
    assert node.bound == {2: LTE}
    assert node.flows == {10: (1,), 11: (1, 2)}
    assert "flows" in kinds(outcome)


# Refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "status"),
    [
        (flow(12, 300, (1,)), FlowStatus.OPTION_MALFORMED),
        (flow(12, 300, (), VIDEO), FlowStatus.OPTION_MALFORMED),
        (flow(0, 300, (1,), VIDEO), FlowStatus.OPTION_MALFORMED),
        (flow(12, 0, (1,), VIDEO), FlowStatus.OPTION_MALFORMED),
        (flow(12, 300, (1,), IPv6TrafficSelector(source_port=(9, 8))), FlowStatus.OPTION_MALFORMED),
        (
            flow(12, 300, (1,), UnknownTrafficSelector(9, b"who knows")),
            FlowStatus.TRAFFIC_SELECTOR_FORMAT_NOT_SUPPORTED,
        ),
        (flow(12, 300, (1, 7), VIDEO), FlowStatus.BID_NOT_FOUND),
        (flow(12, 300, (0,), VIDEO), FlowStatus.BID_NOT_FOUND),
        (flow(12, 100, (1,), VIDEO), FlowStatus.REASON_UNSPECIFIED),  # the priority of flow 10
        (
            flow(12, 300, (1,), IPv6TrafficSelector(destination=(CORRESPONDENT, CORRESPONDENT))),
            FlowStatus.ADMINISTRATIVELY_PROHIBITED,
        ),
        (
            flow(12, 300, (1,), IPv4TrafficSelector(destination=(HOME4, HOME4))),  # was not asked for
            FlowStatus.ADMINISTRATIVELY_PROHIBITED,
        ),
    ],
)
def test_rfc6089_5_3_2_1_new_flows_that_are_refused(option: FlowIdentification, status: FlowStatus) -> None:
    node = node_with_flows()
    outcome = node.send(bid(1, WIFI), FlowSummary((10, 11)), option)
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert flow_statuses(outcome) == {option.fid: status}
    assert outcome.drops == [f"flow-{status.name.lower().replace('_', '-')}"]
    assert node.flows == {10: (1,), 11: (1, 2)}


@pytest.mark.parametrize(
    ("option", "status"),
    [
        (flow(10, 100, (7,)), FlowStatus.BID_NOT_FOUND),
        (
            flow(10, 100, (), UnknownTrafficSelector(9, b"")),
            FlowStatus.TRAFFIC_SELECTOR_FORMAT_NOT_SUPPORTED,
        ),
        (flow(10, 200), FlowStatus.REASON_UNSPECIFIED),
    ],
)
def test_rfc6089_5_3_2_2_a_refused_change_leaves_the_flow_as_it_was(
    option: FlowIdentification, status: FlowStatus
) -> None:
    node = node_with_flows()
    before = node.agent.binding.flows
    outcome = node.send(bid(1, WIFI), option, FlowSummary((11,)))
    assert flow_statuses(outcome) == {10: status}
    assert node.agent.binding.flows == before


def test_rfc6089_4_2_a_malformed_option_is_answered() -> None:
    node = node_with_flows()
    outcome = node.send(bid(1, WIFI), MalformedOption(45, bytes.fromhex("000c012c0000020100")))
    (answer,) = find_all(outcome.ba.options, FlowIdentification)
    assert answer == FlowIdentification(12, 300, FlowStatus.OPTION_MALFORMED)


def test_rfc6089_5_3_2_the_same_fid_twice_rejects_all() -> None:
    node = node_with_flows()
    asked = (flow(10, 300, (2,)), flow(12, 400, (1,), VIDEO), flow(12, 500, (1,), VIDEO))
    outcome = node.send(bid(1, WIFI), *asked, FlowSummary((11,)))
    assert [answer.status for answer in find_all(outcome.ba.options, FlowIdentification)] == [129, 129, 129]
    assert node.flows == {10: (1,), 11: (1, 2)}


def test_rfc6089_4_3_priorities_may_be_exchanged_but_not_shared() -> None:
    node = node_with_flows()
    outcome = node.send(bid(1, WIFI), flow(10, 200), flow(11, 100))
    assert flow_statuses(outcome) == {10: 0, 11: 0}
    assert list(node.flows) == [11, 10]
    # One that is refused stays where it was, and whoever wanted that place is refused, too.
    outcome = node.send(bid(1, WIFI), flow(10, 100), flow(11, 300, (7,)), flow(12, 200, (1,), VIDEO))
    assert flow_statuses(outcome) == {
        10: FlowStatus.REASON_UNSPECIFIED,
        11: FlowStatus.BID_NOT_FOUND,
        12: FlowStatus.REASON_UNSPECIFIED,
    }
    assert {entry.fid: entry.priority for entry in node.agent.binding.flows} == {10: 200, 11: 100}


def test_rfc6089_5_3_5_flows_prohibited_by_configuration() -> None:
    node = Multihomed(flow_bindings=False)
    outcome = node.send(bid(1, WIFI), flow(10, 100, (1,), VIDEO), FlowSummary((11,)), flags=AHO)
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert flow_statuses(outcome) == {10: FlowStatus.ADMINISTRATIVELY_PROHIBITED}
    assert node.agent.binding.flows == ()


def test_there_is_a_limit_to_flows() -> None:
    node = Multihomed()
    node.send(bid(1, WIFI), *[flow(fid, fid, (1,), VOICE) for fid in range(1, 33)], flags=AHO)
    more = [flow(fid, fid, (1,), VOICE) for fid in range(33, 66)]
    outcome = node.send(bid(1, WIFI), FlowSummary(tuple(range(1, 33))), *more)
    assert len(node.agent.binding.flows) == 64
    assert {fid for fid, status in flow_statuses(outcome).items() if status} == {65}


def test_a_refused_update_leaves_flows_alone() -> None:
    node = node_with_flows()
    before = node.agent.binding
    outcome = node.send(bid(7), flow(10, 100, (2,)), source=LTE)
    assert statuses(outcome) == (BAStatus.MCOA_UNKNOWN_COA, {7: 0})
    assert flow_statuses(outcome) == {}
    assert node.agent.binding == before


def test_a_plain_binding_has_no_bids_for_flows() -> None:
    node = Multihomed()
    outcome = node.send(flow(10, 100, (1,), VIDEO))
    assert outcome.ba.status == BAStatus.ACCEPTED
    assert flow_statuses(outcome) == {10: FlowStatus.BID_NOT_FOUND}


def test_rfc6088_selectors_may_name_what_is_the_mobile_nodes() -> None:
    node = Multihomed()
    anything = (IPv4Address(0), IPv4Address(0xFFFF_FFFF))
    asked = (
        flow(1, 1, (1,), IPv6TrafficSelector(destination=(HOME, HOME))),
        flow(2, 2, (1,), IPv4TrafficSelector(destination=anything)),
        flow(3, 3, (1,), IPv6TrafficSelector(destination=(MNP1[0], MNP1[9]))),
    )
    outcome = node.send(bid(1, WIFI), IPv4HomeAddress(HOME4), *asked, flags=AHO)
    # The prefix is not registered: no mobile router.
    assert flow_statuses(outcome) == {1: 0, 2: 0, 3: FlowStatus.ADMINISTRATIVELY_PROHIBITED}


def test_acknowledgements_never_grow_beyond_a_packet() -> None:
    """A long update has short answers, without sub-options."""
    node = Multihomed()
    wide = IPv6TrafficSelector(source=(CORRESPONDENT, CORRESPONDENT + 1), spi=(1, 2), flow_label=(1, 2))
    outcome = node.send(bid(1, WIFI), *[flow(fid, fid, (1,), wide) for fid in range(1, 26)], flags=AHO)
    answers = find_all(outcome.ba.options, FlowIdentification)
    assert len(answers) == 25
    assert {answer.selector for answer in answers} == {None}
    outcome = node.send(bid(1, WIFI), *[FlowSummary(tuple(range(100, 220)))] * 8)
    assert len(flow_statuses(outcome)) == 96
