"""The home link as one of several (RFC 5648 sections 5.6 and 6.3)."""

from __future__ import annotations

import pytest
from ha_multihomed import AHO, LTE, WIFI, Multihomed, bid, kinds, statuses
from ha_scenario import (
    HOME,
)

from dsmip.core.actions import NoteNeighbor
from dsmip.core.types import TunnelFormat
from dsmip.wire.constants import BAStatus
from dsmip.wire.fasthandoveroptions import MHLinkLayerAddress
from dsmip.wire.multihoming import BindingIdentifier
from dsmip.wire.option import find_all


def with_home_link(**changes: object) -> Multihomed:
    return Multihomed(home_link=True, **changes)


def test_rfc5648_5_6_3_home_and_foreign_at_the_same_time() -> None:
    node = with_home_link(dad=False)
    node.send(bid(1, WIFI), flags=AHO)
    outcome = node.send(bid(2, HOME, home=True), hao=False, source=HOME)
    assert statuses(outcome) == (BAStatus.ACCEPTED, {2: 0})
    (copy,) = find_all(outcome.ba.options, BindingIdentifier)
    assert copy.home
    assert outcome.ba_packet.destination == HOME
    assert node.bound == {1: WIFI, 2: HOME}
    entry = node.agent.binding.care_ofs[1]
    assert (entry.at_home, entry.format) == (True, TunnelFormat.LINK)
    assert node.agent.binding.at_home


def test_rfc5648_5_6_3_the_home_binding_in_bulk() -> None:
    node = with_home_link(dad=False)
    node.send(bid(1, WIFI, priority=2), bid(2, HOME, home=True, priority=1), flags=AHO)
    assert node.bound == {2: HOME, 1: WIFI}
    node.agent.after(100)
    outcome = node.send(bid(1), bid(2, home=True))
    assert statuses(outcome) == (BAStatus.ACCEPTED, {1: 0, 2: 0})
    assert {entry.lifetime for entry in node.agent.binding.care_ofs} == {400.0}


def test_rfc5648_5_6_3_there_is_one_home_binding() -> None:
    node = with_home_link(dad=False)
    node.send(bid(1, WIFI), bid(2, HOME, home=True), flags=AHO)
    node.send(bid(3, HOME, home=True))
    assert node.bound == {1: WIFI, 3: HOME}
    outcome = node.send(bid(3, HOME, home=True), bid(4, HOME, home=True))
    assert statuses(outcome) == (BAStatus.MCOA_NOTCOMPLETE, {3: 0, 4: BAStatus.MCOA_MALFORMED})


def test_rfc5648_5_6_5_an_update_without_the_h_flag_ends_the_home_binding() -> None:
    node = with_home_link(dad=False)
    node.send(bid(1, WIFI), bid(2, HOME, home=True), flags=AHO)
    outcome = node.send(bid(1, WIFI))
    assert node.bound == {1: WIFI}
    assert "care-of-removed" in kinds(outcome)
    # De-registering a foreign one does not.
    node.send(bid(1, WIFI), bid(2, HOME, home=True), bid(3, LTE))
    node.send(bid(3), lifetime=0)
    assert node.bound == {1: WIFI, 2: HOME}


def test_rfc5648_5_6_3_the_home_binding_is_for_the_home_address() -> None:
    node = with_home_link(dad=False)
    outcome = node.send(bid(1, WIFI), bid(2, LTE, home=True), flags=AHO)
    assert statuses(outcome) == (BAStatus.MCOA_NOTCOMPLETE, {1: 0, 2: BAStatus.MCOA_MALFORMED})


def test_rfc5648_5_6_3_leaving_out_the_flag_leaves_out_the_address() -> None:
    node = with_home_link(dad=False)
    node.send(bid(1, WIFI), bid(2, HOME, home=True), flags=AHO)
    outcome = node.send(bid(2))
    assert statuses(outcome) == (BAStatus.MCOA_UNKNOWN_COA, {2: 0})


@pytest.mark.parametrize("changes", [{"home_link": False}, {"home_link": True, "simultaneous_home": False}])
def test_rfc5648_4_4_home_and_foreign_prohibited(changes: dict[str, object]) -> None:
    node = Multihomed(dad=False, **changes)
    outcome = node.send(bid(2, HOME, home=True), hao=False, source=HOME)
    assert statuses(outcome) == (BAStatus.MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED, {2: 0})
    assert not outcome.changed


def test_rfc5648_5_6_3_a_mobile_node_at_home_is_not_its_own_duplicate() -> None:
    node = with_home_link(dad=True)
    outcome = node.send(bid(1, WIFI), bid(2, HOME, home=True), flags=AHO)
    assert "StartDad" not in outcome.kinds()
    assert node.bound == {1: WIFI, 2: HOME}


def test_rfc6275_10_3_1_duplicates_are_looked_for_before_the_first_bid_only() -> None:
    node = with_home_link(dad=True)
    outcome = node.send(bid(1, WIFI), flags=AHO)
    assert outcome.kinds() == ["StoreReplay", "StartDad"]
    assert statuses(node.agent.dad(HOME, duplicate=False)) == (BAStatus.ACCEPTED, {1: 0})
    assert statuses(node.send(bid(2, LTE), source=LTE)) == (BAStatus.ACCEPTED, {2: 0})


def test_rfc5648_6_3_the_link_layer_address_is_noted_before_the_answer() -> None:
    node = with_home_link(dad=False)
    mac = bytes.fromhex("02005e000001")
    outcome = node.send(
        bid(2, HOME, home=True), MHLinkLayerAddress(2, mac), flags=AHO, source=HOME, hao=False
    )
    assert outcome.one(NoteNeighbor) == NoteNeighbor(HOME, mac)
    order = outcome.kinds()
    assert order.index("NoteNeighbor") < order.index("SendPacket")
    # A refusal has to get there as well.
    node.agent.after(1)
    outcome = node.send(bid(0, HOME, home=True), MHLinkLayerAddress(2, mac), source=HOME, hao=False)
    assert statuses(outcome) == (BAStatus.MCOA_MALFORMED, {0: 0})
    assert outcome.one(NoteNeighbor) == NoteNeighbor(HOME, mac)


@pytest.mark.parametrize(
    "option", [MHLinkLayerAddress(1, bytes(6)), MHLinkLayerAddress(2, bytes(5)), MHLinkLayerAddress(2, b"")]
)
def test_a_link_layer_address_of_somebody_else_or_of_another_link_is_passed_over(
    option: MHLinkLayerAddress,
) -> None:
    node = with_home_link(dad=False)
    outcome = node.send(bid(2, HOME, home=True), option, flags=AHO, source=HOME, hao=False)
    assert "NoteNeighbor" not in outcome.kinds()
    assert node.bound == {2: HOME}


def test_a_link_layer_address_from_elsewhere_is_passed_over() -> None:
    node = with_home_link(dad=False)
    outcome = node.send(bid(1, WIFI), MHLinkLayerAddress(2, bytes(6)), flags=AHO)
    assert "NoteNeighbor" not in outcome.kinds()
    stranger = Multihomed(home_link=False)
    outcome = stranger.send(bid(2, HOME, home=True), MHLinkLayerAddress(2, bytes(6)), source=HOME, hao=False)
    assert "NoteNeighbor" not in outcome.kinds()
