"""Finding the tunnel format of an IPv4 network without losing packets (RFC 5555 section 4.4.1)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mobile_node_bench import (
    BEHIND_NAT,
    CAFE4,
    CONFIG,
    HOME_ADDRESS,
    HOME_AGENT,
    NAT4,
    NO_NAT,
    NO_NAT_FORCED,
    WIFI6,
    Bench,
    at,
    event,
    only,
)

from dsmip.core.actions import Action, InstallPath, SendIPv4
from dsmip.core.mobile_node.engine import MobileNodeState
from dsmip.core.types import TunnelFormat
from dsmip.wire.constants import BUFlag
from dsmip.wire.icmpv6 import EchoRequest, decode_icmpv6
from dsmip.wire.ip import IPv4Header

IPV4, UDP4 = TunnelFormat.IPV4, TunnelFormat.UDP4


def probes(actions: list[Action]) -> list[tuple[int, int]]:
    """Identifier and sequence number of the path probes sent."""
    found = []
    for action in only(actions, SendIPv4):
        assert IPv4Header.decode(action.packet).protocol == 41
        echo = decode_icmpv6(action.packet[60:], HOME_ADDRESS, HOME_AGENT)
        assert isinstance(echo, EchoRequest)
        found.append((echo.identifier, echo.sequence))
    return found


def formats(actions: list[Action]) -> list[TunnelFormat]:
    return [install.path.format for install in only(actions, InstallPath)]


def forced(bench: Bench) -> bool:
    """Whether the last Binding Update had the F flag."""
    return bool(bench.last.update.flags & BUFlag.F)


def learn_ip_in_ip(bench: Bench, time: float) -> None:
    """Go through the whole procedure in the café."""
    bench.attach(time, CAFE4)
    [probe] = probes(bench.answer(options=(NO_NAT_FORCED,)))
    bench.echo_reply(*probe)
    [probe] = probes(bench.answer(options=(NO_NAT,)))
    bench.echo_reply(*probe)


def test_an_unknown_network_is_entered_in_udp() -> None:
    bench = Bench()
    assert formats(bench.attach(0.0, CAFE4)) == [UDP4]
    assert forced(bench)


def test_without_a_nat_protocol_41_is_probed_and_used() -> None:
    bench = Bench()
    bench.attach(0.0, CAFE4)
    actions = bench.answer(time=0.02, options=(NO_NAT_FORCED,))
    assert formats(actions) == []
    [probe] = probes(actions)
    assert only(actions, SendIPv4)[0].interface == "eth0"
    actions = bench.echo_reply(*probe, time=0.04)
    assert formats(actions) == []  # the home agent still tunnels in UDP
    assert not forced(bench)
    actions = bench.answer(time=0.06, options=(NO_NAT,))
    assert formats(actions) == [IPV4]
    [probe] = probes(actions)
    actions = bench.echo_reply(*probe, time=0.08)
    assert event(actions, "probe").fields["result"] == "answered in IP-in-IP"
    assert formats(actions) == []
    assert len(bench.sent) == 2
    assert bench.node.state(at(0.08)) is MobileNodeState.REGISTERED
    bench.run(470.0)
    assert len(bench.sent) == 2


def test_rfc5555_4_4_1_filtered_protocol_41_stays_in_udp() -> None:
    bench = Bench()
    bench.attach(0.0, CAFE4)
    sent = probes(bench.answer(time=0.1, options=(NO_NAT_FORCED,)))
    actions = bench.run(2.0)
    sent += probes(actions)
    assert [sequence for _, sequence in sent] == [0, 1, 2]
    assert event(actions, "probe").fields["result"] == "filtered"
    assert formats(actions) == []
    assert len(bench.sent) == 1
    # Neither the refresh nor another visit within the hour asks again.
    bench.run(480.0)
    assert forced(bench)
    assert probes(bench.answer(options=(NO_NAT_FORCED,))) == []
    bench.attach(500.0)
    assert formats(bench.attach(510.0, CAFE4)) == [UDP4]
    assert forced(bench)
    assert probes(bench.answer(time=510.1, options=(NO_NAT_FORCED,))) == []


def test_rfc5555_4_4_1_filter_on_the_way_back_leads_back_to_udp() -> None:
    bench = Bench()
    bench.attach(0.0, CAFE4)
    [probe] = probes(bench.answer(time=0.1, options=(NO_NAT_FORCED,)))
    bench.echo_reply(*probe, time=0.2)
    actions = bench.answer(time=0.3, options=(NO_NAT,))
    assert formats(actions) == [IPV4]
    late_answer = probe
    assert bench.echo_reply(*late_answer, time=0.31) == []
    actions = bench.run(1.0)
    assert len(probes(actions)) == 2
    assert formats(actions) == [UDP4]
    assert event(actions, "fallback").fields["reason"] == "protocol 41 is filtered"
    assert bench.last.time == pytest.approx(0.9)
    assert forced(bench)
    assert probes(bench.answer(options=(NO_NAT_FORCED,))) == []


def test_known_ip_in_ip_network_is_entered_in_ip_in_ip_and_verified_once() -> None:
    bench = Bench()
    learn_ip_in_ip(bench, 0.0)
    bench.attach(10.0, WIFI6)
    bench.answer()
    assert formats(bench.attach(20.0, CAFE4)) == [IPV4]
    assert not forced(bench)
    actions = bench.answer(time=20.02, options=(NO_NAT,))
    assert formats(actions) == []
    [probe] = probes(actions)
    bench.echo_reply(*probe, time=20.04)
    bench.run(500.02)
    assert probes(bench.answer(options=(NO_NAT,))) == []


def test_known_ip_in_ip_network_that_has_a_filter_now() -> None:
    bench = Bench()
    learn_ip_in_ip(bench, 0.0)
    bench.attach(10.0)
    bench.attach(20.0, CAFE4)
    bench.answer(time=20.02, options=(NO_NAT,))
    actions = bench.run(21.0)
    assert formats(actions) == [UDP4]
    assert forced(bench)


def test_known_ip_in_ip_network_that_has_a_nat_now() -> None:
    bench = Bench()
    learn_ip_in_ip(bench, 0.0)
    bench.attach(10.0)
    bench.attach(20.0, CAFE4)
    actions = bench.answer(time=20.02, options=(BEHIND_NAT,))
    assert formats(actions) == [UDP4]
    assert probes(actions) == []


def test_behind_a_nat_nothing_is_probed() -> None:
    bench = Bench()
    bench.attach(0.0, NAT4)
    assert probes(bench.answer(time=0.02, options=(BEHIND_NAT,))) == []
    assert probes(bench.run(300.0)) == []


def test_rfc5555_4_5_home_agent_that_forces_udp_is_not_asked_again() -> None:
    bench = Bench()
    bench.attach(0.0, CAFE4)
    [probe] = probes(bench.answer(time=0.1, options=(NO_NAT_FORCED,)))
    bench.echo_reply(*probe, time=0.2)
    assert not forced(bench)
    actions = bench.answer(time=0.3, options=(NO_NAT_FORCED,))
    assert formats(actions) == []
    assert probes(actions) == []
    bench.run(485.0)
    assert probes(bench.answer(options=(NO_NAT_FORCED,))) == []
    assert bench.node.format is UDP4


def test_udp_always_forces_it_and_probes_nothing() -> None:
    bench = Bench(replace(CONFIG, udp="always"))
    assert formats(bench.attach(0.0, CAFE4)) == [UDP4]
    assert forced(bench)
    assert probes(bench.answer(time=0.02, options=(NO_NAT_FORCED,))) == []


def test_rfc5555_3_1_3_no_f_flag_with_an_ipv6_care_of_address() -> None:
    bench = Bench(replace(CONFIG, udp="always"))
    bench.attach(0.0, WIFI6)
    assert not forced(bench)


def test_moving_on_ends_the_probe() -> None:
    bench = Bench()
    bench.attach(0.0, CAFE4)
    [probe] = probes(bench.answer(time=0.02, options=(NO_NAT_FORCED,)))
    bench.attach(0.03, WIFI6)
    assert bench.echo_reply(*probe, time=0.04) == []
    assert probes(bench.run(5.0)) == []


def test_foreign_echo_replies_are_ignored() -> None:
    bench = Bench()
    bench.attach(0.0, CAFE4)
    [(identifier, sequence)] = probes(bench.answer(time=0.02, options=(NO_NAT_FORCED,)))
    assert bench.echo_reply(identifier ^ 1, sequence) == []
    assert bench.echo_reply(identifier, sequence + 1) == []
    assert len(bench.sent) == 1
