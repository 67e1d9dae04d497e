"""Coming home, being there, leaving (RFC 6275 section 11.5.5)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from mobile_node_bench import (
    HOME,
    WIFI6,
    Bench,
    at,
    drops,
    event,
    only,
    order,
    registered,
)

from dsmip.core.actions import (
    ComeHome,
    InstallPath,
    LeaveHome,
    RemovePath,
    SendPacket,
    SettleHome,
)
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.types import TunnelFormat


def test_rfc6275_11_5_5_returning_home() -> None:
    bench = registered()
    actions = bench.attach(10.0, home=HOME)
    assert order(actions, ComeHome, SendPacket, RemovePath, SettleHome) == [ComeHome, SendPacket, RemovePath]
    assert bench.node.state(at(10.0)) is MobileNodeState.RETURNING_HOME
    actions = bench.answer(time=10.02)
    assert only(actions, SettleHome) == [SettleHome(HOME, acknowledged=True)]
    assert event(actions, "home").fields["step"] == "settled"
    assert bench.node.state(at(10.02)) is MobileNodeState.AT_HOME
    assert bench.node.format is TunnelFormat.LINK
    assert bench.node.timeout() is None


def test_rfc6275_11_5_5_tunnel_over_another_interface_works_until_settled() -> None:
    bench = registered()
    actions = bench.attach(10.0, WIFI6, home=HOME)
    assert only(actions, RemovePath) == []
    assert bench.node.format is TunnelFormat.IPV6
    actions = bench.attach(10.5, home=HOME)
    assert only(actions, RemovePath) == [RemovePath("returning home")]


def test_rfc6275_11_5_5_deregistration_is_repeated_and_not_settled_while_the_binding_lasts() -> None:
    bench = registered()
    bench.sent.clear()
    bench.attach(10.0, home=HOME)
    actions = bench.run(590.0)
    assert [sent.time for sent in bench.sent][:5] == [10.0, 11.0, 13.0, 17.0, 25.0]
    assert only(actions, SettleHome) == []
    # Now it has expired.
    assert only(bench.run(600.0), SettleHome) == [SettleHome(HOME, acknowledged=False)]


@pytest.mark.parametrize("status", [0, 133])
def test_rfc6275_11_7_3_home_at_start_is_told_to_the_home_agent_too(status: int) -> None:
    bench = Bench()
    bench.attach(0.0, home=HOME)
    assert bench.last.update.lifetime == 0
    answered = bench.answer(time=0.01, status=status)
    assert only(answered, SettleHome) == [SettleHome(HOME, acknowledged=True)]


def test_home_at_start_with_a_silent_home_agent_settles_after_three_attempts() -> None:
    bench = Bench()
    bench.attach(0.0, home=HOME)
    actions = bench.run(10.0)
    assert only(actions, SettleHome) == []
    assert only(bench.run(10.5), SettleHome) == [SettleHome(HOME, acknowledged=False)]
    assert only(bench.answer(time=11.0), SettleHome) == [SettleHome(HOME, acknowledged=True)]
    assert bench.node.timeout() is None


def test_sequence_number_refused_at_home_is_corrected() -> None:
    bench = Bench()
    bench.attach(0.0, home=HOME)
    bench.answer(time=0.01, status=135, sequence=99)
    assert bench.last.update.sequence == 100
    assert bench.last.update.lifetime == 0


def test_leaving_home() -> None:
    bench = registered()
    bench.attach(10.0, home=HOME)
    bench.answer(time=10.02)
    actions = bench.attach(20.0, WIFI6)
    assert order(actions, LeaveHome, SendPacket, InstallPath) == [LeaveHome, SendPacket, InstallPath]
    bench.run(21.5)
    assert bench.last.time == 21.5  # a first registration again


def test_home_link_lost_before_the_acknowledgement() -> None:
    bench = registered()
    bench.attach(10.0, home=HOME)
    deregistration = bench.last
    actions = bench.attach(10.1, WIFI6)
    assert order(actions, LeaveHome, SendPacket, InstallPath) == [LeaveHome, SendPacket, InstallPath]
    assert bench.last.update.lifetime == 150
    assert len(drops(bench.receive(bench.acknowledgement(deregistration), 10.2))) == 1
    assert bench.node.state(at(10.2)) is MobileNodeState.REGISTERING


def test_deregistration_that_may_have_been_heard_leaves_doubt() -> None:
    bench = registered()
    bench.attach(10.0, WIFI6, home=HOME)
    bench.attach(10.1, WIFI6)
    assert bench.node.state(at(10.1)) is MobileNodeState.REGISTERING
    bench.answer(time=10.2)
    assert bench.node.state(at(10.2)) is MobileNodeState.REGISTERED


def test_leaving_home_to_nowhere() -> None:
    bench = Bench()
    bench.attach(0.0, home=HOME)
    bench.answer(time=0.01)
    actions = bench.attach(5.0)
    assert order(actions, LeaveHome, RemovePath) == [LeaveHome, RemovePath]
    assert bench.node.state(at(5.0)) is MobileNodeState.DETACHED


def test_router_heard_later_on_the_home_link_is_passed_on() -> None:
    bench = Bench()
    bench.attach(0.0, home=HOME)
    bench.answer(time=0.01)
    later = replace(HOME, router=IPv6Address("fe80::101"))
    assert bench.attach(1.0, home=later) == [SettleHome(later, acknowledged=True)]
    assert bench.attach(2.0, home=later) == []


def test_home_link_on_another_interface_is_come_home_to_again() -> None:
    bench = Bench()
    bench.attach(0.0, home=HOME)
    bench.answer(time=0.01)
    other = replace(HOME, interface="eth9", ifindex=9)
    actions = bench.attach(1.0, home=other)
    assert order(actions, LeaveHome, ComeHome, SendPacket) == [LeaveHome, ComeHome, SendPacket]
